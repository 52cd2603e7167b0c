//! From texts that are missing to vectors: asynchronous, batched across epochs, cancellable.
//!
//! ```text
//!  wanted (hash, ±1) ─┐        known? ── yes ──────────────────────────────▶ (hash, ±1)
//!  texts (hash, text) ├─▶ per hash ┤
//!  stored (hash) ─────┘            └─ no ─▶ plan ─▶ embedders' threads ─▶ (hash, ±1) and the vector, once
//! ```
//!
//! * A hash that the store holds a vector for (`stored`), or that was embedded before, passes at once.
//! * One whose text the model refuses never comes out, and holds nothing back. It is not tried again, now or after a
//!   restart, until its text comes with the word that it should be ([`Text::again`]).
//! * One that is retracted before its text was handed to an embedder is cancelled: it leaves no trace downstream. (A text
//!   that is wanted at t₁ and no longer at t₂ > t₁ is then never visible at t₁. That is deliberate: nobody asked in time.)
//! * One that is retracted while it is being embedded comes out and goes again; the vector is kept.
//! * An open time keeps its capability until everything wanted at it has come out, so the frontier downstream says exactly
//!   how far embedding has come.
//!
//! Vectors are not reproducible to the bit everywhere and floats have no order, so neither text nor vector is ever part of
//! a difference: the hash is, and what belongs to it travels beside it, once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::SyncActivator;

use crate::batch::Planner;
use crate::fault;
use crate::keys::{ChunkHash, Epoch};

/// A text to embed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub text: Arc<str>,
    /// Its length in tokens: how batches are planned. Being wrong costs time, not correctness.
    pub tokens: u32,
    /// The model refused it, and is to be asked once more. Means nothing for a text that was not refused.
    pub again: bool,
}

/// What is known of a text from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    /// It has a vector.
    Vector(ChunkHash),
    /// The model refused it.
    Refused(ChunkHash),
}

impl Stored {
    fn hash(&self) -> ChunkHash {
        match self {
            Self::Vector(hash) | Self::Refused(hash) => *hash,
        }
    }
}

/// `[d]` f32, unit L2 norm.
pub type Vector = Arc<[f32]>;

/// Turns texts into vectors; owned by one thread.
pub trait Embedder: Send + 'static {
    /// `n` texts → `n` results, in order: a vector, or why that text has none.
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>>;
}

impl Embedder for Box<dyn Embedder> {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        (**self).embed(texts)
    }
}

struct Job {
    keys: Vec<ChunkHash>,
    texts: Vec<Arc<str>>,
    reply: Sender<Done>,
    waker: SyncActivator,
}

struct Done {
    keys: Vec<ChunkHash>,
    texts: Vec<Arc<str>>,
    results: Vec<Result<Vector, String>>,
}

/// The threads that embed, shared by the workers of a process.
#[derive(Clone)]
pub struct Embedders {
    jobs: Sender<Job>,
    threads: usize,
    backlog: Arc<AtomicUsize>,
}

impl Embedders {
    /// One thread for each of `embedders`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new<E: Embedder>(embedders: Vec<E>) -> std::io::Result<Self> {
        let (jobs, queue) = unbounded::<Job>();
        let threads = embedders.len();
        for (number, mut embedder) in embedders.into_iter().enumerate() {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("embed-{number}"))
                .spawn(move || {
                    for Job {
                        keys,
                        texts,
                        reply,
                        waker,
                    } in queue
                    {
                        fault::pass("embed.begin");
                        let results = embedder.embed(&texts);
                        fault::pass("embed.done");
                        // Either end may be gone when the dataflow was dropped: then nobody waits for the result.
                        let _ = reply.send(Done {
                            keys,
                            texts,
                            results,
                        });
                        let _ = waker.activate();
                    }
                })?;
        }
        Ok(Self {
            jobs,
            threads,
            backlog: Arc::default(),
        })
    }

    /// Texts that are wanted by this process's workers and have no vector yet. For people: progress is the frontier's.
    pub fn backlog(&self) -> Arc<AtomicUsize> {
        self.backlog.clone()
    }
}

/// What became of a wanted hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Embedded {
    /// A text and its vector, for the first time.
    New(ChunkHash, Arc<str>, Vector),
    /// The hash, which has a vector, is wanted (+1) or no longer (−1).
    Live(ChunkHash, isize),
    /// The model has no vector for this text, and why; it stays out of the index.
    Refused(ChunkHash, Arc<str>, String),
}

/// What is under way for a hash without a vector.
#[derive(Default)]
struct Pending {
    wanted: BTreeMap<Epoch, isize>,
    running: bool,
    /// Was refused before.
    refused: bool,
}

/// Embeds what is wanted and has no vector, in batches of at most `batch_tokens`.
///
/// `wanted` is distinct. A text comes at the time at which its hash is first wanted. `stored` comes at epoch 0, before
/// whose end nothing is embedded.
pub fn embed<'scope>(
    wanted: VecCollection<'scope, Epoch, ChunkHash, isize>,
    texts: StreamVec<'scope, Epoch, (ChunkHash, Text)>,
    stored: StreamVec<'scope, Epoch, Stored>,
    embedders: Embedders,
    batch_tokens: usize,
) -> StreamVec<'scope, Epoch, Embedded> {
    let scope = wanted.inner.scope();
    let worker = scope.worker().clone();
    let mut builder = OperatorBuilder::new("Embed".into(), scope);
    let (output, stream) = builder.new_output::<Vec<Embedded>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Embedded>>>::from(output);
    let by_hash = Exchange::new(|update: &(ChunkHash, Epoch, isize)| update.0.route());
    let mut wanted = builder.new_input(wanted.inner, by_hash);
    let mut texts = builder.new_input(
        texts,
        Exchange::new(|text: &(ChunkHash, Text)| text.0.route()),
    );
    let mut stored = builder.new_input(
        stored,
        Exchange::new(|stored: &Stored| stored.hash().route()),
    );
    let waker = worker.sync_activator_for(builder.operator_info().address.to_vec());

    builder.build(move |initial| {
        drop(initial);
        let mut state = State::new(embedders, batch_tokens, waker);
        let mut early: Vec<(ChunkHash, Epoch, isize)> = Vec::new();
        let mut retried: Vec<(ChunkHash, Text, Capability<Epoch>)> = Vec::new();
        move |frontiers| {
            let [wanted_open, texts_open, stored_open] = frontiers else {
                unreachable!("three inputs")
            };
            let mut output = output.activate();
            stored.for_each_time(|_, data| {
                data.flat_map(|batch| batch.drain(..))
                    .for_each(|stored| state.stored(stored))
            });
            texts.for_each_time(|time, data| {
                for (hash, text) in data.flat_map(|batch| batch.drain(..)) {
                    if text.again {
                        retried.push((hash, text, time.delayed(time.time(), 0)));
                    } else {
                        state.text(hash, text, *time.time());
                    }
                }
            });
            wanted.for_each_time(|time, data| {
                for (hash, epoch, diff) in data.flat_map(|batch| batch.drain(..)) {
                    state.hold(epoch, || time.delayed(&epoch, 0));
                    early.push((hash, epoch, diff));
                }
            });
            if stored_open.is_empty() || !stored_open.less_equal(&0) {
                // What leaves goes first, so that a hash that left and came back is never wanted twice.
                early.sort_by_key(|(_, epoch, diff)| (*epoch, *diff));
                for (hash, epoch, diff) in early.drain(..) {
                    state.want(hash, epoch, diff);
                }
                // Only then is it known whether they are wanted.
                for (hash, text, capability) in
                    retried.extract_if(.., |(_, _, at)| !wanted_open.less_equal(at.time()))
                {
                    state.again(hash, text, capability);
                }
            }
            state.collect();
            state.dispatch();
            for (epoch, rows) in std::mem::take(&mut state.out) {
                output
                    .session(&state.held[&epoch].0)
                    .give_iterator(rows.into_iter());
            }
            let first = |open: &MutableAntichain<Epoch>| open.frontier().first().copied();
            let open_from = [first(wanted_open), first(texts_open)];
            state.settle(open_from, |epoch| {
                wanted_open.less_equal(epoch) || texts_open.less_equal(epoch)
            });
        }
    });
    stream
}

/// The operator's state, apart from timely's handles.
struct State {
    embedders: Embedders,
    waker: SyncActivator,
    reply: Sender<Done>,
    returned: Receiver<Done>,
    running: usize,
    planner: Planner<ChunkHash>,
    /// Has a vector in the store, or will have by the time anything later is committed.
    known: HashSet<ChunkHash>,
    /// The model refused it, now or in an earlier run, and so often is it wanted: once, or not at all.
    refused: HashMap<ChunkHash, isize>,
    pending: HashMap<ChunkHash, Pending>,
    /// Texts that arrived, with the last time at which they did: kept while somebody may still ask.
    texts: HashMap<ChunkHash, (Text, Epoch)>,
    /// Some of them may be kept in vain.
    untidy: bool,
    /// The first times at which anything may still be wanted, and texts may come, when that was last looked at.
    open_from: [Option<Epoch>; 2],
    /// How much of the embedders' backlog is this operator's.
    reported: usize,
    /// One capability for each time at which something may still come out, and how much that is.
    held: BTreeMap<Epoch, (Capability<Epoch>, usize)>,
    out: BTreeMap<Epoch, Vec<Embedded>>,
}

impl State {
    fn new(embedders: Embedders, batch_tokens: usize, waker: SyncActivator) -> Self {
        let (reply, returned) = unbounded();
        Self {
            embedders,
            waker,
            reply,
            returned,
            running: 0,
            planner: Planner::new(batch_tokens),
            known: HashSet::new(),
            refused: HashMap::new(),
            pending: HashMap::new(),
            texts: HashMap::new(),
            untidy: false,
            open_from: [Some(0); 2],
            reported: 0,
            held: BTreeMap::new(),
            out: BTreeMap::new(),
        }
    }

    /// One more thing may come out at `epoch`.
    fn hold(&mut self, epoch: Epoch, capability: impl FnOnce() -> Capability<Epoch>) {
        self.held
            .entry(epoch)
            .or_insert_with(|| (capability(), 0))
            .1 += 1;
    }

    /// One thing less will come out at `epoch`; the capability itself goes in [`Self::settle`].
    fn release(&mut self, epoch: Epoch) {
        self.held
            .get_mut(&epoch)
            .expect("what is wanted at a time holds it")
            .1 -= 1;
    }

    fn emit(&mut self, epoch: Epoch, row: Embedded) {
        self.out.entry(epoch).or_default().push(row);
    }

    fn stored(&mut self, stored: Stored) {
        match stored {
            Stored::Vector(hash) => drop(self.known.insert(hash)),
            Stored::Refused(hash) => drop(self.refused.insert(hash, 0)),
        }
    }

    /// A text that was refused is to be tried again. Who relies on its having been refused sends no text when he wants it,
    /// so its hash stays among the refused for as long as it is not wanted.
    fn again(&mut self, hash: ChunkHash, text: Text, capability: Capability<Epoch>) {
        let Some(&wanted) = self.refused.get(&hash).filter(|wanted| **wanted != 0) else {
            return;
        };
        self.refused.remove(&hash);
        let time = *capability.time();
        self.hold(time, || capability);
        let pending = self.pending.entry(hash).or_default();
        pending.wanted.insert(time, wanted);
        pending.refused = true;
        self.text(hash, text, time);
    }

    fn text(&mut self, hash: ChunkHash, text: Text, time: Epoch) {
        if self.known.contains(&hash) || self.refused.contains_key(&hash) {
            return;
        }
        let tokens = text.tokens as usize;
        let kept = self.texts.entry(hash).or_insert((text, time));
        kept.1 = kept.1.max(time);
        self.untidy = true;
        self.queue(hash, tokens);
    }

    fn want(&mut self, hash: ChunkHash, epoch: Epoch, diff: isize) {
        if self.known.contains(&hash) {
            self.emit(epoch, Embedded::Live(hash, diff));
            return self.release(epoch);
        }
        if let Some(wanted) = self.refused.get_mut(&hash) {
            *wanted += diff;
            return self.release(epoch); // it never came out, so it need not go
        }
        let pending = self.pending.entry(hash).or_default();
        *pending.wanted.entry(epoch).or_insert(0) += diff;
        if !pending.running && pending.wanted.values().sum::<isize>() == 0 {
            let cancelled = self.pending.remove(&hash).expect("just seen");
            self.planner.remove(&hash);
            self.untidy = true;
            if cancelled.refused {
                self.refused.insert(hash, 0);
            }
            // `wanted` is distinct, so each of these epochs saw one update and holds one thing.
            for (epoch, _) in cancelled.wanted {
                self.release(epoch);
            }
            return;
        }
        if let Some((text, _)) = self.texts.get(&hash) {
            let tokens = text.tokens as usize;
            self.queue(hash, tokens);
        }
    }

    /// Plans `hash` if it is wanted, has a text, and is not under way.
    fn queue(&mut self, hash: ChunkHash, tokens: usize) {
        if let Some(pending) = self.pending.get(&hash).filter(|pending| !pending.running) {
            let oldest = *pending
                .wanted
                .keys()
                .next()
                .expect("pending means wanted at some time");
            self.planner.insert(oldest, tokens, hash);
        }
    }

    /// Takes what the embedders have returned.
    fn collect(&mut self) {
        while let Ok(Done {
            keys,
            texts,
            results,
        }) = self.returned.try_recv()
        {
            self.running -= 1;
            fault::pass("embed.returned");
            let short = keys.len().saturating_sub(results.len());
            let missing = std::iter::repeat_n(
                Err("the embedder returned too few vectors".to_owned()),
                short,
            );
            for ((hash, text), result) in keys
                .into_iter()
                .zip(texts)
                .zip(results.into_iter().chain(missing))
            {
                let pending = self.pending.remove(&hash).expect("what runs is pending");
                self.texts.remove(&hash);
                let first = *pending
                    .wanted
                    .keys()
                    .next()
                    .expect("pending means wanted at some time");
                match result {
                    Ok(vector) => {
                        self.known.insert(hash);
                        self.emit(first, Embedded::New(hash, text, vector));
                        for (epoch, diff) in pending.wanted {
                            if diff != 0 {
                                self.emit(epoch, Embedded::Live(hash, diff));
                            }
                            self.release(epoch);
                        }
                    }
                    Err(reason) => {
                        self.refused.insert(hash, pending.wanted.values().sum());
                        self.emit(first, Embedded::Refused(hash, text, reason));
                        for (epoch, _) in pending.wanted {
                            self.release(epoch);
                        }
                    }
                }
            }
        }
    }

    /// Hands batches to the embedders: one running and one waiting for each thread, so that none is ever idle while
    /// the rest of the work stays here, where it can be ordered and cancelled.
    fn dispatch(&mut self) {
        while self.running < 2 * self.embedders.threads {
            let keys = self.planner.next_batch();
            if keys.is_empty() {
                break;
            }
            let texts = keys
                .iter()
                .map(|hash| {
                    self.pending
                        .get_mut(hash)
                        .expect("what is planned is pending")
                        .running = true;
                    self.texts[hash].0.text.clone()
                })
                .collect();
            self.running += 1;
            fault::pass("embed.hand-over");
            let job = Job {
                keys,
                texts,
                reply: self.reply.clone(),
                waker: self.waker.clone(),
            };
            self.embedders
                .jobs
                .send(job)
                .expect("the threads live as long as a sender does");
        }
    }

    /// Lets go of times at which nothing more will come out, and of texts that nobody can ask for any more.
    fn settle(&mut self, open_from: [Option<Epoch>; 2], open: impl Fn(&Epoch) -> bool) {
        let (before, now) = (
            std::mem::replace(&mut self.reported, self.pending.len()),
            self.pending.len(),
        );
        self.embedders
            .backlog
            .fetch_add(now.wrapping_sub(before), Ordering::Relaxed); // wraps around when it shrinks
        self.held.retain(|_, (_, outstanding)| *outstanding > 0);
        // Not after every batch that comes back: that would be all texts for each few of them.
        let moved = std::mem::replace(&mut self.open_from, open_from) != open_from;
        if std::mem::take(&mut self.untidy) || moved {
            let pending = &self.pending;
            self.texts
                .retain(|hash, (_, time)| open(time) || pending.contains_key(hash));
        }
    }
}
