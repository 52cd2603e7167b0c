//! What finds texts for one query: the vectors, or the words. A ranking needs to know no more of them.

use crate::index;
use crate::keyword::{self, Syntax};
use crate::store::{Label, Snapshot};

use super::SearchError;
use super::admitted::Admitted;

/// A text and its score in one arm, higher is better.
pub type Scored = (Label, f64);

/// One way to find texts, bound to a query and to an epoch.
pub trait Arm {
    /// The `k` best texts, best first, equal scores by label; among those that are admitted, if that is given. Fewer only if
    /// there are no more.
    ///
    /// # Errors
    /// What the view says.
    fn nearest(&self, k: usize, admitted: Option<&Admitted>) -> Result<Vec<Scored>, SearchError>;

    /// The true score of each of these texts, in their order; `None`: this arm has ranks only.
    ///
    /// # Errors
    /// What the view says.
    fn scores(&self, labels: &[Label]) -> Result<Option<Vec<f64>>, SearchError>;
}

/// Up to so many admitted texts, each one's score is computed: cheaper than to look for them in an index.
const EACH_MAX: usize = 4_096;

/// Meaning, at the epoch of the vector view.
pub struct Vectors<'a> {
    /// The view.
    pub view: &'a index::Snapshot,
    /// The query, `[d]` of unit norm.
    pub query: &'a [f32],
}

impl Arm for Vectors<'_> {
    fn nearest(&self, k: usize, admitted: Option<&Admitted>) -> Result<Vec<Scored>, SearchError> {
        let Some(admitted) = admitted else {
            let hits = self.view.search(self.query, k, None)?;
            return Ok(scored(hits));
        };
        if admitted.len() <= EACH_MAX {
            let labels: Vec<u64> = admitted.iter().map(|label| label as u64).collect();
            let scores = self.view.scores(self.query, &labels)?;
            let found = labels
                .into_iter()
                .zip(scores)
                .filter_map(|(label, score)| Some((label as Label, f64::from(score?))));
            return Ok(best(found.collect(), k));
        }
        let admit = |label: u64| admitted.contains(label as Label);
        Ok(scored(self.view.search(self.query, k, Some(&admit))?))
    }

    fn scores(&self, labels: &[Label]) -> Result<Option<Vec<f64>>, SearchError> {
        let labels: Vec<u64> = labels.iter().map(|label| *label as u64).collect();
        let scores = self.view.scores(self.query, &labels)?;
        let score = |score: Option<f32>| score.map_or(0.0, f64::from);
        Ok(Some(scores.into_iter().map(score).collect()))
    }
}

/// Words, at the epoch of the keyword view.
pub struct Keywords<'a> {
    scored: keyword::Scored<'a>,
    syntax: Syntax,
}

impl<'a> Keywords<'a> {
    /// Looks for a query in a view. Every text is scored here and once.
    ///
    /// # Errors
    /// What the view says.
    pub fn new(
        view: &'a keyword::Snapshot,
        query: &str,
        syntax: Syntax,
    ) -> Result<Self, SearchError> {
        let scored = view.score(query, syntax)?;
        Ok(Self { scored, syntax })
    }

    /// What a text of mean length would score that had every word of the query once. Of an expression it is not known: whoever
    /// writes one knows which words there are.
    pub fn ideal(&self) -> Option<f64> {
        (self.syntax == Syntax::Words).then(|| f64::from(self.scored.ideal()))
    }
}

impl Arm for Keywords<'_> {
    fn nearest(&self, k: usize, admitted: Option<&Admitted>) -> Result<Vec<Scored>, SearchError> {
        let contains = admitted.map(|set| move |label: u64| set.contains(label as Label));
        let admit = contains
            .as_ref()
            .map(|contains| contains as &(dyn Fn(u64) -> bool + Sync));
        let scored = |hit: keyword::Hit| (hit.label as Label, f64::from(hit.score));
        Ok(self.scored.best(k, admit).into_iter().map(scored).collect())
    }

    fn scores(&self, labels: &[Label]) -> Result<Option<Vec<f64>>, SearchError> {
        let labels: Vec<u64> = labels.iter().map(|label| *label as u64).collect();
        let scores = self.scored.of(&labels);
        Ok(Some(scores.into_iter().map(f64::from).collect()))
    }
}

fn scored(hits: Vec<index::Hit>) -> Vec<Scored> {
    hits.into_iter()
        .map(|hit| (hit.label as Label, f64::from(hit.score)))
        .collect()
}

/// The `k` best of them, best first.
fn best(mut scored: Vec<Scored>, k: usize) -> Vec<Scored> {
    let order = |a: &Scored, b: &Scored| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if k < scored.len() && k > 0 {
        scored.select_nth_unstable_by(k - 1, order);
    }
    scored.truncate(k);
    scored.sort_unstable_by(order);
    scored
}

/// Every text of an epoch with its score, best first: how the past is searched.
pub struct Exhaustive {
    best: Vec<Scored>,
    by_label: std::collections::HashMap<Label, f64>,
}

impl Exhaustive {
    /// Of scores that are all there is.
    pub fn of(all: Vec<Scored>) -> Self {
        let count = all.len();
        Self {
            by_label: all.iter().copied().collect(),
            best: best(all, count),
        }
    }

    /// Of the vectors that were in the index when `labels` were; from the view where it has them, else from the store.
    ///
    /// # Errors
    /// What view and store say.
    pub fn vectors(
        view: &index::Snapshot,
        store: &Snapshot,
        query: &[f32],
        labels: &[Label],
    ) -> Result<Self, SearchError> {
        let known: Vec<u64> = labels.iter().map(|label| *label as u64).collect();
        let scores = view.scores(query, &known)?;
        let mut all = Vec::with_capacity(labels.len());
        let mut rest = Vec::new();
        for (label, score) in labels.iter().zip(scores) {
            match score {
                Some(score) => all.push((*label, f64::from(score))),
                None => rest.push(*label),
            }
        }
        store.vectors(rest, |label, vector| {
            all.push((label, f64::from(index::inner_product(query, vector))));
        })?;
        Ok(Self::of(all))
    }
}

impl Arm for Exhaustive {
    fn nearest(&self, k: usize, admitted: Option<&Admitted>) -> Result<Vec<Scored>, SearchError> {
        let passes =
            |(label, _): &&Scored| admitted.is_none_or(|admitted| admitted.contains(*label));
        Ok(self.best.iter().filter(passes).take(k).copied().collect())
    }

    fn scores(&self, labels: &[Label]) -> Result<Option<Vec<f64>>, SearchError> {
        let score = |label| self.by_label.get(label).copied().unwrap_or(0.0);
        Ok(Some(labels.iter().map(score).collect()))
    }
}
