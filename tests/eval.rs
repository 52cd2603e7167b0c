//! `floodmark eval` and `floodmark sts`, as a person calls them: on a small collection whose answers are known.

#[path = "shared/place.rs"]
mod place;

use std::path::{Path, PathBuf};

use place::Place;
use serde_json::{Value, json};

/// Texts on subjects so different that every mode tells them apart, and a question about each in its own words.
const SUBJECTS: [(&str, &str, &str); 6] = [
    (
        "d-hose",
        "The dishwasher leaked because its inlet hose had rubbed through.",
        "dishwasher hose leaked",
    ),
    (
        "d-tide",
        "Spring tides follow the full moon by about two days.",
        "spring tides full moon",
    ),
    (
        "d-bread",
        "Let the sourdough rise overnight before you bake the bread.",
        "sourdough bread rise overnight",
    ),
    (
        "d-tax",
        "The invoice was charged twice, so the customer got a refund.",
        "customer refund invoice charged twice",
    ),
    (
        "d-bird",
        "Swallows leave for Africa when the first cold nights come.",
        "swallows leave Africa cold nights",
    ),
    (
        "d-lens",
        "The lighthouse keeper polished the great lens every morning.",
        "lighthouse keeper polished lens",
    ),
];

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A collection in which question n asks for document n. One more document is judged relevant to the first and is not there; one
/// more query is judged by nobody.
fn collection(place: &Place) -> PathBuf {
    let folder = place.path("collection");
    let lines = |line: &dyn Fn(usize) -> Value| -> String {
        (0..SUBJECTS.len())
            .map(|i| format!("{}\n", line(i)))
            .collect()
    };
    // Another id besides the one that counts.
    let document = |i: usize| json!({"id": format!("other-{i}"), "_id": SUBJECTS[i].0, "title": "", "text": SUBJECTS[i].1});
    let query = |i: usize| json!({"_id": format!("q{i}"), "text": SUBJECTS[i].2});
    write(&folder, "corpus.jsonl", &lines(&document));
    let unjudged = "{\"_id\":\"q-nobody\",\"text\":\"whatever\"}\n";
    write(&folder, "queries.jsonl", &(lines(&query) + unjudged));
    let qrels: String = (0..SUBJECTS.len())
        .map(|i| format!("q{i}\t{}\t{}\n", SUBJECTS[i].0, 1 + i % 2))
        .collect();
    let gone = "q0\td-gone\t1\n";
    write(
        &folder,
        "qrels/test.tsv",
        &format!("query-id\tcorpus-id\tscore\n{qrels}{gone}"),
    );
    // Says that each question is about the next subject: every figure is another.
    let wrong: String = (0..SUBJECTS.len())
        .map(|i| format!("q{i}\t{}\t1\n", SUBJECTS[(i + 1) % SUBJECTS.len()].0))
        .collect();
    write(&folder, "qrels/wrong.tsv", &wrong);
    folder
}

#[track_caller]
fn close(found: &Value, expected: f64) {
    let found = found
        .as_f64()
        .unwrap_or_else(|| panic!("{found} is no number"));
    assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
}

#[test]
fn every_mode_is_measured_against_the_judgements() {
    let place = Place::with(&[]);
    let folder = collection(&place);
    let temporary = place.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let output = place
        .command(&["eval", folder.to_str().unwrap(), "--json"])
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("they can't be found, and count as missed"),
        "{said}"
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["documents"], &found["queries"]),
        (&json!(6), &json!(6))
    );
    // Question 0 has a second relevant document that is not there: ideal gain 1 + 1/log₂3, found 1.
    let ndcg = (5.0 + 1.0 / (1.0 + 1.0 / 3f64.log2())) / 6.0;
    for mode in ["hybrid", "vector", "keyword"] {
        let figures = &found["modes"][mode];
        close(&figures["ndcg@10"], ndcg);
        close(&figures["mrr@10"], 1.0);
        close(&figures["recall@100"], 5.5 / 6.0);
        let (p50, p99) = (&figures["p50_ms"], &figures["p99_ms"]);
        assert!(
            p50.as_f64().unwrap() > 0.0 && p99.as_f64() >= p50.as_f64(),
            "{figures}"
        );
    }
    assert!(
        found["modes"].get("rerank").is_none(),
        "nobody asked for it"
    );
    // The index was made elsewhere, and is gone.
    assert!(said.contains(temporary.to_str().unwrap()), "{said}");
    assert!(std::fs::read_dir(&temporary).unwrap().next().is_none());
    assert!(!place.path(".floodmark").exists());
}

#[test]
fn a_kept_state_is_used_again_and_another_split_says_something_else() {
    let place = Place::with(&[]);
    let folder = collection(&place);
    let arguments = ["eval", folder.to_str().unwrap(), "--state", "scratch"];
    let table = place.says(&arguments, 0);
    assert!(table.contains("6 documents, 6 judged queries"), "{table}");
    for column in [
        "nDCG@10",
        "MRR@10",
        "Recall@100",
        "p50",
        "p99",
        "keyword",
        "vector",
        "hybrid",
    ] {
        assert!(table.contains(column), "{column} is not in\n{table}");
    }
    let epoch = place.json(&["status", "--state", "scratch"], 0)["epoch"].clone();
    let wrong = place.json(&[&arguments[..], &["--qrels", "wrong"]].concat(), 0);
    let mrr = wrong["modes"]["vector"]["mrr@10"].as_f64().unwrap();
    assert!(mrr < 0.7, "{wrong}");
    assert_eq!(
        place.json(&["status", "--state", "scratch"], 0)["epoch"],
        epoch,
        "nothing was new"
    );
    assert_eq!(wrong["queries"], 6);
}

#[test]
fn the_second_look_keeps_token_vectors_if_it_is_set_and_says_the_same() {
    let place = Place::with(&[]);
    let folder = collection(&place);
    let look = |more: &[&str]| {
        let arguments = [
            "eval",
            folder.to_str().unwrap(),
            "--state",
            "scratch",
            "--rerank",
            "maxsim",
            "--rerank-budget",
            "60s",
        ];
        let found = place.json(&[&arguments[..], more].concat(), 0);
        ["ndcg@10", "mrr@10", "recall@100"].map(|name| found["modes"]["rerank"][name].clone())
    };
    let file = place.path("scratch/token-vectors.sqlite");
    let without = look(&[]);
    assert!(without[0].is_number() && !file.exists());
    assert_eq!(look(&["--token-vectors"]), without);
    assert!(file.exists());
    // Now they are read.
    assert_eq!(look(&["--token-vectors"]), without);
}

#[test]
fn two_configurations_are_compared_over_the_same_queries() {
    let place = Place::with(&[]);
    let folder = collection(&place);
    let arguments = [
        "eval",
        folder.to_str().unwrap(),
        "--compare",
        "max-tokens=4",
    ];
    let found = place.json(&arguments, 0);
    let [first, second] = &found["configurations"].as_array().unwrap()[..] else {
        panic!("{found}")
    };
    assert_eq!(
        (&first["settings"], &second["settings"]),
        (&json!(""), &json!("max-tokens=4"))
    );
    let compared = found["comparisons"].as_array().unwrap();
    assert_eq!(compared.len(), 9, "three modes, three figures: {found}");
    for comparison in compared {
        let mode = comparison["mode"].as_str().unwrap();
        let figure = comparison["figure"].as_str().unwrap();
        close(
            &comparison["a"],
            first["modes"][mode][figure].as_f64().unwrap(),
        );
        close(
            &comparison["b"],
            second["modes"][mode][figure].as_f64().unwrap(),
        );
        let number = |name: &str| comparison[name].as_f64().unwrap();
        close(&comparison["difference"], number("b") - number("a"));
        assert!(number("low") <= number("difference") && number("difference") <= number("high"));
        assert!(number("p") > 0.0 && number("p") <= 1.0, "{comparison}");
    }
    let table = place.says(&arguments, 0);
    assert!(
        table.contains("B: max-tokens=4") && table.contains("95 %"),
        "{table}"
    );
}

#[track_caller]
fn refused(place: &Place, arguments: &[&str], status: i32, why: &str) {
    let output = place.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(output.stdout.is_empty());
    assert!(said.contains(why), "{said:?} does not say {why:?}");
}

#[test]
fn what_can_t_be_measured_is_refused_with_its_place() {
    let place = Place::with(&[("note.md", "A note that somebody wants to keep.")]);
    let folder = collection(&place);
    let path = folder.to_str().unwrap();
    refused(&place, &["eval", "nowhere"], 2, "has no corpus.jsonl");
    refused(
        &place,
        &["eval", path, "--qrels", "train"],
        2,
        "one of test, wrong",
    );
    refused(
        &place,
        &["eval", path, "--compare", "max-tokenz=4"],
        78,
        "max-tokens",
    );
    refused(
        &place,
        &["eval", path, "--compare", "max-tokens=many"],
        78,
        "whole number",
    );
    refused(
        &place,
        &["eval", path, "--compare", "input=x"],
        78,
        "decides what is found",
    );
    refused(
        &place,
        &["eval", path, "--compare", "max-tokens=0"],
        78,
        "are the same",
    );
    write(
        &folder,
        "qrels/bad.tsv",
        "query-id\tcorpus-id\tscore\nq0\td-hose\tvery\n",
    );
    refused(
        &place,
        &["eval", path, "--qrels", "bad"],
        2,
        "bad.tsv:2: score must be a whole number",
    );
    // The index of somebody's files is not taken for a scratch.
    place.says(&["run", "--once"], 0);
    refused(
        &place,
        &["eval", path, "--state", ".floodmark"],
        1,
        "a state of its own",
    );
    let kept = place.json(&["search", "a note that somebody wants"], 0);
    assert_eq!(kept["hits"].as_array().unwrap().len(), 1);
}

#[test]
fn pairs_of_sentences_are_ranked_as_people_do() {
    let place = Place::with(&[]);
    let pair = |a: &str, b: &str, score: f64| {
        json!({"sentence1": a, "sentence2": b, "score": score}).to_string()
    };
    let lines = [
        pair("A man is playing a guitar.", "A man plays the guitar.", 4.9),
        pair(
            "A man is playing a guitar.",
            "A woman is playing the flute.",
            2.0,
        ),
        pair(
            "A man is playing a guitar.",
            "The stock market fell sharply.",
            0.1,
        ),
    ];
    write(&place.path(""), "pairs.jsonl", &lines.join("\n"));
    let found = place.json(&["sts", "pairs.jsonl"], 0);
    assert_eq!(
        (&found["pairs"], &found["spearman"]),
        (&json!(3), &json!(1.0))
    );
    assert!(found["model"].as_str().unwrap().contains("MiniLM"));
    let said = place.says(&["sts", "pairs.jsonl"], 0);
    assert!(said.contains("Spearman  1.0000"), "{said}");
    refused(
        &place,
        &["sts", "pairs.jsonl", "--sts-fields", "a,b"],
        78,
        "three fields",
    );
    refused(
        &place,
        &["sts", "pairs.jsonl", "--sts-fields", "a,b,c"],
        2,
        "pairs.jsonl:1: a is missing",
    );
    refused(&place, &["sts", "nowhere.jsonl"], 2, "nowhere.jsonl");
    write(
        &place.path(""),
        "flat.jsonl",
        &[pair("a", "b", 1.0), pair("c", "d", 1.0)].join("\n"),
    );
    refused(&place, &["sts", "flat.jsonl"], 2, "nothing to rank");
}

#[test]
fn a_state_of_an_earlier_schema_is_migrated_if_it_is_of_this_collection() {
    let place = Place::with(&[]);
    let folder = collection(&place);
    let state = place.path("state");
    let evaluate = [
        "eval",
        folder.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
        "--mode=keyword",
    ];
    let before = place.json(&evaluate, 0);
    // As a floodmark left it that knew schema 2.
    let connection = rusqlite::Connection::open(state.join("store.sqlite")).unwrap();
    connection
        .execute_batch("ALTER TABLE embeddings DROP COLUMN sum; PRAGMA user_version = 2;")
        .unwrap();
    let version = || -> i64 {
        connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap()
    };
    // Of other files: refused, and left as it is.
    let other = Place::with(&[]);
    let foreign = collection(&other);
    let output = place.run(&[
        "eval",
        foreign.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds the index of"));
    assert_eq!(version(), 2);
    let after = place.json(&evaluate, 0);
    assert!(version() > 2);
    let figure = |answer: &Value| answer["modes"]["keyword"]["ndcg@10"].clone();
    assert_eq!(figure(&after), figure(&before));
}
