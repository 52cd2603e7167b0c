//! Where time comes from: hints in, epochs out, and no more of them than the dataflow can keep up with.
//!
//! Only worker 0 mints epochs. It asks its [`Feed`] for the next batch while fewer than `in_flight` epochs are minted
//! and not committed; that is the whole of the back-pressure. Timely's own channels are not bounded, so without this a
//! fast disk would fill the memory with work for a slow model.
//!
//! Epoch 0 is what the store already held: nothing is minted before the committed frontier has passed it.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::source as timely_source;
use timely::dataflow::{ProbeHandle, Scope, StreamVec};

use timely::scheduling::SyncActivator;

use crate::fault;
use crate::keys::Epoch;

/// What a feed has to say when it is asked for more.
pub enum Next<H> {
    /// These belong together in one epoch.
    Batch(Vec<H>),
    /// Nothing now. The feed activates the source when that changes.
    Idle,
    /// Nothing ever again.
    Done,
}

/// Hands hints to the source, on worker 0's thread: it must not wait.
pub trait Feed<H> {
    /// Called once, before all else: `waker` makes the source ask again after it was told that there is nothing.
    fn attach(&mut self, waker: SyncActivator);

    /// The hints of `epoch`. Everything before `committed` is durable.
    fn next(&mut self, epoch: Epoch, committed: Epoch) -> Next<H>;
}

/// Bounds on what is under way.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The first epoch to mint: one past the last that an earlier run committed, at least 1.
    pub first: Epoch,
    /// Epochs that may be minted and not committed.
    pub in_flight: usize,
}

/// The stream of hints of `feed`, which is `Some` on worker 0 and `None` on all others.
pub fn source<'scope, H: 'static>(
    scope: Scope<'scope, Epoch>,
    feed: Option<Box<dyn Feed<H>>>,
    admission: Admission,
    committed: ProbeHandle<Epoch>,
) -> StreamVec<'scope, Epoch, H> {
    let worker = scope.worker().clone();
    timely_source::<Epoch, CapacityContainerBuilder<Vec<H>>, _, _>(
        scope,
        "Source",
        move |initial, info| {
            let mut minting = feed.map(|feed| (feed, initial));
            let mut minted = std::collections::VecDeque::new();
            if let Some((feed, capability)) = &mut minting {
                feed.attach(worker.sync_activator_for(info.address.to_vec()));
                capability.downgrade(&admission.first.max(1));
            }
            move |output| {
                let mut done = false;
                if let Some((feed, capability)) = &mut minting {
                    while minted
                        .front()
                        .is_some_and(|epoch| !committed.less_equal(epoch))
                    {
                        minted.pop_front();
                    }
                    while !committed.less_equal(&0) && minted.len() < admission.in_flight.max(1) {
                        let epoch = *capability.time();
                        match feed.next(epoch, minted.front().copied().unwrap_or(epoch)) {
                            Next::Batch(hints) => {
                                fault::pass("source.admit");
                                output.session(&capability).give_iterator(hints.into_iter());
                                capability.downgrade(&(epoch + 1));
                                minted.push_back(epoch);
                                fault::pass("source.minted");
                            }
                            Next::Idle => break,
                            Next::Done => {
                                fault::pass("source.done");
                                done = true;
                                break;
                            }
                        }
                    }
                }
                if done {
                    minting = None; // the last capability: everything downstream may now finish
                }
            }
        },
    )
}
