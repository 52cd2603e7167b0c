//! From live contents to the chunks that they consist of: each chunk as often as it occurs.
//!
//! A content that joins brings its chunks, one that leaves takes exactly those away again. What a content consists of
//! arrives beside the collection, at the time at which the content joins.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::keys::{ChunkHash, ContentKey, Epoch};
use crate::memo::Memo;

/// A content and its chunks.
pub type Composition = (ContentKey, Arc<[ChunkHash]>);

type Updates = Vec<(ContentKey, isize)>;

/// The chunks of all live `contents` (which are distinct).
pub fn expand<'scope>(
    contents: VecCollection<'scope, Epoch, ContentKey, isize>,
    compositions: StreamVec<'scope, Epoch, Composition>,
    memo: Memo,
) -> VecCollection<'scope, Epoch, ChunkHash, isize> {
    let by_content = Exchange::new(|update: &(ContentKey, Epoch, isize)| update.0.route());
    let by_composition = Exchange::new(|composition: &Composition| composition.0.route());
    type Out = CapacityContainerBuilder<Vec<(ChunkHash, Epoch, isize)>>;
    contents
        .inner
        .binary_frontier::<_, Out, _, _, _, _>(
            compositions,
            by_content,
            by_composition,
            "Expand",
            |initial, _info| {
                drop(initial);
                let mut live: HashMap<ContentKey, Arc<[ChunkHash]>> = HashMap::new();
                let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Updates)> = BTreeMap::new();
                let mut brought: BTreeMap<Epoch, HashMap<ContentKey, Arc<[ChunkHash]>>> =
                    BTreeMap::new();
                move |(contents, contents_open), (compositions, compositions_open), output| {
                    contents.for_each_time(|time, data| {
                        for (content, epoch, diff) in data.flat_map(|batch| batch.drain(..)) {
                            let held = waiting
                                .entry(epoch)
                                .or_insert_with(|| (time.delayed(&epoch, 0), Vec::new()));
                            held.1.push((content, diff));
                        }
                    });
                    compositions.for_each_time(|time, data| {
                        brought
                            .entry(*time.time())
                            .or_default()
                            .extend(data.flat_map(|batch| batch.drain(..)));
                    });
                    // In order of time, and only once both inputs have said all they have to say about it.
                    let open = |epoch: &Epoch| {
                        contents_open.less_equal(epoch) || compositions_open.less_equal(epoch)
                    };
                    while let Some(entry) = waiting.first_entry().filter(|entry| !open(entry.key()))
                    {
                        let (epoch, (capability, mut updates)) = entry.remove_entry();
                        let arrived = brought.remove(&epoch).unwrap_or_default();
                        updates.sort_by_key(|(_, diff)| *diff); // what leaves goes first
                        let mut session = output.session(&capability);
                        for (content, diff) in updates {
                            let chunks = if diff > 0 {
                                let chunks = arrived
                                    .get(&content)
                                    .expect("a content joins with its composition")
                                    .clone();
                                live.insert(content, chunks.clone());
                                chunks
                            } else {
                                memo.left(&content);
                                live.remove(&content)
                                    .expect("a content leaves after it joined")
                            };
                            session.give_iterator(chunks.iter().map(|chunk| (*chunk, epoch, diff)));
                        }
                    }
                    brought.retain(|epoch, _| open(epoch) || waiting.contains_key(epoch));
                }
            },
        )
        .as_collection()
}

/// Loads what an earlier run knew into `memo`, and passes it on as compositions.
pub fn remember<'scope>(
    known: StreamVec<'scope, Epoch, Composition>,
    memo: Memo,
) -> StreamVec<'scope, Epoch, Composition> {
    let owner = Exchange::new(|composition: &Composition| composition.0.route());
    known.unary::<CapacityContainerBuilder<Vec<Composition>>, _, _, _>(
        owner,
        "Remember",
        move |_, _| {
            move |input, output| {
                input.for_each_time(|time, data| {
                    let mut session = output.session(&time);
                    for (content, chunks) in data.flat_map(|batch| batch.drain(..)) {
                        memo.learn(content, chunks.clone(), *time.time());
                        session.give((content, chunks));
                    }
                });
            }
        },
    )
}
