//! Work off the worker's thread: the pattern that every slow operator here shares.
//!
//! A timely worker must never wait: while it does, nothing else on it makes progress. So slow work goes to a [`Pool`]
//! of threads, and the operator keeps a *capability for every time that has work outstanding*: the promise to the rest
//! of the dataflow that more may come at that time. When a result returns, its thread wakes the operator, which emits
//! it at the time of its input and lets go of the capability once nothing more is outstanding there.
//!
//! [`Away`] is that bookkeeping; [`offload`] is the operator for the common case, one input record → any number of
//! output records, at the same time.
//!
//! ```
//! use floodmark_operators::offload::{offload, Pool};
//! use timely::dataflow::channels::pact::Pipeline;
//! use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
//!
//! let pool = Pool::new("squares", 2).unwrap();
//! let squares = timely::example(move |scope| {
//!     let numbers = (0..10u64).to_stream(scope).container::<Vec<_>>();
//!     offload(numbers, Pipeline, "Square", &pool, |n| [n * n]).capture()
//! });
//! let mut squares: Vec<u64> = squares.extract().into_iter().flat_map(|(_, data)| data).collect();
//! squares.sort();
//! assert_eq!(squares, (0..10).map(|n| n * n).collect::<Vec<_>>());
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::SyncActivator;

use crate::fault;
use crate::keys::Epoch;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that run jobs in the order in which they were given. Cloning shares the threads; they end with the last clone.
///
/// The queue is not bounded: what is in it is bounded by the epochs that the source admits.
#[derive(Clone)]
pub struct Pool {
    jobs: Sender<Job>,
}

impl Pool {
    /// `threads` (at least one) new threads, named after `name`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(name: &str, threads: usize) -> io::Result<Self> {
        let (jobs, queue) = unbounded::<Job>();
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || {
                    for job in queue {
                        job();
                    }
                })?;
        }
        Ok(Self { jobs })
    }

    /// Runs `job` on one of the threads.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.jobs
            .send(Box::new(job))
            .expect("the threads live as long as a sender does");
    }
}

/// Work that an operator has given away, and the capabilities that it holds meanwhile.
pub struct Away<R> {
    sender: Sender<(Epoch, R)>,
    returned: Receiver<(Epoch, R)>,
    waker: SyncActivator,
    held: BTreeMap<Epoch, (Capability<Epoch>, usize)>,
}

impl<R: Send + 'static> Away<R> {
    /// Nothing away yet. `waker` activates the operator when a result returns.
    pub fn new(waker: SyncActivator) -> Self {
        let (sender, returned) = unbounded();
        Self {
            sender,
            returned,
            waker,
            held: BTreeMap::new(),
        }
    }

    /// Runs `work` on `pool`; its result returns at the time of `capability`, which is kept until it is [released](Self::release).
    pub fn send(
        &mut self,
        capability: Capability<Epoch>,
        pool: &Pool,
        work: impl FnOnce() -> R + Send + 'static,
    ) {
        let time = *capability.time();
        self.held.entry(time).or_insert((capability, 0)).1 += 1;
        let (sender, waker) = (self.sender.clone(), self.waker.clone());
        fault::pass("work.hand-over");
        pool.run(move || {
            let result = work();
            fault::pass("work.done");
            // Either end may be gone when the dataflow was dropped: then nobody waits for the result.
            let _ = sender.send((time, result));
            let _ = waker.activate();
        });
    }

    /// The next result that has returned. The caller emits it, then calls [`Self::release`].
    pub fn next_returned(&mut self) -> Option<(Capability<Epoch>, R)> {
        let (time, result) = self.returned.try_recv().ok()?;
        fault::pass("work.returned");
        let (capability, _) = self
            .held
            .get(&time)
            .expect("a time with work outstanding is held");
        Some((capability.clone(), result))
    }

    /// One piece of work at `time` has been dealt with.
    pub fn release(&mut self, time: Epoch) {
        let outstanding = &mut self
            .held
            .get_mut(&time)
            .expect("a time with work outstanding is held")
            .1;
        *outstanding -= 1;
        if *outstanding == 0 {
            self.held.remove(&time);
        }
    }
}

/// Applies `work` to each record on `pool`, at the record's own time. Order within a time is not kept.
pub fn offload<'scope, I, O, V, P, F>(
    input: StreamVec<'scope, Epoch, I>,
    pact: P,
    name: &str,
    pool: &Pool,
    work: F,
) -> StreamVec<'scope, Epoch, O>
where
    I: Send + 'static,
    O: Send + 'static,
    V: IntoIterator<Item = O> + Send + 'static,
    P: ParallelizationContract<Epoch, Vec<I>>,
    F: Fn(I) -> V + Send + Sync + 'static,
{
    let worker = input.scope().worker().clone();
    let pool = pool.clone();
    let work = Arc::new(work);
    input.unary_frontier::<CapacityContainerBuilder<Vec<O>>, _, _, _>(
        pact,
        name,
        move |initial, info| {
            drop(initial); // kept, it would hold back the frontier for ever
            let mut away = Away::new(worker.sync_activator_for(info.address.to_vec()));
            move |(input, _frontier), output| {
                input.for_each_time(|time, data| {
                    let capability = time.retain(0);
                    for record in data.flat_map(|batch| batch.drain(..)) {
                        let work = work.clone();
                        away.send(capability.clone(), &pool, move || work(record));
                    }
                });
                while let Some((capability, records)) = away.next_returned() {
                    output
                        .session(&capability)
                        .give_iterator(records.into_iter());
                    away.release(*capability.time());
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use timely::dataflow::channels::pact::Exchange;
    use timely::dataflow::operators::{Input, Inspect, Probe};
    use timely::dataflow::{InputHandle, ProbeHandle};

    #[test]
    fn the_frontier_passes_a_time_only_when_all_its_results_are_out() {
        let seen = Arc::new(AtomicUsize::new(0));
        let pool = Pool::new("test", 3).unwrap();
        let counted = seen.clone();
        timely::execute(timely::Config::process(2), move |worker| {
            let (counted, pool) = (counted.clone(), pool.clone());
            let probe = ProbeHandle::new();
            let mut input = InputHandle::<Epoch, CapacityContainerBuilder<Vec<u64>>>::new();
            worker.dataflow(|scope| {
                let numbers = scope.input_from(&mut input);
                let counted = counted.clone();
                offload(numbers, Exchange::new(|n: &u64| *n), "Echo", &pool, |n| {
                    (0..n % 3).map(|_| n).collect::<Vec<_>>()
                })
                .inspect(move |_| {
                    counted.fetch_add(1, Ordering::SeqCst);
                })
                .probe_with(&probe);
            });
            let index = worker.index();
            for epoch in 0..20u64 {
                if index == 0 {
                    (0..30).for_each(|n| input.send(n));
                }
                input.advance_to(epoch + 1);
                worker.step_or_park_while(Some(Duration::from_millis(20)), || {
                    probe.less_than(&(epoch + 1))
                });
                // both workers' results of all epochs so far: 10 × (0 + 1 + 2) each
                assert!(counted.load(Ordering::SeqCst) as u64 >= (epoch + 1) * 30);
            }
        })
        .unwrap()
        .join()
        .into_iter()
        .for_each(|result| result.unwrap());
        assert_eq!(seen.load(Ordering::SeqCst), 600);
    }
}
