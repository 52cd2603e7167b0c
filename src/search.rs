//! Answering queries: the store and the vector view of one epoch, and the model for the query itself.
//!
//! [`Searcher`] serves `floodmark search` beside a run, and the run itself serves through the same code, with a view that
//! a thread keeps fresh. Either way a query takes one snapshot of the store, brings the view to exactly its epoch, and
//! answers from the two.

pub mod admitted;
mod answer;
mod arm;
pub mod filter;
pub mod fusion;
mod hits;
mod rank;
mod second_look;
mod snippet;
mod words;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use floodmark_operators::keys::Epoch;

use crate::index::{Change, IndexError, SourceError, VectorSource, VectorView, view};
use crate::model::{EmbedError, Model, ModelError, Session};
use crate::rerank::RerankError;
use crate::store::{Label, Reader, Snapshot, StoreError};

pub use answer::QUERY_BYTES_MAX;
use filter::FilterError;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The view.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The model can't start.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model can't read the query.
    #[error("the query can't be embedded: {0}")]
    Embed(#[from] EmbedError),
    /// The best could not be looked at again.
    #[error(transparent)]
    Rerank(#[from] RerankError),
    /// There is nothing to look for.
    #[error("the query is empty; say in words what to find")]
    Empty,
    /// The index was made by another model than the one that would embed the query.
    #[error(
        "the index was made by the model {index}, the query would be embedded by {query}: give the same --model, or run \
         floodmark with this one to embed everything anew"
    )]
    OtherModel {
        /// Of the index.
        index: String,
        /// Of the query.
        query: String,
    },
    /// A filter that is not understood.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// More than anybody means.
    #[error(
        "the query has {bytes} bytes, and {QUERY_BYTES_MAX} is the most; say in fewer words what to find"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// An epoch that was not committed yet.
    #[error(
        "epoch {asked} is not committed yet, the last one is {last}; --wait-epoch {asked} waits for it"
    )]
    Future {
        /// The epoch that was asked for.
        asked: Epoch,
        /// The last one.
        last: Epoch,
    },
    /// An epoch of which there are no vectors.
    #[error(
        "epoch {asked} can't be searched by meaning: the model in use took over in epoch {since}, and has made no vectors \
         for what was gone by then; --mode keyword can look that far back"
    )]
    Past {
        /// The epoch that was asked for.
        asked: Epoch,
        /// The first that can be answered.
        since: Epoch,
    },
}

/// A snapshot of the store, as the vector view wants to see it.
pub struct StoreVectors<'a>(pub &'a Snapshot);

impl VectorSource for StoreVectors<'_> {
    fn epoch(&self) -> Result<Epoch, SourceError> {
        Ok(self.0.epoch())
    }

    fn dimension(&self) -> usize {
        self.0.model().dimension
    }

    fn model_id(&self) -> String {
        // Labels outlive a model, so the epoch at which it took over belongs to the name.
        let model = self.0.model();
        format!("{} since {}", model.id, model.since)
    }

    fn live_count(&self) -> Result<u64, SourceError> {
        Ok(self.0.status()?.live)
    }

    fn live(&self, each: &mut dyn FnMut(u64, &[f32])) -> Result<(), SourceError> {
        Ok(self
            .0
            .for_each_live_vector(|label, vector| each(label as u64, vector))?)
    }

    fn changes_after(&self, epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError> {
        let changes = self.0.changes(epoch)?;
        let change = |change: crate::store::Change| Change {
            epoch: change.epoch,
            label: change.label as u64,
            op: change.op,
        };
        Ok(Some(changes.into_iter().map(change).collect()))
    }

    fn vectors(
        &self,
        labels: &[u64],
        each: &mut dyn FnMut(u64, &[f32]),
    ) -> Result<(), SourceError> {
        let labels = labels.iter().map(|label| *label as Label);
        Ok(self
            .0
            .vectors(labels, |label, vector| each(label as u64, vector))?)
    }
}

/// The folder of the vector view in a state folder.
pub const VIEW: &str = "vectors";

/// Answers queries on one state folder. All methods may be called on many threads.
pub struct Searcher {
    reader: Reader,
    view: Mutex<VectorView>,
    latest: view::Reader,
    /// Made for the first query: a run that nobody asks anything does without.
    session: Mutex<Option<Session>>,
    model: Model,
    /// The last queries' vectors, the latest last.
    recent: Mutex<Vec<answer::Embedded>>,
    /// What passed the last filters, the latest last.
    passed: Mutex<Vec<answer::Passed>>,
    /// What looks at the best candidates again, from the first query on that asks for it.
    reranker: Mutex<second_look::Kept>,
}

/// Everything that answers, of one epoch.
struct Views {
    store: Snapshot,
    vectors: Arc<crate::index::Snapshot>,
}

impl Searcher {
    /// Opens store and view of `state`; `options` say whether the view may build.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn open(state: &Path, model: &Model, options: view::Options) -> Result<Self, SearchError> {
        let reader = Reader::open(state)?;
        let view = {
            let snapshot = reader.snapshot()?;
            VectorView::open(&state.join(VIEW), &StoreVectors(&snapshot), options)?
        };
        let latest = view.reader();
        Ok(Self {
            reader,
            view: Mutex::new(view),
            latest,
            session: Mutex::default(),
            model: model.clone(),
            recent: Mutex::default(),
            passed: Mutex::default(),
            reranker: Mutex::default(),
        })
    }

    /// Brings the view to the last commit. For the thread that keeps it fresh.
    ///
    /// # Errors
    /// See [`SearchError`]; what answered before goes on answering.
    pub fn follow(&self) -> Result<Epoch, SearchError> {
        let snapshot = self.reader.snapshot()?;
        Ok(self.lock().follow(&StoreVectors(&snapshot))?)
    }

    /// Where the view stands.
    pub fn view(&self) -> view::Status {
        self.lock().status()
    }

    /// The store that answers.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Store and views of one epoch.
    fn views(&self) -> Result<Views, SearchError> {
        loop {
            let store = self.reader.snapshot()?;
            let view = self.latest.snapshot();
            if view.epoch() == store.epoch() {
                return Ok(Views {
                    store,
                    vectors: view,
                });
            }
            // Behind: bring it there. Ahead: somebody did so after our look at the store, look again.
            if view.epoch() < store.epoch() {
                let mut guard = self.lock();
                if guard.epoch() < store.epoch() {
                    guard.follow(&StoreVectors(&store))?;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VectorView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
