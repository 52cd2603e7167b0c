//! What lies in a folder, or comes through a socket: settings, ignore files, a store, questions.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use floodmark::ingest::engine::Engine;
use floodmark::store::{ModelKey, Reader};
use floodmark::worker;
use floodmark_operators::embed::{Embedder, Vector};

use super::documents::Words;

/// A folder for what must lie in a file to be read; one a thread.
fn scratch() -> PathBuf {
    thread_local! {
        static SCRATCH: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let made = || tempfile::tempdir().expect("a temporary folder");
        scratch.get_or_insert_with(made).path().to_owned()
    })
}

/// A configuration file up to the first zero byte, then NAME=VALUE for the environment.
pub fn config(bytes: &[u8]) {
    use std::os::unix::ffi::OsStringExt;
    let mut parts = bytes.split(|b| *b == 0);
    let file = scratch().join("floodmark.toml");
    fs::write(&file, parts.next().unwrap_or_default()).expect("a file to read");
    let pair = |part: &[u8]| {
        let at = part.iter().position(|b| *b == b'=')?;
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let name = [b"FLOODMARK_", &part[..at]].concat();
        Some((text(&name), text(&part[at + 1..])))
    };
    let layers = floodmark::config::Layers {
        config: Some(file),
        environment: parts.filter_map(pair).collect(),
        ..Default::default()
    };
    match layers.resolve() {
        Ok(config) => assert!(config.workers >= 1),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An ignore file, and a path that it may name.
pub fn ignore_file(bytes: &[u8]) {
    use floodmark::sources::{Roots, Selection, SourceOptions};
    let folder = scratch().join("ignored");
    fs::create_dir_all(folder.join("a/b")).expect("a folder");
    fs::write(folder.join("a/b/c.txt"), "x").expect("a file");
    fs::write(folder.join(".gitignore"), bytes).expect("an ignore file");
    let lines = || {
        bytes
            .split(|b| *b == b'\n')
            .map(|l| String::from_utf8_lossy(l).into_owned())
    };
    for include in [Vec::new(), lines().take(20).collect()] {
        let sources = SourceOptions {
            inputs: vec![folder.clone()],
            include,
            ..SourceOptions::default()
        };
        let state = scratch();
        let roots = Roots::resolve(&sources, &state.join("state")).expect("a root");
        if let Ok(selection) = Selection::new(&sources, roots, &state.join("state")) {
            let _ = selection.admits(0, Path::new("a/b/c.txt"));
            let _ = selection.look(0, Path::new("a/b/c.txt"));
        }
    }
}

struct Flat;

impl Embedder for Flat {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        texts
            .iter()
            .map(|_| Ok(Vector::from([0.6, -0.8])))
            .collect()
    }
}

/// A small, good store in one file, as bytes: an array, a page, and a file that can't be read.
fn good_store() -> &'static [u8] {
    static STORE: OnceLock<Vec<u8>> = OnceLock::new();
    STORE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (input, state) = (folder.path().join("in"), folder.path().join("state"));
        fs::create_dir(&input).expect("a folder");
        fs::write(
            input.join("a.json"),
            r#"[{"id":1,"text":"ebb and flood"},{"n":2}]"#,
        )
        .expect("a file");
        fs::write(input.join("b.md"), "# Tides\n\nAt noon it was high.").expect("a file");
        fs::write(input.join("c.json"), "{").expect("a file");
        let engine = Engine {
            embedders: vec![Box::new(Flat)],
            tokens: Arc::new(Words(40)),
            tokenizer: "words".into(),
            key: ModelKey {
                id: "flat".into(),
                dimension: 2,
            },
            ward: None,
        };
        let mut options = worker::Options::new(worker::Mode::Once, &state, vec![input]);
        options.clock = || 0;
        let stop = Arc::new(|why: String| panic!("{why}"));
        let run = worker::Run::start(options, engine, Vec::new(), stop).expect("a run");
        run.join().expect("its end");
        let copy = folder.path().join("copy");
        rusqlite::Connection::open(state.join("store.sqlite"))
            .and_then(|store| store.execute("VACUUM INTO ?1", [copy.to_string_lossy()]))
            .expect("a copy in one file");
        fs::read(copy).expect("its bytes")
    })
}

/// Three bytes of place and one of value are written over a good store, as often as they come; then all is asked of it.
pub fn store(bytes: &[u8]) {
    let folder = scratch().join("state");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let mut file = good_store().to_vec();
    for change in bytes.as_chunks::<4>().0 {
        let [high, middle, low, value] = *change;
        let at = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let at = at % file.len();
        file[at] = value;
    }
    fs::write(folder.join("store.sqlite"), file).expect("a store's file");
    let Ok(snapshot) = Reader::open(&folder).and_then(|reader| reader.snapshot()) else {
        return;
    };
    let _ = snapshot.status();
    let _ = snapshot.check();
    let _ = snapshot.recover(&|_| true);
    let _ = snapshot.changes(0);
    let _ = snapshot.dead();
    let _ = snapshot.files(None);
    let _ = snapshot.export(true, |_| Ok(()));
}

/// A line on the control socket.
pub fn control(bytes: &[u8]) {
    if let Ok(ask) = floodmark::control::read_ask(bytes) {
        assert!(!format!("{ask:?}").is_empty());
    }
}

/// A line of `floodmark embed`.
pub fn embed(bytes: &[u8]) {
    match floodmark::embed::text_of(1, bytes) {
        Ok(text) => assert!(text.len() <= bytes.len()),
        Err(error) => assert!(!error.reason.is_empty() && error.line == 1),
    }
}
