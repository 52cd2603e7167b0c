//! The whole program against the limits of the machine, measured side by side in one run.
//!
//! ```text
//! cargo bench --bench end_to_end -- [--passages FILE.jsonl] [--only ingest,known,latency,restart,open] [--chunks N] [--files N]
//! ```
//!
//! FILE.jsonl holds one JSON string a line; without it, texts are made from words. Everything runs with the built-in
//! model, real files and a real store in a temporary folder. Figures go to standard output as Markdown.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use floodmark::answers::Query;
use floodmark::index::view;
use floodmark::ingest::engine::Engine;
use floodmark::keyword;
use floodmark::model::{Model, ModelOptions};
use floodmark::search::{Searcher, ViewOptions};
use floodmark::service::{follower, keep_fresh};
use floodmark::worker::{Mode, Options, Run};
use floodmark_operators::batch::Planner;

const BATCH_TOKENS: usize = 512;
const RECORDS_A_FILE: usize = 10;

fn main() {
    let arguments = Arguments::read();
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let model = Model::open(&ModelOptions::default()).expect("the built-in model");
    let texts = arguments.texts();
    println!("| what | figure |\n|---|---|");
    row(
        "processor",
        &format!(
            "{} × {}",
            std::thread::available_parallelism().map_or(0, usize::from),
            processor()
        ),
    );
    row("model", model.key());
    let bench = Bench {
        model,
        scratch: scratch.path().to_owned(),
    };
    if arguments.wants("ingest") {
        bench.ingest(&texts);
    }
    if arguments.wants("known") {
        bench.known(&texts);
    }
    if arguments.wants("latency") {
        bench.latency(&texts);
    }
    if arguments.wants("restart") {
        bench.restart(arguments.files);
    }
    if arguments.wants("open") {
        bench.open(arguments.chunks);
    }
}

struct Bench {
    model: Model,
    scratch: PathBuf,
}

impl Bench {
    /// Files to durable epochs, against the bare embed loop over the same texts, taken in turn.
    fn ingest(&self, texts: &[String]) {
        let input = self.scratch.join("ingest");
        write_json(&input, texts);
        let (mut bare, mut whole) = (Vec::new(), Vec::new());
        for round in 0..3 {
            bare.push(self.embed_alone(texts));
            let state = self.scratch.join(format!("ingest-state-{round}"));
            whole.push(self.run(&input, &state));
        }
        let (bare, whole) = (median(&mut bare), median(&mut whole));
        let rate = |seconds: f64| texts.len() as f64 / seconds;
        row("texts", &texts.len().to_string());
        row(
            "bare embed loop",
            &format!("{bare:.2} s, {:.0} texts/s", rate(bare)),
        );
        row(
            "ingestion",
            &format!("{whole:.2} s, {:.0} texts/s", rate(whole)),
        );
        row(
            "ingestion ÷ bare loop",
            &format!("{:.1} %", 100.0 * bare / whole),
        );
        let state = self.scratch.join("ingest-state-process");
        row(
            "resident memory, whole process, at most",
            &format!("{} MB", peak_mb(&input, &state)),
        );
    }

    /// All but the model: the vectors of every text are there already.
    fn known(&self, texts: &[String]) {
        let input = self.scratch.join("known");
        write_json(&input, texts);
        let state = self.scratch.join("known-state");
        self.run(&input, &state);
        let mut times = Vec::new();
        for round in 0..5 {
            let copy = self.scratch.join(format!("known-copy-{round}"));
            write_json(&copy, texts);
            times.push(self.run(&copy, &state));
        }
        row(
            "a copy of the folder, all vectors known",
            &format!("{:.3} s", median(&mut times)),
        );
        let mut times = Vec::new();
        for _ in 0..5 {
            let _absent_at_first = fs::remove_dir_all(state.join("vectors"));
            let started = Instant::now();
            let searcher = self.searcher(&state);
            times.push(started.elapsed().as_secs_f64());
            assert!(searcher.reader().snapshot().expect("a snapshot").epoch() > 0);
        }
        row(
            "the store into a fresh view",
            &format!("{:.3} s", median(&mut times)),
        );
    }

    /// From the closing of a small file to the first query that finds it.
    fn latency(&self, texts: &[String]) {
        let input = self.scratch.join("latency");
        write_json(&input, &texts[..texts.len().min(500)]);
        let state = self.scratch.join("latency-state");
        self.run(&input, &state);
        let (witness, commits) = follower();
        let engine = Engine::new(&self.model).expect("sessions");
        let run = Run::start(
            options(&input, &state, Mode::Watch),
            engine,
            vec![witness],
            Arc::new(fail),
        )
        .expect("a run");
        let searcher = self.searcher(&state);
        let view = keep_fresh(searcher.clone(), commits).expect("a thread");
        let progress = run.handle().progress().clone();
        while !progress.scanned() || progress.files() > 0 {
            progress.wait_for_commit(Instant::now() + Duration::from_millis(20));
        }
        let mut searchable = Vec::new();
        for number in 0..200 {
            // A writer pauses between files, as people do.
            std::thread::sleep(Duration::from_millis(20));
            let epoch = searcher.reader().snapshot().expect("a snapshot").epoch();
            fs::write(
                input.join(format!("note-{}.txt", number % 50)),
                sentence(1_000_000 + number),
            )
            .expect("a note");
            let closed = Instant::now();
            while searcher.reader().snapshot().expect("a snapshot").epoch() == epoch {
                progress.wait_for_commit(Instant::now() + Duration::from_millis(1));
            }
            searcher.follow().expect("a fresh view");
            searchable.push(closed.elapsed().as_secs_f64() * 1000.0);
        }
        searchable.sort_by(f64::total_cmp);
        let at = |part: f64| searchable[((searchable.len() - 1) as f64 * part) as usize];
        row(
            "file closed → searchable, 200 small files",
            &format!(
                "p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms",
                at(0.5),
                at(0.99),
                at(1.0)
            ),
        );
        run.handle().stop();
        run.join().expect("a clean end");
        drop(view);
    }

    /// Nothing has changed: how long until that is known.
    fn restart(&self, files: usize) {
        let input = self.scratch.join("restart");
        for number in 0..files {
            let folder = input.join(format!("{:03}", number / 1000));
            if number % 1000 == 0 {
                fs::create_dir_all(&folder).expect("a folder");
            }
            // A thousand texts, so that the model is not what takes the time to get there.
            let text = format!(
                "{{\"id\": {number}, \"text\": {:?}}}",
                sentence(number % 1000)
            );
            fs::write(folder.join(format!("{number}.json")), text).expect("a file");
        }
        let state = self.scratch.join("restart-state");
        let first = self.run(&input, &state);
        let again = self.run(&input, &state);
        row(
            &format!("{files} files, first run"),
            &format!("{first:.1} s"),
        );
        row(
            &format!("{files} files, nothing changed"),
            &format!("{again:.2} s"),
        );
    }

    /// A large index, opened and asked.
    fn open(&self, chunks: usize) {
        let input = self.scratch.join("open");
        fs::create_dir_all(&input).expect("a folder");
        for (number, part) in (0..chunks).collect::<Vec<_>>().chunks(1000).enumerate() {
            let lines: String = part
                .iter()
                .map(|text| format!("{{\"id\": {text}, \"text\": {:?}}}\n", sentence(*text)))
                .collect();
            fs::write(input.join(format!("{number}.jsonl")), lines).expect("a file");
        }
        let state = self.scratch.join("open-state");
        let first = self.run(&input, &state);
        row(
            &format!("{chunks} short chunks embedded"),
            &format!("{first:.1} s"),
        );
        let built = Searcher::open(&state, &self.model, ViewOptions::default()).expect("a view");
        while built.view().vectors.building {
            built.follow().expect("a fresh view");
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(built);
        let started = Instant::now();
        let searcher = self.searcher(&state);
        let opened = started.elapsed();
        let found = searcher
            .search(&Query::new("the tide at the harbour", 10))
            .expect("hits");
        let answered = started.elapsed();
        assert_eq!(found.hits.len(), 10);
        row(
            &format!("{chunks} chunks, open store and view, first answer"),
            &format!(
                "{:.2} s, {:.2} s",
                opened.as_secs_f64(),
                answered.as_secs_f64()
            ),
        );
        let mut times: Vec<f64> = (0..100)
            .map(|number| {
                let started = Instant::now();
                searcher
                    .search(&Query::new(sentence(number * 7), 10))
                    .expect("hits");
                started.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        row(
            &format!("{chunks} chunks, a query, its embedding included"),
            &format!("{:.1} ms", median(&mut times)),
        );
    }

    /// The limit: the model alone, on all texts at once.
    fn embed_alone(&self, texts: &[String]) -> f64 {
        let mut planner = Planner::new(BATCH_TOKENS);
        for (number, text) in texts.iter().enumerate() {
            planner.insert(0, self.model.count_tokens(text).expect("tokens"), number);
        }
        let (sender, batches) = crossbeam_channel::unbounded();
        while !planner.is_empty() {
            sender.send(planner.next_batch()).expect("an open channel");
        }
        drop(sender);
        let mut sessions: Vec<_> = (0..self.model.sessions())
            .map(|_| self.model.session().expect("a session"))
            .collect();
        let started = Instant::now();
        std::thread::scope(|scope| {
            for session in &mut sessions {
                let batches = batches.clone();
                scope.spawn(move || {
                    for batch in batches {
                        let batch: Vec<&str> = batch
                            .into_iter()
                            .map(|number| texts[number].as_str())
                            .collect();
                        session.embed(&batch).expect("vectors");
                    }
                });
            }
        });
        started.elapsed().as_secs_f64()
    }

    /// One run from start to end, sessions made before the clock starts.
    fn run(&self, input: &Path, state: &Path) -> f64 {
        let engine = Engine::new(&self.model).expect("sessions");
        let started = Instant::now();
        let run = Run::start(
            options(input, state, Mode::Once),
            engine,
            Vec::new(),
            Arc::new(fail),
        )
        .expect("a run");
        run.join().expect("a clean end");
        started.elapsed().as_secs_f64()
    }

    fn searcher(&self, state: &Path) -> Arc<Searcher> {
        let options = ViewOptions {
            vectors: view::Options {
                read_only: true,
                ..view::Options::default()
            },
            keywords: keyword::Options {
                read_only: true,
                ..keyword::Options::default()
            },
        };
        Arc::new(Searcher::open(state, &self.model, options).expect("a view"))
    }
}

fn options(input: &Path, state: &Path, mode: Mode) -> Options {
    Options {
        clock: || 0,
        ..Options::new(mode, state, vec![input.to_owned()])
    }
}

fn fail(reason: String) {
    panic!("{reason}");
}

/// The program itself, once, for its memory.
fn peak_mb(input: &Path, state: &Path) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_floodmark"))
        .args(["run", "--once", "--log", "error", "--input"])
        .arg(input)
        .arg("--state")
        .arg(state)
        .spawn()
        .expect("the program");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kb = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM"));
        let kb = line
            .and_then(|line| line.split_whitespace().nth(1))
            .and_then(|kb| kb.parse().ok());
        peak_kb = peak_kb.max(kb.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    peak_kb / 1024
}

fn write_json(folder: &Path, texts: &[String]) {
    fs::create_dir_all(folder).expect("a folder");
    for (number, part) in texts.chunks(RECORDS_A_FILE).enumerate() {
        let records: Vec<_> = part
            .iter()
            .enumerate()
            .map(|(at, text)| serde_json::json!({ "id": format!("p{}", number * RECORDS_A_FILE + at), "text": text }))
            .collect();
        let json = serde_json::to_vec(&records).expect("JSON");
        fs::write(folder.join(format!("f{number:04}.json")), json).expect("a file");
    }
}

/// A sentence of some twelve words, another for each number.
fn sentence(number: usize) -> String {
    const WORDS: [&str; 32] = [
        "harbour", "winter", "ledger", "copper", "garden", "signal", "bridge", "kettle", "meadow",
        "engine", "lantern", "river", "market", "violin", "granite", "orchard", "compass",
        "timber", "canvas", "pepper", "thunder", "archive", "beacon", "saddle", "cellar", "marble",
        "turbine", "valley", "anchor", "basket", "glacier", "hammer",
    ];
    let word = |shift: usize| WORDS[(number.wrapping_mul(2_654_435_761) >> shift) % 32];
    format!(
        "Note {number}: the {} by the {} keeps a {} near the {} until the {} leaves",
        word(0),
        word(5),
        word(10),
        word(15),
        word(20)
    )
}

struct Arguments {
    passages: Option<PathBuf>,
    only: Option<BTreeSet<String>>,
    chunks: usize,
    files: usize,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self {
            passages: None,
            only: None,
            chunks: 100_000,
            files: 100_000,
        };
        let mut arguments = std::env::args()
            .skip(1)
            .filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .unwrap_or_else(|| panic!("{name} wants a value"));
            match name.as_str() {
                "--passages" => read.passages = Some(value.into()),
                "--only" => read.only = Some(value.split(',').map(str::to_owned).collect()),
                "--chunks" => read.chunks = value.parse().expect("a number"),
                "--files" => read.files = value.parse().expect("a number"),
                _ => panic!("{name}: not known"),
            }
        }
        read
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }

    fn texts(&self) -> Vec<String> {
        let Some(path) = &self.passages else {
            return (0..2000)
                .map(|number| {
                    (0..1 + number % 8)
                        .map(|part| sentence(number * 8 + part))
                        .collect()
                })
                .collect();
        };
        let text = fs::read_to_string(path).expect("the passages");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a JSON string a line"))
            .collect()
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown".into(), |name| {
        name.trim_start_matches([' ', '\t', ':']).to_owned()
    })
}

fn row(what: &str, figure: &str) {
    println!("| {what} | {figure} |");
}
