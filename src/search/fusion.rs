//! Two lists become one. Pure: numbers in, numbers out.
//!
//! Every candidate comes with its true score in both arms, also in the arm whose list it is not in: what one arm alone
//! found is judged by the other as well, instead of counting as its worst.

use std::cmp::Ordering;

use crate::answers::Fusion;

/// The constant of reciprocal rank fusion.
pub const RRF_K: f64 = 60.0;
/// The same where only ranks exist, and nothing else says how much better the first is than the tenth.
pub const RRF_K_RANKS: f64 = 20.0;
/// How much of each list goes into the fusion, and into its mean and deviation.
pub const DEPTH: usize = 100;

/// Something that at least one arm has found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Its score by each arm, true even if it is not in the arm's list: cosine, BM25.
    pub scores: [f64; 2],
    /// Its place in each arm's list, from 0, if it is in it.
    pub ranks: [Option<usize>; 2],
}

/// How to make one score of two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// By what.
    pub fusion: Fusion,
    /// Of the first arm, from 0 to 1; the second has the rest. Not for ranks.
    pub dense_weight: f64,
    /// Of the ranks.
    pub rrf_k: f64,
}

/// Fuses the scores of candidates that were judged together.
///
/// - `Zscore`: the weighted sum of each arm's `(score − mean) ÷ deviation`, both taken over the best [`DEPTH`] of the
///   candidates in that arm. An arm in which all are equal says nothing.
/// - `Minmax`: the weighted sum of each arm's `(score − least) ÷ (greatest − least)` over the same, 0 below the least.
/// - `Rrf`: the sum of `1 ÷ (k + rank)`, ranks from 1, over the lists that it is in. Cormack, Clarke, Büttcher 2009.
#[derive(Clone, Copy, Debug)]
pub struct Fuser {
    recipe: Recipe,
    scales: [Scale; 2],
}

impl Fuser {
    /// By how these candidates lie.
    pub fn new(candidates: &[Candidate], recipe: Recipe) -> Self {
        let scale = |arm| {
            Scale::of(
                candidates
                    .iter()
                    .map(|one| finite(one.scores[arm]))
                    .collect(),
            )
        };
        Self {
            recipe,
            scales: [scale(0), scale(1)],
        }
    }

    /// Higher is better; finite whatever the scores are.
    pub fn score(&self, candidate: &Candidate) -> f64 {
        let weights = [self.recipe.dense_weight, 1.0 - self.recipe.dense_weight];
        let of_arm = |arm: usize| {
            let (scale, score) = (&self.scales[arm], finite(candidate.scores[arm]));
            match self.recipe.fusion {
                Fusion::Zscore => weights[arm] * scale.z(score),
                Fusion::Minmax => weights[arm] * scale.unit(score),
                Fusion::Rrf => candidate.ranks[arm]
                    .map_or(0.0, |rank| 1.0 / (self.recipe.rrf_k + rank as f64 + 1.0)),
            }
        };
        finite(of_arm(0) + of_arm(1))
    }
}

fn finite(score: f64) -> f64 {
    if score.is_finite() { score } else { 0.0 }
}

/// How the best scores of an arm lie.
#[derive(Clone, Copy, Debug)]
struct Scale {
    mean: f64,
    deviation: f64,
    least: f64,
    greatest: f64,
}

impl Scale {
    fn of(mut scores: Vec<f64>) -> Self {
        // An arm that finds fewer than DEPTH has the rest of its list among those that it gives nothing to.
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        scores.truncate(DEPTH);
        let count = scores.len().max(1) as f64;
        let (greatest, least) = match (scores.first(), scores.last()) {
            (Some(first), Some(last)) => (*first, *last),
            _ => (0.0, 0.0),
        };
        // Measured from the greatest: equal scores have exactly no deviation, and large ones don't overflow.
        let mean = scores
            .iter()
            .map(|score| (score - greatest) / count)
            .sum::<f64>()
            + greatest;
        let variance = scores
            .iter()
            .map(|score| (score - mean).powi(2) / count)
            .sum::<f64>();
        Self {
            mean,
            deviation: variance.sqrt(),
            least,
            greatest,
        }
    }

    /// Whether the scores differ by more than rounding.
    fn says_something(&self) -> bool {
        let size = self.greatest.abs().max(self.least.abs());
        self.greatest - self.least > size * 1e-9
            && self.deviation.is_finite()
            && self.deviation > 0.0
    }

    fn z(&self, score: f64) -> f64 {
        if self.says_something() {
            (score - self.mean) / self.deviation
        } else {
            0.0
        }
    }

    fn unit(&self, score: f64) -> f64 {
        if self.says_something() {
            ((score - self.least) / (self.greatest - self.least)).max(0.0)
        } else {
            0.0
        }
    }
}

/// Best first: by score, then by what the arms say, then by `place`, so that the same index gives the same order.
pub fn order<P: Ord>(a: (f64, [f64; 2], P), b: (f64, [f64; 2], P)) -> Ordering {
    b.0.total_cmp(&a.0)
        .then_with(|| b.1[0].total_cmp(&a.1[0]))
        .then_with(|| b.1[1].total_cmp(&a.1[1]))
        .then_with(|| a.2.cmp(&b.2))
}

#[cfg(test)]
mod tests;
