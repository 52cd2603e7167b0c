//! `floodmark search --rerank`, as a person calls it. The cross-encoder is a tiny one that counts shared words: it shows that pairs
//! are put together, scored and ordered rightly, and nothing about quality.

#[path = "shared/place.rs"]
mod place;

use place::Place;
use serde_json::{Value, json};

const QUERY: &str = "high tide flood mark";

/// By meaning and by words the first is best, by far; by the number of words shared with the query it is the last.
fn place() -> Place {
    Place::with(&[
        (
            "none.md",
            "Sea levels rise and submerge the coast at spring, above every previous line.",
        ),
        (
            "one.md",
            "Salt, rope, salt, rope, salt, a boat, and once the tide.",
        ),
        (
            "two.md",
            "Under the moon a boat is moored with a rope; the mark on its mast is high.",
        ),
        (
            "three.md",
            "salt salt salt rope boat moon the flood the mark the tide salt salt salt rope boat moon",
        ),
    ])
}

fn cross_encoder() -> String {
    format!(
        "{}/tests/fixtures/tiny_cross_encoder",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn files(found: &Value) -> Vec<String> {
    let hits = found["hits"].as_array().unwrap();
    let name = |hit: &Value| {
        hit["path"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    };
    hits.iter().map(name).collect()
}

#[test]
fn a_cross_encoder_orders_the_first_hits_and_says_so() {
    let place = place();
    place.says(&["run", "--once"], 0);
    let plain = place.json(&["search", QUERY], 0);
    assert_eq!(plain["rerank"], Value::Null);
    let again = place.json(&["search", QUERY, "--rerank", &cross_encoder()], 0);
    assert_eq!(again["rerank"], "done");
    let ordered = ["three.md", "two.md", "one.md", "none.md"];
    assert_eq!(files(&again), ordered);
    let scores: Vec<f64> = again["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["scores"]["rerank"].as_f64().unwrap())
        .collect();
    assert_eq!(scores, [3.0, 2.0, 1.0, 0.0]);
    assert_ne!(files(&plain), ordered, "or else this test shows nothing");
    // The pages are of the one order.
    let second = place.json(
        &["search", QUERY, "--rerank", &cross_encoder(), "-k", "1"],
        0,
    );
    assert_eq!(files(&second), ["three.md"]);
}

#[test]
fn without_time_the_order_stays_and_the_answer_says_so() {
    let place = place();
    place.says(&["run", "--once"], 0);
    let plain = place.json(&["search", QUERY], 0);
    for how in [cross_encoder(), "maxsim".to_owned()] {
        let late = place.json(
            &["search", QUERY, "--rerank", &how, "--rerank-budget", "0ms"],
            0,
        );
        assert_eq!(late["rerank"], "out-of-time");
        assert_eq!(late["hits"], plain["hits"]);
    }
    let output = place.run(&[
        "search",
        QUERY,
        "--rerank",
        "maxsim",
        "--rerank-budget",
        "0ms",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("out of time"), "{said}");
}

#[test]
fn maxsim_needs_no_folder_and_a_run_in_the_background_answers_the_same() {
    let place = place();
    place.says(&["run", "--once"], 0);
    let arguments = [
        "search",
        QUERY,
        "--rerank",
        "maxsim",
        "--rerank-budget",
        "2m",
    ];
    let alone = place.json(&arguments, 0);
    assert_eq!(alone["rerank"], "done");
    assert!(alone["hits"][0]["scores"]["rerank"].is_number());
    place.says(&["start"], 0);
    let served = place.json(&arguments, 0);
    assert_eq!(served["hits"], alone["hits"]);
    // A folder is meant from where the question is asked.
    std::fs::create_dir_all(place.path("models")).unwrap();
    for file in ["model.onnx", "tokenizer.json", "config.json"] {
        let from = format!("{}/{file}", cross_encoder());
        std::fs::copy(from, place.path("models").join(file)).unwrap();
    }
    let served = place.json(
        &[
            "search",
            QUERY,
            "--rerank",
            "models",
            "--rerank-budget",
            "2m",
        ],
        0,
    );
    assert_eq!(files(&served)[0], "three.md");
}

#[test]
fn what_is_no_cross_encoder_is_refused_with_a_reason() {
    let place = place();
    place.says(&["run", "--once"], 0);
    let output = place.run(&["search", QUERY, "--rerank", "nowhere"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("nowhere"), "{said}");
    assert_eq!(json!(output.stdout), json!([]));
}
