//! What every section uses: the model, a folder, and runs from start to end.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use floodmark::index::view;
use floodmark::ingest::engine::Engine;
use floodmark::keyword;
use floodmark::model::{Model, ModelOptions};
use floodmark::search::{Searcher, ViewOptions};
use floodmark::worker::{Mode, Options, Run};

use super::arguments::Arguments;
use super::corpus::{self, sentence};
use super::results::{Results, Row};
use super::stand_in;

/// Makes vectors.
#[derive(Clone, Copy, PartialEq)]
pub enum By {
    /// The built-in model.
    Model,
    /// What stands in for it.
    StandIn,
}

/// One measuring program.
pub struct Bench {
    /// The flags.
    pub arguments: Arguments,
    /// The built-in model.
    pub model: Model,
    results: Results,
    scratch: tempfile::TempDir,
    /// Folders of short records that are indexed already: size, input, state.
    indexed: RefCell<Vec<(usize, PathBuf, PathBuf)>>,
}

impl Bench {
    /// Opens the model; says on what machine.
    pub fn new(arguments: Arguments) -> Self {
        let model = Model::open(&ModelOptions::default()).expect("the built-in model");
        let results = Results {
            file: arguments.results.clone(),
        };
        println!("| section | what | figure | limit beside it | input |\n|---|---|---|---|---|");
        results.fact("model", model.key());
        results.fact("sessions", &model.sessions().to_string());
        Self {
            arguments,
            model,
            results,
            scratch: tempfile::tempdir().expect("a temporary folder"),
            indexed: RefCell::default(),
        }
    }

    /// The rounds of a section: as many as asked for, and no further one when its time is used up. There is always a first.
    pub fn rounds(&self) -> impl Iterator<Item = usize> + use<> {
        let (started, seconds) = (Instant::now(), self.arguments.seconds);
        (0..self.arguments.rounds.max(1))
            .take_while(move |&round| round == 0 || started.elapsed().as_secs() < seconds)
    }

    /// Says that a section ended, or why it did not.
    pub fn ended(&self, section: &str, seconds: f64, failed: Option<&str>) {
        self.results.ended(section, seconds, failed);
    }

    /// A path in the temporary folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Keeps a figure.
    pub fn row(&self, section: &str, row: Row<'_>) {
        self.results.add(section, row);
    }

    /// One run from start to end, sessions made before the clock starts. Wall and processor seconds.
    pub fn run(&self, input: &Path, state: &Path, by: By) -> (f64, f64) {
        let engine = self.engine(by);
        let (started, busy) = (Instant::now(), processor_seconds());
        let options = options(input, state, Mode::Once);
        let run = Run::start(options, engine, Vec::new(), Arc::new(fail)).expect("a run");
        run.join().expect("a clean end");
        (started.elapsed().as_secs_f64(), processor_seconds() - busy)
    }

    /// The model's sessions, or the stand-in's.
    pub fn engine(&self, by: By) -> Engine {
        match by {
            By::Model => Engine::new(&self.model).expect("sessions"),
            By::StandIn => stand_in::engine(&self.model),
        }
    }

    /// `size` short records, indexed by the model once for all sections: input and state.
    pub fn short(&self, size: usize) -> (PathBuf, PathBuf) {
        let known = self.indexed.borrow();
        if let Some((_, input, state)) = known.iter().find(|(known, ..)| *known == size) {
            return (input.clone(), state.clone());
        }
        drop(known);
        let (input, state) = (
            self.path(&format!("short-{size}")),
            self.path(&format!("short-{size}-state")),
        );
        let texts: Vec<String> = (0..size).map(sentence).collect();
        corpus::write_lines(&input, &texts, 1000);
        self.run(&input, &state, By::Model);
        self.keep(size, &input, &state);
        (input, state)
    }

    /// Says that this is indexed.
    pub fn keep(&self, size: usize, input: &Path, state: &Path) {
        let all = (size, input.to_owned(), state.to_owned());
        self.indexed.borrow_mut().push(all);
    }

    /// Of views that do not build.
    pub fn reading() -> ViewOptions {
        ViewOptions {
            vectors: view::Options {
                read_only: true,
                ..view::Options::default()
            },
            keywords: keyword::Options {
                read_only: true,
                ..keyword::Options::default()
            },
        }
    }

    /// Searches a state; does not build.
    pub fn searcher(&self, state: &Path) -> Arc<Searcher> {
        Arc::new(Searcher::open(state, &self.model, Self::reading()).expect("a view"))
    }

    /// Waits until the view on a state is built as it would be after some time of running.
    pub fn build_view(&self, state: &Path) {
        let built = Searcher::open(state, &self.model, ViewOptions::default()).expect("a view");
        while built.view().vectors.building {
            built.follow().expect("a fresh view");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// Defaults, and a clock that stands still.
pub fn options(input: &Path, state: &Path, mode: Mode) -> Options {
    Options {
        clock: || 0,
        ..Options::new(mode, state, vec![input.to_owned()])
    }
}

/// What could not be made durable ends the measurement.
pub fn fail(reason: String) {
    panic!("{reason}");
}

/// Seconds of processor time that this process has used; 0 where /proc does not say.
pub fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    ticks.iter().sum::<f64>() / 100.0
}
