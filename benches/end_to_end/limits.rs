//! What the machine can do, without floodmark: the model, the disk, the hash, SQLite, `find`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use floodmark_operators::batch::Planner;

use super::bench::{Bench, processor_seconds};
use super::corpus;

const BATCH_TOKENS: usize = 256;
/// As many as a run has for reading.
const READERS: usize = 2;

impl Bench {
    /// The model alone, on all texts at once, sorted, a thread a session. Wall and processor seconds.
    pub fn embed_alone(&self, texts: &[String], sessions: usize) -> (f64, f64) {
        let mut planner = Planner::new(BATCH_TOKENS);
        for (number, text) in texts.iter().enumerate() {
            let tokens = self.model.count_tokens(text).expect("tokens");
            planner.insert(0, tokens, number);
        }
        let (sender, batches) = crossbeam_channel::unbounded();
        while !planner.is_empty() {
            sender.send(planner.next_batch()).expect("an open channel");
        }
        drop(sender);
        let mut sessions: Vec<_> = (0..sessions)
            .map(|_| self.model.session().expect("a session"))
            .collect();
        let (started, busy) = (Instant::now(), processor_seconds());
        std::thread::scope(|scope| {
            for session in &mut sessions {
                let batches = batches.clone();
                scope.spawn(move || {
                    for batch in batches {
                        let batch: Vec<&str> = batch
                            .into_iter()
                            .map(|number| texts[number].as_str())
                            .collect();
                        session.embed(&batch).expect("vectors");
                    }
                });
            }
        });
        (started.elapsed().as_secs_f64(), processor_seconds() - busy)
    }
}

/// Seconds to read every file below a folder and hash it, on as many threads as a run has for that.
pub fn read_and_hash(folder: &Path) -> f64 {
    let files = corpus::files(folder);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for part in files.chunks(files.len().div_ceil(READERS).max(1)) {
            scope.spawn(move || {
                for file in part {
                    std::hint::black_box(blake3::hash(&fs::read(file).expect("a file")));
                }
            });
        }
    });
    started.elapsed().as_secs_f64()
}

/// Seconds to read every file below a folder.
pub fn read(folder: &Path) -> f64 {
    let files = corpus::files(folder);
    let started = Instant::now();
    for file in files {
        std::hint::black_box(fs::read(file).expect("a file"));
    }
    started.elapsed().as_secs_f64()
}

/// Seconds of `find -printf` of the same stats, over the folder. `None` where there is no such find.
pub fn find(folder: &Path) -> Option<f64> {
    let started = Instant::now();
    let status = Command::new("find")
        .arg(folder)
        .args(["-type", "f", "-printf", "%P %D %i %s %T@ %C@\\n"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    status.success().then(|| started.elapsed().as_secs_f64())
}

/// Seconds for SQLite to take as many texts and vectors in transactions of a thousand, each durable.
pub fn sqlite(file: &Path, texts: &[String], dimension: usize) -> f64 {
    let _absent_at_first = fs::remove_file(file);
    let mut connection = database(file);
    let vector = vec![7u8; dimension * 4];
    let started = Instant::now();
    for (number, part) in texts.chunks(1000).enumerate() {
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO rows (id, text, vector) VALUES (?1, ?2, ?3)")
                .expect("a statement");
            for (at, text) in part.iter().enumerate() {
                let id = (number * 1000 + at) as i64;
                insert
                    .execute(rusqlite::params![id, text, vector])
                    .expect("a row");
            }
        }
        transaction.commit().expect("a commit");
    }
    started.elapsed().as_secs_f64()
}

/// Milliseconds of `count` durable transactions of one row.
pub fn commits(file: &Path, count: usize) -> Vec<f64> {
    let _absent_at_first = fs::remove_file(file);
    let connection = database(file);
    (0..count)
        .map(|number| {
            let started = Instant::now();
            let row = rusqlite::params![number as i64, "a text", vec![7u8; 1536]];
            connection
                .execute(
                    "INSERT INTO rows (id, text, vector) VALUES (?1, ?2, ?3)",
                    row,
                )
                .expect("a row");
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect()
}

fn database(file: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(file).expect("a database");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT NOT NULL, vector BLOB NOT NULL) STRICT;",
        )
        .expect("a table");
    connection
}
