//! What the README says that a reader will see, seen: the sample corpus, the shipped questions, the built-in model, default settings.

#[path = "shared/place.rs"]
mod place;

use place::Place;
use serde_json::Value;

/// The rows of the table of questions: what is asked, the file that is found first, what else stands in that cell, and the words that
/// it is found for.
fn promised() -> Vec<(String, String, String, String)> {
    let readme = include_str!("../README.md");
    let (_, table) = readme
        .split_once("| asked | found first | because it says |")
        .expect("the table of questions");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [asked, found, says] = cells[..] else {
            panic!("three cells: {row}");
        };
        let (file, record) = found[1..].split_once('`').expect("a file in backticks");
        let record = record.trim_start_matches(", ");
        let words = says.trim_matches('"').replace('`', "");
        (asked.into(), file.into(), record.into(), words)
    })
    .collect()
}

#[test]
fn the_questions_of_the_readme_are_answered_as_it_says() {
    let promised = promised();
    let asked: Vec<&str> = include_str!("../examples/queries.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let named: Vec<&str> = promised.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(
        named, asked,
        "the README and examples/queries.txt ask the same"
    );

    let place = Place::with(&[]);
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/corpus");
    place.says(&["run", "--once", "--input", corpus], 0);
    for (question, file, record, words) in promised {
        let found = place.json(&["search", &question, "-k3"], 0);
        let first = &found["hits"][0];
        let path = first["path"].as_str().unwrap();
        assert!(
            path.ends_with(&format!("/{file}")),
            "{question}: {path} is first"
        );
        if !record.is_empty() {
            assert_eq!(first["document"], record, "{question}");
        }
        let text = first["text"].as_str().unwrap().replace('`', "");
        let text: Vec<&str> = text.split_whitespace().collect();
        assert!(
            text.join(" ").contains(&words),
            "{question}: {words:?} is not in {text:?}"
        );
        // Not by a hair: meaning alone and the default agree.
        let meaning = place.json(&["search", &question, "-k1", "--mode=vector"], 0);
        assert_eq!(meaning["hits"][0]["path"], first["path"], "{question}");
        assert!(matches!(found["dense_weight"], Value::Number(_)));
    }
}
