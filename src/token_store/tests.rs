//! Rows written by the thread and read beside it.

use std::time::{Duration, Instant};

use ndarray::{Array2, array};

use super::*;
use file::File;

const MODEL: &str = "model-0123";

fn rounded(number: f32) -> Quantised {
    Quantised::of(array![[number, -1.0, 0.5], [0.25, number, 3.0]].view()).unwrap()
}

fn row(text: &str, number: f32) -> Vec<(ChunkHash, Quantised)> {
    vec![(hash(text), rounded(number))]
}

fn keeper(state: &Path) -> Arc<Keeper> {
    let limits = Limits {
        free: 0,
        ..Limits::default()
    };
    Keeper::start_with(state, MODEL, limits).unwrap()
}

fn known(state: &Path) -> Known {
    Place::new(state, MODEL).look(None)
}

/// What a writer that opens the file now finds there.
fn rows(state: &Path) -> i64 {
    File::open(&state.join(FILE), MODEL).unwrap().rows()
}

#[test]
fn what_was_put_is_found_by_its_model_alone_and_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = keeper(dir.path());
    keeper.put(row("the tide", 2.0));
    keeper.put(row("the moon", 3.0));
    keeper.put(row("the tide", 2.0));
    keeper.close();
    assert_eq!(keeper.left_out(), 0);
    let found = known(dir.path());
    assert_eq!(found.find("the tide"), Some(rounded(2.0)));
    assert_eq!(found.find("the moon"), Some(rounded(3.0)));
    assert_eq!(found.find("the harbour"), None);
    let other = Place::new(dir.path(), "another model").look(None);
    assert_eq!(other.find("the tide"), None);
    assert_eq!(rows(dir.path()), 2);
    // Closed: nothing is written any more, and it is counted.
    keeper.put(row("the harbour", 1.0));
    assert_eq!(keeper.left_out(), 1);
}

#[test]
fn what_is_known_gives_the_keeper_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = keeper(dir.path());
    let place = Place::new(dir.path(), MODEL);
    place
        .look(Some(keeper.clone()))
        .put("the tide", &rounded(2.0));
    keeper.close();
    assert_eq!(place.look(None).find("the tide"), Some(rounded(2.0)));
}

/// Each column of a row, changed as a damaged disk would.
#[test]
fn a_row_that_is_not_what_was_written_is_not_found_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for damage in [
        "UPDATE vectors SET vectors = CAST(substr(vectors, 1, 6) || x'55' || substr(vectors, 8) AS BLOB)",
        "UPDATE vectors SET vectors = substr(vectors, 1, 7)",
        "UPDATE vectors SET dimension = 10",
        "UPDATE vectors SET sum = sum + 1",
        "UPDATE vectors SET sum = (SELECT sum FROM vectors v WHERE v.id <> vectors.id), \
         vectors = (SELECT vectors FROM vectors v WHERE v.id <> vectors.id)",
    ] {
        let writer = keeper(dir.path());
        writer.put(row("the tide", 2.0));
        writer.put(row("the moon", 3.0));
        writer.close();
        let found = known(dir.path());
        assert_eq!(found.find("the tide"), Some(rounded(2.0)), "{damage}");
        drop(found);
        let connection = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
        assert_eq!(connection.execute(damage, []).unwrap(), 2, "{damage}");
        drop(connection);
        assert_eq!(known(dir.path()).find("the tide"), None, "{damage}");
    }
}

#[test]
fn a_file_that_is_none_is_begun_anew_and_one_of_another_version_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    std::fs::write(
        &path,
        "these are no token vectors, but something longer than a header of a hundred bytes, \
        so that nobody takes it for a database that is empty",
    )
    .unwrap();
    assert_eq!(known(dir.path()).find("the tide"), None);
    let writer = keeper(dir.path());
    writer.put(row("the tide", 2.0));
    writer.close();
    assert_eq!(known(dir.path()).find("the tide"), Some(rounded(2.0)));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert_eq!(known(dir.path()).find("the tide"), None);
    let writer = keeper(dir.path());
    writer.put(row("the moon", 3.0));
    writer.close();
    assert_eq!(known(dir.path()).find("the moon"), Some(rounded(3.0)));
    assert_eq!(rows(dir.path()), 1);
}

#[test]
fn what_can_not_be_written_is_left_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    // A folder has the file's name.
    std::fs::create_dir(dir.path().join(FILE)).unwrap();
    let writer = keeper(dir.path());
    writer.put(row("the tide", 2.0));
    writer.put(row("the moon", 3.0));
    writer.close();
    assert_eq!(writer.left_out(), 2);
    assert_eq!(known(dir.path()).find("the tide"), None);
}

#[test]
fn the_last_of_the_disk_is_left_to_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        free: u64::MAX,
        ..Limits::default()
    };
    let writer = Keeper::start_with(dir.path(), MODEL, limits).unwrap();
    writer.put(row("the tide", 2.0));
    writer.close();
    assert_eq!(writer.left_out(), 1);
    assert_eq!(known(dir.path()).find("the tide"), None);
}

/// Nobody waits: there is room for one, or it is left out. What is written makes room again.
#[test]
fn what_comes_faster_than_it_is_written_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        waiting: rounded(1.0).bytes().len(),
        free: 0,
    };
    let writer = Keeper::start_with(dir.path(), MODEL, limits).unwrap();
    let two = [row("the tide", 2.0), row("the moon", 3.0)].concat();
    writer.put(two);
    assert_eq!(writer.left_out(), 2);
    let deadline = Instant::now() + Duration::from_secs(60);
    for text in ["the harbour", "the boat", "the rope"] {
        // Taken when the one before is written, and not before.
        loop {
            let before = writer.left_out();
            writer.put(row(text, 4.0));
            if writer.left_out() == before {
                break;
            }
            assert!(Instant::now() < deadline, "{text} is never taken");
            std::thread::yield_now();
        }
    }
    writer.close();
    let found = known(dir.path());
    assert_eq!(found.find("the rope"), Some(rounded(4.0)));
    assert_eq!(found.find("the tide"), None);
    assert_eq!(rows(dir.path()), 3);
}

#[test]
fn what_no_text_has_is_deleted_when_it_is_more_than_a_quarter() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..8).map(|number| format!("text {number}")).collect();
    // Large enough that pages come free.
    let large = Quantised::of(Array2::ones((100, 384)).view()).unwrap();
    let writer = keeper(dir.path());
    for name in &names {
        writer.put(vec![(hash(name), large.clone())]);
    }
    writer.close();
    let size = || std::fs::metadata(dir.path().join(FILE)).unwrap().len();
    let full = size();
    let prune = |live: &[String], meanwhile: &str| {
        let writer = keeper(dir.path());
        // It is of no text yet, and younger than the opening. The first job is taken when the file is open.
        writer.put(row(meanwhile, 1.0));
        let live: Vec<ChunkHash> = live.iter().map(|name| hash(name)).collect();
        writer.prune(move || Ok(live));
        writer.close();
        rows(dir.path())
    };
    // 2 of 8: a quarter, and not more.
    assert_eq!(prune(&names[2..], "first"), 9);
    // 5 of 9, the one of before among them.
    let live = &names[4..];
    assert_eq!(prune(live, "second"), 5);
    let found = known(dir.path());
    assert!(live.iter().all(|name| found.find(name).is_some()));
    assert_eq!(found.find("second"), Some(rounded(1.0)));
    assert_eq!(found.find(&names[0]), None);
    assert!(size() < full * 3 / 4, "{} of {full}", size());
    // Nobody knows what is live: nothing is deleted.
    let writer = keeper(dir.path());
    writer.prune(|| Err("the store can't be read".into()));
    writer.close();
    assert_eq!(rows(dir.path()), 5);
}
