//! Late interaction without weights of its own (after ColBERT, Khattab & Zaharia 2020): how well each word of the query is met by the
//! word of the text that is nearest to it.
//!
//! ```text
//!  token vectors ──▶ less the mean of all candidates' tokens, to unit length
//!  max-sim  = Σ over query tokens: weight · the greatest cosine with a token of the text, ÷ Σ weights
//!  weight   = how few texts of the index have the word that the token is of (inverse document frequency; what is no word: 0)
//!  score    = .25 z(BM25) + .40 z(dense) + .35 z(max-sim)         z: less the mean of the candidates, by their deviation
//!  smoothed = score + .2 · Σ over the others: their score · (cosine of the two texts)⁴
//! ```
//!
//! The mean is taken off because the token vectors of one model all lie in one direction, which says nothing.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::Candidate;

/// Parts of keyword score, dense score and max-sim.
const PARTS: [f64; 3] = [0.25, 0.40, 0.35];
/// How much of its neighbours' scores a candidate takes on.
const NEIGHBOURS: f64 = 0.2;
/// Below this a deviation or a length is rounding.
const NOTHING: f64 = 1e-9;

/// The vectors of a text's own tokens, `[tokens, d]`, not of unit length. There may be none.
#[derive(Clone, Debug)]
pub struct TokenVectors(Array2<f32>);

impl TokenVectors {
    /// The rows of `vectors` that are the text's own.
    pub fn new(vectors: Array2<f32>, own: &[bool]) -> Self {
        let rows: Vec<usize> = (0..vectors.nrows())
            .filter(|row| own.get(*row).copied().unwrap_or(true))
            .collect();
        Self(vectors.select(Axis(0), &rows))
    }

    /// All rows are the text's own.
    pub fn own(vectors: Array2<f32>) -> Self {
        Self(vectors)
    }

    /// `[tokens, d]`
    pub fn view(&self) -> ArrayView2<'_, f32> {
        self.0.view()
    }

    /// Less `mean`, each row to unit length; a row that is the mean itself stays zero.
    fn centred(&self, mean: &Array1<f32>) -> Array2<f32> {
        let mut rows = &self.0 - mean;
        for mut row in rows.rows_mut() {
            let length = row.dot(&row).sqrt();
            if f64::from(length) > NOTHING {
                row /= length;
            }
        }
        rows
    }

    /// The average of the rows to unit length: what the model makes of the whole text.
    fn pooled(&self, dimension: usize) -> Array1<f32> {
        let mean = self
            .0
            .mean_axis(Axis(0))
            .unwrap_or_else(|| Array1::zeros(dimension));
        let length = mean.dot(&mean).sqrt();
        match f64::from(length) > NOTHING {
            true => mean / length,
            false => mean,
        }
    }
}

/// Scores of the candidates, whose token vectors are `texts`; `weights`: one a token of the query.
pub fn scores(
    query: &TokenVectors,
    weights: &[f64],
    candidates: &[Candidate<'_>],
    texts: &[TokenVectors],
) -> Vec<f64> {
    let arms: [Vec<f64>; 3] = [
        candidates.iter().map(|c| c.keyword).collect(),
        candidates.iter().map(|c| c.dense).collect(),
        similarities(query, weights, texts),
    ];
    let mut scores = vec![0.0; candidates.len()];
    for (part, mut arm) in PARTS.into_iter().zip(arms) {
        standardise(&mut arm);
        scores
            .iter_mut()
            .zip(arm)
            .for_each(|(score, z)| *score += part * z);
    }
    smoothed(&scores, texts, query.0.ncols())
}

/// Less the mean, by the standard deviation; all zero where all are equal.
fn standardise(values: &mut [f64]) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt();
    for value in values {
        *value = match deviation > NOTHING {
            true => (*value - mean) / deviation,
            false => 0.0,
        };
    }
}

/// Max-sim of each text, from −1 to 1.
fn similarities(query: &TokenVectors, weights: &[f64], texts: &[TokenVectors]) -> Vec<f64> {
    let mut mean = Array1::<f32>::zeros(query.0.ncols());
    let tokens: usize = texts.iter().map(|text| text.0.nrows()).sum();
    for text in texts {
        mean += &text.0.sum_axis(Axis(0));
    }
    mean /= tokens.max(1) as f32;
    let query = query.centred(&mean);
    let sum: f64 = weights.iter().take(query.nrows()).sum();
    // Only words that say nothing: then all count the same.
    let weight = |token: usize| match sum > NOTHING {
        true => weights.get(token).copied().unwrap_or(0.0) / sum,
        false => 1.0 / query.nrows().max(1) as f64,
    };
    let weights: Vec<f64> = (0..query.nrows()).map(weight).collect();
    texts
        .iter()
        .map(|text| similarity(query.view(), &weights, text.centred(&mean).view()))
        .collect()
}

fn similarity(query: ArrayView2<'_, f32>, weights: &[f64], text: ArrayView2<'_, f32>) -> f64 {
    if text.nrows() == 0 {
        return 0.0;
    }
    let cosines = query.dot(&text.t());
    cosines
        .rows()
        .into_iter()
        .zip(weights)
        .map(|(row, weight)| weight * f64::from(row.fold(-1.0, |best: f32, c| best.max(*c))))
        .sum()
}

/// Each score and a part of what its neighbours have: relevant texts lie together.
fn smoothed(scores: &[f64], texts: &[TokenVectors], dimension: usize) -> Vec<f64> {
    let pooled: Vec<Array1<f32>> = texts.iter().map(|text| text.pooled(dimension)).collect();
    let near = |i: usize, j: usize| f64::from(pooled[i].dot(&pooled[j])).max(0.0).powi(4);
    (0..scores.len())
        .map(|i| {
            let others = (0..scores.len()).filter(|&j| j != i);
            scores[i] + NEIGHBOURS * others.map(|j| near(i, j) * scores[j]).sum::<f64>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn vectors(rows: Array2<f32>) -> TokenVectors {
        let own = vec![true; rows.nrows()];
        TokenVectors::new(rows, &own)
    }

    fn candidate(keyword: f64, dense: f64) -> Candidate<'static> {
        Candidate {
            text: "",
            keyword,
            dense,
        }
    }

    #[test]
    fn marks_are_left_out() {
        let text = TokenVectors::new(
            array![[9.0, 9.0], [1.0, 2.0], [8.0, 8.0]],
            &[false, true, false],
        );
        assert_eq!(text.0, array![[1.0, 2.0]]);
    }

    #[test]
    fn every_query_token_takes_its_nearest_and_counts_by_its_weight() {
        // The mean of all text tokens is (0, 0), so that centring changes nothing here.
        let texts = [
            vectors(array![[1.0, 0.0], [-1.0, 0.0]]),
            vectors(array![[0.0, 1.0], [0.0, -1.0]]),
        ];
        let query = vectors(array![[2.0, 0.0], [0.0, 5.0]]);
        let found = similarities(&query, &[3.0, 1.0], &texts);
        assert_eq!(found, [0.75, 0.25]);
        // No weight at all: both count the same.
        assert_eq!(similarities(&query, &[0.0, 0.0], &texts), [0.5, 0.5]);
    }

    #[test]
    fn what_all_tokens_share_is_taken_off() {
        // Far out in one direction all look alike (cosines above .99); around their mean they are opposites.
        let texts = [vectors(array![[10.0, 1.0]]), vectors(array![[10.0, -1.0]])];
        let query = vectors(array![[10.0, 2.0]]);
        assert_eq!(similarities(&query, &[1.0], &texts), [1.0, -1.0]);
    }

    #[test]
    fn arms_are_weighed_after_they_have_one_scale() {
        let texts = [vectors(array![[1.0, 0.0]]), vectors(array![[-1.0, 0.0]])];
        let query = vectors(array![[1.0, 0.0]]);
        // keyword says second, dense and max-sim say first; opposite texts are no neighbours
        let found = scores(
            &query,
            &[1.0],
            &[candidate(0.0, 0.9), candidate(30.0, 0.1)],
            &texts,
        );
        assert!((found[0] - (-0.25 + 0.40 + 0.35)).abs() < 1e-6, "{found:?}");
        assert!((found[1] - (0.25 - 0.40 - 0.35)).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn neighbours_of_the_good_are_lifted() {
        let texts = [
            vectors(array![[1.0, 0.0]]),
            vectors(array![[1.0, 0.0]]),
            vectors(array![[0.0, 1.0]]),
        ];
        let found = smoothed(&[1.0, 0.0, 0.0], &texts, 2);
        assert_eq!(found, [1.0, 0.2, 0.0]);
    }

    #[test]
    fn nothing_to_tell_apart_gives_equal_scores_and_no_nan() {
        let texts = vec![vectors(array![[1.0, 1.0]]); 3];
        let query = vectors(array![[1.0, 1.0]]);
        let found = scores(&query, &[], &[candidate(1.0, 1.0); 3], &texts);
        assert_eq!(found, [0.0; 3]);
        let empty = vectors(Array2::zeros((0, 2)));
        let found = scores(
            &empty,
            &[],
            &[candidate(1.0, 1.0)],
            std::slice::from_ref(&empty),
        );
        assert_eq!(found, [0.0]);
    }
}
