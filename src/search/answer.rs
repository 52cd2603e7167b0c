//! From a query to an answer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use floodmark_operators::keys::Epoch;

use crate::answers::{Found, Mode, Query};
use crate::keyword::{self, Syntax};
use crate::store::{Home, Label, Layout, Snapshot, StoreError};

use super::admitted::{Admitted, place_passes};
use super::arm::{Arm, Exhaustive, Keywords, Vectors};
use super::filter::Filter;
use super::fusion::{RRF_K, Recipe};
use super::hits::Showing;
use super::rank::{Documents, Order, Ranking, Weigh};
use super::weight::{self, Grounds};
use super::{SearchError, Searcher};

/// Longest query in bytes. The model reads the first few hundred words at most.
pub const QUERY_BYTES_MAX: usize = 64 << 10;
/// Queries whose vectors are kept, for the next page and for another filter.
const QUERIES_KEPT: usize = 32;
/// Filters whose texts are kept.
const FILTERS_KEPT: usize = 8;
/// Filters that count back from now are looked at anew after so long.
const RELATIVE_NS: i128 = 10_000_000_000;

/// A vector of `[d]` numbers by the query that it is of.
pub(super) type Embedded = (String, Arc<[f32]>);

/// The texts that pass, by everything that they depend on.
pub(super) type Passed = ((Epoch, Vec<String>, Option<i128>), Arc<Admitted>);

impl Searcher {
    /// The documents, or chunks, that match best; see [`Query`].
    ///
    /// # Errors
    /// See [`SearchError`].
    pub fn search(&self, query: &Query) -> Result<Found, SearchError> {
        let text = cleaned(&query.query)?;
        self.asked.store(true, Ordering::Relaxed);
        let now_ns = jiff::Timestamp::now().as_nanosecond();
        let filter = match query.filter.as_slice() {
            [] => None,
            expressions => Some(Filter::parse(expressions, now_ns)?),
        };
        let syntax = if query.syntax {
            Syntax::Query
        } else {
            Syntax::Words
        };
        let began = Instant::now();
        // The words are scored while the model reads the query; in vain if the index goes on meanwhile.
        let early = self.latest().keywords;
        let mut scored_early = None;
        let mut score_early = || {
            if query.mode == Mode::Hybrid && query.as_of.is_none() {
                scored_early = Some(Keywords::new(&early, &text, syntax));
            }
        };
        // Before the snapshot of the store, which is held shortly.
        let vector = match query.mode {
            Mode::Keyword => None,
            Mode::Hybrid | Mode::Vector => Some(self.vector(&text, &mut score_early)?),
        };
        let embedded = Instant::now();
        let (store, views) = self.snapshots()?;
        let at = self.epoch_of(query, &store)?;
        let admitted = match &filter {
            Some(filter) => Some(self.admitted(filter, query, &store, at, now_ns)?),
            None => None,
        };
        let past = at < store.epoch();
        let live = if past {
            store.live_labels_at(at)?
        } else {
            Vec::new()
        };
        let words = match query.mode {
            // Of the present is good enough to mark words, and not to weigh them for a second look.
            Mode::Vector if query.rerank.is_none() => views.keywords.clone(),
            _ if past => self.past_words(&store, at, &live)?,
            _ => views.keywords.clone(),
        };
        let meaning: Option<Box<dyn Arm + '_>> = match &vector {
            Some(query) if past => {
                let view = &views.vectors;
                Some(Box::new(Exhaustive::vectors(view, &store, query, &live)?))
            }
            Some(query) => Some(Box::new(Vectors {
                view: &views.vectors,
                query,
            })),
            None => None,
        };
        let wording = match scored_early {
            _ if query.mode == Mode::Vector => None,
            Some(scored) if Arc::ptr_eq(&early, &words) => Some(scored?),
            _ => Some(Keywords::new(&words, &text, syntax)?),
        };
        let scored = Instant::now();
        let documents = Live {
            store: &store,
            at,
            filter: filter.as_ref(),
            layout: (!past).then_some(&self.layout),
        };
        let by_grounds = ByGrounds {
            read: self.model.reads(&text),
            ideal: wording.as_ref().and_then(Keywords::ideal),
            words: &words,
        };
        let ranking = Ranking {
            arms: [
                meaning.as_deref(),
                wording.as_ref().map(|arm| arm as &dyn Arm),
            ],
            admitted: admitted.as_deref(),
            recipe: Recipe {
                fusion: query.fusion,
                dense_weight: query.dense_weight.unwrap_or(weight::PROSE),
                rrf_k: query.rrf_k.unwrap_or(RRF_K),
            },
            weigh: (query.dense_weight.is_none()).then_some(&by_grounds),
            documents: query.group.then_some(&documents),
        };
        let end = query.offset.saturating_add(query.hits);
        // One more says whether there is another page.
        let wanted = end.saturating_add(1).max(Self::candidates(query));
        let Order {
            mut ranked,
            dense_weight,
        } = ranking.first(wanted)?;
        let ordered = Instant::now();
        let rerank = self.look_again(query, &text, &store, &words, &mut ranked)?;
        let next = (ranked.len() > end).then_some(end);
        ranked.truncate(end);
        ranked.drain(..query.offset.min(ranked.len()));
        let showing = Showing {
            store: &store,
            at,
            filter: filter.as_ref(),
            marks: &|found| words.marks(&text, found),
        };
        let hits = showing.hits(&ranked)?;
        tracing::debug!(
            embed = ?embedded - began,
            words = ?scored - embedded,
            rank = ?ordered - scored,
            show = ?ordered.elapsed(),
            "searched"
        );
        Ok(Found {
            epoch: at,
            hits,
            next,
            dense_weight,
            rerank,
        })
    }

    /// The epoch that is asked for, if it can be answered.
    fn epoch_of(&self, query: &Query, store: &Snapshot) -> Result<Epoch, SearchError> {
        let last = store.epoch();
        let at = query.as_of.unwrap_or(last);
        if at > last {
            return Err(SearchError::Future { asked: at, last });
        }
        if query.mode == Mode::Keyword {
            return Ok(at);
        }
        let model = store.model();
        if last > 0 && model.id != self.model.key() {
            return Err(SearchError::OtherModel {
                index: model.id.clone(),
                query: self.model.key().to_owned(),
            });
        }
        if (1..last).contains(&at) && at < model.since {
            return Err(SearchError::Past {
                asked: at,
                since: model.since,
            });
        }
        Ok(at)
    }

    /// The query's vector; made by the model, unless it was lately. While it is made, `meanwhile` is called.
    fn vector(&self, text: &str, meanwhile: impl FnOnce()) -> Result<Arc<[f32]>, SearchError> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = recent.iter().position(|(query, _)| query == text) {
            let found = recent.remove(at);
            let vector = found.1.clone();
            recent.push(found);
            return Ok(vector);
        }
        drop(recent);
        let vector = self.asking.vector(&self.model, text, meanwhile)?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= QUERIES_KEPT {
            recent.remove(0);
        }
        recent.push((text.to_owned(), vector.clone()));
        Ok(vector)
    }

    /// The texts that pass; made from the store, unless they were for this epoch.
    fn admitted(
        &self,
        filter: &Filter,
        query: &Query,
        store: &Snapshot,
        at: Epoch,
        now_ns: i128,
    ) -> Result<Arc<Admitted>, SearchError> {
        let now = filter.is_relative().then(|| now_ns.div_euclid(RELATIVE_NS));
        let key = (at, query.filter.clone(), now);
        let lock = || self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, admitted)) = lock().iter().find(|(kept, _)| *kept == key) {
            return Ok(admitted.clone());
        }
        let admitted = Arc::new(Admitted::by(filter, store, at)?);
        let mut passed = lock();
        if passed.len() >= FILTERS_KEPT {
            passed.remove(0);
        }
        passed.push((key, admitted.clone()));
        Ok(admitted)
    }
}

/// A query as it is looked for: one line without control characters.
fn cleaned(query: &str) -> Result<String, SearchError> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(SearchError::TooLong { bytes: query.len() });
    }
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = query.chars().map(visible).collect();
    match text.trim() {
        "" => Err(SearchError::Empty),
        text => Ok(text.to_owned()),
    }
}

/// Weighs by what is understood of the query, and by what the candidates are.
struct ByGrounds<'a> {
    read: f64,
    ideal: Option<f64>,
    words: &'a keyword::Snapshot,
}

impl Weigh for ByGrounds<'_> {
    fn dense_weight(&self, texts: &[Label], best: f64) -> f64 {
        let code = texts
            .iter()
            .filter(|label| self.words.is_code(**label as u64));
        let grounds = Grounds {
            read: self.read,
            worded: match self.ideal {
                // A query without a word has nothing that could be missing.
                Some(ideal) if ideal > 0.0 => best / ideal,
                _ => 1.0,
            },
            code: code.count() as f64 / texts.len().max(1) as f64,
        };
        let weight = weight::weight(grounds);
        tracing::debug!(?grounds, weight, "weighed");
        weight
    }
}

/// The documents of an epoch that pass a filter.
struct Live<'a> {
    store: &'a Snapshot,
    at: Epoch,
    filter: Option<&'a Filter>,
    /// Answers faster than the store, of the present, where it is there and is not behind.
    layout: Option<&'a RwLock<Option<Layout>>>,
}

impl Live<'_> {
    /// Held for one question only, so that whoever brings it forward does not wait, and nobody behind him.
    fn layout(&self) -> Option<RwLockReadGuard<'_, Option<Layout>>> {
        let layout = self.layout?.read().unwrap_or_else(PoisonError::into_inner);
        (layout.as_ref())
            .is_some_and(|layout| layout.epoch() >= self.at)
            .then_some(layout)
    }
}

impl Documents for Live<'_> {
    fn homes(&self, labels: &[Label]) -> Result<Vec<Home>, StoreError> {
        let Some(filter) = self.filter else {
            return match self.layout().as_deref() {
                Some(Some(layout)) => layout.homes(self.store, labels),
                _ => self.store.homes(labels, self.at),
            };
        };
        // A text may lie in two files, of which one passes.
        let places = self.store.places(labels, self.at)?;
        let passing = places.iter().filter(|place| place_passes(filter, place));
        Ok(passing.map(|place| place.home).collect())
    }

    fn texts(&self, homes: &[Home], most: usize) -> Result<Vec<Vec<Label>>, StoreError> {
        match self.layout().as_deref() {
            Some(Some(layout)) => layout.texts_of_documents(self.store, homes, most),
            _ => self.store.texts_of_documents(homes, self.at, most),
        }
    }
}
