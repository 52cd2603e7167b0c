//! The operator of docs/adding-an-operator.md gives the answer that counting everything anew would give.

#[path = "../examples/count_by/count_by.rs"]
mod count_by;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use count_by::count_by;
use differential_dataflow::input::InputSession;
use floodmark_operators::keys::Epoch;
use proptest::prelude::*;

/// A number, whose kind is its remainder by 5, comes (or, if it is there, leaves).
type Change = u64;
type Differences = Vec<((u64, isize), Epoch, isize)>;

/// What `count_by` says when the numbers of each epoch come and leave.
fn differences(epochs: &[Vec<Change>], workers: usize) -> Differences {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (sink, epochs) = (seen.clone(), epochs.to_vec());
    timely::execute(timely::Config::process(workers), move |worker| {
        let mut numbers = InputSession::new();
        let sink = sink.clone();
        worker.dataflow(|scope| {
            count_by(numbers.to_collection(scope), |n: u64| n % 5)
                .inspect(move |difference| sink.lock().unwrap().push(*difference));
        });
        // Each worker brings its share, so that every kind is brought by all of them.
        let (index, peers) = (worker.index() as u64, worker.peers() as u64);
        for epoch in 0..epochs.len() {
            for (number, diff) in changes(&epochs, epoch) {
                if number / 5 % peers == index {
                    numbers.update(number, diff);
                }
            }
            numbers.advance_to(epoch as Epoch + 1);
            numbers.flush();
            worker.step();
        }
    })
    .unwrap()
    .join()
    .into_iter()
    .for_each(|ended| ended.unwrap());
    Arc::try_unwrap(seen).unwrap().into_inner().unwrap()
}

/// The numbers that are there after `epoch`.
fn there(epochs: &[Vec<Change>], epoch: usize) -> BTreeMap<u64, isize> {
    let mut numbers = BTreeMap::new();
    for number in epochs[..=epoch].iter().flatten() {
        if numbers.remove(number).is_none() {
            numbers.insert(*number, 1);
        }
    }
    numbers
}

fn changes(epochs: &[Vec<Change>], epoch: usize) -> Vec<(u64, isize)> {
    let before = epoch
        .checked_sub(1)
        .map(|last| there(epochs, last))
        .unwrap_or_default();
    let now = there(epochs, epoch);
    let came = now
        .keys()
        .filter(|n| !before.contains_key(n))
        .map(|n| (*n, 1));
    let left = before
        .keys()
        .filter(|n| !now.contains_key(n))
        .map(|n| (*n, -1));
    came.chain(left).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn counts_are_those_of_counting_anew(
        epochs in prop::collection::vec(prop::collection::vec(0u64..40, 0..12), 1..8),
        workers in 1usize..=2,
    ) {
        let differences = differences(&epochs, workers);
        for epoch in 0..epochs.len() {
            let mut anew: BTreeMap<u64, isize> = BTreeMap::new();
            for number in there(&epochs, epoch).keys() {
                *anew.entry(number % 5).or_insert(0) += 1;
            }
            let mut kept: BTreeMap<(u64, isize), isize> = BTreeMap::new();
            for (count, _, diff) in differences.iter().filter(|(_, time, _)| *time <= epoch as Epoch) {
                *kept.entry(*count).or_insert(0) += diff;
            }
            kept.retain(|_, copies| *copies != 0);
            let expected: BTreeMap<(u64, isize), isize> = anew.into_iter().map(|count| (count, 1)).collect();
            prop_assert_eq!(kept, expected, "after epoch {}", epoch);
        }
        // And nothing is said twice: a count that is what it was makes no noise.
        let mut noise: BTreeMap<((u64, isize), Epoch), isize> = BTreeMap::new();
        for (count, epoch, _) in differences {
            *noise.entry((count, epoch)).or_insert(0) += 1;
        }
        prop_assert!(noise.values().all(|times| *times == 1));
    }
}
