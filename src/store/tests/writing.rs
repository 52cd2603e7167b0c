//! Writing: all or nothing, once, and never past a broken invariant.

use std::fs;

use rusqlite::Connection;

use super::world::*;
use super::*;
use crate::error::ErrorKind;
use crate::store::row::*;

#[test]
fn rows_of_durable_epochs_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut world) = small(dir.path());
    let again = vec![
        (1, Row::Live(hash("low tide"), 1)),
        (1, embedding("low tide")),
    ];
    store.commit(world.epoch, again.clone()).unwrap();
    world.write("c.jsonl", &[4]);
    world.tick();
    let rows = std::mem::take(&mut world.rows);
    store
        .commit(world.epoch, rows.into_iter().chain(again).collect())
        .unwrap();
    assert_eq!(lines(dir.path()), world.export());
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn what_is_retracted_takes_along_what_lies_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut world) = small(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    // "low tide" lies in a.jsonl alone, "spring" in b.jsonl and, from now on, in c.jsonl.
    world.write("c.jsonl", &[2]);
    world.tick();
    store
        .commit(world.epoch, std::mem::take(&mut world.rows))
        .unwrap();
    let file = |path: &str| {
        let snapshot = reader.snapshot().unwrap();
        snapshot.file_of(key(path)).unwrap().unwrap()
    };
    let leaving = [file("a.jsonl"), file("b.jsonl")];
    store.retract(&leaving).unwrap();
    world.gone("a.jsonl");
    world.gone("b.jsonl");
    world.tick();
    assert_eq!(lines(dir.path()), world.export());
    let live = reader.snapshot().unwrap().live_labels().unwrap();
    assert_eq!(live.len(), 2, "spring and neap");
    assert_eq!(store.check().unwrap(), []);
}

/// Commits `rows` to a small store: it must be refused, naming `what`, and leave everything as it was.
fn refused(rows: impl IntoIterator<Item = (u64, Row)>, what: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, world) = small(dir.path());
    let error = store
        .commit(world.epoch + 1, rows.into_iter().collect())
        .unwrap_err();
    assert!(error.to_string().contains(what), "{error}");
    assert_eq!(error.kind(), ErrorKind::Stop);
    let poisoned = store.commit(world.epoch + 1, vec![]).unwrap_err();
    assert!(
        matches!(poisoned, StoreError::Poisoned { .. }),
        "{poisoned}"
    );
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.upper(), world.epoch);
    assert_eq!(lines(dir.path()), world.export());
}

#[test]
fn a_broken_invariant_stops_the_writer_and_writes_nothing() {
    let unit = vector("x");
    let bad = |vector: &[f32]| {
        let (hash, text) = (hash("x"), "x".into());
        Row::Embedding(EmbeddingRow {
            hash,
            text,
            vector: vector.into(),
        })
    };
    let segment = |path, texts: &[&str]| {
        let (key, content) = (key(path), content(texts).key);
        let (byte_base, record_base, line_base) = (0, 0, 0);
        Row::Segment(SegmentRow {
            key,
            slot: 9,
            content,
            byte_base,
            record_base,
            line_base,
        })
    };
    refused(
        [(2, Row::Live(hash("low tide"), 1))],
        "already in the index",
    );
    refused([(2, Row::Live(hash("ebb"), -1))], "not in the index");
    refused(
        [
            (2, Row::Live(hash("low tide"), -1)),
            (2, Row::Live(hash("low tide"), -1)),
        ],
        "changes by -2",
    );
    refused([(2, Row::Live(hash("ebb"), 1))], "without a vector");
    refused(
        [(3, embedding("ebb"))],
        "a row of epoch 3 in a commit up to 3",
    );
    refused([(2, bad(&unit[1..]))], "3 numbers, not 4");
    refused([(2, bad(&[f32::NAN; 4]))], "not finite");
    refused([(2, bad(&[0.4; 4]))], "its norm is 0.8");
    refused([(2, segment("nowhere", &["low tide"]))], "of unknown file");
    refused([(2, segment("a.jsonl", &["unread"]))], "unknown content");
}

#[test]
fn a_text_that_joined_and_left_unembedded_within_a_commit_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = small(dir.path());
    let content = Row::Content(content(&["ebb"]));
    let rows = vec![
        (2, content),
        (2, Row::Live(hash("ebb"), 1)),
        (3, Row::Live(hash("ebb"), -1)),
    ];
    store.commit(4, rows).unwrap();
    let recovery = store.recover(&|_| true).unwrap();
    assert!(!recovery.live.contains(&hash("ebb")));
    let keys: Vec<_> = recovery.contents.iter().map(|(key, _)| *key).collect();
    assert!(
        !keys.contains(&world::content(&["ebb"]).key),
        "it must be read again: its text is unknown"
    );
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    assert_eq!(
        snapshot
            .text_of(snapshot.label_of(hash("ebb")).unwrap().unwrap())
            .unwrap(),
        None
    );
    assert_eq!(snapshot.changes(1).unwrap(), []);

    // It comes back, and keeps its label.
    store.commit(5, vec![(4, embedding("ebb"))]).unwrap();
    let recovery = store.recover(&|_| true).unwrap();
    assert_eq!(recovery.contents.len(), 4);
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn a_writer_that_was_overtaken_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, world) = small(dir.path());
    let other = Connection::open(dir.path().join("store.sqlite")).unwrap();
    other
        .execute("UPDATE meta SET value = 9 WHERE key = 'generation'", [])
        .unwrap();
    let error = store
        .commit(world.epoch + 1, vec![(2, embedding("ebb"))])
        .unwrap_err();
    assert!(
        matches!(error, StoreError::Fenced { ours: 1, theirs: 9 }),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Stop);
    let count: i64 = other
        .query_row("SELECT count(*) FROM texts", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 4);
}

#[test]
fn the_log_stays_short() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let text = "tide ".repeat(100_000);
    for epoch in 1..160 {
        let text = format!("{epoch} {text}");
        let row = EmbeddingRow {
            hash: hash(&text),
            vector: vector(&text),
            text: text.into(),
        };
        store
            .commit(epoch + 1, vec![(epoch, Row::Embedding(row))])
            .unwrap();
    }
    // 80 MB were written.
    let log = fs::metadata(dir.path().join("store.sqlite-wal"))
        .unwrap()
        .len();
    assert!(log < 40 << 20, "{log}");
}

#[test]
fn a_file_that_is_its_old_self_again_forgets_the_failure_and_the_reading_that_was_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut world) = small(dir.path());
    world.slice("a.jsonl", 4);
    world.fail("a.jsonl", false);
    let begun = world.clone();
    world.tick();
    store
        .commit(world.epoch, std::mem::take(&mut world.rows))
        .unwrap();
    let recovered = store.recover(&|_| true).unwrap().files;
    begun.assert_files(&recovered);
    assert!(recovered[0].file.partial.is_some() && recovered[0].file.stale());
    world.touch("a.jsonl");
    world.tick();
    store
        .commit(world.epoch, std::mem::take(&mut world.rows))
        .unwrap();
    let recovered = store.recover(&|_| true).unwrap().files;
    world.assert_files(&recovered);
    assert_eq!(recovered[0].file.standing, Standing::Indexed);
    assert_eq!(store.check().unwrap(), []);
}
