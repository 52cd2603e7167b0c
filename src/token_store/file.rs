//! The file: a row a text, found by a hash of model and text, with a sum that tells whether it is what was written.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use floodmark_operators::keys::ChunkHash;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::Quantised;
use crate::fault;

/// Another number than this and the file is made anew.
const VERSION: i64 = 1;
/// How long a reader waits for whoever holds the file; encoding is not much slower.
const READER_WAITS: Duration = Duration::from_millis(100);
/// Only a copy or an `sqlite3` at the file can be in a writer's way.
const WRITER_WAITS: Duration = Duration::from_secs(2);
/// Rows that are deleted at a time.
const DELETED_TOGETHER: usize = 500;

const TABLES: &str = "
CREATE TABLE vectors (         -- of the tokens of texts
  id        INTEGER PRIMARY KEY,
  key       INTEGER NOT NULL UNIQUE, -- 64 bits of a hash of the model's key and the text's hash
  sum       INTEGER NOT NULL,  -- 64 bits of a hash of model, text, dimension and vectors
  dimension INTEGER NOT NULL,  -- numbers of a token
  vectors   BLOB NOT NULL      -- for each token a factor (f32, little-endian) and `dimension` signed bytes that it is multiplied with
) STRICT;
";

/// Where the row of a text is.
pub(super) fn key(model: &str, text: ChunkHash) -> i64 {
    first_eight(
        &blake3::Hasher::new_derive_key("floodmark 1 token vectors, key")
            .update(&text.to_bytes())
            .update(model.as_bytes())
            .finalize(),
    )
}

/// What the sum of a row must be.
fn sum(model: &str, text: ChunkHash, dimension: usize, vectors: &[u8]) -> i64 {
    first_eight(
        &blake3::Hasher::new_derive_key("floodmark 1 token vectors, sum")
            .update(&text.to_bytes())
            .update(&(model.len() as u64).to_le_bytes())
            .update(model.as_bytes())
            .update(&(dimension as u64).to_le_bytes())
            .update(vectors)
            .finalize(),
    )
}

fn first_eight(hash: &blake3::Hash) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    i64::from_le_bytes(first)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The file, to read from.
#[derive(Debug)]
pub(super) struct Shelf {
    connection: Connection,
    model: String,
    /// Whether it was said that something is wrong: once a query is enough.
    said: Cell<bool>,
}

impl Shelf {
    /// `None`: there is none, or none that can be read.
    pub fn open(path: &Path, model: &str) -> Option<Self> {
        if !path.exists() {
            return None;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
            connection.busy_timeout(READER_WAITS)?;
            let version = version(&connection)?;
            Ok((connection, version))
        });
        match opened {
            Ok((connection, VERSION)) => Some(Self {
                connection,
                model: model.to_owned(),
                said: Cell::new(false),
            }),
            Ok((_, version)) => {
                tracing::debug!(file = %path.display(), version, "token vectors of another version are not read");
                None
            }
            Err(error) => {
                unread(path, &error);
                None
            }
        }
    }

    /// Those of one text.
    pub fn find(&self, text: ChunkHash) -> Option<Quantised> {
        let row = self
            .connection
            .prepare_cached("SELECT sum, dimension, vectors FROM vectors WHERE key = ?");
        let row = row.and_then(|mut row| {
            row.query_row([key(&self.model, text)], |row| {
                let dimension: i64 = row.get(1)?;
                Ok((row.get::<_, i64>(0)?, dimension, row.get::<_, Vec<u8>>(2)?))
            })
            .optional()
        });
        let (found, dimension, bytes) = row
            .inspect_err(|error| {
                if !self.said.replace(true) {
                    unread(Path::new(super::FILE), error);
                }
            })
            .ok()??;
        let dimension = usize::try_from(dimension).ok()?;
        if sum(&self.model, text, dimension, &bytes) != found {
            if !self.said.replace(true) {
                tracing::warn!(
                    %text,
                    "the token vectors of a text are not what was written to {}; they are made anew for the query",
                    super::FILE
                );
            }
            return None;
        }
        Quantised::from_bytes(dimension, bytes)
    }
}

fn unread(path: &Path, error: &rusqlite::Error) {
    tracing::warn!(
        file = %path.display(),
        %error,
        "token vectors can't be read and are made anew for the query; if this is said again, delete the file: it is a cache"
    );
}

/// The file, to write to.
pub(super) struct File {
    connection: Connection,
    model: String,
    /// The last row that was there when it was opened.
    last: i64,
}

impl File {
    /// Makes it where there is none, or none that can be used.
    pub fn open(path: &Path, model: &str) -> rusqlite::Result<Self> {
        let connection = match prepared(path) {
            Ok(connection) => connection,
            Err(error) if useless(&error) => {
                tracing::warn!(file = %path.display(), %error, "the token vectors on the disk can't be used; the file is begun anew");
                remove(path);
                prepared(path)?
            }
            Err(error) => return Err(error),
        };
        let last = connection.query_row("SELECT ifnull(max(id), 0) FROM vectors", [], |row| {
            row.get(0)
        })?;
        Ok(Self {
            connection,
            model: model.to_owned(),
            last,
        })
    }

    /// All or none. What was there of a text is replaced.
    pub fn put(&mut self, rows: &[(ChunkHash, Quantised)]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO vectors (key, sum, dimension, vectors) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE \
                 SET sum = excluded.sum, dimension = excluded.dimension, vectors = excluded.vectors",
            )?;
            for (text, vectors) in rows {
                let (dimension, bytes) = (vectors.dimension(), vectors.bytes());
                insert.execute(params![
                    key(&self.model, *text),
                    sum(&self.model, *text, dimension, bytes),
                    dimension as i64,
                    bytes,
                ])?;
            }
        }
        fault::pass("tokens.put.before");
        transaction.commit()?;
        fault::pass("tokens.put.after");
        Ok(())
    }

    /// Deletes what was there at the opening and is of no text of `live`, if that is more than a quarter; how many.
    ///
    /// What came since stays: its text may be about to be committed.
    pub fn prune(&mut self, live: &[ChunkHash]) -> rusqlite::Result<usize> {
        let live: HashSet<i64> = live.iter().map(|text| key(&self.model, *text)).collect();
        let mut dead = Vec::new();
        let mut rows = 0;
        {
            let mut all = self
                .connection
                .prepare("SELECT id, key FROM vectors WHERE id <= ?")?;
            let mut all = all.query([self.last])?;
            while let Some(row) = all.next()? {
                rows += 1;
                if !live.contains(&row.get(1)?) {
                    dead.push(row.get::<_, i64>(0)?);
                }
            }
        }
        if dead.len() * 4 <= rows {
            return Ok(0);
        }
        for ids in dead.chunks(DELETED_TOGETHER) {
            let transaction = self.connection.transaction()?;
            {
                let mut delete = transaction.prepare_cached("DELETE FROM vectors WHERE id = ?")?;
                for id in ids {
                    delete.execute([id])?;
                }
            }
            fault::pass("tokens.prune.before");
            transaction.commit()?;
            fault::pass("tokens.prune.after");
            // A row a page that is freed.
            let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum")?;
            let mut freed = vacuum.query([])?;
            while freed.next()?.is_some() {}
        }
        Ok(dead.len())
    }

    /// How many rows there are.
    #[cfg(test)]
    pub fn rows(&self) -> i64 {
        self.connection
            .query_row("SELECT count(*) FROM vectors", [], |row| row.get(0))
            .unwrap()
    }
}

/// Opened, and with its table.
fn prepared(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(WRITER_WAITS)?;
        Ok::<_, rusqlite::Error>(connection)
    };
    let mut connection = open()?;
    let found = version(&connection)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if found != VERSION && (found != 0 || tables > 0) {
        tracing::info!(file = %path.display(), version = found, "token vectors of another version are removed");
        drop(connection);
        remove(path);
        connection = open()?;
    }
    // Before the first table only: then what is deleted gives its room back.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // The last rows may be lost with the machine's power; the file stays whole.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    if version(&connection)? == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        fault::pass("tokens.make.before");
        transaction.commit()?;
        fault::pass("tokens.make.after");
    }
    Ok(connection)
}

/// Whether another attempt with this file is in vain.
pub(super) fn useless(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
    )
}

/// With all that belongs to it.
pub(super) fn remove(path: &Path) {
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let file = PathBuf::from(name);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(file = %file.display(), %error, "can't be removed");
            }
            _ => {}
        }
    }
}
