//! The program that is killed: everything of a run but its model, which costs nothing and keeps count.
//!
//! It says on standard output what it has embedded and what it has been told to be durable, a line each, before it does
//! anything else about it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use floodmark::answers::{Forgotten, Found, Query, Retried, Status};
use floodmark::control::{Handler, Refusal, RefusalKind, Server};
use floodmark::daemon::RunLock;
use floodmark::index::{VectorView, policy::Policy, view};
use floodmark::ingest::engine::Engine;
use floodmark::ingest::ledger::Witness;
use floodmark::keyword::{self, KeywordView};
use floodmark::model::runtime::unpack::{Packed, unpack};
use floodmark::search::{KEYWORDS, StoreTexts, StoreVectors, VIEW, ViewOptions};
use floodmark::service::{follower, stored_status};
use floodmark::store::row::FileRow;
use floodmark::store::{ModelKey, Reader};
use floodmark::token_store::{Keeper, Quantised, hash};
use floodmark::worker::{Handle, Layout, Mode, Options, Run};
use floodmark::{fault, signals, telemetry};
use floodmark_operators::embed::{Embedder, Vector};
use floodmark_operators::keys::{ChunkHash, Epoch};

use crate::site::options;
use crate::support::Words;

/// How a child is called: `child DIR MODE THREADS [PROCESS HOSTS]`; the mode is `watch`, `once`, or `built`: once, and a build
/// of the view that is under way at the end is waited for.
pub fn main(arguments: &[String]) -> Result<(), String> {
    telemetry::fate_sharing();
    fault::arm()?;
    let killed = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(killed).map_err(|error| error.to_string())?;
    if let [unpack, cache] = arguments
        && unpack == "unpack"
    {
        return unpacked(Path::new(cache));
    }
    let [folder, mode, threads, cluster @ ..] = arguments else {
        return Err("child DIR MODE THREADS [PROCESS HOSTS]".into());
    };
    let folder = Path::new(folder);
    let to_the_end = mode == "built";
    let mode = match mode.as_str() {
        "watch" => Mode::Watch,
        _ => Mode::Once,
    };
    let threads = threads.parse().map_err(|_| "THREADS is a number")?;
    let mut options = options(folder, mode, threads);
    if let [process, hosts] = cluster {
        let hosts = fs::read_to_string(hosts).map_err(|error| error.to_string())?;
        options.layout = Layout::Cluster {
            threads,
            process: process.parse().map_err(|_| "PROCESS is a number")?,
            addresses: hosts.lines().map(str::to_owned).collect(),
        };
    }
    run(options, to_the_end)
}

/// A library of some bytes, which must be whole afterwards.
fn unpacked(cache: &Path) -> Result<(), String> {
    let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let zstd = zstd::encode_all(&bytes[..], 1).map_err(|error| error.to_string())?;
    let packed = Packed {
        zstd: zstd.leak(),
        blake3: blake3::hash(&bytes).to_hex().to_string().leak(),
    };
    let library = unpack(&packed, cache).map_err(|error| error.to_string())?;
    match fs::read(library).is_ok_and(|read| read == bytes) {
        true => Ok(()),
        false => Err("it is not what was packed".into()),
    }
}

fn run(options: Options, to_the_end: bool) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let state = options.state.clone();
    if !options.layout.owns_the_state() {
        let run =
            Run::start(options, engine(None), Vec::new(), Arc::new(stop)).map_err(|e| said(&e))?;
        return run.join();
    }
    let lock = RunLock::acquire(&state).map_err(|e| said(&e))?;
    let keeper = Keeper::start(&state, MODEL).map_err(|e| said(&e))?;
    let (witness, commits) = follower();
    let run = Run::start(
        options,
        engine(Some(keeper.clone())),
        vec![witness, Box::new(Teller)],
        Arc::new(stop),
    )
    .map_err(|e| said(&e))?;
    let handle = run.handle();
    let stopping = handle.clone();
    signals::install(move || stopping.stop(), || {}).map_err(|e| said(&e))?;
    let reader = Reader::open(&state).map_err(|e| said(&e))?;
    let asked = reader.clone();
    let live = move || asked.snapshot().and_then(|store| store.live_hashes());
    keeper.prune(move || live().map_err(|error| error.to_string()));
    let ViewOptions { vectors, keywords } = view_options();
    let (mut view, mut words) = {
        let snapshot = reader.snapshot().map_err(|e| said(&e))?;
        let view = VectorView::open(&state.join(VIEW), &StoreVectors(&snapshot), vectors);
        let words = KeywordView::open(&state.join(KEYWORDS), &StoreTexts(&snapshot), keywords);
        (view.map_err(|e| said(&e))?, words.map_err(|e| said(&e))?)
    };
    let following = reader.clone();
    let follows = std::thread::spawn(move || {
        loop {
            match commits.recv_timeout(Duration::from_millis(20)) {
                Ok(()) => {}
                Err(error) if error.is_timeout() && view.status().building => {}
                Err(error) if error.is_timeout() => continue,
                Err(_) if to_the_end && view.status().building => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return,
            }
            let followed = following.snapshot().map_err(|error| error.to_string());
            let followed = followed.and_then(|snapshot| {
                let vectors = view.follow(&StoreVectors(&snapshot));
                vectors.map_err(|error| error.to_string())?;
                let words = words.follow(&StoreTexts(&snapshot));
                words.map_err(|error| error.to_string())
            });
            if let Err(error) = followed {
                say(&format!("behind {error}"));
            }
        }
    });
    let answers = Answers {
        handle,
        reader,
        state,
    };
    let server = Server::start(&lock, Arc::new(answers)).map_err(|e| said(&e))?;
    run.join()?;
    drop(server);
    let _ended = follows.join();
    keeper.close();
    drop(lock);
    Ok(())
}

/// Builds come often: everything about a view happens in a short life.
pub fn view_options() -> ViewOptions {
    ViewOptions {
        vectors: view::Options {
            policy: Policy {
                changes_min: 10,
                ..Policy::default()
            },
            build_threads: 1,
            ..view::Options::default()
        },
        keywords: keyword::Options {
            save_after: 5,
            ..keyword::Options::default()
        },
    }
}

fn stop(why: String) {
    telemetry::last_words(&why);
    std::process::exit(1);
}

static OUT: Mutex<()> = Mutex::new(());

fn say(lines: &str) {
    let _one_at_a_time = OUT.lock();
    // Whoever reads it is killed first, if at all.
    let _ = std::io::stdout().write_all(format!("{lines}\n").as_bytes());
    let _ = std::io::stdout().flush();
}

struct Teller;

impl Witness for Teller {
    fn committed(&mut self, upper: Epoch, files: &[FileRow]) {
        let rows = files.iter().map(|row| {
            let kind = format!("{:?}", row.state);
            let kind = kind.split([' ', '(']).next().unwrap_or_default();
            let identity = row
                .identity
                .map_or("-".to_owned(), |identity| format!("{identity:?}"));
            format!("\nfile\t{kind}\t{}\t{identity}", row.path.display())
        });
        say(&format!("durable {upper}{}", rows.collect::<String>()));
    }
}

struct Counting(Option<Arc<Keeper>>);

impl Embedder for Counting {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        let vectors = texts.iter().map(|text| Ok(vector(text))).collect();
        if let Some(keeper) = &self.0 {
            keeper.put(
                texts
                    .iter()
                    .map(|text| (hash(text), tokens(text)))
                    .collect(),
            );
        }
        let keys: Vec<String> = texts
            .iter()
            .map(|text| format!("embedded {}", ChunkHash::of(&[text.as_bytes()])))
            .collect();
        say(&keys.join("\n"));
        vectors
    }
}

fn vector(text: &str) -> Vector {
    let hash = blake3::hash(text.as_bytes());
    let numbers = hash.as_bytes()[..8]
        .iter()
        .map(|byte| f32::from(*byte) - 127.5);
    let norm = numbers
        .clone()
        .map(|number| number * number)
        .sum::<f32>()
        .sqrt();
    numbers.map(|number| number / norm).collect()
}

/// What is kept of the tokens of a text.
pub fn tokens(text: &str) -> Quantised {
    let bytes = blake3::hash(text.as_bytes());
    Quantised::from_bytes(12, bytes.as_bytes().to_vec()).expect("two tokens")
}

/// The model's name.
pub const MODEL: &str = "hashing";

fn engine(keeper: Option<Arc<Keeper>>) -> Engine {
    Engine {
        embedders: (0..2)
            .map(|_| Box::new(Counting(keeper.clone())) as Box<dyn Embedder>)
            .collect(),
        tokens: Arc::new(Words),
        tokenizer: "words".into(),
        key: ModelKey {
            id: MODEL.into(),
            dimension: 8,
        },
        ward: None,
    }
}

struct Answers {
    handle: Handle,
    reader: Reader,
    state: PathBuf,
}

fn not_here<T>() -> Result<T, Refusal> {
    Err(Refusal::new(RefusalKind::Invalid, "this is a test's child"))
}

impl Handler for Answers {
    fn status(&self) -> Result<Status, Refusal> {
        stored_status(&self.reader, &self.state)
            .map_err(|error| Refusal::new(RefusalKind::Failed, error.to_string()))
    }
    fn search(&self, _query: &Query) -> Result<Found, Refusal> {
        not_here()
    }
    fn stop(&self) {
        self.handle.stop();
    }
    fn wait(&self, _path: &Path, _timeout: Duration) -> Result<Epoch, Refusal> {
        not_here()
    }
    fn wait_epoch(&self, _epoch: Epoch, _timeout: Duration) -> Result<Epoch, Refusal> {
        not_here()
    }
    fn retry_dead(&self, _paths: &[PathBuf]) -> Result<Retried, Refusal> {
        not_here()
    }
    fn forget(&self, _paths: &[PathBuf]) -> Result<Forgotten, Refusal> {
        not_here()
    }
}
