//! From content to documents, once per distinct content.
//!
//! Findings go to the worker that owns their content. What the [memo](crate::memo) knows passes through untouched; the
//! rest is parsed on the pool. Findings of a content that is being parsed at the same time wait for it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use crate::keys::{ChunkHash, ContentKey, Epoch};
use crate::memo::Memo;
use crate::offload::{Away, Pool};

/// Turns bytes into documents. Called on many threads at once; a function of its arguments alone.
pub trait Parse: Send + Sync + 'static {
    /// Bytes, and how to read them.
    type Bytes: ExchangeData;
    /// What they turn out to be, good or bad: an error is a value here.
    type Documents: Send + Sync + 'static;

    /// Parses.
    fn parse(&self, content: ContentKey, bytes: Self::Bytes) -> Self::Documents;
}

/// A content at its place, parsed or known.
#[derive(Clone)]
pub struct Parsed<D, P> {
    /// Its key.
    pub content: ContentKey,
    /// Where it was found.
    pub place: P,
    /// What is in it.
    pub reading: Reading<D>,
}

/// What is known of a content after parsing.
#[derive(Clone)]
pub enum Reading<D> {
    /// Its chunks are known: nothing to do.
    Known(Arc<[ChunkHash]>),
    /// These are its documents; they have yet to be chunked, unless that is done or under way by now.
    Fresh(Arc<D>),
}

/// A finding with bytes, on its way to the parser.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found<B, P> {
    /// The content's key.
    pub content: ContentKey,
    /// Its bytes, and how to read them.
    pub bytes: B,
    /// Where it was found.
    pub place: P,
}

/// Parses each distinct content that `memo` does not know, on `pool`.
pub fn parse<'scope, X: Parse, P: ExchangeData>(
    found: StreamVec<'scope, Epoch, Found<X::Bytes, P>>,
    memo: Memo,
    parser: Arc<X>,
    pool: &Pool,
) -> StreamVec<'scope, Epoch, Parsed<X::Documents, P>> {
    let worker = found.scope().worker().clone();
    let pool = pool.clone();
    let owner = Exchange::new(|found: &Found<X::Bytes, P>| found.content.route());
    found.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        owner,
        "Parse",
        move |initial, info| {
            drop(initial);
            let mut away = Away::new(worker.sync_activator_for(info.address.to_vec()));
            let mut parsing: HashMap<(ContentKey, Epoch), Vec<P>> = HashMap::new();
            move |(input, _frontier), output| {
                input.for_each_time(|time, data| {
                    let epoch = *time.time();
                    let mut session = output.session(&time);
                    for Found {
                        content,
                        bytes,
                        place,
                    } in data.flat_map(|batch| batch.drain(..))
                    {
                        if let Some(chunks) = memo.known(&content, epoch) {
                            session.give(Parsed {
                                content,
                                place,
                                reading: Reading::Known(chunks),
                            });
                            continue;
                        }
                        let places = parsing.entry((content, epoch)).or_default();
                        places.push(place);
                        if places.len() == 1 {
                            let parser = parser.clone();
                            away.send(time.retain(0), &pool, move || {
                                (content, parser.parse(content, bytes))
                            });
                        }
                    }
                });
                while let Some((capability, (content, documents))) = away.next_returned() {
                    let epoch = *capability.time();
                    let places = parsing
                        .remove(&(content, epoch))
                        .expect("what returns was sent");
                    let documents = Arc::new(documents);
                    let mut session = output.session(&capability);
                    for place in places {
                        session.give(Parsed {
                            content,
                            place,
                            reading: Reading::Fresh(documents.clone()),
                        });
                    }
                    drop(session);
                    away.release(epoch);
                }
            }
        },
    )
}
