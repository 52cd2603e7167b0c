//! The real model and a tiny cross-encoder, through ONNX Runtime.

use std::path::PathBuf;

use super::*;
use crate::model::tests::builtin;

const AMPLE: Duration = Duration::from_secs(120);

fn candidates<'a>(texts: &[&'a str]) -> Vec<Candidate<'a>> {
    let candidate = |text: &&'a str| Candidate {
        text,
        keyword: 0.0,
        dense: 0.0,
    };
    texts.iter().map(candidate).collect()
}

fn cross_encoder() -> Reranker {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_cross_encoder");
    Reranker::open(&Kind::named(folder.to_str().unwrap()), builtin()).unwrap()
}

fn scores(outcome: Outcome) -> Vec<f64> {
    match outcome {
        Outcome::Scores(scores) => scores,
        Outcome::OutOfTime => panic!("out of time"),
    }
}

#[test]
fn a_cross_encoder_scores_each_pair_in_its_place() {
    let reranker = cross_encoder();
    // Of different lengths, so that they are batched in another order. The tiny graph counts the shared words.
    let long = "the boat lies in the harbour and the rope is on the mark where the flood was high";
    let texts = ["salt", long, "HIGH tide", "", "tide"];
    let query = "high tide mark";
    let outcome = reranker.score(query, &candidates(&texts), AMPLE);
    assert_eq!(scores(outcome.unwrap()), [0.0, 2.0, 2.0, 0.0, 1.0]);
    let none = reranker.score(query, &[], AMPLE).unwrap();
    assert_eq!(none, Outcome::Scores(vec![]));
}

#[test]
fn a_pair_that_does_not_fit_loses_the_end_of_its_longer_text() {
    let reranker = cross_encoder();
    // 32 positions, three of them marks.
    let buried = format!("{} tide", "salt ".repeat(40));
    let texts = ["tide salt ".repeat(40), buried];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let outcome = reranker.score("tide", &candidates(&texts), AMPLE);
    assert_eq!(scores(outcome.unwrap()), [1.0, 0.0]);
}

#[test]
fn no_time_gives_no_scores_and_the_next_question_is_answered() {
    let reranker = cross_encoder();
    let texts = vec!["tide"; 50];
    let outcome = reranker.score("tide", &candidates(&texts), Duration::ZERO);
    assert_eq!(outcome.unwrap(), Outcome::OutOfTime);
    let outcome = reranker.score("tide", &candidates(&["tide"]), AMPLE);
    assert_eq!(scores(outcome.unwrap()), [1.0]);
}

#[test]
fn maxsim_prefers_the_text_that_meets_the_words_of_the_query() {
    let reranker = Reranker::open(&Kind::named(MAXSIM), builtin()).unwrap();
    let texts = [
        "The dishwasher's hose leaked onto the kitchen floor.",
        "The lighthouse keeper polished the great lens.",
        "Swallows leave for Africa when nights are cold.",
    ];
    for (query, best) in [
        ("hose of the dishwasher", 0),
        ("keeper of the lighthouse", 1),
        ("birds that leave for Africa", 2),
    ] {
        let found = scores(reranker.score(query, &candidates(&texts), AMPLE).unwrap());
        let order = |other: &usize| found[*other];
        let first = (0..3).max_by(|a, b| order(a).total_cmp(&order(b)));
        assert_eq!(first, Some(best), "{query}: {found:?}");
    }
}

#[test]
fn a_folder_that_is_no_cross_encoder_is_refused_with_a_reason() {
    let tiny =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_models/both.onnx");
    let refused = Reranker::open(&Kind::CrossEncoder(tiny), builtin()).unwrap_err();
    assert!(
        refused.to_string().contains("text-classification"),
        "{refused}"
    );
    let nowhere = Kind::named("/nowhere/cross-encoder");
    let refused = Reranker::open(&nowhere, builtin()).unwrap_err();
    assert!(
        refused.to_string().contains("/nowhere/cross-encoder"),
        "{refused}"
    );
}
