//! What is not there, and whether it is gone: an input that was emptied, one that is none any more, `floodmark forget`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use floodmark::control::Client;
use floodmark::ingest::hint::Known;
use floodmark::ingest::line::Line;
use floodmark::ingest::queue::{Arrival, Remembered, Standpoint, WakerSlot};
use floodmark::sources::{Doubt, SourceOptions};
use floodmark::store::StoredFile;
use floodmark::worker::{Mode, Options, Run};
use floodmark_operators::embed::{Embedder, Vector};
use serde_json::Value;

use super::support::{Asked, Place, STUCK, Stop, Words, fake_engine, poll, wait};

/// One that holds three small files, and a way to index it that confirms nothing.
fn place() -> Place {
    let place = Place::new();
    for name in ["a.txt", "deep/b.txt", "deep/c.txt"] {
        let path = place.files().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("what {name} says of the tide")).unwrap();
    }
    place
}

fn wary(place: &Place, mode: Mode) -> Options {
    let options = place.options(mode, 1);
    Options {
        sources: SourceOptions {
            confirm_empty: false,
            ..options.sources
        },
        ..options
    }
}

fn index(place: &Place, options: Options) {
    let run = place.start(options, &Asked::default());
    run.join().unwrap();
}

fn empty(place: &Place) {
    fs::remove_dir_all(place.files()).unwrap();
    fs::create_dir(place.files()).unwrap();
}

fn known(place: &Place) -> Vec<StoredFile> {
    let mut files = Vec::new();
    place
        .snapshot()
        .unwrap()
        .for_each_file(|file| {
            files.push(file);
            Ok::<_, floodmark::store::StoreError>(())
        })
        .unwrap();
    files
}

#[test]
fn an_input_that_was_emptied_while_nobody_looked_is_kept_until_somebody_confirms_it() {
    let place = place();
    index(&place, wary(&place, Mode::Once));
    let before = place.expected(&Words);
    assert_eq!(before.lines.len(), 3);
    empty(&place);
    index(&place, wary(&place, Mode::Once));
    place.is_right(&before);
    // Something else that lies there shows that it is the same folder, only without the files.
    fs::write(place.files().join("new.txt"), "the tide turns").unwrap();
    index(&place, wary(&place, Mode::Once));
    place.is_right(&place.expected(&Words));
    empty(&place);
    index(&place, place.options(Mode::Once, 1));
    place.is_right(&place.expected(&Words));
    assert!(known(&place).is_empty());
}

#[test]
fn files_that_are_seen_leaving_are_gone_also_the_last() {
    let place = place();
    let run = place.start(wary(&place, Mode::Watch), &Asked::default());
    let (handle, progress) = (run.handle(), run.handle().progress().clone());
    let _stop = Stop(handle.clone());
    let count = |wanted: usize| {
        wait(
            "the files",
            |until| progress.wait_for_commit(until),
            || match place.snapshot().map(|_| known(&place).len()) {
                Some(count) if count == wanted && progress.scanned() => Ok(()),
                count => Err(format!("{count:?}")),
            },
        );
    };
    count(3);
    for name in ["a.txt", "deep/b.txt", "deep/c.txt"] {
        fs::remove_file(place.files().join(name)).unwrap();
    }
    count(0);
    assert_eq!(progress.kept(), []);
    handle.stop();
    run.join().unwrap();
}

#[test]
fn a_run_says_what_it_keeps_and_no_longer_when_it_is_back() {
    let place = place();
    index(&place, wary(&place, Mode::Once));
    let away = place.0.path().join("away");
    fs::rename(place.files(), &away).unwrap();
    fs::create_dir(place.files()).unwrap();
    let run = place.start(wary(&place, Mode::Watch), &Asked::default());
    let (handle, progress) = (run.handle(), run.handle().progress().clone());
    let _stop = Stop(handle.clone());
    let says = |files: u64| {
        wait(
            "what is kept",
            |until| progress.wait_for_commit(until),
            || match &progress.kept()[..] {
                [] if files == 0 => Ok(()),
                [one] if one.files == files && one.doubt == Doubt::Emptied => Ok(()),
                kept => Err(format!("{kept:?}")),
            },
        );
    };
    says(3);
    assert_eq!(known(&place).len(), 3);
    // One comes back, and shows that the others are gone; the next scan looks.
    fs::copy(away.join("a.txt"), place.files().join("a.txt")).unwrap();
    says(2);
    run.scouts().unwrap().rescan();
    says(0);
    wait(
        "the others to go",
        |until| progress.wait_for_commit(until),
        || match known(&place).len() {
            1 => Ok(()),
            count => Err(count.to_string()),
        },
    );
    handle.stop();
    run.join().unwrap();
    place.is_right(&place.expected(&Words));
}

/// Says that it was asked, and answers once nobody holds the other end of the second channel any more.
struct Held(Box<dyn Embedder>, Sender<()>, Receiver<()>);

impl Embedder for Held {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        // A test that has failed listens no more.
        let _ = self.1.send(());
        let _ = self.2.recv();
        self.0.embed(texts)
    }
}

#[test]
fn a_file_that_is_being_read_while_its_input_is_emptied_is_not_forgotten() {
    let place = place();
    index(&place, wary(&place, Mode::Once));
    let ((told, asked), (hold, held)) = (unbounded(), bounded(0));
    let mut engine = fake_engine(&Asked::default());
    engine.embedders = engine
        .embedders
        .into_iter()
        .map(|real| Box::new(Held(real, told.clone(), held.clone())) as Box<dyn Embedder>)
        .collect();
    fs::write(place.files().join("a.txt"), "what the flood left").unwrap();
    let before = place.expected(&Words);
    let options = wary(&place, Mode::Watch);
    let run = Run::start(options, engine, Vec::new(), Arc::new(|why| panic!("{why}"))).unwrap();
    let (handle, progress) = (run.handle(), run.handle().progress().clone());
    let _stop = Stop(handle.clone());
    asked.recv_timeout(STUCK).unwrap();
    // It was read, and is not committed. All of it goes at once, and nobody sees a single file leaving.
    fs::rename(place.files(), place.0.path().join("away")).unwrap();
    fs::create_dir(place.files()).unwrap();
    run.scouts().unwrap().rescan();
    let all_are_kept = |behind: usize| {
        wait(
            "what is kept",
            |until| progress.wait_for_commit(until),
            || match &progress.kept()[..] {
                [one]
                    if one.files == 3
                        && one.doubt == Doubt::Emptied
                        && progress.files() == behind =>
                {
                    Ok(())
                }
                kept => Err(format!("{kept:?}, {} files behind", progress.files())),
            },
        );
    };
    all_are_kept(1);
    drop(hold);
    all_are_kept(0);
    handle.stop();
    run.join().unwrap();
    place.is_right(&before);
}

#[test]
fn a_path_that_a_walk_did_not_see_is_gone_only_where_its_input_holds_something() {
    let place = place();
    fs::create_dir(place.files().join("empty")).unwrap();
    let options = wary(&place, Mode::Once);
    let roots = floodmark::sources::Roots::resolve(&options.sources, &place.state()).unwrap();
    let selection =
        floodmark::sources::Selection::new(&options.sources, roots, &place.state()).unwrap();
    let (arrivals, arrived) = unbounded();
    let line = Line::new(Arc::new(selection), arrivals, WakerSlot::default());
    let answers = |name: &str| {
        let doubted = vec![(0, name.into())];
        assert!(line.answer(doubted).is_continue());
        match arrived.try_recv().unwrap() {
            Arrival::Found(..) => "found",
            Arrival::Gone(_) => "gone",
            Arrival::Kept(_, Doubt::Emptied) => "emptied",
            Arrival::Unknown(_) => "unknown",
            _ => "another answer",
        }
    };
    assert_eq!([answers("a.txt"), answers("none.txt")], ["found", "gone"]);
    fs::remove_file(place.files().join("a.txt")).unwrap();
    assert_eq!(answers("a.txt"), "gone");
    // Folders may be where disks were.
    fs::remove_dir_all(place.files().join("deep")).unwrap();
    assert_eq!(answers("deep/b.txt"), "emptied");
    fs::write(place.files().join(".hidden"), "").unwrap();
    assert_eq!(answers("deep/b.txt"), "gone");
    fs::remove_dir_all(place.files()).unwrap();
    assert_eq!(answers("deep/b.txt"), "unknown");
}

#[test]
fn a_file_that_was_to_be_tried_again_is_not_forgotten_with_its_disk() {
    let place = place();
    index(&place, wary(&place, Mode::Once));
    let retrying = |file: &StoredFile| {
        use floodmark::store::row::{Failure, FileRow, FileState, Row};
        Row::File(FileRow {
            key: file.key,
            root: file.root.to_path_buf(),
            path: file.path.clone(),
            identity: None,
            state: FileState::Retrying {
                attempt: 1,
                after_ms: 1,
                failure: Failure {
                    reason: "io".into(),
                    message: "a moment ago".into(),
                    advice: "wait".into(),
                    record: None,
                    line: None,
                },
            },
            retire: Vec::new(),
        })
    };
    let key = fake_engine(&Asked::default()).key;
    let mut store = floodmark::store::Store::open(&place.state(), &key, || 0).unwrap();
    let epoch = store.upper();
    let rows = known(&place);
    let rows = rows.iter().map(|file| (epoch, retrying(file))).collect();
    store.commit(epoch + 1, rows).unwrap();
    store.close().unwrap();
    let before = place.expected(&Words);
    fs::rename(place.files(), place.0.path().join("away")).unwrap();
    index(&place, wary(&place, Mode::Once));
    place.is_right(&before);
    fs::create_dir(place.files()).unwrap();
    index(&place, wary(&place, Mode::Once));
    place.is_right(&before);
}

#[test]
fn a_run_forgets_files_of_any_input_in_one_epoch() {
    let place = place();
    let other = place.0.path().join("other");
    fs::create_dir(&other).unwrap();
    for number in 0..100 {
        let text = format!("gauge {number} reads {}", number * 7);
        fs::write(other.join(format!("{number}.txt")), text).unwrap();
    }
    fs::write(other.join("same.txt"), "what a.txt says of the tide").unwrap();
    let mut both = wary(&place, Mode::Once);
    both.sources.inputs.push(other.clone());
    index(&place, both);
    fs::remove_dir_all(&other).unwrap();

    // Of an input that is none any more: of all of its files at once.
    let run = place.start(wary(&place, Mode::Watch), &Asked::default());
    let (handle, progress) = (run.handle(), run.handle().progress().clone());
    let _stop = Stop(handle.clone());
    let other = other
        .parent()
        .unwrap()
        .canonicalize()
        .unwrap()
        .join("other");
    let leaving: Vec<StoredFile> = known(&place)
        .into_iter()
        .filter(|file| *file.root == *other)
        .collect();
    assert_eq!(leaving.len(), 101);
    handle.forget(leaving.iter().map(floodmark::forget::remembered).collect());
    handle.forget(leaving.iter().map(floodmark::forget::remembered).collect()); // twice is the same as once
    wait(
        "the files to leave",
        |until| progress.wait_for_commit(until),
        || match known(&place).len() {
            3 => Ok(()),
            104 => Err("not yet".into()),
            count => panic!("half of it: {count} files"),
        },
    );
    // Of an input that is there, once nothing is there any more; a run that watches has nothing else to do.
    let asked = Remembered {
        root: place.files().canonicalize().unwrap().into(),
        path: "never.txt".into(),
        known: Known::default(),
        last_seen: None,
        standpoint: Standpoint::Settled,
    };
    handle.forget(vec![asked]);
    wait(
        "rest",
        |until| progress.wait_for_commit(until),
        || match progress.files() {
            0 => Ok(()),
            files => Err(format!("{files} files behind")),
        },
    );
    handle.stop();
    run.join().unwrap();
    place.is_right(&place.expected(&Words));
}

/// The program with the real model, in the folder of the place.
fn program(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.ask(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn says(place: &Place, arguments: &[&str], status: i32) -> (Value, String) {
    let output = program(place, arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {said}{error}"
    );
    (
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
        error,
    )
}

fn hits(place: &Place) -> usize {
    let search = ["search", "the tide", "--json"];
    let output = program(place, &search).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    found["hits"].as_array().unwrap().len()
}

#[test]
fn the_program_forgets_what_is_not_there_and_nothing_else() {
    let place = place();
    let files = place.files().to_str().unwrap().to_owned();
    let input = ["--input", &files];
    let with = |arguments: &[&'static str]| [arguments, &input[..]].concat();
    says(&place, &with(&["run", "--once"]), 0);
    assert_eq!(hits(&place), 3);
    // It would come back.
    let (_, error) = says(&place, &with(&["forget", "files/deep"]), 1);
    assert!(error.contains("would come back"), "{error}");
    says(&place, &with(&["forget", "files/none", "--json"]), 1);
    says(&place, &["forget"], 78);

    empty(&place);
    let (_, error) = says(&place, &with(&["run", "--once"]), 0);
    assert!(error.contains("--confirm-empty"), "{error}");
    assert_eq!(hits(&place), 3);
    let (explained, _) = says(&place, &with(&["explain", "files/a.txt", "--json"]), 0);
    assert_eq!(explained["standing"], "indexed");
    let why = explained["why"].as_str().unwrap();
    assert!(why.contains("--confirm-empty"), "{why}");
    let (verdict, _) = says(&place, &with(&["verify", "--json"]), 2);
    let why = verdict["not_looked"][0]["why"].as_str().unwrap();
    assert!(why.contains("--confirm-empty"), "{why}");

    // Some of it while nothing runs, and the views follow.
    let (forgotten, _) = says(&place, &with(&["forget", "files/deep", "--json"]), 0);
    assert_eq!(forgotten["files"], 2);
    assert_eq!(forgotten["running"], false);
    assert!(forgotten["epoch"].is_u64());
    assert_eq!(hits(&place), 1);

    // The rest while something does, which says what it keeps.
    let child = program(&place, &with(&["run"]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = Child(child);
    let ask = || match Client::connect(&place.state()).unwrap() {
        Some(mut client) => client.status().map_err(|error| error.to_string()),
        None => Err("no socket yet".into()),
    };
    let kept = wait("the run", poll, || {
        let kept = ask()?.kept;
        if kept.is_empty() {
            return Err("nothing is kept".into());
        }
        Ok(kept)
    });
    assert_eq!(kept[0].files, 1);
    assert_eq!(serde_json::json!(kept[0].reason), "emptied");
    let (forgotten, _) = says(&place, &with(&["forget", "files", "--json"]), 0);
    assert_eq!(
        (&forgotten["files"], &forgotten["running"]),
        (&1.into(), &true.into())
    );
    assert_eq!(ask().unwrap().kept, []);
    assert_eq!(ask().unwrap().epoch, forgotten["epoch"].as_u64().unwrap());
    assert_eq!(hits(&place), 0);
    drop(child);
    says(&place, &with(&["verify"]), 0);
}

/// Ends with the test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_path_above_the_inputs_is_refused_for_what_lies_in_them() {
    let place = place();
    let roots = floodmark::sources::Roots::resolve(&place.sources(), &place.state()).unwrap();
    let selection =
        floodmark::sources::Selection::new(&place.sources(), roots, &place.state()).unwrap();
    let root = place.files().canonicalize().unwrap();
    let there = |path: &Path| floodmark::forget::still_there(&selection, &[path.to_owned()]);
    assert!(there(root.parent().unwrap()).is_some());
    assert_eq!(there(&root.join("a.txt")), Some(root.join("a.txt")));
    assert_eq!(there(&root.join("deep/none")), None);
    assert_eq!(there(Path::new("/nowhere/at/all")), None);
}
