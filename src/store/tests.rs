//! What the store promises, one promise a test.

mod property;
mod speed;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use floodmark_operators::keys::ChunkHash;
use rusqlite::Connection;

use super::row::*;
use super::*;
use crate::error::ErrorKind;
use world::*;

fn now() -> i64 {
    1_763_000_000_000
}

fn model() -> ModelKey {
    ModelKey {
        id: "ripple".into(),
        dimension: DIMENSION,
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &model(), now).unwrap()
}

/// A store with one commit of a small world.
fn small(dir: &Path) -> (Store, World) {
    let mut store = open(dir);
    let mut world = World::new(store.upper());
    world.write("a.jsonl", &[0, 1]);
    world.write("b.jsonl", &[2]);
    world.tick();
    store
        .commit(world.epoch, std::mem::take(&mut world.rows))
        .unwrap();
    (store, world)
}

fn lines(dir: &Path) -> Vec<String> {
    let snapshot = Reader::open(dir).unwrap().snapshot().unwrap();
    exported(&snapshot, snapshot.epoch())
}

#[test]
fn a_second_writer_is_refused_and_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = Store::open(dir.path(), &model(), now).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    assert_eq!(holder(dir.path()).unwrap().unwrap().started_ms, now());
    drop(first);
    assert_eq!(holder(dir.path()).unwrap(), None);
    assert_eq!(open(dir.path()).generation, 2);
}

#[test]
fn the_folder_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("deep/state");
    open(&state);
    assert_eq!(
        fs::metadata(&state).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn what_is_not_committed_is_not_there_and_what_is_survives_a_power_cut() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_store, world) = small(dir.path());
    // The files as they lie on the disk while the store is open.
    for name in ["store.sqlite", "store.sqlite-wal"] {
        fs::copy(dir.path().join(name), image.path().join(name)).unwrap();
    }
    let store = open(image.path());
    assert_eq!(store.upper(), world.epoch);
    world.assert_files(&store.recover(&|_| true).unwrap().files);
    assert_eq!(lines(image.path()), world.export());

    // Half of the log: the last commit is torn, and gone as a whole.
    drop(store);
    let torn = tempfile::tempdir().unwrap();
    fs::copy(
        dir.path().join("store.sqlite"),
        torn.path().join("store.sqlite"),
    )
    .unwrap();
    let log = fs::read(dir.path().join("store.sqlite-wal")).unwrap();
    fs::write(
        torn.path().join("store.sqlite-wal"),
        &log[..log.len() - 100],
    )
    .unwrap();
    let store = open(torn.path());
    assert_eq!(store.upper(), 1);
    assert_eq!(store.recover(&|_| true).unwrap().files, []);
}

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
fn another_model_empties_the_index_and_the_first_finds_its_vectors_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, world) = small(dir.path());
    drop(store);
    let other = ModelKey {
        id: "wave".into(),
        dimension: 2,
    };
    let store = Store::open(dir.path(), &other, now).unwrap();
    let recovery = store.recover(&|_| true).unwrap();
    assert_eq!(
        (recovery.live, recovery.embedded, recovery.contents),
        (vec![], vec![], vec![])
    );
    assert_eq!(
        recovery.upper,
        world.epoch + 1,
        "that was an epoch of its own"
    );
    world.assert_files(&recovery.files);
    let snapshot = Reader::open(dir.path()).unwrap().snapshot().unwrap();
    assert_eq!(
        *snapshot.model(),
        Model {
            id: "wave".into(),
            dimension: 2,
            since: recovery.upper
        }
    );
    assert_eq!(
        snapshot
            .changes(1)
            .unwrap()
            .iter()
            .map(|change| change.op)
            .sum::<i8>(),
        -4
    );
    let names: Vec<_> = store
        .check()
        .unwrap()
        .iter()
        .map(|found| found.name)
        .collect();
    assert_eq!(names, ["missing-from-index"; 4]);
    drop(store);

    let store = open(dir.path());
    assert_eq!(store.recover(&|_| true).unwrap().embedded.len(), 4);
    drop(store);
    let longer = ModelKey {
        dimension: 8,
        ..model()
    };
    let error = Store::open(dir.path(), &longer, now).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn contents_of_another_recipe_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = small(dir.path());
    let old = content(CONTENTS[1]).key;
    let recovery = store.recover(&|content| content.key != old).unwrap();
    let hashes = |texts: &[&str]| texts.iter().map(|text| hash(text)).collect::<Box<[_]>>();
    let mut expected: Vec<(_, Box<[ChunkHash]>)> = [0, 2]
        .map(|which| (content(CONTENTS[which]).key, hashes(CONTENTS[which])))
        .into();
    expected.sort();
    let mut found = recovery.contents;
    found.sort();
    assert_eq!(found, expected);
}

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
        read::immutable_uri(&path),
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

#[test]
fn the_log_stays_short() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let text = "tide ".repeat(10_000);
    for epoch in 1..400 {
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
    // 20 MB were written.
    let log = fs::metadata(dir.path().join("store.sqlite-wal"))
        .unwrap()
        .len();
    assert!(log < 12 << 20, "{log}");
}

#[test]
fn a_store_from_the_future_of_another_program_or_damaged_is_refused_untouched() {
    let refused = |edit: &dyn Fn(&Path), expected: &str, kind| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        edit(&path);
        let before = fs::read(&path).unwrap();
        let errors = [
            Store::open(dir.path(), &model(), now)
                .map(drop)
                .unwrap_err(),
            Reader::open(dir.path()).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.kind(), kind);
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    };
    let sql = |path: &Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    refused(
        &|path| {
            small(path.parent().unwrap()).0.close().unwrap();
            sql(path, "PRAGMA user_version = 99");
        },
        "written by a later floodmark (schema 99",
        ErrorKind::Config,
    );
    refused(
        &|path| sql(path, "CREATE TABLE t (x)"),
        "another program",
        ErrorKind::Config,
    );
    refused(
        &|path| fs::write(path, vec![7; 20_000]).unwrap(),
        "move the state folder away",
        ErrorKind::Stop,
    );
}

/// What `sqlite_schema` and the pragmas say of every table: names, types, keys.
fn shape(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT m.type || ' ' || m.name || ' ' || ifnull(c.name || ' ' || c.type || c.pk || c.\"notnull\", '') \
               FROM sqlite_schema m LEFT JOIN pragma_table_xinfo(m.name) c ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

#[test]
fn a_store_of_version_1_opens_with_all_that_it_holds() {
    let (dir, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().join("store.sqlite");
    Connection::open(&path)
        .unwrap()
        .execute_batch(include_str!("fixtures/v1.sql"))
        .unwrap();
    let store = open(dir.path());
    let (_new_store, world) = small(new.path());
    world.assert_files(&store.recover(&|_| true).unwrap().files);
    assert_eq!(lines(dir.path()), world.export());
    assert_eq!(store.check().unwrap(), []);
    assert_eq!(
        shape(&path),
        shape(&new.path().join("store.sqlite")),
        "migrated and new stores differ"
    );
}
