//! Searching as a person does it: every flag, what it prints, and with which status it ends.

mod asked;
mod fresh;
mod hits;
mod narrowed;
#[path = "../shared/place.rs"]
mod place;

use place::{Place, wait_until};
use serde_json::Value;

const CORPUS: &[(&str, &str)] = &[
    (
        "tide.md",
        "---\nlang: en\nyear: 2021\ntags: [sea, moon]\n---\n# The tide\n\nTwice a day the sea comes up to the harbour wall.\n",
    ),
    (
        "notes/bread.txt",
        "Knead the dough for ten minutes and let it rest overnight in a cold place.\n",
    ),
    (
        "log.jsonl",
        "{\"id\":\"a\",\"title\":\"First\",\"text\":\"the pump failed at noon\",\"level\":3}\n\
         {\"id\":\"b\",\"text\":\"the water rose by a metre\",\"level\":5}\n\
         {\"id\":\"c\",\"text\":\"the gate was closed by hand\",\"level\":1}\n",
    ),
    (
        "gauge.py",
        "def read_gauge(port):\n    \"\"\"Ask the tide gauge for its level.\"\"\"\n    return port.query(\"level\")\n",
    ),
];

fn indexed(files: &[(&str, &str)]) -> Place {
    let place = Place::with(files);
    place.says(&["run", "--once"], 0);
    place
}

/// The same beside a run, whose model is warm.
fn serving(files: &[(&str, &str)]) -> Place {
    let place = Place::with(files);
    place.says(&["start"], 0);
    let settled = serde_json::json!({"files": 0, "chunks": 0});
    wait_until("all is indexed", || {
        place.json(&["status"], 0)["lag"] == settled
    });
    place
}

/// The last part of each hit's path.
fn names(found: &Value) -> Vec<String> {
    let hits = found["hits"].as_array().unwrap().iter();
    hits.map(|hit| {
        hit["path"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    })
    .collect()
}

fn documents(found: &Value) -> Vec<&str> {
    let hits = found["hits"].as_array().unwrap().iter();
    hits.map(|hit| hit["document"].as_str().unwrap()).collect()
}

/// Ends with `status`, prints no result, and says why.
#[track_caller]
fn refuses(place: &Place, arguments: &[&str], status: i32, why: &str) {
    let output = place.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(output.stdout.is_empty());
    assert!(said.contains(why), "{said:?} does not say {why:?}");
}
