//! What stands at the ends of the dataflow: a feed, a model and a ledger that the driver holds by strings.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use crossbeam_channel::{Receiver, TryRecvError};
use floodmark_operators::commit::Ledger;
use floodmark_operators::embed::{Embedder, Vector};
use floodmark_operators::keys::Epoch;
use floodmark_operators::source::{Feed, Next};
use timely::scheduling::SyncActivator;

use super::world::{Change, Out, text};

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
pub struct Slow {
    pub gate: Arc<Gate>,
    pub embedded: Arc<Mutex<Vec<String>>>,
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
            .map(|asked| match **asked == *text(17) {
                true => Err("refused".to_owned()),
                false => Ok(Arc::from([1.0f32])),
            })
            .collect()
    }
}

/// What the driver says to the feed.
pub struct Script {
    pub batches: Receiver<Vec<Change>>,
    pub waker: Arc<OnceLock<SyncActivator>>,
    /// The first epoch that was not minted yet.
    pub minted: Arc<AtomicU64>,
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

/// What the ledger was told.
#[derive(Default)]
pub struct Log {
    pub commits: Mutex<Vec<Commit>>,
    pub changed: Condvar,
}

/// A ledger that keeps it.
pub struct Memory {
    pub log: Arc<Log>,
    pub minted: Arc<AtomicU64>,
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
