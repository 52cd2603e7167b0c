//! Rankings of arms that are lists, against what they must be.

use proptest::prelude::*;

use super::*;
use crate::search::arm::Exhaustive;
use crate::search::fusion::RRF_K;

/// An arm whose list and scores are given; one that has ranks only.
struct RanksOnly(Exhaustive);

impl Arm for RanksOnly {
    fn nearest(&self, k: usize, admitted: Option<&Admitted>) -> Result<Vec<Scored>, SearchError> {
        self.0.nearest(k, admitted)
    }

    fn scores(&self, _labels: &[Label]) -> Result<Option<Vec<f64>>, SearchError> {
        Ok(None)
    }
}

/// Which texts lie in which documents, by number of the document.
#[derive(Debug)]
struct Library(Vec<(Label, i64)>);

impl Library {
    fn home(&(label, document): &(Label, i64)) -> Home {
        Home::of_test(label, document, 0)
    }

    fn labels(&self, document: DocumentKey) -> Vec<Label> {
        let of = |home: &Home| home.document == document;
        self.0
            .iter()
            .map(Self::home)
            .filter(of)
            .map(|home| home.label)
            .collect()
    }
}

impl Documents for Library {
    fn homes(&self, labels: &[Label]) -> Result<Vec<Home>, StoreError> {
        let of = |(label, _): &&(Label, i64)| labels.contains(label);
        Ok(self.0.iter().filter(of).map(Self::home).collect())
    }

    fn texts(&self, homes: &[Home], most: usize) -> Result<Vec<Vec<Label>>, StoreError> {
        let texts = homes.iter().map(|home| self.labels(home.document));
        Ok(texts
            .map(|texts| {
                if texts.len() > most {
                    Vec::new()
                } else {
                    texts
                }
            })
            .collect())
    }
}

fn recipe(fusion: Fusion) -> Recipe {
    Recipe {
        fusion,
        dense_weight: 0.6,
        rrf_k: RRF_K,
    }
}

fn ranking<'a>(
    arms: [Option<&'a dyn Arm>; 2],
    documents: Option<&'a dyn Documents>,
) -> Ranking<'a> {
    Ranking {
        arms,
        admitted: None,
        recipe: recipe(Fusion::Zscore),
        weigh: None,
        documents,
    }
}

fn labels(ranked: &[Ranked]) -> Vec<Label> {
    ranked.iter().map(|one| one.chunks[0].0).collect()
}

#[test]
fn an_arm_alone_ranks_by_its_own_score() {
    let vectors = Exhaustive::of(vec![(1, 0.2), (2, 0.9), (3, 0.5)]);
    let words = Exhaustive::of(vec![(3, 7.0), (1, 9.0)]);
    let of_vectors = ranking([Some(&vectors), None], None)
        .first(10)
        .unwrap()
        .ranked;
    assert_eq!(labels(&of_vectors), [2, 3, 1]);
    assert_eq!(of_vectors[0].score, 0.9);
    assert_eq!(
        of_vectors[0].scores,
        Scores {
            vector: Some(0.9),
            keyword: None,
            fused: None,
            rerank: None,
        }
    );
    let of_words = ranking([None, Some(&words)], None)
        .first(10)
        .unwrap()
        .ranked;
    assert_eq!(labels(&of_words), [1, 3]);
    assert_eq!(
        of_words[1].scores,
        Scores {
            vector: None,
            keyword: Some(7.0),
            fused: None,
            rerank: None,
        }
    );
}

#[test]
fn what_one_arm_found_is_judged_by_the_other_as_well() {
    // Text 9 is not among the first hundred of the words, and has a true score there all the same.
    let vectors = Exhaustive::of((0..200).map(|at| (at, 1.0 - at as f64 / 200.0)).collect());
    let words = Exhaustive::of((0..200).map(|at| (at, at as f64)).collect());
    let ranked = ranking([Some(&vectors), Some(&words)], None)
        .first(500)
        .unwrap()
        .ranked;
    assert_eq!(ranked.len(), 200);
    for one in &ranked {
        let label = one.chunks[0].0 as f64;
        assert_eq!(one.scores.vector, Some(1.0 - label / 200.0));
        assert_eq!(one.scores.keyword, Some(label));
        assert_eq!(one.scores.fused, Some(one.score));
    }
}

#[test]
fn a_document_is_as_good_as_its_best_chunk_in_each_arm() {
    // Document 1: one chunk has the meaning, another the words. Document 2: one chunk that has a little of both.
    let library = Library(vec![(10, 1), (11, 1), (20, 2), (30, 3)]);
    let vectors = Exhaustive::of(vec![(10, 0.9), (11, 0.1), (20, 0.5), (30, 0.2)]);
    let words = Exhaustive::of(vec![(11, 8.0), (20, 4.0)]);
    let ranked = ranking([Some(&vectors), Some(&words)], Some(&library))
        .first(10)
        .unwrap()
        .ranked;
    assert_eq!(ranked.len(), 3);
    assert_eq!(
        (ranked[0].scores.vector, ranked[0].scores.keyword),
        (Some(0.9), Some(8.0))
    );
    let chunks: Vec<Label> = ranked[0].chunks.iter().map(|(label, _)| *label).collect();
    assert!(chunks == [10, 11] || chunks == [11, 10]);
    assert_eq!(ranked[1].chunks[0].0, 20);
}

#[test]
fn chunks_that_nobody_listed_count_for_their_document() {
    // The words list text 1000 alone; its document's other chunk, far down the vectors' list, is near after all.
    let mut all: Vec<Scored> = (0..300).map(|at| (at, 0.9 - at as f64 / 1000.0)).collect();
    all.extend([(1000, 0.0), (1001, 0.55)]);
    let vectors = Exhaustive::of(all);
    let words = Exhaustive::of(vec![(1000, 5.0)]);
    let library = Library(
        (0..300)
            .chain([1000, 1001])
            .map(|at| (at, at.min(1000)))
            .collect(),
    );
    let ranked = ranking([Some(&vectors), Some(&words)], Some(&library))
        .first(1000)
        .unwrap()
        .ranked;
    let both = ranked.iter().find(|one| one.chunks[0].0 == 1000).unwrap();
    assert_eq!(both.scores.vector, Some(0.55));
}

#[test]
fn documents_in_which_the_same_was_found_are_one() {
    let library = Library(vec![(1, 5), (1, 6), (1, 7), (2, 7)]);
    let vectors = Exhaustive::of(vec![(1, 0.9), (2, 0.8)]);
    let ranked = ranking([Some(&vectors), None], Some(&library))
        .first(10)
        .unwrap()
        .ranked;
    let documents: Vec<usize> = ranked.iter().map(|one| one.documents.len()).collect();
    assert_eq!(documents, [2, 1], "7 has more to show than 5 and 6");
}

#[test]
fn where_an_arm_has_ranks_only_the_ranks_decide() {
    let vectors = Exhaustive::of(vec![(1, 0.9), (2, 0.8)]);
    let words = RanksOnly(Exhaustive::of(vec![(2, 100.0)]));
    let ranked = ranking([Some(&vectors), Some(&words)], None)
        .first(10)
        .unwrap()
        .ranked;
    assert_eq!(labels(&ranked), [2, 1]);
    assert_eq!(
        ranked[0].score,
        1.0 / (RRF_K_RANKS + 2.0) + 1.0 / (RRF_K_RANKS + 1.0)
    );
}

/// Weighs as it is told, and keeps what it was asked.
struct Weighs(f64, std::cell::RefCell<Vec<(usize, f64)>>);

impl Weigh for Weighs {
    fn dense_weight(&self, texts: &[Label], best: f64) -> f64 {
        self.1.borrow_mut().push((texts.len(), best));
        self.0
    }
}

#[test]
fn a_query_is_weighed_once_and_says_how() {
    let many = |score: &dyn Fn(i64) -> f64| -> Vec<Scored> {
        (1..=600).map(|label| (label, score(label))).collect()
    };
    let vectors = Exhaustive::of(many(&|label| 1.0 / label as f64));
    let words = Exhaustive::of(many(&|label| label as f64));
    for (weight, first) in [(0.9, 1), (0.1, 600)] {
        let weighs = Weighs(weight, Default::default());
        let ranking = Ranking {
            weigh: Some(&weighs),
            ..ranking([Some(&vectors), Some(&words)], None)
        };
        let order = ranking.first(600).unwrap();
        assert_eq!(
            (order.ranked[0].chunks[0].0, order.dense_weight),
            (first, Some(weight))
        );
        // The first block has a hundred of each list.
        assert_eq!(*weighs.1.borrow(), [(200, 600.0)]);
    }
    let given = ranking([Some(&vectors), Some(&words)], None);
    assert_eq!(given.first(1).unwrap().dense_weight, Some(0.6));
    let alone = ranking([Some(&vectors), None], None);
    assert_eq!(alone.first(1).unwrap().dense_weight, None);
    let ranks = Ranking {
        recipe: recipe(Fusion::Rrf),
        ..ranking([Some(&vectors), Some(&words)], None)
    };
    assert_eq!(ranks.first(1).unwrap().dense_weight, None);
}

#[test]
fn nothing_is_found_in_nothing() {
    let nothing = Exhaustive::of(Vec::new());
    let library = Library(Vec::new());
    for documents in [None, Some(&library as &dyn Documents)] {
        let ranked = ranking([Some(&nothing), Some(&nothing)], documents)
            .first(10)
            .unwrap()
            .ranked;
        assert_eq!(ranked, []);
    }
}

/// Texts with scores in both arms, and the documents they lie in.
fn worlds() -> impl Strategy<Value = (Vec<Scored>, Vec<Scored>, Library)> {
    prop::collection::vec((0u16..500, 0u16..40, 0i64..150, 0i64..400), 0..600).prop_map(|texts| {
        let numbered = || texts.iter().zip(1i64..);
        let vectors = numbered()
            .map(|(text, label)| (label, f64::from(text.0) / 500.0))
            .collect();
        let words = numbered()
            .filter(|(text, _)| text.1 > 20)
            .map(|(text, label)| (label, f64::from(text.1)))
            .collect();
        let library = numbered()
            .flat_map(|(text, label)| {
                // Some lie in two documents.
                let second = (text.3 < 150).then_some((label, text.3));
                [(label, text.2)].into_iter().chain(second)
            })
            .collect::<std::collections::BTreeSet<_>>();
        (vectors, words, Library(library.into_iter().collect()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_page_is_the_same_however_many_are_asked_for(
        (vectors, words, library) in worlds(), wanted in 1usize..400, grouped: bool, arms in 1u8..4,
    ) {
        let (vectors, words) = (Exhaustive::of(vectors), Exhaustive::of(words));
        let arms = [
            (arms & 1 > 0).then_some(&vectors as &dyn Arm),
            (arms & 2 > 0).then_some(&words as &dyn Arm),
        ];
        let ranking = ranking(arms, grouped.then_some(&library as &dyn Documents));
        let all = ranking.first(usize::MAX).unwrap().ranked;
        let some = ranking.first(wanted).unwrap().ranked;
        prop_assert_eq!(&some[..], &all[..wanted.min(all.len())]);
    }

    #[test]
    fn everything_that_is_admitted_is_found_once_and_nothing_else(
        (vectors, words, library) in worlds(), odd: bool,
    ) {
        let admitted: Admitted = vectors.iter().map(|(label, _)| *label).filter(|label| label % 2 == i64::from(odd)).collect();
        let expected: BTreeSet<i64> = library.0.iter().filter(|(label, _)| admitted.contains(*label)).map(|(_, d)| *d).collect();
        let (vectors, words) = (Exhaustive::of(vectors), Exhaustive::of(words));
        let ranking = Ranking {
            admitted: Some(&admitted),
            ..ranking([Some(&vectors), Some(&words)], Some(&library))
        };
        let mut found: Vec<DocumentKey> = Vec::new();
        for one in ranking.first(usize::MAX).unwrap().ranked {
            prop_assert!(one.chunks.iter().all(|(label, _)| admitted.contains(*label)));
            found.extend(one.documents);
        }
        let keys: BTreeSet<DocumentKey> = found.iter().copied().collect();
        prop_assert_eq!(keys.len(), found.len(), "a document comes once");
        let expected: BTreeSet<DocumentKey> = expected.iter().map(|document| Home::of_test(0, *document, 0).document).collect();
        prop_assert_eq!(keys, expected);
    }
}
