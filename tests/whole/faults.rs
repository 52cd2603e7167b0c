//! A model that misbehaves, through the whole pipeline: what it refuses is named and tried again when asked, what it can't
//! do for a while is waited for, and everything else is indexed meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use floodmark::answers::{DeadLetter, Explanation, Found, Standing, Status};
use floodmark::dead;
use floodmark::explain::explain;
use floodmark::index::{VectorView, view};
use floodmark::ingest::engine::{Endurance, Engine, Guard, Make, Oracle, Ward};
use floodmark::ingest::verdict::OnBad;
use floodmark::search::StoreVectors;
use floodmark::store::ModelKey;
use floodmark::worker::{Mode, Run};
use floodmark_operators::embed::{Embedder, Vector};

use super::support::{Place, Stop, Words, exported, poll, wait};

/// Eight numbers from a text's hash; NaN for whoever says "bad" while it does not feel well, and a panic for all while it
/// is down.
#[derive(Clone, Default)]
struct Model {
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    healed: Arc<AtomicBool>,
    down: Arc<AtomicBool>,
}

impl Oracle for Model {
    fn vectors(&mut self, texts: &[Arc<str>]) -> Result<Vec<Vector>, String> {
        assert!(!self.down.load(Ordering::SeqCst), "the model is down");
        let vector = |text: &Arc<str>| -> Vector {
            if text.contains("bad") && !self.healed.load(Ordering::SeqCst) {
                return vec![f32::NAN; 8].into();
            }
            let hash = blake3::hash(text.as_bytes());
            let numbers: Vec<f32> = (hash.as_bytes()[..8].iter())
                .map(|byte| f32::from(*byte) - 127.5)
                .collect();
            let norm = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
            numbers.into_iter().map(|x| x / norm).collect()
        };
        let vectors: Vec<Vector> = texts.iter().map(vector).collect();
        let mut asked = self.asked.lock().unwrap();
        for text in texts {
            *asked.entry(text.to_string()).or_default() += 1;
        }
        Ok(vectors)
    }
}

impl Model {
    fn engine(&self) -> (Engine, Arc<Ward>) {
        let endurance = Endurance {
            pause: Duration::from_millis(1),
            pause_max: Duration::from_millis(20),
            ..Endurance::default()
        };
        let ward = Arc::new(Ward::new(endurance, 8));
        let another = self.clone();
        let make: Make = Arc::new(move || Ok(Box::new(another.clone())));
        let guard = || {
            let guard = Guard::new(Some(Box::new(self.clone())), make.clone(), ward.clone());
            Box::new(guard) as Box<dyn Embedder>
        };
        let engine = Engine {
            embedders: vec![guard(), guard()],
            tokens: Arc::new(Words),
            tokenizer: "words".into(),
            key: ModelKey {
                id: "moody".into(),
                dimension: 8,
            },
            ward: Some(ward.clone()),
        };
        (engine, ward)
    }

    fn start(&self, place: &Place, mode: Mode) -> (Run, Arc<Ward>) {
        let (engine, ward) = self.engine();
        let stop = Arc::new(|why| panic!("{why}"));
        let run = Run::start(place.options(mode, 1), engine, Vec::new(), stop).unwrap();
        (run, ward)
    }

    fn once(&self, place: &Place) {
        self.start(place, Mode::Once).0.join().unwrap();
    }

    fn times(&self, part: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|(text, _)| text.contains(part))
            .map(|(_, times)| times)
            .sum()
    }
}

fn letters(place: &Place) -> Vec<DeadLetter> {
    dead::letters(&place.snapshot().unwrap()).unwrap()
}

/// Texts of the records that are in the index, by file.
fn documents(place: &Place) -> Vec<(String, String)> {
    let (lines, vectors) = exported(&place.snapshot().unwrap());
    assert!(
        vectors.iter().all(Option::is_some),
        "what is exported has a vector"
    );
    lines
        .into_iter()
        .map(|line| (line.path, line.document))
        .collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(path, document)| ((*path).into(), (*document).into()))
        .collect()
}

fn sound(place: &Place) {
    let wrong = place.snapshot().unwrap().check().unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Two files with the same bad text among good ones.
fn write_files(files: &Path) {
    let list = r#"[{"id":"first","text":"a good one"},{"id":"second","text":"a bad one"},{"id":"third","text":"another good one"}]"#;
    fs::write(files.join("list.json"), list).unwrap();
    fs::write(
        files.join("rows.jsonl"),
        "{\"id\":\"row\",\"text\":\"a bad one\"}\n",
    )
    .unwrap();
}

const ALL: &[(&str, &str)] = &[
    ("list.json", "first"),
    ("list.json", "second"),
    ("list.json", "third"),
    ("rows.jsonl", "row"),
];
const GOOD: &[(&str, &str)] = &[("list.json", "first"), ("list.json", "third")];

#[test]
fn a_text_that_the_model_refuses_is_a_dead_letter_at_each_of_its_places() {
    let (place, model) = (Place::new(), Model::default());
    write_files(&place.files());
    model.once(&place);
    assert_eq!(documents(&place), pairs(GOOD));
    sound(&place);
    let found = letters(&place);
    let places: Vec<_> = found
        .iter()
        .map(|letter| (letter.document.as_deref(), letter.chunk, letter.record))
        .collect();
    assert_eq!(
        places,
        [
            (Some("second"), Some(0), Some(1)),
            (Some("row"), Some(0), Some(0))
        ]
    );
    assert!(
        found[0].path.ends_with("files/list.json") && found[1].path.ends_with("files/rows.jsonl")
    );
    for letter in &found {
        assert_eq!(letter.reason, "no-vector");
        assert!(letter.message.contains("not finite"), "{}", letter.message);
        assert_eq!(letter.attempts, 1);
    }
    let snapshot = place.snapshot().unwrap();
    let counts = snapshot.status().unwrap();
    assert_eq!((counts.refused, counts.chunks, counts.live), (2, 2, 2));
    let explained = explain(
        &snapshot,
        &place.state(),
        &place.sources(),
        &place.files().join("list.json"),
    )
    .unwrap();
    assert_eq!(explained.standing, Standing::Indexed);
    assert!(
        explained.why.contains("1 of its 3 chunks"),
        "{}",
        explained.why
    );
    assert_eq!(explained.failures.len(), 1);
    assert_eq!(explained.failures[0].document.as_deref(), Some("second"));
    let embedded: Vec<bool> = explained
        .chunks
        .iter()
        .map(|chunk| chunk.embedded)
        .collect();
    assert_eq!(embedded, [true, false, true]);
}

/// Neither a restart nor another file with the same text asks again; `dead retry` does, and for nothing else.
#[test]
fn a_refused_text_is_tried_again_when_asked_and_only_then() {
    let (place, model) = (Place::new(), Model::default());
    write_files(&place.files());
    model.once(&place);
    let (asked, good) = (model.times("bad"), model.times("good"));
    model.healed.store(true, Ordering::SeqCst);
    fs::copy(
        place.files().join("list.json"),
        place.files().join("copy.json"),
    )
    .unwrap();
    fs::write(place.files().join("note.txt"), "a bad one").unwrap();
    model.once(&place);
    assert_eq!(model.times("bad"), asked);
    assert_eq!(letters(&place).len(), 4);
    assert_eq!(model.times("good"), good);

    let files =
        dead::retry_later(&place.state(), &[place.files().join("rows.jsonl")], || 0).unwrap();
    assert_eq!(files, 1);
    model.once(&place);
    assert_eq!(letters(&place), []);
    assert_eq!(model.times("bad"), asked + 1);
    assert_eq!(model.times("good"), good);
    sound(&place);
    fs::remove_file(place.files().join("copy.json")).unwrap();
    fs::remove_file(place.files().join("note.txt")).unwrap();
    model.once(&place);
    assert_eq!(documents(&place), pairs(ALL));
    sound(&place);
}

#[test]
fn a_run_that_goes_on_tries_a_refused_text_again() {
    let (place, model) = (Place::new(), Model::default());
    write_files(&place.files());
    let (run, _) = model.start(&place, Mode::Watch);
    let stop = Stop(run.handle());
    let until = |what: &str, wanted: &[(&str, &str)]| {
        wait(what, poll, || match place.snapshot() {
            Some(_) if documents(&place) == pairs(wanted) => Ok(()),
            Some(_) => Err(format!("{:?}", documents(&place))),
            None => Err("no store".into()),
        })
    };
    until("the good ones", GOOD);
    // Refused once more: counted, and nothing else changes.
    let retry = || {
        run.handle()
            .retry_dead(dead::files(&place.snapshot().unwrap(), &[]).unwrap())
    };
    wait("the letters", poll, || {
        (letters(&place).len() == 2)
            .then_some(())
            .ok_or("none".into())
    });
    retry();
    wait("the second refusal", poll, || {
        let attempts = letters(&place)[0].attempts;
        (attempts == 2).then_some(()).ok_or(attempts.to_string())
    });
    model.healed.store(true, Ordering::SeqCst);
    retry();
    until("all of them", ALL);
    drop(stop);
    run.join().unwrap();
    assert_eq!(letters(&place), []);
    sound(&place);
}

/// Nothing is refused, nothing is lost and nothing embedded twice because the model was away for a while.
#[test]
fn a_model_that_is_down_is_waited_for() {
    let (place, model) = (Place::new(), Model::default());
    model.healed.store(true, Ordering::SeqCst);
    model.down.store(true, Ordering::SeqCst);
    write_files(&place.files());
    let (run, ward) = model.start(&place, Mode::Watch);
    let stop = Stop(run.handle());
    let trouble = wait("the trouble to be seen", poll, || {
        ward.trouble().ok_or("none".into())
    });
    assert!(trouble.contains("the model is down"), "{trouble}");
    assert!(run.handle().progress().files() > 0);
    model.down.store(false, Ordering::SeqCst);
    wait("the files", poll, || match place.snapshot() {
        Some(_) if documents(&place) == pairs(ALL) => Ok(()),
        _ => Err("not yet".into()),
    });
    assert_eq!(ward.trouble(), None);
    drop(stop);
    run.join().unwrap();
    assert_eq!(letters(&place), []);
    assert_eq!((model.times("bad"), model.times("good")), (1, 2));
}

/// A real graph whose vector for one word is NaN, by the commands that a person uses.
#[test]
fn what_a_real_model_has_no_vector_for_is_named_by_every_command() {
    let place = Place::new();
    let model = place.0.path().join("model");
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_models");
    fs::create_dir(&model).unwrap();
    fs::copy(tiny.join("both.onnx"), model.join("model.onnx")).unwrap();
    fs::copy(tiny.join("tokenizer.json"), model.join("tokenizer.json")).unwrap();
    fs::write(
        place.files().join("rows.jsonl"),
        "{\"id\":\"a\",\"text\":\"high water\"}\n{\"id\":\"b\",\"text\":\"high poison water\"}\n{\"id\":\"c\",\"text\":\"water mark\"}\n",
    )
    .unwrap();
    let ask = |arguments: &[&str]| -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floodmark"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOODMARK_"))
        {
            command.env_remove(name);
        }
        command
            .env("FLOODMARK_INPUT", place.files())
            .env("FLOODMARK_STATE", place.state())
            .env("FLOODMARK_MODEL", &model)
            .env("FLOODMARK_DEVICE", "cpu");
        let output = command
            .args(arguments)
            .current_dir(place.0.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    };
    ask(&["run", "--once"]);
    let letter: DeadLetter = serde_json::from_str(&ask(&["dead", "list", "--json"])).unwrap();
    assert_eq!(letter.reason, "no-vector");
    assert_eq!(
        (letter.document.as_deref(), letter.chunk),
        (Some("b"), Some(0))
    );
    let status: Status = serde_json::from_str(&ask(&["status", "--json"])).unwrap();
    assert_eq!(
        (status.refused, status.chunks, status.embeddings),
        (1, 2, 2)
    );
    assert!(ask(&["status"]).contains("2 (1 more were refused by the model"));
    let file = place.files().join("rows.jsonl");
    let explained: Explanation =
        serde_json::from_str(&ask(&["explain", file.to_str().unwrap(), "--json"])).unwrap();
    assert_eq!(explained.failures[0].document.as_deref(), Some("b"));
    let found: Found = serde_json::from_str(&ask(&["search", "high water", "--json"])).unwrap();
    let documents: Vec<&str> = found.hits.iter().map(|hit| hit.document.as_str()).collect();
    assert_eq!(documents, ["a", "c"]);
    assert_eq!(ask(&["export"]).lines().count(), 2);
    ask(&["verify"]);
}

/// A database that lost a vector: a view opens without it, and the next run embeds that one text again.
#[test]
fn a_text_that_lost_its_vector_is_embedded_again() {
    let (place, model) = (Place::new(), Model::default());
    model.healed.store(true, Ordering::SeqCst);
    write_files(&place.files());
    model.once(&place);
    let database = rusqlite::Connection::open(place.state().join("store.sqlite")).unwrap();
    let lost = database
        .execute("DELETE FROM embeddings WHERE text_id = (SELECT id FROM texts WHERE text = 'another good one')", [])
        .unwrap();
    assert_eq!(lost, 1);
    drop(database);
    let snapshot = place.snapshot().unwrap();
    let options = view::Options {
        read_only: true,
        ..view::Options::default()
    };
    let opened = VectorView::open(
        &place.state().join("vectors"),
        &StoreVectors(&snapshot),
        options,
    )
    .unwrap();
    assert_eq!(opened.status().live, 2);
    drop((opened, snapshot));
    model.once(&place);
    assert_eq!(documents(&place), pairs(ALL));
    sound(&place);
    assert_eq!((model.times("another good"), model.times("bad")), (2, 1));
}

/// With `on-bad = "drop"` nothing of a bad file is found any more, so nothing of it is an older version.
#[test]
fn a_dropped_version_is_not_a_stale_one() {
    for (on_bad, stale) in [(OnBad::Keep, true), (OnBad::Drop, false)] {
        let (place, model) = (Place::new(), Model::default());
        let mut options = place.options(Mode::Once, 1);
        options.on_bad = on_bad;
        let once = || {
            let stop = Arc::new(|why| panic!("{why}"));
            let run = Run::start(options.clone(), model.engine().0, Vec::new(), stop).unwrap();
            run.join().unwrap();
        };
        let file = place.files().join("list.json");
        fs::write(&file, r#"{"id":"only","text":"a good one"}"#).unwrap();
        once();
        fs::write(&file, "{").unwrap();
        once();
        let snapshot = place.snapshot().unwrap();
        assert_eq!(exported(&snapshot).0.len(), usize::from(stale));
        assert_eq!(snapshot.status().unwrap().files.stale, u64::from(stale));
        assert_eq!(letters(&place)[0].stale, stale);
        let explained = explain(&snapshot, &place.state(), &place.sources(), &file).unwrap();
        assert_eq!(
            explained.why.contains("previous version is still found"),
            stale
        );
        drop(snapshot);
        fs::write(&file, r#"{"id":"only","text":"a good one"}"#).unwrap();
        once();
        assert_eq!(documents(&place), pairs(&[("list.json", "only")]));
        sound(&place);
    }
}
