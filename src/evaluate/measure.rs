//! Asks every judged query and counts what comes.

use std::collections::HashSet;
use std::time::Instant;

use serde::Serialize;

use super::beir::JudgedQuery;
use super::metrics::{mean, ndcg, percentile, recall, reciprocal_rank};
use crate::answers::{Found, Query, SecondLook};

/// How many documents are asked for: as deep as recall is counted.
pub const DEPTH: usize = 100;

/// What a mode has found for each query, in their order.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// nDCG over the first 10 documents.
    pub ndcg_10: Vec<f64>,
    /// Reciprocal rank of the first relevant one of 10.
    pub mrr_10: Vec<f64>,
    /// Recall over the first 100.
    pub recall_100: Vec<f64>,
    /// How long each query took, in milliseconds, its embedding included.
    pub ms: Vec<f64>,
    /// The same asked again at once, when its vector is known; empty where there is a second look, which costs the same again.
    pub ms_known: Vec<f64>,
    /// Queries whose second look ran out of time.
    pub out_of_time: usize,
}

/// A mode's figures, by the names that programs read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Mean over the judged queries, linear gains.
    #[serde(rename = "ndcg@10")]
    pub ndcg_10: f64,
    /// Mean.
    #[serde(rename = "mrr@10")]
    pub mrr_10: f64,
    /// Mean.
    #[serde(rename = "recall@100")]
    pub recall_100: f64,
    /// Half of the queries took no longer; the query's embedding included.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// Without the query's embedding: asked again at once, when its vector is known.
    pub p50_ms_without_embedding: Option<f64>,
    /// The same.
    pub p99_ms_without_embedding: Option<f64>,
    /// Queries whose second look ran out of time and that got the order without it.
    pub out_of_time: usize,
}

impl Measured {
    /// Means and percentiles.
    pub fn figures(&self) -> Figures {
        let known = |percent| {
            let times = &self.ms_known;
            (!times.is_empty()).then(|| percentile(times, percent))
        };
        Figures {
            ndcg_10: mean(&self.ndcg_10),
            mrr_10: mean(&self.mrr_10),
            recall_100: mean(&self.recall_100),
            p50_ms: percentile(&self.ms, 50.0),
            p99_ms: percentile(&self.ms, 99.0),
            p50_ms_without_embedding: known(50.0),
            p99_ms_without_embedding: known(99.0),
            out_of_time: self.out_of_time,
        }
    }

    /// The figures of merit by name, a value a query.
    pub fn merits(&self) -> [(&'static str, &[f64]); 3] {
        [
            ("ndcg@10", &self.ndcg_10),
            ("mrr@10", &self.mrr_10),
            ("recall@100", &self.recall_100),
        ]
    }
}

/// Asks each query, one after another, after the first was asked for the sake of what a first one has to load. `how`: mode
/// and fusion; its words and number of hits are set here.
///
/// # Errors
/// As `search`; nothing is measured then.
pub fn measure<E>(
    queries: &[JudgedQuery],
    how: &Query,
    search: &dyn Fn(&Query) -> Result<Found, E>,
    asked: &dyn Fn(u64),
) -> Result<Measured, E> {
    let query = |judged: &JudgedQuery| Query {
        query: judged.text.clone(),
        hits: DEPTH,
        ..how.clone()
    };
    if let Some(first) = queries.first() {
        search(&query(first))?;
    }
    let mut measured = Measured::default();
    for (number, judged) in queries.iter().enumerate() {
        let query = query(judged);
        let began = Instant::now();
        let found = search(&query)?;
        measured.ms.push(milliseconds(began));
        if how.rerank.is_none() {
            let began = Instant::now();
            search(&query)?;
            measured.ms_known.push(milliseconds(began));
        }
        measured.out_of_time += usize::from(found.rerank == Some(SecondLook::OutOfTime));
        let ranking = documents(&found);
        let ranking: Vec<&str> = ranking.iter().map(String::as_str).collect();
        let grades = &judged.grades;
        measured.ndcg_10.push(ndcg(&ranking, grades, 10));
        measured.mrr_10.push(reciprocal_rank(&ranking, grades, 10));
        measured.recall_100.push(recall(&ranking, grades, DEPTH));
        asked(number as u64 + 1);
    }
    Ok(measured)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// The documents of an answer, each once, best first. Documents of the same text are as good as each other: they stand together.
fn documents(found: &Found) -> Vec<String> {
    let mut seen = HashSet::new();
    found
        .hits
        .iter()
        .flat_map(|hit| {
            let same = hit.duplicates.iter().map(|other| &other.document);
            [&hit.document].into_iter().chain(same)
        })
        .filter(|document| seen.insert(document.as_str()))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::answers::{Duplicate, Hit};

    fn hit(document: &str, duplicates: &[&str]) -> Hit {
        let duplicate = |document: &&str| Duplicate {
            document: (*document).to_owned(),
            ..Duplicate::default()
        };
        Hit {
            document: document.to_owned(),
            duplicates: duplicates.iter().map(duplicate).collect(),
            ..Hit::default()
        }
    }

    #[test]
    fn documents_count_once_and_stand_beside_their_doubles() {
        let found = Found {
            hits: vec![
                hit("a", &["b"]),
                hit("b", &["a"]),
                hit("a", &[]),
                hit("c", &[]),
            ],
            ..Found::default()
        };
        assert_eq!(documents(&found), ["a", "b", "c"]);
    }

    #[test]
    fn each_query_is_asked_in_its_mode_and_judged_by_its_own_grades() {
        let judged = |id: &str, document: &str| JudgedQuery {
            id: id.to_owned(),
            text: format!("about {id}"),
            grades: [(document.to_owned(), 1)].into(),
        };
        let queries = [judged("1", "a"), judged("2", "c"), judged("3", "x")];
        let asked = RefCell::new(Vec::new());
        let search = |query: &Query| {
            assert_eq!(query.hits, DEPTH);
            asked.borrow_mut().push(query.query.clone());
            Ok::<_, String>(Found {
                hits: ["a", "b", "c"].map(|document| hit(document, &[])).into(),
                ..Found::default()
            })
        };
        let measured = measure(&queries, &Query::default(), &search, &|_| {}).unwrap();
        assert_eq!(measured.ndcg_10, [1.0, 0.5, 0.0]);
        assert_eq!(measured.mrr_10, [1.0, 1.0 / 3.0, 0.0]);
        assert_eq!(measured.recall_100, [1.0, 1.0, 0.0]);
        assert_eq!(measured.ms.len(), 3);
        assert_eq!(
            *asked.borrow(),
            [
                "about 1", "about 1", "about 1", "about 2", "about 2", "about 3", "about 3"
            ]
        );
        let failing = |_: &Query| Err::<Found, _>("no");
        assert_eq!(
            measure(&queries, &Query::default(), &failing, &|_| {}).unwrap_err(),
            "no"
        );
    }
}
