//! The real model and a tiny cross-encoder, through ONNX Runtime.

use std::path::PathBuf;

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::ingest::engine::{Endurance, Engine};
use crate::model::tests::builtin;
use crate::token_store::{Keeper, Limits, Place, Quantised, hash};

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

/// A place for token vectors, and those that `write` gave to the keeper.
fn kept(write: impl FnOnce(&Arc<Keeper>)) -> (tempfile::TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        free: 0,
        ..Limits::default()
    };
    let keeper = Keeper::start_with(dir.path(), builtin().key(), limits).unwrap();
    write(&keeper);
    keeper.close();
    assert_eq!(keeper.left_out(), 0);
    let place = Place::new(dir.path(), builtin().key());
    (dir, place)
}

/// Of many lengths, one behind the model's limit, and one without a word.
fn texts() -> Vec<String> {
    let words = [
        "the tide rose over the harbour wall",
        "a hose of the dishwasher leaked",
        "Ürümqi, naïve café: 東京の潮位",
        "fn main() { println!(\"{}\", 42); }",
        "swallows leave for Africa",
    ];
    let repeated = (1..30).map(|n| words[n % words.len()].repeat(1 + n * n / 12));
    repeated.chain(["".into(), "…".into()]).collect()
}

/// What embeds gives the keeper what the second look would make itself: not a bit differs, whatever the batches were. So there is
/// no tolerance here.
#[test]
fn scores_do_not_depend_on_what_was_kept() {
    let texts = texts();
    let (dir, place) = kept(|keeper| {
        let engine = Engine::keeping(builtin(), Endurance::default(), Some(keeper.clone()));
        let mut engine = engine.unwrap();
        let texts: Vec<Arc<str>> = texts.iter().map(|text| text.as_str().into()).collect();
        for batch in texts.chunks(7) {
            let vectors = engine.embedders[0].embed(batch);
            assert!(vectors.iter().all(Result::is_ok));
        }
    });
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let reranker = Reranker::open(&Kind::MaxSim, builtin()).unwrap();
    for query in ["water in the harbour", "dishwasher hose", "東京"] {
        let without = scores(reranker.score(query, &candidates(&texts), AMPLE).unwrap());
        let known = place.look(None);
        assert!(texts.iter().all(|text| known.find(text).is_some()));
        let with = reranker.score_knowing(&known, query, &[], &candidates(&texts), AMPLE);
        assert_eq!(scores(with.unwrap()), without, "{query}");
    }
    // Half of them lost.
    let connection = rusqlite::Connection::open(dir.path().join(crate::token_store::FILE)).unwrap();
    let damaged = connection.execute("UPDATE vectors SET sum = sum + id % 2", []);
    assert!(damaged.unwrap() > 20);
    let known = place.look(None);
    let found = texts.iter().filter(|text| known.find(text).is_some());
    assert!((10..20).contains(&found.count()));
    let query = "water in the harbour";
    let with = reranker.score_knowing(&known, query, &[], &candidates(&texts), AMPLE);
    let without = scores(reranker.score(query, &candidates(&texts), AMPLE).unwrap());
    assert_eq!(scores(with.unwrap()), without);
}

/// Told by rows that are of other texts, as no row ever is.
#[test]
fn what_was_kept_is_not_made_again_and_what_was_not_is_made_and_kept() {
    let texts = [
        "The dishwasher's hose leaked onto the kitchen floor.",
        "The lighthouse keeper polished the great lens.",
        "Swallows leave for Africa when nights are cold.",
    ];
    let own = |text: &str| {
        let made = builtin().session().unwrap().embed_with_tokens(&[text]);
        Quantised::of(made.unwrap()[0].1.as_ref().unwrap().view()).unwrap()
    };
    let (dir, place) = kept(|keeper| {
        keeper.put(vec![
            (hash(texts[0]), own(texts[1])),
            (hash(texts[1]), own(texts[0])),
        ]);
    });
    let reranker = Reranker::open(&Kind::MaxSim, builtin()).unwrap();
    let limits = Limits {
        free: 0,
        ..Limits::default()
    };
    let keeper = Keeper::start_with(dir.path(), builtin().key(), limits).unwrap();
    let known = place.look(Some(keeper.clone()));
    let query = "hose of the dishwasher";
    let found = reranker.score_knowing(&known, query, &[], &candidates(&texts), AMPLE);
    let found = scores(found.unwrap());
    assert!(found[1] > found[0] && found[1] > found[2], "{found:?}");
    keeper.close();
    let known = place.look(None);
    assert_eq!(known.find(texts[2]), Some(own(texts[2])));
    assert_eq!(known.find(texts[0]), Some(own(texts[1])));
    assert_eq!(known.find(query), None);
}

/// Texts of a collection in the layout of BEIR that `BEIR` names, or else of the samples; and questions.
fn collection() -> (Vec<String>, Vec<String>) {
    let lines = |path: PathBuf, fields: &[&str]| -> Vec<String> {
        let lines = std::fs::read_to_string(&path).unwrap();
        let read = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let fields = fields.iter().filter_map(|field| record[field].as_str());
            fields.collect::<Vec<_>>().join("\n\n")
        };
        lines.lines().map(read).collect()
    };
    if let Some(folder) = std::env::var_os("BEIR") {
        let folder = PathBuf::from(folder);
        return (
            lines(folder.join("corpus.jsonl"), &["title", "text"]),
            lines(folder.join("queries.jsonl"), &["text"]),
        );
    }
    let samples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/corpus");
    let mut texts = Vec::new();
    for folder in ["recipes", "incidents", "meetings", "garden"] {
        for entry in std::fs::read_dir(samples.join(folder)).unwrap() {
            let text = std::fs::read(entry.unwrap().path()).unwrap();
            let text = String::from_utf8_lossy(&text);
            texts.extend(text.split("\n\n").map(str::trim).map(str::to_owned));
        }
    }
    texts.retain(|text| text.len() > 80);
    texts.sort_unstable();
    let questions = [
        "who checks that backups can be restored",
        "bread without yeast",
        "what to do against snails",
        "when are the interviews",
        "dinner with lentils",
        "the disk was full",
        "which plants are sown in autumn",
        "a singer is missing",
    ];
    (texts, questions.map(str::to_owned).into())
}

/// Eight bits a number cost little: asked of the same candidates, with the vectors as the model gives them and as they are kept.
///
///     BEIR=DIR cargo test --lib rerank -- --nocapture eight_bits
#[test]
fn eight_bits_change_hardly_any_order() {
    let (texts, questions) = collection();
    let model = builtin();
    let mut session = model.session().unwrap();
    let mut embedded = Vec::new();
    for batch in texts.chunks(8) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        embedded.extend(session.embed_with_tokens(&batch).unwrap());
    }
    let (mut bytes, mut tokens) = (0, 0);
    let (mut first, mut same_sets, mut same_lists, mut shared) = (0, 0, 0, 0);
    for question in &questions {
        let (vector, own) = session.embed_with_tokens(&[question]).unwrap().remove(0);
        let cosine = |text: usize| -> f64 {
            let products = vector.iter().zip(embedded[text].0.iter());
            products.map(|(a, b)| f64::from(a * b)).sum()
        };
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by(|a, b| cosine(*b).total_cmp(&cosine(*a)));
        order.truncate(DEPTH);
        let words = model.words(question).unwrap();
        let words: Vec<&str> = words.into_iter().map(|word| &question[word]).collect();
        let having = |text: usize| {
            let words = words.iter().filter(|word| texts[text].contains(**word));
            words.count() as f64
        };
        let candidates: Vec<Candidate<'_>> = order
            .iter()
            .map(|text| Candidate {
                text: &texts[*text],
                keyword: having(*text),
                dense: cosine(*text),
            })
            .collect();
        let weights = vec![1.0; words.len()];
        let query = TokenVectors::own(own.unwrap());
        let ranks = |vectors: Vec<TokenVectors>| {
            let scores = maxsim::scores(&query, &weights, &candidates, &vectors);
            let mut ranks: Vec<usize> = (0..scores.len()).collect();
            ranks.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            ranks.truncate(10);
            ranks
        };
        let exact = |text: &usize| embedded[*text].1.as_ref().unwrap();
        let before = ranks(
            order
                .iter()
                .map(|text| TokenVectors::own(exact(text).clone()))
                .collect(),
        );
        let rounded = order.iter().map(|text| {
            let rounded = Quantised::of(exact(text).view()).unwrap();
            bytes += rounded.bytes().len();
            tokens += exact(text).nrows();
            TokenVectors::own(rounded.vectors())
        });
        let after = ranks(rounded.collect());
        let sets = [&before, &after].map(|ranks| ranks.iter().collect::<HashSet<_>>());
        first += usize::from(before[0] == after[0]);
        same_lists += usize::from(before == after);
        same_sets += usize::from(sets[0] == sets[1]);
        shared += sets[0].intersection(&sets[1]).count();
    }
    let asked = questions.len();
    println!(
        "{asked} questions to {} texts: the first is the same for {first}, the ten for {same_sets}, their order for {same_lists}; \
         {shared} of {} are in both; {tokens} tokens in {bytes} bytes",
        texts.len(),
        10 * asked
    );
    assert!(first * 10 >= asked * 9, "{first} of {asked}");
    assert!(
        shared * 100 >= asked * 10 * 97,
        "{shared} of {}",
        asked * 10
    );
    assert_eq!(bytes, tokens * (4 + model.dimension()));
}
