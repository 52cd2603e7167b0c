//! The operators wired as a program wires them, around a world small enough to be recomputed from scratch.
//!
//! Contents and chunks are numbers. What a content consists of, whether it is refused, and which texts the model refuses
//! follow from the number, so the naive model needs no memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use floodmark_operators::chunk::{Chunk, Chunks, chunk};
use floodmark_operators::commit::{Ledger, commit};
use floodmark_operators::dedup::dedup;
use floodmark_operators::embed::{
    Embedded, Embedder, Embedders, Stored as Kept, Text, Vector, embed,
};
use floodmark_operators::expand::{Composition, expand, remember};
use floodmark_operators::fingerprint::{Finding, Fingerprint, fingerprint};
use floodmark_operators::keys::{ChunkHash, ContentKey, Epoch, PathKey};
use floodmark_operators::memo::Memo;
use floodmark_operators::offload::Pool;
use floodmark_operators::parse::{Found, Parse, parse};
use floodmark_operators::source::{Admission, Feed, Next, source};
use floodmark_operators::upsert::{Slot, upsert};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, OkErr, Probe, ToStream};
use timely::dataflow::{ProbeHandle, Scope};
use timely::scheduling::SyncActivator;

/// One hint: this path now holds that content, or nothing.
pub type Change = (u8, Option<u8>);

/// How long anything may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(60);
/// Is looked at only once its content was parsed for another path.
pub const LATE: u8 = 99;
/// Different chunk texts.
const TEXTS: u8 = 24;

pub fn path_key(path: u8) -> PathKey {
    PathKey::of(&[&[path]])
}

pub fn content_key(content: u8) -> ContentKey {
    ContentKey::of(&[&[content]])
}

pub fn text(chunk: u8) -> String {
    format!("text {chunk}")
}

pub fn hash(chunk: u8) -> ChunkHash {
    ChunkHash::of(&[text(chunk).as_bytes()])
}

/// What a content consists of: shared with others, sometimes repeated, sometimes nothing.
pub fn chunks_of(content: u8) -> Vec<u8> {
    let count = if content % 13 == 12 {
        0
    } else {
        content % 4 + 1
    };
    (0..count)
        .map(|k| (content.wrapping_mul(7) + (k % 3) * 5) % TEXTS)
        .collect()
}

/// Contents that no chunker can use.
pub fn refused(content: u8) -> bool {
    content % 11 == 10
}

/// Texts that the model has no vector for.
pub fn unembeddable(chunk: u8) -> bool {
    chunk == 17
}

/// What is committed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Out {
    /// Epoch 0 is through.
    Recovered,
    /// What a look at a path found, and whether it could be used.
    File(u8, Option<u8>, bool),
    /// A content was read for the first time.
    Content(u8),
    /// A text has its vector.
    New(ChunkHash),
    /// A text joined or left.
    Live(ChunkHash, isize),
}

/// Looks, parses and chunks, and counts how often each content was parsed.
#[derive(Default)]
pub struct Hands {
    pub parsed: Mutex<BTreeMap<u8, usize>>,
}

impl Fingerprint for Hands {
    type Hint = Change;
    type Bytes = u8;
    type Place = Change;
    type Note = u8;

    fn path(hint: &Change) -> PathKey {
        path_key(hint.0)
    }

    fn look(&self, (path, content): Change) -> Vec<Finding<u8, Change, u8>> {
        while path == LATE
            && content.is_some_and(|id| !self.parsed.lock().unwrap().contains_key(&id))
        {
            std::thread::yield_now();
        }
        vec![match content {
            Some(id) => Finding::Content(content_key(id), id, (path, content)),
            None => Finding::Note(path),
        }]
    }
}

impl Parse for Hands {
    type Bytes = u8;
    type Documents = u8;

    fn parse(&self, _: ContentKey, content: u8) -> u8 {
        *self.parsed.lock().unwrap().entry(content).or_default() += 1;
        content
    }
}

impl Chunk for Hands {
    type Documents = u8;
    type Row = u8;
    type Refusal = ();

    fn chunk(&self, _: ContentKey, content: &u8) -> Result<Chunks<u8>, ()> {
        if refused(*content) {
            return Err(());
        }
        let texts = chunks_of(*content)
            .into_iter()
            .map(|id| {
                (
                    hash(id),
                    Text {
                        text: text(id).into(),
                        tokens: u32::from(id % 7) + 1,
                        again: false,
                    },
                )
            })
            .collect();
        Ok(Chunks {
            row: *content,
            texts,
        })
    }
}

/// Lets batches through to the model one by one, or all of them.
#[derive(Default)]
pub struct Gate {
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    /// Lets `batches` more through.
    pub fn permit(&self, batches: usize) {
        self.state.lock().unwrap().0 += batches;
        self.changed.notify_all();
    }

    /// Lets everything through, or nothing but what is permitted.
    pub fn set_open(&self, open: bool) {
        self.state.lock().unwrap().1 = open;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let blocked = |state: &mut (usize, bool)| !state.1 && state.0 == 0;
        let mut state = self
            .changed
            .wait_while(self.state.lock().unwrap(), blocked)
            .unwrap();
        state.0 = state.0.saturating_sub(1);
    }
}

/// A model that waits at the gate and remembers what it was asked.
struct Slow {
    gate: Arc<Gate>,
    embedded: Arc<Mutex<Vec<String>>>,
}

impl Embedder for Slow {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        self.embedded
            .lock()
            .unwrap()
            .extend(texts.iter().map(|text| text.to_string()));
        self.gate.pass();
        texts
            .iter()
            .map(|text| match **text == *self::text(17) {
                true => Err("refused".to_owned()),
                false => Ok(Arc::from([1.0f32])),
            })
            .collect()
    }
}

/// What the driver says to the feed.
struct Script {
    batches: Receiver<Vec<Change>>,
    waker: Arc<OnceLock<SyncActivator>>,
    /// The first epoch that was not minted yet.
    minted: Arc<AtomicU64>,
}

impl Feed<Change> for Script {
    fn attach(&mut self, waker: SyncActivator) {
        assert!(self.waker.set(waker).is_ok());
    }

    fn next(&mut self, epoch: Epoch, _committed: Epoch) -> Next<Change> {
        match self.batches.try_recv() {
            Ok(batch) => {
                self.minted.store(epoch + 1, Ordering::SeqCst);
                Next::Batch(batch)
            }
            Err(TryRecvError::Empty) => Next::Idle,
            Err(TryRecvError::Disconnected) => Next::Done,
        }
    }
}

/// One call of the ledger: how far epochs were minted when it came, its upper, its rows.
#[derive(Clone, Debug)]
pub struct Commit {
    pub minted: Epoch,
    pub upper: Epoch,
    pub rows: Vec<(Epoch, Out)>,
}

#[derive(Default)]
struct Log {
    commits: Mutex<Vec<Commit>>,
    changed: Condvar,
}

struct Memory {
    log: Arc<Log>,
    minted: Arc<AtomicU64>,
}

impl Ledger<Out> for Memory {
    fn commit(&mut self, upper: Epoch, rows: Vec<(Epoch, Out)>) {
        let minted = self.minted.load(Ordering::SeqCst);
        self.log.commits.lock().unwrap().push(Commit {
            minted,
            upper,
            rows,
        });
        self.log.changed.notify_all();
    }
}

/// What an earlier run left behind.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub upper: Epoch,
    pub slots: BTreeMap<u8, u8>,
    pub contents: BTreeSet<u8>,
    pub vectors: BTreeSet<ChunkHash>,
}

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

struct Ends {
    feed: Script,
    ledger: Memory,
    stored: Stored,
}

fn build(
    scope: Scope<'_, Epoch>,
    hands: Arc<Hands>,
    pool: &Pool,
    embedders: Embedders,
    admission: Admission,
    ends: Option<Ends>,
    committed: &ProbeHandle<Epoch>,
) {
    let memo = Memo::new(committed.clone());
    let recovered = ends.is_some().then_some(Out::Recovered).to_stream(scope);
    let (feed, ledger, stored) = match ends {
        Some(ends) => (
            Some(Box::new(ends.feed) as Box<dyn Feed<Change>>),
            Some(Box::new(ends.ledger) as Box<dyn Ledger<Out>>),
            ends.stored,
        ),
        None => (None, None, Stored::default()),
    };
    let composition = |content: &u8| -> Composition {
        (
            content_key(*content),
            chunks_of(*content).into_iter().map(hash).collect(),
        )
    };
    let contents: Vec<Composition> = stored.contents.iter().map(composition).collect();
    let slots: Vec<(Slot, Option<ContentKey>)> = stored
        .slots
        .iter()
        .filter(|(_, content)| stored.contents.contains(*content))
        .map(|(path, content)| ((path_key(*path), 0), Some(content_key(*content))))
        .collect();
    let known = remember(contents.to_stream(scope), memo.clone());

    let hints = source(scope, feed, admission, committed.clone());
    let findings = fingerprint(hints, hands.clone(), pool);
    let (found, gone) = findings.ok_err(|finding| match finding {
        Finding::Content(content, bytes, place) => Ok(Found {
            content,
            bytes,
            place,
        }),
        Finding::Note(path) => Err(path),
    });
    let chunked = chunk(
        parse(found, memo.clone(), hands.clone(), pool),
        memo.clone(),
        hands,
        pool,
    );

    let emptied = gone.clone().map(|path| ((path_key(path), 0), None));
    let placed = chunked.clone().flat_map(|found| {
        let usable = found.verdict.is_ok();
        usable.then_some(((path_key(found.place.0), 0), Some(found.content)))
    });
    let contents = dedup(upsert(
        slots.to_stream(scope).concat(emptied).concat(placed),
    ));
    let compositions = chunked
        .clone()
        .flat_map(|found| Some((found.content, found.verdict.ok()?)));
    let chunks = dedup(expand(contents, known.concat(compositions), memo));
    let texts = chunked.clone().flat_map(|found| {
        found
            .fresh
            .map(|fresh| fresh.texts.clone())
            .unwrap_or_default()
    });
    let persisted: Vec<Kept> = stored.vectors.into_iter().map(Kept::Vector).collect();
    let embedded = embed(chunks, texts, persisted.to_stream(scope), embedders, 9);

    let of_gone = gone.map(|path| Out::File(path, None, true));
    let of_findings = chunked.flat_map(|found| {
        let content = found.fresh.map(|fresh| Out::Content(fresh.row));
        let (path, id) = found.place;
        content
            .into_iter()
            .chain([Out::File(path, id, found.verdict.is_ok())])
    });
    let of_texts = embedded.flat_map(|embedded| match embedded {
        Embedded::New(hash, ..) => Some(Out::New(hash)),
        Embedded::Live(hash, diff) => Some(Out::Live(hash, diff)),
        Embedded::Refused(..) => None,
    });
    commit(
        recovered
            .concat(of_gone)
            .concat(of_findings)
            .concat(of_texts),
        ledger,
    )
    .probe_with(committed);
}
