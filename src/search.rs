//! Answering queries: the store and both views of one epoch, and the model for the query itself.
//!
//! [`Searcher`] serves `floodmark search` beside a run, and the run itself serves through the same code, with views that
//! a thread keeps fresh. Either way a query takes one snapshot of the store, brings the views to exactly its epoch, and
//! answers from the three.

pub mod admitted;
mod answer;
mod arm;
mod asking;
pub mod filter;
pub mod fusion;
mod hits;
mod past;
mod rank;
mod second_look;
mod snippet;
pub mod weight;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use floodmark_operators::keys::Epoch;

use crate::index::{self, Change, IndexError, SourceError, VectorSource, VectorView, view};
use crate::keyword::{self, KeywordError, KeywordView, TextSource};
use crate::model::{EmbedError, Model, ModelError};
use crate::rerank::RerankError;
use crate::store::{Label, Layout, Reader, Snapshot, StoreError};
use crate::token_store::{self, Keeper};

pub use answer::QUERY_BYTES_MAX;
use filter::FilterError;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vector view.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The keyword view.
    #[error(transparent)]
    Keyword(#[from] KeywordError),
    /// The model can't start.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model can't read the query.
    #[error("the query can't be embedded: {0}")]
    Embed(#[from] EmbedError),
    /// The model hangs.
    #[error("the model did not answer within {secs} s; --mode keyword works without it")]
    NoAnswer {
        /// How long it had, in seconds.
        secs: u64,
    },
    /// The model panicked. The next query makes a new session.
    #[error("the model panicked, the log says how; --mode keyword works without it")]
    Panicked,
    /// The system refuses a thread for the model.
    #[error("the system refuses a thread to embed the query: {0}")]
    Thread(std::io::Error),
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
        changes_after(self.0, epoch)
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

/// A snapshot of the store, as the keyword view wants to see it.
pub struct StoreTexts<'a>(pub &'a Snapshot);

impl TextSource for StoreTexts<'_> {
    fn epoch(&self) -> Result<Epoch, SourceError> {
        Ok(self.0.epoch())
    }

    fn live_count(&self) -> Result<u64, SourceError> {
        Ok(self.0.status()?.live)
    }

    fn live(&self, each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError> {
        Ok(self
            .0
            .for_each_live_text(|label, text| each(label as u64, text))?)
    }

    fn changes_after(&self, epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError> {
        changes_after(self.0, epoch)
    }

    fn texts(&self, labels: &[u64], each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError> {
        for &label in labels {
            if let Some(text) = self.0.text_of(label as Label)? {
                each(label, &text);
            }
        }
        Ok(())
    }
}

fn changes_after(store: &Snapshot, epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError> {
    let change = |change: crate::store::Change| Change {
        epoch: change.epoch,
        label: change.label as u64,
        op: change.op,
    };
    Ok(Some(
        store.changes(epoch)?.into_iter().map(change).collect(),
    ))
}

/// The folder of the vector view in a state folder.
pub const VIEW: &str = "vectors";
/// The folder of the keyword view in a state folder.
pub const KEYWORDS: &str = "keywords";

/// How the views are opened.
#[derive(Clone, Debug, Default)]
pub struct ViewOptions {
    /// The vector view.
    pub vectors: view::Options,
    /// The keyword view.
    pub keywords: keyword::Options,
}

/// Where the views stand.
#[derive(Clone, Debug)]
pub struct ViewStatus {
    /// The vector view.
    pub vectors: view::Status,
    /// The keyword view.
    pub keywords: keyword::Status,
}

/// The views, which go forward together.
struct Views {
    vectors: VectorView,
    keywords: KeywordView,
}

/// Both views, as of one epoch.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The vectors.
    pub vectors: Arc<index::Snapshot>,
    /// The texts of the same labels.
    pub keywords: Arc<keyword::Snapshot>,
}

impl Views {
    /// Brings both to the snapshot's epoch. What one has done stays done if the other fails, and is not seen before both have.
    fn follow(&mut self, store: &Snapshot) -> Result<(), SearchError> {
        self.vectors.follow(&StoreVectors(store))?;
        self.keywords.follow(&StoreTexts(store))?;
        Ok(())
    }

    fn pair(&self) -> Pair {
        Pair {
            vectors: self.vectors.snapshot(),
            keywords: self.keywords.snapshot(),
        }
    }
}

/// Store and views of a state folder, before there is a model: either takes its time to open, and neither needs the other.
pub struct Opened {
    reader: Reader,
    views: Views,
    languages: keyword::Languages,
    state: PathBuf,
}

impl Opened {
    /// Opens those of `state`; `options` say whether the views may write.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn open(state: &Path, options: ViewOptions) -> Result<Self, SearchError> {
        let reader = Reader::open(state)?;
        let languages = options.keywords.languages;
        let store = reader.snapshot()?;
        let vectors = VectorView::open(&state.join(VIEW), &StoreVectors(&store), options.vectors)?;
        let keywords =
            KeywordView::open(&state.join(KEYWORDS), &StoreTexts(&store), options.keywords)?;
        drop(store);
        Ok(Self {
            reader,
            views: Views { vectors, keywords },
            languages,
            state: state.to_owned(),
        })
    }

    /// What answers queries with this model.
    pub fn with(self, model: &Model) -> Searcher {
        Searcher {
            reader: self.reader,
            latest: RwLock::new(self.views.pair()),
            views: Mutex::new(self.views),
            layout: RwLock::default(),
            asked: AtomicBool::new(false),
            asking: asking::Asking::default(),
            model: model.clone(),
            recent: Mutex::default(),
            passed: Mutex::default(),
            reranker: Mutex::default(),
            tokens: token_store::Place::new(&self.state, model.key()),
            keeper: OnceLock::new(),
            past: Mutex::default(),
            languages: self.languages,
        }
    }
}

/// Answers queries on one state folder. All methods may be called on many threads.
pub struct Searcher {
    reader: Reader,
    views: Mutex<Views>,
    /// Swapped as one: no query sees a text in one view and not in the other.
    latest: RwLock<Pair>,
    /// Where texts lie, once it was taken into memory.
    layout: RwLock<Option<Layout>>,
    /// Whether anybody has asked anything.
    asked: AtomicBool,
    asking: asking::Asking,
    model: Model,
    /// The last queries' vectors, the latest last.
    recent: Mutex<Vec<answer::Embedded>>,
    /// What passed the last filters, the latest last.
    passed: Mutex<Vec<answer::Passed>>,
    /// What looks at the best candidates again, from the first query on that asks for it.
    reranker: Mutex<second_look::Kept>,
    /// Where the token vectors of texts may lie.
    tokens: token_store::Place,
    /// Who keeps those that a second look has made, if somebody does.
    keeper: OnceLock<Arc<Keeper>>,
    /// The words of the past epoch that was asked for last.
    past: Mutex<Option<Arc<keyword::Snapshot>>>,
    /// Which language the texts of the past are in.
    languages: keyword::Languages,
}

impl Searcher {
    /// Opens store and views of `state`; `options` say whether the views may write.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn open(state: &Path, model: &Model, options: ViewOptions) -> Result<Self, SearchError> {
        Ok(Opened::open(state, options)?.with(model))
    }

    /// Brings the views to the last commit. For the thread that keeps them fresh.
    ///
    /// # Errors
    /// See [`SearchError`]; what answered before goes on answering.
    pub fn follow(&self) -> Result<Epoch, SearchError> {
        let mut views = self.lock();
        // Taken under the lock, so that it is never behind what another thread has brought the views to.
        let store = self.reader.snapshot()?;
        views.follow(&store)?;
        self.publish(&views);
        self.follow_layout(&store)?;
        Ok(store.epoch())
    }

    /// The same, when nothing more is to come for now: what pays only then is built too.
    ///
    /// # Errors
    /// As [`Self::follow`].
    pub fn rest(&self) -> Result<Epoch, SearchError> {
        let epoch = self.follow()?;
        let mut views = self.lock();
        views.vectors.rest();
        self.publish(&views);
        Ok(epoch)
    }

    /// Takes into memory where texts lie, if somebody has asked something: queries are answered without it, and
    /// sooner with it. For the thread that keeps the views fresh; [`Self::follow`] keeps it fresh as well.
    ///
    /// # Errors
    /// As the store says.
    pub fn remember(&self) -> Result<(), SearchError> {
        if !self.asked.load(Ordering::Relaxed) || self.layout().is_some() {
            return Ok(());
        }
        let mut layout = Layout::default();
        layout.follow(layout.news(&self.reader.snapshot()?)?);
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = Some(layout);
        Ok(())
    }

    fn layout(&self) -> RwLockReadGuard<'_, Option<Layout>> {
        self.layout.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until it has followed, what it does not know is asked of the store.
    fn follow_layout(&self, store: &Snapshot) -> Result<(), SearchError> {
        let news = match &*self.layout() {
            Some(layout) if layout.epoch() < store.epoch() => layout.news(store)?,
            _ => return Ok(()),
        };
        let mut layout = self.layout.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(layout) = &mut *layout {
            layout.follow(news);
        }
        Ok(())
    }

    /// Where the views stand.
    pub fn view(&self) -> ViewStatus {
        let views = self.lock();
        ViewStatus {
            vectors: views.vectors.status(),
            keywords: views.keywords.status(),
        }
    }

    /// The store that answers.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Store and views of one epoch.
    fn snapshots(&self) -> Result<(Snapshot, Pair), SearchError> {
        loop {
            let store = self.reader.snapshot()?;
            let pair = self.latest();
            if pair.vectors.epoch() == store.epoch() {
                return Ok((store, pair));
            }
            // Behind: bring them there. Ahead: somebody did so after our look at the store, look again.
            if pair.vectors.epoch() < store.epoch() {
                let mut views = self.lock();
                if self.latest().vectors.epoch() < store.epoch() {
                    views.follow(&store)?;
                    self.publish(&views);
                }
            }
        }
    }

    fn latest(&self) -> Pair {
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        latest.clone()
    }

    /// Lets both answer if they are of one epoch: one may be ahead, after the other has failed.
    fn publish(&self, views: &Views) {
        let pair = views.pair();
        if pair.vectors.epoch() == pair.keywords.epoch() {
            *self.latest.write().unwrap_or_else(PoisonError::into_inner) = pair;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod together;
