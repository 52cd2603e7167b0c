//! Everything that closed becomes durable, in one transaction, and only then does the frontier move.
//!
//! All rows go to worker 0, whose input frontier is therefore the vote of all workers on what is complete. Rows of
//! epochs that have closed are handed to the [`Ledger`] on its own thread, one call at a time: what closes during a call
//! goes into the next (group commit). The capability of an epoch is dropped when the call returns, so a probe on the
//! output *is* the durable frontier, everywhere.
//!
//! ```
//! use floodmark_operators::commit::{Ledger, commit};
//! use floodmark_operators::keys::Epoch;
//! use timely::dataflow::operators::{Input, Probe};
//! use std::sync::{Arc, Mutex};
//!
//! struct Memory(Arc<Mutex<Vec<(Epoch, String)>>>);
//! impl Ledger<String> for Memory {
//!     fn commit(&mut self, _upper: Epoch, rows: Vec<(Epoch, String)>) { self.0.lock().unwrap().extend(rows) }
//! }
//!
//! let durable = Arc::new(Mutex::new(vec![]));
//! let ledger = Memory(durable.clone());
//! timely::execute_directly(move |worker| {
//!     let (mut input, probe) = worker.dataflow(|scope| {
//!         let (input, rows) = scope.new_input();
//!         let (probe, _) = commit(rows, Some(Box::new(ledger))).probe();
//!         (input, probe)
//!     });
//!     input.send("high water".to_owned());
//!     worker.step();
//!     assert!(durable.lock().unwrap().is_empty(), "epoch 0 is still open");
//!     input.advance_to(1);
//!     worker.step_or_park_while(None, || probe.less_equal(&0));
//!     assert_eq!(*durable.lock().unwrap(), vec![(0, "high water".to_owned())]);
//! });
//! ```

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::fault;
use crate::keys::Epoch;

/// Makes rows durable; owned by one thread.
pub trait Ledger<R>: Send {
    /// Makes all of `rows` durable, or none, and with them that every epoch before `upper` is complete.
    ///
    /// Returns when they are. A ledger that can't be sure of it ends the process: nobody may be told otherwise.
    fn commit(&mut self, upper: Epoch, rows: Vec<(Epoch, R)>);
}

type Batch<R> = (Epoch, Vec<(Epoch, R)>);

/// The ledger's thread. It ends, ledger and all, before the operator does.
struct Clerk<R> {
    batches: Option<Sender<Batch<R>>>,
    thread: Option<JoinHandle<()>>,
}

impl<R: Send + 'static> Clerk<R> {
    fn new(mut ledger: Box<dyn Ledger<R>>, written: impl Fn() + Send + 'static) -> Self {
        let (batches, queue) = unbounded::<Batch<R>>();
        let serve = move || {
            for (upper, rows) in queue {
                ledger.commit(upper, rows);
                fault::pass("commit.written");
                written();
            }
        };
        let thread = std::thread::Builder::new()
            .name("commit".into())
            .spawn(serve);
        Self {
            batches: Some(batches),
            thread: Some(thread.expect("a thread for the ledger")),
        }
    }

    fn write(&self, upper: Epoch, rows: Vec<(Epoch, R)>) {
        let batches = self.batches.as_ref().expect("open until it is dropped");
        batches
            .send((upper, rows))
            .expect("the ledger's thread lives as long as this operator");
    }
}

impl<R> Drop for Clerk<R> {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Commits `rows` epoch by epoch to `ledger`, which is `Some` on worker 0 and `None` on all others.
pub fn commit<'scope, R: ExchangeData>(
    rows: StreamVec<'scope, Epoch, R>,
    ledger: Option<Box<dyn Ledger<R>>>,
) -> StreamVec<'scope, Epoch, ()> {
    let worker = rows.scope().worker().clone();
    let to_the_first = Exchange::new(|_: &R| 0);
    rows.unary_frontier::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
        to_the_first,
        "Commit",
        move |initial, info| {
            drop(initial);
            let waker = worker.sync_activator_for(info.address.to_vec());
            let (done_sender, done) = unbounded::<()>();
            let clerk = ledger.map(|ledger| {
                Clerk::new(ledger, move || {
                    // Either end may be gone when the dataflow was dropped; what was committed stays committed.
                    let _ = done_sender.send(());
                    let _ = waker.activate();
                })
            });
            let mut open: BTreeMap<Epoch, (Capability<Epoch>, Vec<R>)> = BTreeMap::new();
            let mut committing: Vec<Capability<Epoch>> = Vec::new();
            move |(input, frontier), _output| {
                input.for_each_time(|time, data| {
                    let (_, rows) = open
                        .entry(*time.time())
                        .or_insert_with(|| (time.retain(0), Vec::new()));
                    rows.extend(data.flat_map(|batch| batch.drain(..)));
                });
                while done.try_recv().is_ok() {
                    fault::pass("commit.frontier");
                    committing.clear();
                }
                if !committing.is_empty() {
                    return;
                }
                let mut closed = Vec::new();
                while let Some(entry) = open
                    .first_entry()
                    .filter(|entry| !frontier.less_equal(entry.key()))
                {
                    let (epoch, (capability, rows)) = entry.remove_entry();
                    committing.push(capability);
                    closed.extend(rows.into_iter().map(|row| (epoch, row)));
                }
                if let Some(last) = committing.last() {
                    fault::pass("commit.hand-over");
                    let clerk = clerk.as_ref().expect("rows come to worker 0 only");
                    clerk.write(*last.time() + 1, closed);
                }
            }
        },
    )
}
