//! Answering queries: the store and the vector view of one epoch, and the model for the query itself.
//!
//! [`Searcher`] serves `floodmark search` beside a run, and the run itself serves through the same code, with a view that
//! a thread keeps fresh. Either way a query takes one snapshot of the store, brings the view to exactly its epoch, and
//! answers from the two.

pub mod fusion;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use floodmark_operators::keys::Epoch;
use serde_json::{Map, Value};

use crate::answers::{Found, Hit, Query, shown};
use crate::index::{Change, IndexError, SourceError, VectorSource, VectorView, view};
use crate::model::{EmbedError, Model, ModelError, Session};
use crate::store::{Label, Occurrence, Reader, Snapshot, StoreError};

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

    /// The chunks whose meaning is nearest to the query, best first; a text that lies in several places once.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn search(&self, query: &Query) -> Result<Found, SearchError> {
        let text = query.query.trim();
        if text.is_empty() {
            return Err(SearchError::Empty);
        }
        let vector = {
            let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            let session = match &mut *slot {
                Some(session) => session,
                none => none.insert(self.model.session()?),
            };
            session.embed(&[text])?.swap_remove(0)
        };
        let (store, view) = self.snapshots()?;
        let index = &store.model().id;
        if store.epoch() > 0 && index != self.model.key() {
            return Err(SearchError::OtherModel {
                index: index.clone(),
                query: self.model.key().to_owned(),
            });
        }
        let mut hits = Vec::new();
        for found in view.search(&vector, query.hits, None)? {
            hits.extend(hit(&store, found.label as Label, f64::from(found.score))?);
        }
        Ok(Found {
            epoch: store.epoch(),
            hits,
            next: None,
        })
    }

    /// Store and view of one epoch.
    fn snapshots(&self) -> Result<(Snapshot, std::sync::Arc<crate::index::Snapshot>), SearchError> {
        loop {
            let store = self.reader.snapshot()?;
            let view = self.latest.snapshot();
            if view.epoch() == store.epoch() {
                return Ok((store, view));
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

fn hit(store: &Snapshot, label: Label, score: f64) -> Result<Option<Hit>, StoreError> {
    let mut occurrences = store.occurrences(label)?.into_iter();
    let Some(first) = occurrences.next() else {
        return Ok(None);
    };
    let path = |occurrence: &Occurrence| shown(&occurrence.root.join(&occurrence.path));
    let here = path(&first);
    let mut other_paths: Vec<String> = occurrences
        .map(|other| path(&other))
        .filter(|other| *other != here)
        .collect();
    other_paths.dedup();
    let metadata: Map<String, Value> = serde_json::from_str(&first.metadata).unwrap_or_default();
    let stale = store
        .file_of(crate::sources::key(&first.root, &first.path))?
        .is_some_and(|file| file.stale());
    Ok(Some(Hit {
        path: here,
        document: first.document,
        chunk: u64::from(first.chunk),
        start: first.start,
        end: first.end,
        score,
        title: first.title,
        text: store.text_of(label)?.unwrap_or_default(),
        metadata,
        stale,
        other_paths,
        ..Hit::default()
    }))
}
