//! Starting the dataflow, keeping it going, and ending it.
//!
//! One process owns the state: the one with worker 0. It opens the store, recovers, and puts the queue and the ledger at
//! the two ends of the dataflow. All others bring their hands and their model. A panic anywhere ends the process (see
//! [`crate::telemetry`]), and one process that ends ends all: the state is consistent at any time, so the whole is
//! started anew, with any number of workers.

mod recovered;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use floodmark_operators::embed::{Embedders, Stored};
use floodmark_operators::keys::Epoch;
use floodmark_operators::offload::Pool;
use floodmark_operators::source::Admission;
use timely::communication::Config as Communication;
use timely::dataflow::ProbeHandle;
use timely::execute::Config as Execution;

use crate::dataflow::{Ends, Stages, build};
use crate::error::ErrorKind;
use crate::formats::{self, Recipe};
use crate::ingest::engine::Engine;
use crate::ingest::failed::{FailedDirError, Mover};
use crate::ingest::hint::{Again, once_more};
use crate::ingest::ledger::{StoreLedger, Witness};
use crate::ingest::line::{Line, Scout};
use crate::ingest::memory::Limits;
use crate::ingest::parser::{Chunker, Parser};
use crate::ingest::progress::{Progress, Report};
use crate::ingest::queue::{Acknowledge, Arrival, Pace, Queue, Remembered, WakerSlot, wake};
use crate::ingest::reader::{Patience, Reader, Slices};
use crate::ingest::scout::Scouts;
use crate::ingest::verdict::OnBad;
use crate::sources::{RootsError, Selection, SelectionError, SourceOptions, replay};
use crate::store::row::FileRow;
use crate::store::{Clock, Doubts, Recovery, Store, StoreError};

pub(crate) use recovered::{CurrentContents, Recovered, recovered};

/// How often the source is asked although nothing has happened: retries and other deadlines.
const TICK: Duration = Duration::from_millis(50);
/// Threads that read, parse and chunk, in each process.
const POOL_THREADS: usize = 2;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Index what is there, then follow the changes until told to stop.
    Watch,
    /// Index what is there, then end.
    Once,
    /// Index what is there, oldest modification first, then end.
    Replay,
}

/// Everything that a run goes by.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do.
    pub mode: Mode,
    /// The state folder.
    pub state: PathBuf,
    /// Which files.
    pub sources: SourceOptions,
    /// How files are read and cut.
    pub formats: formats::Options,
    /// Tokens in a batch, padding included.
    pub batch_tokens: usize,
    /// Epochs that may be minted and not committed.
    pub epochs_in_flight: usize,
    /// How long an epoch may take, in milliseconds.
    pub epoch_target_ms: u64,
    /// Tries before a failure that may pass becomes a dead letter, and the pause before the second.
    pub patience: Patience,
    /// What happens to the good version of a file that turned bad.
    pub on_bad: OnBad,
    /// Where dead files are moved to, if they are.
    pub failed_dir: Option<PathBuf>,
    /// How much memory the process that owns the state may hold.
    pub memory: Limits,
    /// Who works on it.
    pub layout: Layout,
    /// How long to wait for the other processes of the layout.
    pub cluster_timeout: Duration,
    /// For time stamps that people read.
    pub clock: Clock,
}

impl Options {
    /// One worker, `inputs` into `state`, and for the rest the defaults of docs/configuration.md.
    pub fn new(mode: Mode, state: impl Into<PathBuf>, inputs: Vec<PathBuf>) -> Self {
        Self {
            mode,
            state: state.into(),
            sources: SourceOptions {
                inputs,
                ..SourceOptions::default()
            },
            formats: formats::Options::default(),
            batch_tokens: 256,
            epochs_in_flight: 4,
            epoch_target_ms: 400,
            patience: Patience {
                tries: 3,
                base_ms: 500,
            },
            on_bad: OnBad::Keep,
            failed_dir: None,
            memory: Limits::default(),
            layout: Layout::Threads(1),
            cluster_timeout: Duration::from_secs(120),
            clock: || jiff::Timestamp::now().as_millisecond(),
        }
    }
}

/// Who works on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Threads of one process.
    Threads(usize),
    /// Threads of several processes.
    Cluster {
        /// Worker threads of each process.
        threads: usize,
        /// Number of this process, from 0.
        process: usize,
        /// HOST:PORT of all processes, in their order.
        addresses: Vec<String>,
    },
}

impl Layout {
    /// Whether this process owns the state.
    pub fn owns_the_state(&self) -> bool {
        !matches!(self, Self::Cluster { process: 1.., .. })
    }

    fn communication(&self) -> Communication {
        match self {
            Self::Threads(0 | 1) => Communication::Thread,
            Self::Threads(threads) => Communication::Process(*threads),
            Self::Cluster {
                threads,
                process,
                addresses,
            } => Communication::Cluster {
                threads: (*threads).max(1),
                process: *process,
                addresses: addresses.clone(),
                report: false,
                zerocopy: false,
            },
        }
    }
}

/// Why a run did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The inputs.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The globs.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// Where dead files would go.
    #[error(transparent)]
    Failed(#[from] FailedDirError),
    /// No thread could be started.
    #[error("the system refuses a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The other processes can't be reached.
    #[error("the cluster did not come together: {0}")]
    Cluster(String),
}

impl RunError {
    /// What the caller must do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Roots(_) | Self::Selection(_) | Self::Failed(_) => ErrorKind::Config,
            Self::Thread(_) | Self::Cluster(_) => ErrorKind::Retry,
        }
    }
}

/// A run under way.
pub struct Run {
    workers: timely::communication::WorkerGuards<()>,
    handle: Handle,
    backlog: Arc<AtomicUsize>,
    scouts: Option<Scouts>,
}

/// Speaks to a run. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    stopping: Arc<AtomicBool>,
    arrivals: Sender<Arrival>,
    waker: WakerSlot,
    progress: Arc<Progress>,
}

impl Handle {
    /// Admits nothing more; what is under way is committed, then the run ends.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.tell(Arrival::Stop);
    }

    /// Whether somebody has told the run to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Looks again at these files, and asks the model again for those texts.
    pub fn retry_dead(&self, files: Vec<Again>) {
        self.tell(Arrival::Retry(files));
    }

    /// Takes these files out of the index, all in one epoch as far as none is being read just now.
    pub fn forget(&self, files: Vec<Remembered>) {
        self.tell(Arrival::Forget(files));
    }

    /// How far behind the index is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    fn tell(&self, arrival: Arrival) {
        // The queue is gone once everything is done: then there is nobody left to tell.
        let _ = self.arrivals.send(arrival);
        wake(&self.waker);
    }
}

impl Run {
    /// Recovers the state and starts the workers. `stop` is called, and must not return, when something could not be made
    /// durable.
    ///
    /// # Errors
    /// See [`RunError`]; nothing was changed then.
    pub fn start(
        options: Options,
        engine: Engine,
        witnesses: Vec<Box<dyn Witness>>,
        stop: Arc<dyn Fn(String) + Send + Sync>,
    ) -> Result<Self, RunError> {
        Self::start_from(None, options, engine, witnesses, stop)
    }

    /// The same, with the files of `source` in place of all that lie in the inputs. Its paths lie below them all the same.
    ///
    /// # Errors
    /// See [`RunError`]; nothing was changed then.
    pub fn start_from(
        source: Option<Box<dyn Scout>>,
        options: Options,
        engine: Engine,
        witnesses: Vec<Box<dyn Witness>>,
        stop: Arc<dyn Fn(String) + Send + Sync>,
    ) -> Result<Self, RunError> {
        let recipe = Recipe::new(&options.formats, &engine.tokenizer);
        let (arrivals, arrived) = unbounded();
        let handle = Handle {
            stopping: Arc::default(),
            arrivals,
            waker: WakerSlot::default(),
            progress: Arc::new(Progress::new(options.memory)),
        };
        let mut ends = Ends::default();
        let mut scouts = None;
        let mut first = 1;
        if options.layout.owns_the_state() {
            let selection = Arc::new(selection(&options)?);
            let roots: Vec<PathBuf> = selection
                .roots()
                .iter()
                .map(|root| root.path.clone())
                .collect();
            let mover = match &options.failed_dir {
                Some(folder) => Some(Mover::new(
                    folder,
                    &roots,
                    Duration::from_millis(options.sources.settle_ms),
                    options.clock,
                )?),
                None => None,
            };
            // First of all: the walk waits for nothing that the store says, and takes about as long as reading it.
            let (doubts, doubted) = unbounded();
            let line = Line::new(selection, handle.arrivals.clone(), handle.waker.clone());
            scouts = match (source, options.mode) {
                (Some(source), _) => {
                    source.start(line, doubted)?;
                    None
                }
                (None, Mode::Replay) => {
                    let (found, report) = replay(line.selection());
                    let pass = line.next_pass();
                    let _ = line.send(Arrival::Found(found, Some(pass)));
                    let _ = line.send(Arrival::Scanned(pass, report));
                    None
                }
                (None, mode) => Some(Scouts::start(line, doubted, mode == Mode::Watch)?),
            };
            let mut store = Store::open(&options.state, &engine.key, options.clock)?;
            let texts = store.without_vector()?;
            if !texts.is_empty() {
                tracing::warn!(
                    texts = texts.len(),
                    "texts of the index have lost their vectors; they are embedded again"
                );
                let files = Vec::new();
                store.forget(&Doubts { files, texts })?;
            }
            let mut current = CurrentContents {
                recipe: &recipe,
                keys: HashSet::new(),
            };
            let recovery = {
                let current = std::cell::RefCell::new(&mut current);
                store.recover(&|content| {
                    current.borrow_mut().judge(content);
                    true
                })?
            };
            first = recovery.upper + 1;
            let Recovery {
                files,
                contents,
                embedded,
                refused,
                again,
                live,
                ..
            } = recovery;
            let Recovered { slots, files } = recovered(files, &contents, &current.keys, &roots);
            let vectors = embedded.into_iter().map(Stored::Vector);
            let refused = refused.into_iter().map(Stored::Refused);
            let pace = Pace {
                in_flight: options.epochs_in_flight,
                target_ms: options.epoch_target_ms,
                once: options.mode != Mode::Watch,
            };
            let failed = match mover {
                Some(mover) => Some(mover.start(handle.arrivals.clone(), handle.waker.clone())?),
                None => None,
            };
            let channels = (arrived, doubts);
            let queue = Queue::new(
                roots,
                files,
                channels,
                pace,
                handle.progress.clone(),
                handle.waker.clone(),
                failed,
            );
            let mut all: Vec<Box<dyn Witness>> = vec![
                Box::new(Report(handle.progress.clone())),
                Box::new(Acknowledge {
                    arrivals: handle.arrivals.clone(),
                    waker: handle.waker.clone(),
                }),
            ];
            all.extend(witnesses);
            ends = Ends {
                feed: Some(Box::new(queue)),
                ledger: Some(Box::new(StoreLedger::new(store, live, all, stop.clone()))),
                slots,
                contents: contents
                    .into_iter()
                    .map(|(key, chunks)| (key, chunks.into()))
                    .collect(),
                texts: vectors.chain(refused).collect(),
                again: again
                    .into_iter()
                    .map(|(hash, text)| (hash, once_more(text)))
                    .collect(),
            };
        }
        let slices = options.layout.owns_the_state().then(|| {
            let handle = handle.clone();
            let tell = move |row: &FileRow| handle.tell(Arrival::Slice(row.clone()));
            Arc::new(tell) as Slices
        });
        let stages = Stages {
            reader: Arc::new(Reader {
                options: options.formats.clone(),
                recipe,
                patience: options.patience,
                on_bad: options.on_bad,
                slices,
            }),
            parser: Arc::new(Parser {
                options: options.formats.clone(),
            }),
            chunker: Arc::new(Chunker {
                options: options.formats.chunk.clone(),
                tokens: engine.tokens,
            }),
            pool: Pool::new("read", POOL_THREADS)?,
            embedders: Embedders::new(engine.embedders)?,
            batch_tokens: options.batch_tokens,
            admission: Admission {
                first,
                in_flight: options.epochs_in_flight,
            },
        };
        let backlog = stages.embedders.backlog();
        let together = patience(&options, stop.clone())?;
        let workers = execute(&options.layout, stages, ends, handle.waker.clone())?;
        drop(together);
        Ok(Self {
            workers,
            handle,
            backlog,
            scouts,
        })
    }

    /// To speak to the run.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Texts that wait for a vector in this process.
    pub fn backlog(&self) -> Arc<AtomicUsize> {
        self.backlog.clone()
    }

    /// The threads that look at names, where there are any.
    pub fn scouts(&self) -> Option<&Scouts> {
        self.scouts.as_ref()
    }

    /// Waits until the run has ended, and everything that it admitted is durable.
    ///
    /// # Errors
    /// What a worker's panic said, if the process outlived it.
    pub fn join(self) -> Result<(), String> {
        let Self {
            workers,
            handle,
            scouts,
            ..
        } = self;
        drop((handle, scouts));
        workers.join().into_iter().collect()
    }
}

/// Ends the process if the others of the cluster are not there in time: connecting to them waits for ever. What comes back is
/// dropped when they are.
fn patience(
    options: &Options,
    stop: Arc<dyn Fn(String) + Send + Sync>,
) -> std::io::Result<Option<Sender<()>>> {
    let Layout::Cluster {
        process, addresses, ..
    } = &options.layout
    else {
        return Ok(None);
    };
    let (together, waiting) = crossbeam_channel::bounded::<()>(0);
    let (limit, own) = (options.cluster_timeout, *process);
    let all = addresses.join(", ");
    std::thread::Builder::new()
        .name("together".into())
        .spawn(move || {
            if waiting.recv_timeout(limit) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                stop(format!(
                    "the cluster did not come together within {} s: process {own} of {all} waits for the others. Start every \
                     process, with the same hosts file, or allow more time (setting cluster-timeout)",
                    limit.as_secs()
                ));
            }
        })?;
    Ok(Some(together))
}

/// Runs the workers of this process.
fn execute(
    layout: &Layout,
    stages: Stages,
    ends: Ends,
    waker: WakerSlot,
) -> Result<timely::communication::WorkerGuards<()>, RunError> {
    let ends = Mutex::new(Some(ends));
    let execution = Execution {
        communication: layout.communication(),
        worker: timely::WorkerConfig::default(),
    };
    let owner = layout.owns_the_state();
    timely::execute(execution, move |worker| {
        let taken = match worker.index() {
            0 if owner => ends.lock().ok().and_then(|mut ends| ends.take()),
            _ => None,
        };
        let committed: ProbeHandle<Epoch> = ProbeHandle::new();
        let stages = stages.clone();
        worker.dataflow(|scope| build(scope, stages, taken.unwrap_or_default(), &committed));
        let (mut frontier, mut asked) = (Some(0), std::time::Instant::now());
        while worker.has_dataflows() {
            worker.step_or_park(Some(TICK));
            // A probe wakes nobody, and the source waits for this one.
            let now = committed.with_frontier(|frontier| frontier.first().copied());
            if worker.index() == 0 && (now != frontier || asked.elapsed() >= TICK) {
                (frontier, asked) = (now, std::time::Instant::now());
                wake(&waker);
            }
        }
    })
    .map_err(RunError::Cluster)
}

fn selection(options: &Options) -> Result<Selection, RunError> {
    let roots = crate::sources::Roots::resolve(&options.sources, &options.state)?;
    Ok(Selection::new(&options.sources, roots, &options.state)?)
}
