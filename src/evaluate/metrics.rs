//! Figures of merit: pure functions of a ranking and of what people judged.
//!
//! nDCG is that of trec_eval (and of pytrec_eval, which BEIR's published figures were made with): the gain of a document is its
//! grade itself, not 2^grade − 1, divided by log₂(rank + 1). A grade of zero or below gains nothing. The ranking is taken as it is
//! given; trec_eval sorts by score and breaks ties by id.

use std::cmp::Ordering;
use std::collections::HashMap;

/// Document → grade, of one query.
pub type Grades = HashMap<String, i64>;

/// Discounted gain of the first `depth` documents, divided by that of the best order there is. Järvelin & Kekäläinen 2002.
/// 0 where nothing is relevant.
pub fn ndcg(ranking: &[&str], grades: &Grades, depth: usize) -> f64 {
    let discounted = |gains: &mut dyn Iterator<Item = i64>| -> f64 {
        gains
            .take(depth)
            .enumerate()
            .map(|(rank, gain)| gain.max(0) as f64 / (rank as f64 + 2.0).log2())
            .sum()
    };
    let mut ideal: Vec<i64> = grades.values().copied().collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let best = discounted(&mut ideal.into_iter());
    if best == 0.0 {
        return 0.0;
    }
    let mut gains = ranking
        .iter()
        .map(|document| grades.get(*document).copied().unwrap_or(0));
    discounted(&mut gains) / best
}

/// 1 ÷ rank of the first relevant document among the first `depth`; 0 where there is none.
pub fn reciprocal_rank(ranking: &[&str], grades: &Grades, depth: usize) -> f64 {
    ranking
        .iter()
        .take(depth)
        .position(|document| is_relevant(grades, document))
        .map_or(0.0, |rank| 1.0 / (rank as f64 + 1.0))
}

/// The part of the relevant documents that is among the first `depth`; 0 where nothing is relevant.
pub fn recall(ranking: &[&str], grades: &Grades, depth: usize) -> f64 {
    let relevant = grades.values().filter(|grade| **grade > 0).count();
    if relevant == 0 {
        return 0.0;
    }
    let found = ranking
        .iter()
        .take(depth)
        .filter(|document| is_relevant(grades, document))
        .count();
    found as f64 / relevant as f64
}

fn is_relevant(grades: &Grades, document: &str) -> bool {
    grades.get(document).is_some_and(|grade| *grade > 0)
}

/// The average; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    match values.len() {
        0 => 0.0,
        count => values.iter().sum::<f64>() / count as f64,
    }
}

/// The least value that at least `percent` of the values do not exceed (nearest rank); `values` need not be sorted. 0 of nothing.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.clamp(1, sorted.len().max(1)) - 1)
        .copied()
        .unwrap_or(0.0)
}

/// Rank correlation (Spearman 1904): Pearson's of the ranks, where equal values share their average rank. `None` where one side is
/// constant or there are fewer than two pairs.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    pearson(&average_ranks(a), &average_ranks(b))
}

/// Ranks from 1; equal values share the average of theirs.
fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equal in order.chunk_by(|&i, &j| values[i].total_cmp(&values[j]) == Ordering::Equal) {
        let shared = before as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|&i| ranks[i] = shared);
        before += equal.len();
    }
    ranks
}

/// Product-moment correlation; `None` as in [`spearman`].
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() || a.len() < 2 {
        return None;
    }
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |f: fn(f64, f64) -> f64| -> f64 {
        a.iter()
            .zip(b)
            .map(|(x, y)| f(x - mean_a, y - mean_b))
            .sum()
    };
    let (ab, aa, bb) = (sum(|x, y| x * y), sum(|x, _| x * x), sum(|_, y| y * y));
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grades(pairs: &[(&str, i64)]) -> Grades {
        pairs
            .iter()
            .map(|(document, grade)| ((*document).to_owned(), *grade))
            .collect()
    }

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }

    #[test]
    fn ndcg_has_linear_gains_as_trec_eval() {
        let judged = grades(&[("d1", 2), ("d2", 0), ("d3", 1), ("d9", -1)]);
        // (0 + 2/log₂3 + 0 + 1/log₂5) ÷ (2 + 1/log₂3); the same as pytrec_eval says
        close(
            ndcg(&["d2", "d1", "d9", "d3"], &judged, 10),
            0.643_322_408_330_630_7,
        );
        // Gains of 2^grade − 1 would give 0.6590 here.
        close(ndcg(&["d3", "d1"], &judged, 10), {
            (1.0 + 2.0 / 3f64.log2()) / (2.0 + 1.0 / 3f64.log2())
        });
        close(ndcg(&["d1", "d3"], &judged, 10), 1.0);
        close(ndcg(&["x", "d1"], &judged, 1), 0.0);
        // The ideal is cut at the depth as well: one grade-2 document in front is all that fits.
        close(ndcg(&["d1", "x"], &judged, 1), 1.0);
        close(ndcg(&["d1"], &grades(&[("d1", 0)]), 10), 0.0);
        close(ndcg(&[], &judged, 10), 0.0);
    }

    #[test]
    fn other_programs_say_the_same() {
        #[derive(serde::Deserialize)]
        struct Ranking {
            grades: Grades,
            ranking: Vec<String>,
            #[serde(rename = "ndcg@10")]
            ndcg: f64,
            #[serde(rename = "mrr@10")]
            mrr: f64,
            #[serde(rename = "recall@100")]
            recall: f64,
        }
        #[derive(serde::Deserialize)]
        struct Pairs {
            a: Vec<f64>,
            b: Vec<f64>,
            spearman: f64,
            pearson: f64,
        }
        #[derive(serde::Deserialize)]
        struct Reference {
            rankings: Vec<Ranking>,
            pairs: Vec<Pairs>,
        }
        // pytrec_eval's and scipy's answers; make.py beside the file made it
        let reference: Reference =
            serde_json::from_str(include_str!("../../tests/fixtures/metrics/reference.json"))
                .unwrap();
        assert!(reference.rankings.len() >= 30 && reference.pairs.len() == 3);
        for query in &reference.rankings {
            let ranking: Vec<&str> = query.ranking.iter().map(String::as_str).collect();
            close(ndcg(&ranking, &query.grades, 10), query.ndcg);
            close(reciprocal_rank(&ranking, &query.grades, 10), query.mrr);
            close(recall(&ranking, &query.grades, 100), query.recall);
        }
        for pairs in &reference.pairs {
            close(spearman(&pairs.a, &pairs.b).unwrap(), pairs.spearman);
            close(pearson(&pairs.a, &pairs.b).unwrap(), pairs.pearson);
        }
    }

    #[test]
    fn the_first_relevant_document_counts_up_to_the_depth() {
        let judged = grades(&[("a", 1), ("b", 3), ("c", 0)]);
        close(
            reciprocal_rank(&["c", "x", "b", "a"], &judged, 10),
            1.0 / 3.0,
        );
        close(reciprocal_rank(&["c", "x", "b", "a"], &judged, 2), 0.0);
        close(reciprocal_rank(&[], &judged, 10), 0.0);
    }

    #[test]
    fn recall_is_of_the_relevant_documents_only() {
        let judged = grades(&[("a", 1), ("b", 3), ("c", 0), ("d", 1)]);
        close(recall(&["c", "b", "x", "a"], &judged, 100), 2.0 / 3.0);
        close(recall(&["c", "b", "x", "a"], &judged, 2), 1.0 / 3.0);
        close(recall(&["c"], &grades(&[("c", 0)]), 2), 0.0);
    }

    #[test]
    fn ties_share_their_average_rank() {
        assert_eq!(
            average_ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]),
            [4.0, 1.0, 4.0, 2.0, 4.0]
        );
        close(
            spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 15.0]).unwrap(),
            0.5,
        );
        close(
            spearman(&[1.0, 2.0, 3.0], &[-1.0, -8.0, -9.0]).unwrap(),
            -1.0,
        );
        // ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: 4.5 ÷ √(4.5 · 5)
        close(
            spearman(&[0.0, 1.0, 1.0, 2.0], &[0.0, 3.0, 2.0, 9.0]).unwrap(),
            (4.5f64 / 5.0).sqrt(),
        );
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[1.0], &[1.0]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        close(percentile(&values, 50.0), 50.0);
        close(percentile(&values, 99.0), 99.0);
        close(percentile(&[7.0], 99.0), 7.0);
        close(percentile(&[1.0, 9.0], 50.0), 1.0);
        close(percentile(&[], 50.0), 0.0);
        close(mean(&[]), 0.0);
    }
}
