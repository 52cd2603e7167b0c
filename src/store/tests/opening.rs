//! Opening: who may, what is refused, what is found again.

use std::fs;
use std::path::Path;

use floodmark_operators::keys::ChunkHash;
use rusqlite::Connection;

use super::world::*;
use super::*;
use crate::error::ErrorKind;

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
fn who_looks_while_a_store_is_made_sees_none_or_the_whole() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                loop {
                    match Reader::open(dir.path()) {
                        Err(StoreError::Missing { .. }) => std::thread::yield_now(),
                        seen => return seen.map(|_| ()),
                    }
                }
            });
            let _store = open(dir.path());
            looking.join().unwrap().unwrap();
        });
    }
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
        .execute_batch(include_str!("../fixtures/v1.sql"))
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
