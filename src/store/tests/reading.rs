//! Reading: every answer, and from which epoch it is.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::world::*;
use super::*;
use crate::store::row::*;

#[test]
fn a_snapshot_stays_at_its_epoch_while_the_store_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut world) = small(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    let before = (reader.snapshot().unwrap(), world.export());
    world.gone("a.jsonl");
    world.tick();
    store
        .commit(world.epoch, std::mem::take(&mut world.rows))
        .unwrap();
    assert_eq!((before.0.epoch(), exported(&before.0, 1)), (1, before.1));
    let after = reader.snapshot().unwrap();
    assert_eq!((after.epoch(), exported(&after, 2)), (2, world.export()));
    let left: Vec<_> = after
        .changes(1)
        .unwrap()
        .iter()
        .map(|change| change.op)
        .collect();
    assert_eq!(left, [-1, -1]);
}

#[test]
fn readers_work_when_nobody_writes() {
    let dir = tempfile::tempdir().unwrap();
    let error = Reader::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    let (store, world) = small(dir.path());
    store.close().unwrap();
    assert_eq!(
        fs::metadata(dir.path().join("store.sqlite-wal")).map_or(0, |log| log.len()),
        0
    );
    assert_eq!(lines(dir.path()), world.export());
    // Without a log a folder that can't be written holds all there is.
    let path = dir.path().join("store.sqlite");
    let snapshot = Connection::open_with_flags(
        reader::immutable_uri(&path),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
    );
    assert_eq!(meta(&snapshot.unwrap(), "upper").unwrap(), 2);
}

#[test]
fn every_answer_about_a_text_and_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut world) = small(dir.path());
    world.fail("b.jsonl", true);
    world.fail("c.jsonl", false);
    world.tick();
    store
        .commit(world.epoch, std::mem::take(&mut world.rows))
        .unwrap();
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();

    let files = FileCounts {
        indexed: 1,
        retrying: 1,
        dead: 1,
        stale: 1,
        ..FileCounts::default()
    };
    let last_commit_ms = Some(now());
    let counts = Counts {
        files,
        documents: 6,
        chunks: 6,
        embeddings: 4,
        refused: 0,
        live: 4,
        last_commit_ms,
    };
    assert_eq!(snapshot.status().unwrap(), counts);

    let label = snapshot.label_of(hash("low tide")).unwrap().unwrap();
    assert_eq!(
        snapshot.text_of(label).unwrap().as_deref(),
        Some("low tide")
    );
    assert_eq!(snapshot.hash_of(label).unwrap(), Some(hash("low tide")));
    assert_eq!(
        snapshot.vector_of(label).unwrap().as_deref(),
        Some(&*vector("low tide"))
    );
    let found = snapshot.occurrences(label).unwrap();
    let places: Vec<_> = found
        .iter()
        .map(|o| (o.document.as_str(), o.record, o.chunk, o.start, o.end))
        .collect();
    assert_eq!(
        places,
        [("id-low tide", 0, 0, 1, 8), ("101", 101, 0, 111, 118)]
    );
    assert_eq!(
        (&*found[1].path, &*found[1].root),
        (Path::new("a.jsonl"), Path::new(ROOT))
    );
    assert_eq!(
        (found[1].title.as_deref(), found[1].lines_before),
        (Some("Tides"), 100)
    );

    let mut vectors = 0;
    snapshot
        .for_each_live_vector(|_, vector| vectors += usize::from(vector.len() == 4))
        .unwrap();
    let mut texts = Vec::new();
    snapshot
        .for_each_live_text(|_, text| texts.push(text.to_owned()))
        .unwrap();
    texts.sort();
    assert_eq!(
        (vectors, texts),
        (
            4,
            ["high tide", "low tide", "neap", "spring"]
                .map(str::to_owned)
                .into()
        )
    );

    let dead: Vec<_> = snapshot.dead().unwrap();
    let seen: Vec<_> = dead
        .iter()
        .map(|d| (d.path.to_str().unwrap(), d.state, d.stale))
        .collect();
    assert_eq!(
        seen,
        [
            ("b.jsonl", "dead", true),
            ("b.jsonl", "record", true),
            ("c.jsonl", "retrying", false)
        ]
    );
    assert_eq!(dead[0].failure.advice, "wait for the next");

    let detail = snapshot
        .file(Path::new(ROOT), Path::new("b.jsonl"))
        .unwrap()
        .unwrap();
    assert!(detail.file.unwrap().stale());
    assert_eq!(detail.segments.len(), 1);
    assert_eq!(detail.segments[0].chunks.len(), 3);
    assert!(
        detail.segments[0]
            .chunks
            .iter()
            .all(|chunk| chunk.embedded && chunk.live_since == Some(1))
    );
    let states: Vec<_> = detail
        .history
        .iter()
        .map(|span| (&*span.state, span.added, span.removed))
        .collect();
    assert_eq!(states, [("indexed", 1, Some(2)), ("dead", 2, None)]);
    assert_eq!(
        snapshot.file(Path::new(ROOT), Path::new("never")).unwrap(),
        None
    );
    assert_eq!(snapshot.files(Some("retrying")).unwrap().len(), 1);
    assert_eq!(snapshot.files(None).unwrap().len(), 3);
}

#[test]
fn paths_of_any_bytes_come_back() {
    use std::os::unix::ffi::OsStringExt;
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let names = [
        b"caf\xe9 \\xe9".to_vec(),
        "Gezeiten/∞.md".into(),
        b"\\".to_vec(),
        b"\xff\xfe".to_vec(),
    ];
    let paths = names.map(|name| PathBuf::from(std::ffi::OsString::from_vec(name)));
    let rows = paths.iter().enumerate().map(|(i, path)| {
        let (key, root, path) = (key(&i.to_string()), PathBuf::from(ROOT), path.clone());
        let (state, retire) = (
            FileState::Dead {
                failure: failure("binary"),
                attempts: 1,
            },
            vec![],
        );
        (
            1,
            Row::File(FileRow {
                key,
                root,
                path,
                identity: None,
                state,
                retire,
            }),
        )
    });
    store.commit(2, rows.collect()).unwrap();
    let found = store.recover(&|_| true).unwrap().files;
    assert_eq!(
        found
            .into_iter()
            .map(|found| found.file.path)
            .collect::<Vec<_>>(),
        paths
    );
}

#[test]
fn check_names_what_differs() {
    let edits = [
        (
            "DELETE FROM live WHERE text_id = 1",
            vec!["missing-from-index", "changelog-differs-from-index"],
        ),
        (
            "UPDATE segments SET removed = 1 WHERE path_id = 2",
            vec!["left-in-index", "segments-incomplete"],
        ),
        (
            "UPDATE embeddings SET vector = x'00' WHERE text_id = 1",
            vec!["vector-unfit"],
        ),
        (
            "DELETE FROM embeddings WHERE text_id = 1",
            vec!["vector-unfit"],
        ),
        (
            "UPDATE files SET added = 7 WHERE path_id = 1",
            vec!["epoch-beyond-upper"],
        ),
        (
            "DELETE FROM files WHERE path_id = 1",
            vec!["segment-without-file"],
        ),
        (
            "DELETE FROM changelog",
            vec!["changelog-differs-from-index"],
        ),
        ("DELETE FROM failures", vec!["content-counts-differ"]),
        (
            "UPDATE segments SET content_id = 77 WHERE path_id = 1",
            vec!["reference-dangling"],
        ),
        (
            "UPDATE texts SET text = NULL WHERE id = 1",
            vec!["text-missing"],
        ),
        (
            "UPDATE texts SET text = text || '.' WHERE id = 1",
            vec!["text-differs"],
        ),
        (
            "UPDATE embeddings SET sum = sum + 1 WHERE text_id = 1",
            vec!["vector-unfit"],
        ),
        (
            "UPDATE meta SET value = value + 1 WHERE key = 'upper'",
            vec!["upper-beyond-commits"],
        ),
    ];
    for (edit, expected) in edits {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = small(dir.path());
        store.connection.execute(edit, []).unwrap();
        let found = store.check().unwrap();
        for name in expected {
            assert!(
                found.iter().any(|found| found.name == name),
                "{edit}: {found:?}"
            );
        }
    }
}

/// There is no room for all numbers up to this one, and nothing may try.
#[test]
fn a_row_with_an_impossible_number_is_damage() {
    for edit in [
        "INSERT INTO texts SELECT 1 << 60, x'00112233445566778899aabbccddeeff', 'a'",
        "INSERT INTO contents SELECT 1 << 60, x'00112233445566778899aabbccddeeff', hash, bytes, format, documents, chunks, failures FROM contents WHERE id = 1",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = small(dir.path());
        store.connection.execute(edit, []).unwrap();
        let refused = store.recover(&|_| true).unwrap_err();
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
    }
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = small(dir.path());
    let edit = "UPDATE chunks SET text_id = 1 << 31";
    store
        .connection
        .pragma_update(None, "foreign_keys", "OFF")
        .unwrap();
    assert!(store.connection.execute(edit, []).unwrap() > 0);
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    let refused = Layout::default().news(&snapshot).err().unwrap();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
}
