//! How fast the store is, printed. Not a test of anything: figures for docs/decisions/0001-sqlite.md.
//!
//! `CHUNKS=1000000 cargo test --lib store::tests::speed -- --ignored --nocapture`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::world::{ROOT, failure, hash, identity, key};
use super::*;
use crate::formats::Format;
use crate::store::row::*;
use floodmark_operators::keys::{ContentHash, ContentKey};

const DIMENSION: usize = 384;
const TEXTS_A_FILE: usize = 10;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (start, cpu) = (Instant::now(), cpu_ms());
    let done = work();
    let (wall, cpu) = (start.elapsed().as_secs_f64() * 1e3, cpu_ms() - cpu);
    println!("{what:<56} {wall:>9.1} ms, {cpu:>9.1} ms on the processor");
    done
}

/// Of this thread: comparable on a machine that others use as well.
fn cpu_ms() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|ns| ns.parse::<f64>().ok())
        .map_or(f64::NAN, |ns| ns / 1e6)
}

fn vector(seed: usize) -> Vec<f32> {
    let raw: Vec<f32> = (0..DIMENSION)
        .map(|i| ((seed * 31 + i * i * 7) % 997) as f32 - 498.0)
        .collect();
    let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.iter().map(|x| x / norm).collect()
}

fn text(at: usize) -> String {
    format!(
        "{at} {}",
        "the tide came in and went out again, ".repeat(13)
    )
}

fn content(file: usize) -> ContentRow {
    let documents = (0..TEXTS_A_FILE).map(|i| DocumentRow {
        id: Some(format!("{file}-{i}")),
        record: i as u64,
        title: None,
        metadata: r#"{"source":"gauge"}"#.into(),
        start: 600 * i as u64,
        end: 600 * i as u64 + 599,
        chunks: vec![ChunkRow {
            hash: hash(&text(file * TEXTS_A_FILE + i)),
            start: 600 * i as u64,
            end: 600 * i as u64 + 500,
        }],
    });
    let name = file.to_le_bytes();
    ContentRow {
        key: ContentKey::of(&[&name]),
        hash: ContentHash::of(&[&name]),
        bytes: 6000,
        format: Format::Json,
        documents: documents.collect(),
        failures: if file.is_multiple_of(100) {
            vec![failure("invalid-json")]
        } else {
            vec![]
        },
    }
}

type Rows = Vec<(u64, Row)>;

/// Of some files: what is committed for each of them, and what is remembered.
fn rows(epoch: u64, files: std::ops::Range<usize>) -> (Rows, Rows) {
    let (mut places, mut memory) = (Vec::new(), Vec::new());
    for file in files {
        let content = content(file);
        let name = format!("gauge/{file}.json");
        let key = key(&name);
        let state = FileState::Indexed {
            format: Format::Json,
            content: content.hash,
            generation: 0,
            segments: 1,
        };
        let (root, path) = (PathBuf::from(ROOT), PathBuf::from(name));
        let (identity, retire) = (Some(identity(6000)), vec![]);
        places.push((
            epoch,
            Row::File(FileRow {
                key,
                root,
                path,
                identity,
                state,
                retire,
            }),
        ));
        places.push((
            epoch,
            Row::Segment(SegmentRow {
                key,
                slot: 0,
                content: content.key,
                byte_base: 0,
                record_base: 0,
                line_base: 0,
            }),
        ));
        for (i, document) in content.documents.iter().enumerate() {
            let (hash, at) = (document.chunks[0].hash, file * TEXTS_A_FILE + i);
            places.push((epoch, Row::Live(hash, 1)));
            let (text, vector) = (text(at).into(), vector(at).into());
            memory.push((epoch, Row::Embedding(EmbeddingRow { hash, text, vector })));
        }
        memory.push((epoch, Row::Content(content.into())));
    }
    (places, memory)
}

#[test]
#[ignore = "prints figures"]
fn speed() {
    let chunks: usize = std::env::var("CHUNKS").map_or(100_000, |text| text.parse().unwrap());
    let files = chunks / TEXTS_A_FILE;
    let dir = tempfile::tempdir().unwrap();
    let model = ModelKey {
        id: "ripple".into(),
        dimension: DIMENSION,
    };
    let mut store = Store::open(dir.path(), &model, now).unwrap();
    let (mut slowest, mut total, cpu) = (0.0f64, 0.0, cpu_ms());
    let mut epoch = 1;
    for first in (0..files).step_by(400) {
        let (places, memory) = rows(epoch, first..(first + 400).min(files));
        let batch: Vec<_> = places.into_iter().chain(memory).collect();
        let start = Instant::now();
        store.commit(epoch + 1, batch).unwrap();
        let took = start.elapsed().as_secs_f64() * 1e3;
        (slowest, total) = (slowest.max(took), total + took);
        epoch += 1;
    }
    let commits = (epoch - 1) as f64;
    println!(
        "commit of 400 files, 4,000 texts with vectors: {:.1} ms, at most {slowest:.1} ms",
        total / commits
    );
    println!(
        "with making the rows {:.1} ms on the processor",
        (cpu_ms() - cpu) / commits
    );

    // The same once more under other names: only places, nothing remembered is new.
    let (mut places, memory) = rows(epoch, files..files + 400);
    timed(
        "memory alone: 400 contents, 4,000 texts and vectors",
        || store.commit(epoch + 1, memory).unwrap(),
    );
    epoch += 1;
    places.iter_mut().for_each(|(at, _)| *at = epoch);
    timed("places alone: 400 files, 400 segments, 4,000 live", || {
        store.commit(epoch + 1, places).unwrap()
    });
    epoch += 1;
    timed("an empty commit", || {
        store.commit(epoch + 1, vec![]).unwrap()
    });
    timed("recover", || store.recover(&|_| true).unwrap());
    timed("close", || store.close().unwrap());
    let bytes = fs::metadata(dir.path().join("store.sqlite")).unwrap().len();
    println!(
        "{:.0} bytes a chunk on the disk",
        bytes as f64 / chunks as f64
    );
    let store = timed("open", || Store::open(dir.path(), &model, now).unwrap());
    timed("recover", || store.recover(&|_| true).unwrap());
    let reader = timed("open a reader", || Reader::open(dir.path()).unwrap());
    let snapshot = timed("a snapshot", || reader.snapshot().unwrap());
    timed("status", || snapshot.status().unwrap());
    let mut sum = 0.0;
    timed("every live vector", || {
        snapshot
            .for_each_live_vector(|_, vector| sum += vector[0])
            .unwrap();
    });
    timed("every live text", || {
        snapshot.for_each_live_text(|_, _| ()).unwrap()
    });
    timed("all changes", || snapshot.changes(0).unwrap());
    timed("100 occurrences", || {
        for label in 1..=100 {
            assert_eq!(snapshot.occurrences(label).unwrap().len(), 1);
        }
    });
    timed("explain one file", || {
        snapshot
            .file(Path::new(ROOT), Path::new("gauge/7.json"))
            .unwrap()
            .unwrap()
    });
    timed("dead letters", || snapshot.dead().unwrap());
    timed("export", || snapshot.export(false, |_| Ok(())).unwrap());
    timed("check", || assert_eq!(snapshot.check().unwrap(), []));
}
