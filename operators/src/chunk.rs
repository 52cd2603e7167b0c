//! From documents to chunks, once per distinct content; and the verdict on each finding.
//!
//! Runs where [`parse`](crate::parse) ran. What it learns goes into the [memo](crate::memo); the texts of new chunks, and
//! the row that describes the content, are sent on exactly once.

use std::collections::HashMap;
use std::sync::Arc;

use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::embed::Text;
use crate::keys::{ChunkHash, ContentKey, Epoch};
use crate::memo::Memo;
use crate::offload::{Away, Pool};
use crate::parse::{Parsed, Reading};

/// Cuts documents into chunks. Called on many threads at once; a function of its arguments alone.
pub trait Chunk: Send + Sync + 'static {
    /// What the parser made.
    type Documents: Send + Sync + 'static;
    /// What is remembered of a content.
    type Row: ExchangeData;
    /// Why a content can't be used at all.
    type Refusal: ExchangeData + Clone;

    /// Chunks, or passes on the parser's refusal.
    ///
    /// # Errors
    /// The content as a whole is unusable. Records of it that are bad on their own are part of the row.
    fn chunk(
        &self,
        content: ContentKey,
        documents: &Self::Documents,
    ) -> Result<Chunks<Self::Row>, Self::Refusal>;
}

/// What a content consists of.
#[derive(Clone, Debug)]
pub struct Chunks<R> {
    /// What to remember of the content.
    pub row: R,
    /// Its chunks, with their texts, in order; the same text may come more than once.
    pub texts: Vec<(ChunkHash, Text)>,
}

/// The verdict on one finding.
#[derive(Clone, Debug)]
pub struct Chunked<R, E, P> {
    /// The content.
    pub content: ContentKey,
    /// Where it was found.
    pub place: P,
    /// Its chunks, or why it can't be used.
    pub verdict: Result<Arc<[ChunkHash]>, E>,
    /// Set on one finding of each content that is new: its row, and the texts.
    pub fresh: Option<Arc<Chunks<R>>>,
}

/// Chunks each fresh content, on `pool`.
pub fn chunk<'scope, D, X: Chunk<Documents = D>, P: ExchangeData>(
    parsed: StreamVec<'scope, Epoch, Parsed<D, P>>,
    memo: Memo,
    chunker: Arc<X>,
    pool: &Pool,
) -> StreamVec<'scope, Epoch, Chunked<X::Row, X::Refusal, P>>
where
    D: Send + Sync + 'static,
{
    let worker = parsed.scope().worker().clone();
    let pool = pool.clone();
    parsed.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "Chunk",
        move |initial, info| {
            drop(initial);
            let mut away = Away::new(worker.sync_activator_for(info.address.to_vec()));
            // Findings of one content at one time wait together. They need not come together: each is read when its turn comes.
            let mut chunking: HashMap<(ContentKey, Epoch), Vec<P>> = HashMap::new();
            move |(input, _frontier), output| {
                input.for_each_time(|time, data| {
                    let epoch = *time.time();
                    for Parsed {
                        content,
                        place,
                        reading,
                    } in data.flat_map(|batch| batch.drain(..))
                    {
                        let known = match &reading {
                            Reading::Known(chunks) => Some(chunks.clone()),
                            Reading::Fresh(_) => memo.known(&content, epoch),
                        };
                        match (known, reading) {
                            (Some(chunks), _) => output.session(&time).give(Chunked {
                                content,
                                place,
                                verdict: Ok(chunks),
                                fresh: None,
                            }),
                            (None, Reading::Fresh(documents)) => {
                                let places = chunking.entry((content, epoch)).or_default();
                                places.push(place);
                                if places.len() == 1 {
                                    let chunker = chunker.clone();
                                    away.send(time.retain(0), &pool, move || {
                                        (content, chunker.chunk(content, &documents))
                                    });
                                }
                            }
                            (None, Reading::Known(_)) => unreachable!("what is known is known"),
                        }
                    }
                });
                while let Some((capability, (content, result))) = away.next_returned() {
                    let epoch = *capability.time();
                    let places = chunking
                        .remove(&(content, epoch))
                        .expect("what returns was sent");
                    let (verdict, mut fresh) = match result {
                        Ok(chunks) => {
                            let hashes: Arc<[ChunkHash]> =
                                chunks.texts.iter().map(|(hash, _)| *hash).collect();
                            memo.learn(content, hashes.clone(), epoch);
                            (Ok(hashes), Some(Arc::new(chunks)))
                        }
                        Err(refusal) => (Err(refusal), None),
                    };
                    let mut session = output.session(&capability);
                    for place in places {
                        session.give(Chunked {
                            content,
                            place,
                            verdict: verdict.clone(),
                            fresh: fresh.take(),
                        });
                    }
                    drop(session);
                    away.release(epoch);
                }
            }
        },
    )
}
