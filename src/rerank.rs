//! A second, slower look at the best candidates of a search.
//!
//! ```text
//!  query, candidates ──▶ rows ──▶ threads with sessions of their own ──▶ a score a candidate
//!                                 └── past the budget: no scores, and the caller keeps the order that it had
//! ```
//!
//! Two kinds. A *cross-encoder* reads query and text together; any folder of a sequence classification exported to ONNX will do.
//! *Max-sim* needs no weights but those of the model that embeds: it compares each word of the query with each word of the text.
//!
//! Neither runs on the thread that asks: that one waits until the scores or the end of the budget come, so that a slow machine makes an
//! answer worse and never late.

mod crew;
pub mod maxsim;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::{CrossEncoder, Device, EmbedError, Model, ModelError, Provider, TokenIds};
use crate::token_store::{Known, Quantised};
use crew::Crew;
use maxsim::TokenVectors;

/// How many candidates are looked at again.
pub const DEPTH: usize = 50;

/// How long a second look may take where nobody says otherwise, in milliseconds.
pub const BUDGET_MS: u64 = 2_000;

/// What a person writes for the kind that needs no weights of its own.
pub const MAXSIM: &str = "maxsim";

/// Which kind, as a setting names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Token by token, with the model that embeds.
    MaxSim,
    /// The cross-encoder in this folder.
    CrossEncoder(PathBuf),
}

impl Kind {
    /// `maxsim`, or a folder.
    pub fn named(name: &str) -> Self {
        match name {
            MAXSIM => Self::MaxSim,
            folder => Self::CrossEncoder(PathBuf::from(folder)),
        }
    }
}

/// Why candidates could not be looked at again.
#[derive(Debug, thiserror::Error)]
pub enum RerankError {
    /// The model can't start.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model can't read a candidate.
    #[error("the candidates can't be looked at again: {0}")]
    Embed(#[from] EmbedError),
    /// No thread could be started.
    #[error("the system refuses a thread for the second look: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread ended before its work was done.
    #[error(
        "the threads of the second look are gone: a defect of floodmark; search without --rerank"
    )]
    Gone,
}

/// A chunk that a search has found.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its text, whole.
    pub text: &'a str,
    /// What the keyword view scores it (BM25, 0 where no word occurs).
    pub keyword: f64,
    /// What the vector view scores it (cosine).
    pub dense: f64,
}

/// What the second look came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A score a candidate, higher is better, comparable within this answer only.
    Scores(Vec<f64>),
    /// The budget was spent before all were scored.
    OutOfTime,
}

/// Looks at candidates again. All methods may be called on many threads; they take turns.
pub struct Reranker(Inner);

enum Inner {
    Cross(CrossEncoder, Crew<f32>),
    MaxSim(Model, Crew<TokenVectors>),
}

impl Reranker {
    /// Opens it. `model` is the one that embeds, and gives max-sim its token vectors and a cross-encoder runtime and device.
    ///
    /// # Errors
    /// See [`RerankError`].
    pub fn open(kind: &Kind, model: &Model) -> Result<Self, RerankError> {
        match kind {
            Kind::MaxSim => Self::maxsim(model),
            Kind::CrossEncoder(folder) => Self::cross_encoder(folder, model),
        }
    }

    fn cross_encoder(folder: &Path, model: &Model) -> Result<Self, RerankError> {
        let device = match model.provider() {
            Provider::Cuda => Device::Cuda,
            Provider::CoreMl => Device::CoreMl,
            Provider::Cpu => Device::Cpu,
        };
        let encoder = CrossEncoder::open(folder, device, Some(model.runtime().path()))?;
        let sessions = (0..model.sessions().max(1))
            .map(|_| {
                let mut session = encoder.session()?;
                let work: crew::Work<f32> = Box::new(move |rows| session.score(rows));
                Ok(work)
            })
            .collect::<Result<_, ModelError>>()?;
        Ok(Self(Inner::Cross(encoder, Crew::start(sessions)?)))
    }

    fn maxsim(model: &Model) -> Result<Self, RerankError> {
        let sessions = (0..model.sessions().max(1))
            .map(|_| {
                let (mut session, model) = (model.session()?, model.clone());
                let work: crew::Work<TokenVectors> = Box::new(move |rows| {
                    let vectors = session.token_vectors(rows)?;
                    let own = |(row, vectors): (&&TokenIds, _)| {
                        TokenVectors::new(vectors, &model.own_tokens(row))
                    };
                    Ok(rows.iter().zip(vectors).map(own).collect())
                });
                Ok(work)
            })
            .collect::<Result<_, ModelError>>()?;
        Ok(Self(Inner::MaxSim(model.clone(), Crew::start(sessions)?)))
    }

    /// The words of the query that are weighed, one a token and in their order; none where nothing is.
    ///
    /// # Errors
    /// As the tokenizer says.
    pub fn words<'q>(&self, query: &'q str) -> Result<Vec<&'q str>, RerankError> {
        let Inner::MaxSim(model, _) = &self.0 else {
            return Ok(Vec::new());
        };
        let words = model.words(query)?.into_iter();
        Ok(words
            .map(|word| query.get(word).unwrap_or_default())
            .collect())
    }

    /// Scores the candidates within `budget`; all words of the query count the same.
    ///
    /// # Errors
    /// See [`RerankError`].
    pub fn score(
        &self,
        query: &str,
        candidates: &[Candidate<'_>],
        budget: Duration,
    ) -> Result<Outcome, RerankError> {
        self.score_knowing(&Known::default(), query, &[], candidates, budget)
    }

    /// The same with `weights` for [`Self::words`]; max-sim takes from `known` what is there, and gives it what it makes. The scores do
    /// not depend on what is there.
    ///
    /// # Errors
    /// See [`RerankError`].
    pub fn score_knowing(
        &self,
        known: &Known,
        query: &str,
        weights: &[f64],
        candidates: &[Candidate<'_>],
        budget: Duration,
    ) -> Result<Outcome, RerankError> {
        let deadline = Instant::now() + budget;
        if candidates.is_empty() {
            return Ok(Outcome::Scores(Vec::new()));
        }
        match &self.0 {
            Inner::Cross(encoder, crew) => {
                let rows = candidates
                    .iter()
                    .map(|candidate| encoder.tokenize(query, candidate.text))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(match crew.run(rows, deadline)? {
                    Some(scores) => Outcome::Scores(scores.into_iter().map(f64::from).collect()),
                    None => Outcome::OutOfTime,
                })
            }
            Inner::MaxSim(model, crew) => {
                let mut texts: Vec<Option<Quantised>> = candidates
                    .iter()
                    .map(|candidate| known.find(candidate.text))
                    .collect();
                let missing: Vec<usize> =
                    (0..texts.len()).filter(|at| texts[*at].is_none()).collect();
                let unknown = missing.iter().map(|at| candidates[*at].text);
                let rows = std::iter::once(query)
                    .chain(unknown)
                    .map(|text| model.tokenize(text))
                    .collect::<Result<Vec<_>, _>>()?;
                let Some(vectors) = crew.run(rows, deadline)? else {
                    return Ok(Outcome::OutOfTime);
                };
                let mut vectors = vectors.into_iter();
                let Some(query) = vectors.next() else {
                    return Err(RerankError::Gone);
                };
                for (at, made) in missing.into_iter().zip(vectors) {
                    // Rounded as those that were kept: no score depends on what is there.
                    let rounded = Quantised::of(made.view()).ok_or(EmbedError::NotFinite {
                        index: at,
                        reason: "a number of a token is not finite",
                    })?;
                    known.put(candidates[at].text, &rounded);
                    texts[at] = Some(rounded);
                }
                let texts: Vec<TokenVectors> = texts
                    .iter()
                    .flatten()
                    .map(|text| TokenVectors::own(text.vectors()))
                    .collect();
                Ok(Outcome::Scores(maxsim::scores(
                    &query, weights, candidates, &texts,
                )))
            }
        }
    }
}

impl std::fmt::Debug for Reranker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Inner::Cross(..) => "Reranker(cross-encoder)",
            Inner::MaxSim(..) => "Reranker(maxsim)",
        })
    }
}

#[cfg(test)]
mod tests;
