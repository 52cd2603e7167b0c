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

const SECOND_LOOK: [&str; 6] = [
    "search",
    QUERY,
    "--rerank",
    "maxsim",
    "--rerank-budget",
    "2m",
];

/// Ids and keys of the rows of the file of token vectors; `None`: there is no file.
fn rows(place: &Place) -> Option<Vec<(i64, i64)>> {
    let path = place.path(".floodmark/token-vectors.sqlite");
    path.exists().then(|| {
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut all = connection
            .prepare("SELECT id, key FROM vectors ORDER BY key")
            .unwrap();
        let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    })
}

/// The file is a cache: with it, with a part of it and without it the answer is the same.
#[test]
fn token_vectors_are_kept_if_that_is_set_and_change_no_answer() {
    let place = place();
    place.says(&["run", "--once"], 0);
    assert_eq!(rows(&place), None);
    let plain = place.json(&SECOND_LOOK, 0);
    assert_eq!(plain["rerank"], "done");
    assert_eq!(rows(&place), None);
    std::fs::remove_dir_all(place.path(".floodmark")).unwrap();

    place.says(&["run", "--once", "--token-vectors"], 0);
    let written = rows(&place).unwrap();
    assert_eq!(written.len(), 4);
    assert_eq!(place.json(&SECOND_LOOK, 0)["hits"], plain["hits"]);
    let diagnosis = place.run(&["doctor"]);
    let said = String::from_utf8_lossy(&diagnosis.stdout);
    assert!(said.contains("token-vectors.sqlite"), "{said}");

    // A text that was embedded is not embedded again, wherever it comes up.
    place.write(
        "again.md",
        "Salt, rope, salt, rope, salt, a boat, and once the tide.",
    );
    place.says(&["run", "--once", "--token-vectors"], 0);
    assert_eq!(rows(&place).unwrap(), written);
    std::fs::remove_file(place.path("raw/again.md")).unwrap();
    place.says(&["run", "--once", "--token-vectors"], 0);

    let file = place.path(".floodmark/token-vectors.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    let damage = "UPDATE vectors SET vectors = zeroblob(length(vectors)) WHERE id = 2";
    assert_eq!(connection.execute(damage, []).unwrap(), 1);
    drop(connection);
    let output = place.run(&[&SECOND_LOOK[..], &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not what was written"), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["hits"], plain["hits"]);

    std::fs::write(
        &file,
        "no database, and longer than the header of one: ".repeat(9),
    )
    .unwrap();
    assert_eq!(place.json(&SECOND_LOOK, 0)["hits"], plain["hits"]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(place.json(&SECOND_LOOK, 0)["hits"], plain["hits"]);
    place.says(&["verify"], 0);
}

#[test]
fn a_run_keeps_what_its_second_looks_make_and_drops_what_no_text_has() {
    let place = place();
    place.says(&["run", "--once"], 0);
    let plain = place.json(&SECOND_LOOK, 0);
    place.says(&["start", "--token-vectors"], 0);
    assert_eq!(rows(&place), Some(vec![]));
    assert_eq!(place.json(&SECOND_LOOK, 0)["hits"], plain["hits"]);
    // It has written them before it has ended.
    place.says(&["stop"], 0);
    assert_eq!(rows(&place).unwrap().len(), 4);
    // Without the setting they are read all the same, and nothing is added.
    place.write("new.md", "A ferry waits for the turn of the tide.");
    place.says(&["start"], 0);
    place.says(&["search", "ferry", "--wait", "raw/new.md"], 0);
    place.json(&SECOND_LOOK, 0);
    place.says(&["stop"], 0);
    assert_eq!(rows(&place).unwrap().len(), 4);
    for name in ["new.md", "none.md", "one.md"] {
        std::fs::remove_file(place.path("raw").join(name)).unwrap();
    }
    // The first sees them go, the second begins without them.
    for _ in 0..2 {
        place.says(&["run", "--once", "--token-vectors"], 0);
    }
    assert_eq!(rows(&place).unwrap().len(), 2);
}
