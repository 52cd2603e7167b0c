//! The source of docs/adding-a-source.md: what the list names is indexed, what it no longer names is forgotten.

#[path = "../examples/manifest/manifest.rs"]
mod manifest;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use floodmark::formats::TokenOffsets;
use floodmark::ingest::engine::Engine;
use floodmark::store::{ModelKey, Reader};
use floodmark::worker::{Mode, Options, Run};
use floodmark_operators::embed::{Embedder, Vector};
use manifest::Manifest;

/// A model that needs no runtime: a text's vector says how long the text is.
struct Ruler;

impl Embedder for Ruler {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        let vector = |text: &Arc<str>| {
            let angle = text.len() as f32;
            Ok(Arc::from([angle.cos(), angle.sin()]))
        };
        texts.iter().map(vector).collect()
    }
}

impl TokenOffsets for Ruler {
    fn token_ends(&self, text: &str) -> Vec<u32> {
        let ends = text.char_indices().filter(|(_, c)| c.is_whitespace());
        ends.map(|(at, _)| at as u32)
            .chain([text.len() as u32])
            .collect()
    }

    fn max_tokens(&self) -> usize {
        100
    }
}

fn engine() -> Engine {
    Engine {
        embedders: vec![Box::new(Ruler)],
        tokens: Arc::new(Ruler),
        tokenizer: "words".into(),
        key: ModelKey {
            id: "ruler".into(),
            dimension: 2,
        },
        ward: None,
    }
}

fn start(folder: &Path, state: &Path, mode: Mode) -> Run {
    let source = Manifest {
        list: folder.join("list"),
        every: Duration::from_millis(10),
    };
    Run::start_from(
        Some(Box::new(source)),
        Options::new(mode, state, vec![folder.to_owned()]),
        engine(),
        Vec::new(),
        Arc::new(|reason| panic!("{reason}")),
    )
    .unwrap()
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// The names in the index.
fn indexed(folder: &Path, state: &Path) -> Vec<&'static str> {
    let store = Reader::open(state).unwrap().snapshot().unwrap();
    let root: PathBuf = folder.canonicalize().unwrap();
    let is_there = |name: &&str| {
        let detail = store.file(&root, Path::new(name)).unwrap();
        detail.is_some_and(|detail| !detail.segments.is_empty())
    };
    ["a.txt", "b.txt", "c.txt", "list"]
        .into_iter()
        .filter(is_there)
        .collect()
}

fn three_files() -> (tempfile::TempDir, tempfile::TempDir) {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["a", "b", "c"] {
        write(
            folder.path(),
            &format!("{name}.txt"),
            &format!("This is {name}."),
        );
    }
    (folder, state)
}

#[test]
fn a_list_decides_what_is_indexed_from_run_to_run() {
    let (folder, state) = three_files();
    let (folder, state) = (folder.path(), state.path());
    write(folder, "list", "a.txt\n\nb.txt\nmissing.txt\n");
    start(folder, state, Mode::Once).join().unwrap();
    assert_eq!(indexed(folder, state), ["a.txt", "b.txt"]);

    write(folder, "list", "b.txt\nc.txt\n");
    start(folder, state, Mode::Once).join().unwrap();
    assert_eq!(indexed(folder, state), ["b.txt", "c.txt"]);

    write(folder, "list", "");
    start(folder, state, Mode::Once).join().unwrap();
    assert!(indexed(folder, state).is_empty());
}

#[test]
fn a_list_that_changes_is_followed_while_the_run_goes_on() {
    let (folder, state) = three_files();
    let (folder, state) = (folder.path(), state.path());
    write(folder, "list", "a.txt\n");
    let run = start(folder, state, Mode::Watch);
    let until = |names: &[&str]| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while indexed(folder, state) != names {
            assert!(Instant::now() < deadline, "{:?}", indexed(folder, state));
            run.handle()
                .progress()
                .wait_for_commit(Instant::now() + Duration::from_millis(100));
        }
    };
    until(&["a.txt"]);
    write(folder, "list", "a.txt\nc.txt\n");
    until(&["a.txt", "c.txt"]);
    write(folder, "list", "c.txt\n");
    until(&["c.txt"]);
    run.handle().stop();
    run.join().unwrap();
}

#[test]
fn a_list_that_is_missing_at_the_start_is_an_error_and_forgets_nothing() {
    let (folder, state) = three_files();
    let (folder, state) = (folder.path(), state.path());
    write(folder, "list", "a.txt\n");
    start(folder, state, Mode::Once).join().unwrap();
    std::fs::remove_file(folder.join("list")).unwrap();
    let source = Manifest {
        list: folder.join("list"),
        every: Duration::from_secs(1),
    };
    let options = Options::new(Mode::Once, state, vec![folder.to_owned()]);
    let stop = Arc::new(|reason| panic!("{reason}"));
    let started = Run::start_from(Some(Box::new(source)), options, engine(), Vec::new(), stop);
    assert!(started.is_err());
    assert_eq!(indexed(folder, state), ["a.txt"]);
}
