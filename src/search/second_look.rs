//! The best candidates looked at again, where a query asks for it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::rank::Ranked;
use super::{SearchError, Searcher};
use crate::answers::{Query, SecondLook};
use crate::keyword;
use crate::rerank::{BUDGET_MS, Candidate, DEPTH, Kind, Outcome, Reranker};
use crate::store::Snapshot;
use crate::token_store::Keeper;

/// The last reranker that was asked for, by its name: it stays warm.
pub(super) type Kept = Option<(String, Arc<Reranker>)>;

impl Searcher {
    /// How many candidates a query needs, beyond those that it shows.
    pub(super) fn candidates(query: &Query) -> usize {
        query.rerank.as_ref().map_or(0, |_| DEPTH)
    }

    /// Puts the first [`DEPTH`] into the order of the second look. What follows them stays behind them.
    pub(super) fn look_again(
        &self,
        query: &Query,
        text: &str,
        store: &Snapshot,
        words: &keyword::Snapshot,
        ranked: &mut [Ranked],
    ) -> Result<Option<SecondLook>, SearchError> {
        let Some(name) = &query.rerank else {
            return Ok(None);
        };
        let reranker = self.reranker(name)?;
        let (first, rest) = ranked.split_at_mut(ranked.len().min(DEPTH));
        let texts = first
            .iter()
            .map(|ranked| {
                let best = ranked.chunks.first().map(|(label, _)| *label);
                let text = best.map(|label| store.text_of(label)).transpose()?;
                Ok(text.flatten().unwrap_or_default())
            })
            .collect::<Result<Vec<String>, SearchError>>()?;
        let candidates: Vec<Candidate<'_>> = first
            .iter()
            .zip(&texts)
            .map(|(ranked, text)| Candidate {
                text,
                keyword: ranked.scores.keyword.unwrap_or(0.0),
                dense: ranked.scores.vector.unwrap_or(0.0),
            })
            .collect();
        let budget = Duration::from_millis(query.rerank_budget_ms.unwrap_or(BUDGET_MS));
        let known = self.tokens.look(self.keeper.get().cloned());
        // By all texts and not by the candidates: the words that the query is about are common among those.
        let rarities = reranker.words(text)?.into_iter();
        let rarities: Vec<f64> = rarities
            .map(|word| words.rarity(word))
            .collect::<Result<_, _>>()?;
        let scores = match reranker.score_knowing(&known, text, &rarities, &candidates, budget)? {
            Outcome::Scores(scores) => scores,
            Outcome::OutOfTime => return Ok(Some(SecondLook::OutOfTime)),
        };
        reorder(first, rest, &scores);
        Ok(Some(SecondLook::Done))
    }

    /// From now on what a second look makes itself is kept.
    pub fn keep_with(&self, keeper: Arc<Keeper>) {
        // A second one is for the same file: the first will do.
        let _ = self.keeper.set(keeper);
    }

    fn reranker(&self, name: &str) -> Result<Arc<Reranker>, SearchError> {
        let mut kept = self.reranker.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((known, reranker)) if known == name => Ok(reranker.clone()),
            _ => {
                let reranker = Arc::new(Reranker::open(&Kind::named(name), &self.model)?);
                *kept = Some((name.to_owned(), reranker.clone()));
                Ok(reranker)
            }
        }
    }
}

/// Sorts `first` by its new scores; equal ones keep their order. The scores of `rest` go on falling from the last of those.
fn reorder(first: &mut [Ranked], rest: &mut [Ranked], scores: &[f64]) {
    let before = first.last().map(|ranked| ranked.score);
    for (ranked, score) in first.iter_mut().zip(scores) {
        ranked.score = *score;
        ranked.scores.rerank = Some(*score);
    }
    first.sort_by(|a, b| b.score.total_cmp(&a.score));
    let last = first.last().map(|ranked| ranked.score);
    if let (Some(before), Some(last)) = (before, last) {
        rest.iter_mut()
            .for_each(|ranked| ranked.score = last + (ranked.score - before).min(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(score: f64, label: i64) -> Ranked {
        Ranked {
            score,
            scores: Default::default(),
            chunks: vec![(label, Default::default())],
            documents: Vec::new(),
        }
    }

    #[test]
    fn the_first_are_sorted_anew_and_the_rest_stays_behind_them() {
        let mut all: Vec<Ranked> = (0..5)
            .map(|i| ranked(0.9 - 0.1 * f64::from(i), i.into()))
            .collect();
        let (first, rest) = all.split_at_mut(3);
        reorder(first, rest, &[-4.0, 7.0, -4.0]);
        let labels: Vec<i64> = all.iter().map(|ranked| ranked.chunks[0].0).collect();
        assert_eq!(labels, [1, 0, 2, 3, 4]);
        assert!(all.is_sorted_by(|a, b| a.score >= b.score), "{all:?}");
        assert_eq!(all[3].scores.rerank, None);
        assert!((all[3].score - -4.1).abs() < 1e-9, "{all:?}");
        reorder(&mut [], &mut [], &[]);
    }
}
