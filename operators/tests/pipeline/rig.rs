//! The operators wired as a program wires them, around a world small enough to be recomputed from scratch.
//!
//! Contents and chunks are numbers. What a content consists of, whether it is refused, and which texts the model refuses
//! follow from the number, so the naive model needs no memory.

mod ends;
mod wiring;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use floodmark_operators::embed::Embedders;
use floodmark_operators::keys::Epoch;
use floodmark_operators::offload::Pool;
use floodmark_operators::source::Admission;
use timely::dataflow::ProbeHandle;
use timely::scheduling::SyncActivator;

pub use ends::Commit;
use ends::{Gate, Log, Memory, Script, Slow};
use wiring::{Ends, build};
use world::Hands;
pub use world::{Change, LATE, Out, Stored, chunks_of, hash, refused, text, unembeddable};

/// How long anything may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

/// What a driver does, in order.
#[derive(Clone, Debug)]
pub enum Step {
    /// These hints become one epoch.
    Epoch(Vec<Change>),
    /// So many batches of texts may be embedded.
    Permit(usize),
    /// Everything so far is committed before anything else happens.
    Drain,
    /// At least so many texts wait for a vector before anything else happens.
    AtLeast(usize),
    /// At most so many do.
    AtMost(usize),
}

/// How a run went.
pub struct Outcome {
    pub commits: Vec<Commit>,
    pub embedded: Vec<String>,
    pub parsed: BTreeMap<u8, usize>,
}

/// Runs `steps` on `workers` from what is `stored`.
pub fn run(workers: usize, stored: &Stored, steps: &[Step]) -> Outcome {
    let gate = Arc::new(Gate::default());
    let embedded = Arc::new(Mutex::new(Vec::new()));
    let model = || Slow {
        gate: gate.clone(),
        embedded: embedded.clone(),
    };
    let embedders = Embedders::new(vec![model(), model()]).unwrap();
    let backlog = embedders.backlog();
    let pool = Pool::new("hands", 2).unwrap();
    let hands = Arc::new(Hands::default());
    let log = Arc::new(Log::default());
    let first = stored.upper.max(1);
    let minted = Arc::new(AtomicU64::new(first));
    let waker = Arc::new(OnceLock::new());
    let (batches, received) = unbounded();
    let ends = Ends {
        feed: Script {
            batches: received,
            waker: waker.clone(),
            minted: minted.clone(),
        },
        ledger: Memory {
            log: log.clone(),
            minted,
        },
        stored: stored.clone(),
    };
    let admission = Admission {
        first,
        in_flight: steps.len() + 1,
    };
    let ends = Mutex::new(Some(ends));
    let stages = (hands.clone(), pool, embedders);
    let woken = waker.clone();
    let durable: Arc<Vec<AtomicU64>> = Arc::new((0..workers).map(|_| AtomicU64::new(0)).collect());
    let seen = durable.clone();
    let panicked = Arc::new(AtomicBool::new(false));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let ends = if worker.index() == 0 {
            ends.lock().unwrap().take()
        } else {
            None
        };
        let committed = ProbeHandle::new();
        let (hands, pool, embedders) = stages.clone();
        worker.dataflow(|scope| build(scope, hands, &pool, embedders, admission, ends, &committed));
        let mut frontier = None;
        let _fate = Fate(panicked.clone());
        while worker.has_dataflows() {
            assert!(!panicked.load(Ordering::SeqCst), "another worker panicked");
            worker.step_or_park(Some(Duration::from_millis(20)));
            let now = committed.with_frontier(|frontier| frontier.first().copied());
            seen[worker.index()].store(now.unwrap_or(Epoch::MAX), Ordering::SeqCst);
            if worker.index() == 0 && frontier != now {
                frontier = now;
                wake(&woken);
            }
        }
    })
    .unwrap();
    let ends = Watched {
        gate: &gate,
        log: &log,
        backlog: &backlog,
        durable: &durable,
    };
    drive(steps, first, batches, &waker, &ends);
    guards.join().into_iter().for_each(|worker| worker.unwrap());
    let commits = std::mem::take(&mut *log.commits.lock().unwrap());
    let embedded = std::mem::take(&mut *embedded.lock().unwrap());
    let parsed = std::mem::take(&mut *hands.parsed.lock().unwrap());
    Outcome {
        commits,
        embedded,
        parsed,
    }
}

/// What a driver sees of a run.
struct Watched<'a> {
    gate: &'a Gate,
    log: &'a Log,
    backlog: &'a AtomicUsize,
    /// The committed frontier, as each worker knows it.
    durable: &'a [AtomicU64],
}

fn drive(
    steps: &[Step],
    first: Epoch,
    batches: Sender<Vec<Change>>,
    waker: &OnceLock<SyncActivator>,
    ends: &Watched<'_>,
) {
    let Watched {
        gate,
        log,
        backlog,
        durable,
    } = ends;
    let _open = Opens(gate);
    let mut next = first;
    for step in steps {
        match step {
            Step::Epoch(hints) => {
                batches.send(hints.clone()).unwrap();
                next += 1;
                wake(waker);
            }
            Step::Permit(count) => gate.permit(*count),
            Step::Drain if next > first => {
                gate.set_open(true);
                let deadline = Instant::now() + STUCK;
                let mut commits = log.commits.lock().unwrap();
                while commits.last().is_none_or(|commit| commit.upper < next) {
                    let left = deadline.saturating_duration_since(Instant::now());
                    assert!(
                        !left.is_zero(),
                        "stuck: nothing is committed up to {next}: {:?}",
                        commits.last()
                    );
                    commits = log.changed.wait_timeout(commits, left).unwrap().0;
                }
                drop(commits);
                // The ledger knows first; a worker relies on it when its own frontier says so.
                until(|| {
                    durable
                        .iter()
                        .all(|worker| worker.load(Ordering::SeqCst) >= next)
                });
                gate.set_open(false);
            }
            Step::Drain => {}
            Step::AtLeast(texts) => until(|| backlog.load(Ordering::Relaxed) >= *texts),
            Step::AtMost(texts) => until(|| backlog.load(Ordering::Relaxed) <= *texts),
        }
    }
    drop(batches);
    wake(waker);
}

/// Also when a test fails: who waits at the gate holds up the end.
struct Opens<'a>(&'a Gate);

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        self.0.set_open(true);
    }
}

/// What tells nobody when it changes is asked.
fn until(reached: impl Fn() -> bool) {
    let deadline = Instant::now() + STUCK;
    while !reached() {
        assert!(Instant::now() < deadline, "stuck: it does not get there");
        std::thread::yield_now();
    }
}

fn wake(waker: &OnceLock<SyncActivator>) {
    if let Some(waker) = waker.get() {
        let _ = waker.activate();
    }
}

/// A worker that panics does not stop its siblings; this does.
struct Fate(Arc<AtomicBool>);

impl Drop for Fate {
    fn drop(&mut self) {
        self.0.fetch_or(std::thread::panicking(), Ordering::SeqCst);
    }
}
