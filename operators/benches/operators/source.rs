//! Epochs of one hint, minted, committed by a ledger that keeps nothing, and admitted again: the round trip of a change.

use std::cell::OnceCell;
use std::rc::Rc;

use criterion::{Criterion, Throughput};
use floodmark_operators::commit::{Ledger, commit};
use floodmark_operators::keys::Epoch;
use floodmark_operators::source::{Admission, Feed, Next, source};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Concat, Probe, ToStream};
use timely::scheduling::SyncActivator;

const EPOCHS: u64 = 1_000;

/// How the source is made to look at the committed frontier again: a probe wakes nobody.
type Waker = Rc<OnceCell<SyncActivator>>;

struct Numbers(u64, Waker);

impl Feed<u64> for Numbers {
    fn attach(&mut self, waker: SyncActivator) {
        let _once = self.1.set(waker);
    }

    fn next(&mut self, _epoch: Epoch, _committed: Epoch) -> Next<u64> {
        self.0 += 1;
        match self.0 <= EPOCHS {
            true => Next::Batch(vec![self.0]),
            false => Next::Done,
        }
    }
}

struct Nowhere;

impl Ledger<u64> for Nowhere {
    fn commit(&mut self, _upper: Epoch, rows: Vec<(Epoch, u64)>) {
        std::hint::black_box(rows);
    }
}

fn round_trips() {
    timely::execute_directly(|worker| {
        let committed = ProbeHandle::new();
        let waker = Waker::default();
        worker.dataflow(|scope| {
            let admission = Admission {
                first: 1,
                in_flight: 4,
            };
            let feed: Box<dyn Feed<u64>> = Box::new(Numbers(0, waker.clone()));
            let hints = source(scope, Some(feed), admission, committed.clone());
            // Epoch 0 has something to commit, as it has after a start.
            let recovered = [0].to_stream(scope);
            commit(hints.concat(recovered), Some(Box::new(Nowhere))).probe_with(&committed);
        });
        let mut seen = None;
        while worker.has_dataflows() {
            worker.step();
            let now = committed.with_frontier(|frontier| frontier.first().copied());
            if seen != now {
                seen = now;
                if let Some(waker) = waker.get() {
                    waker.activate().expect("a worker that is stepping");
                }
            }
        }
    });
}

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("operators");
    group.throughput(Throughput::Elements(EPOCHS));
    group.bench_function("source, epochs of one", |bencher| bencher.iter(round_trips));
    group.finish();
}
