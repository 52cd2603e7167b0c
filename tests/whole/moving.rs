//! A file that changes while it is read: what was read of it is not taken for the file. Nothing here is left to chance: the
//! change is made between the first and the last byte.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::support::{Place, STUCK};
use floodmark::formats::{Options, Recipe};
use floodmark::ingest::reading::{OpenFile, Trouble};
use floodmark::store::row::Resume;

/// Reads the first content of a large file, lets `change` happen, and reads the rest.
fn read_while(name: &str, bytes: &str, change: impl FnOnce(&Path)) -> Result<(), Trouble> {
    let place = Place::new();
    let path = place.files().join(name);
    fs::write(&path, bytes).unwrap();
    let recipe = Recipe::new(&Options::default(), "words");
    let mut file = OpenFile::open(&place.files(), name.as_ref())?;
    let mut contents = file.contents(&Options::default(), &recipe, Resume::default());
    assert!(contents.next_content()?.is_some());
    change(&path);
    // Whatever it finds there, or does not find any more, is not what counts.
    while let Ok(Some(_)) = contents.next_content() {}
    file.held_still()
}

fn lines() -> String {
    super::support::records(0, 20_000)
}

fn moves(what: &str, change: impl FnOnce(&Path)) {
    let told = read_while("rows.jsonl", &lines(), change);
    assert!(matches!(told, Err(Trouble::Moving)), "{what}: {told:?}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_told_to_move() {
    moves("it grows", |path| {
        let mut file = fs::File::options().append(true).open(path).unwrap();
        file.write_all(b"{}\n").unwrap();
    });
    moves("it shrinks", |path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(70_000).unwrap();
    });
    moves("another takes its place", |path| {
        let beside = path.with_extension("new");
        fs::write(&beside, lines()).unwrap();
        fs::rename(beside, path).unwrap();
    });
    moves("it is removed", |path| fs::remove_file(path).unwrap());
    moves("other bytes, the same size, and its old time", |path| {
        let before = fs::metadata(path).unwrap();
        fs::write(path, lines().replace("tide", "ebb_")).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        let after = fs::metadata(path).unwrap();
        assert_eq!(
            (before.len(), before.modified().unwrap()),
            (after.len(), after.modified().unwrap())
        );
    });
    let told = read_while("rows.jsonl", &lines(), |_| {});
    assert!(told.is_ok(), "nothing happened: {told:?}");
}

#[test]
fn half_of_a_file_that_is_being_written_is_no_bad_file() {
    use floodmark::ingest::hint::{Hint, Known};
    use floodmark::ingest::reader::{Patience, Reader};
    use floodmark::ingest::verdict::OnBad;
    use floodmark::store::row::FileState;
    use floodmark_operators::fingerprint::{Finding, Fingerprint};

    // Somebody writes a large array, and is not through: as it is now, it is broken, and as soon as it is touched it moves.
    let place = Place::new();
    let path = place.files().join("list.json");
    let items = "\"ebb and flood\",".repeat(20_000);
    fs::write(&path, format!("[{items}")).unwrap();
    let reader = Reader {
        options: Options::default(),
        recipe: Recipe::new(&Options::default(), "words"),
        patience: Patience {
            tries: 3,
            base_ms: 1,
        },
        on_bad: OnBad::Drop,
        slices: None,
    };
    let root = place.files().canonicalize().unwrap();
    let look = || {
        let hint = Hint {
            key: floodmark::sources::key(&root, "list.json".as_ref()),
            root: root.clone(),
            path: "list.json".into(),
            known: Known::default(),
            gone: false,
            moved: None,
            failures: 0,
            again: Vec::new(),
            budget_bytes: usize::MAX,
        };
        reader.look(hint)
    };
    let states = |findings: Vec<Finding<_, _, floodmark::store::row::FileRow>>| -> Vec<FileState> {
        let notes = findings.into_iter().filter_map(|finding| match finding {
            Finding::Note(row) => Some(row.state),
            Finding::Content(..) => None,
        });
        notes.collect()
    };
    let at_rest = states(look());
    assert!(
        matches!(&at_rest[..], [FileState::Dead { failure, .. }] if failure.reason == "invalid-json"),
        "{at_rest:?}"
    );
    // Beside a writer that never rests, it says so. How soon a look and a write meet is up to the machine.
    let (writing, deadline) = (AtomicBool::new(true), Instant::now() + STUCK);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().append(true).open(&path).unwrap();
            while writing.load(Ordering::Relaxed) {
                file.write_all(b"1,").unwrap();
            }
        });
        let met = loop {
            if matches!(states(look())[..], [FileState::Moving]) {
                break true;
            }
            if Instant::now() > deadline {
                break false;
            }
        };
        writing.store(false, Ordering::Relaxed);
        assert!(met, "no look ever saw that the file moves");
    });
}
