//! How many records there are of each kind, kept up to date: files by format, chunks by language, orders by customer.
//!
//! One worker owns a kind, so its count is in one place. A change of the count is two differences: the old one leaves,
//! the new one joins. Nothing is said about a kind whose count is what it was.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use floodmark_operators::keys::Epoch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// `(kind, count)` for each kind of which there is at least one.
pub fn count_by<'scope, D, K>(
    records: VecCollection<'scope, Epoch, D, isize>,
    kind: impl Fn(D) -> K + 'static,
) -> VecCollection<'scope, Epoch, (K, isize), isize>
where
    D: ExchangeData,
    K: ExchangeData + Hash,
{
    let kinds = records.map(kind);
    let owner = Exchange::new(|update: &(K, Epoch, isize)| route(&update.0));
    type Out<K> = CapacityContainerBuilder<Vec<((K, isize), Epoch, isize)>>;
    kinds
        .inner
        .unary_frontier::<Out<K>, _, _, _>(owner, "CountBy", |initial, _info| {
            drop(initial); // kept, it would hold back the frontier for ever
            let mut counts: HashMap<K, isize> = HashMap::new();
            let mut open: BTreeMap<Epoch, (Capability<Epoch>, HashMap<K, isize>)> = BTreeMap::new();
            move |(input, frontier), output| {
                input.for_each_time(|time, data| {
                    for (kind, epoch, diff) in data.flat_map(|batch| batch.drain(..)) {
                        let (_, changes) = open
                            .entry(epoch)
                            .or_insert_with(|| (time.delayed(&epoch, 0), HashMap::new()));
                        *changes.entry(kind).or_insert(0) += diff;
                    }
                });
                // In order of time, and only when nothing more can come at it: a count is never half of an epoch's.
                while let Some(entry) = open
                    .first_entry()
                    .filter(|entry| !frontier.less_equal(entry.key()))
                {
                    let (epoch, (capability, changes)) = entry.remove_entry();
                    let mut session = output.session(&capability);
                    for (kind, change) in changes {
                        let old = counts.remove(&kind).unwrap_or(0);
                        let new = old + change;
                        if new != 0 {
                            counts.insert(kind.clone(), new);
                        }
                        if new != old && old != 0 {
                            session.give(((kind.clone(), old), epoch, -1));
                        }
                        if new != old && new != 0 {
                            session.give(((kind, new), epoch, 1));
                        }
                    }
                }
            }
        })
        .as_collection()
}

fn route<K: Hash>(kind: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    kind.hash(&mut hasher);
    hasher.finish()
}
