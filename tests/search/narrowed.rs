//! Only some of it: filters, and the past.

use serde_json::Value;

use super::{CORPUS, documents, indexed, names, refuses, serving};

#[test]
fn filters_leave_as_many_hits_as_there_are() {
    let place = serving(CORPUS);
    let found = |flags: &[&str]| {
        let output = place.run(&[&["search", "water", "--json"], flags].concat());
        assert!(
            output.status.code() <= Some(1),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let sorted = |flags: &[&str]| {
        let found = found(flags);
        let mut names = names(&found);
        names.sort();
        names
    };
    assert_eq!(sorted(&[]).len(), 6);
    assert_eq!(sorted(&["--path", "*.txt"]), ["bread.txt"]);
    assert_eq!(
        sorted(&["--path", "notes/", "--path", "*.py"]),
        ["bread.txt", "gauge.py"]
    );
    assert_eq!(sorted(&["--format", "code"]), ["gauge.py"]);
    assert_eq!(
        sorted(&["--format", "code/python", "--format=markdown"]),
        ["gauge.py", "tide.md"]
    );
    assert_eq!(sorted(&["--filter", "lang = en"]), ["tide.md"]);
    assert_eq!(
        sorted(&["--filter", "tags = moon and year > 2020"]),
        ["tide.md"]
    );
    assert_eq!(sorted(&["--filter", "exists level"]).len(), 3);
    assert_eq!(documents(&found(&["--filter", "level > 3"])), ["b"]);
    assert_eq!(
        documents(&found(&["--filter", "document = c", "-k1"])),
        ["c"]
    );
    assert_eq!(
        sorted(&["--filter", "level > 3", "--path=*.md"]),
        Vec::<String>::new()
    );
    assert_eq!(sorted(&["--changed-since", "1h"]).len(), 6);
    assert_eq!(sorted(&["--changed-before", "1h"]).len(), 0);
    assert_eq!(
        sorted(&[
            "--changed-before",
            "2100-01-01",
            "--changed-since",
            "2020-01-01T00:00:00Z"
        ])
        .len(),
        6
    );
    // The nearest are elsewhere: what passes comes all the same, in both arms and alone.
    for mode in ["hybrid", "vector"] {
        let found = found(&["--path", "gauge.py", "--mode", mode]);
        assert_eq!(names(&found), ["gauge.py"], "{mode}");
    }
    let before = found(&[])["epoch"].as_u64().unwrap();
    place.write("later.txt", "Low water at dusk.\n");
    place.json(&["search", "dusk", "--wait", "raw/later.txt"], 0);
    let since = (before + 1).to_string();
    assert_eq!(sorted(&["--since-epoch", &since]), ["later.txt"]);

    for (filter, why) in [
        ("year >=", "at character 8: a value should stand here"),
        ("format = md", "the formats are json, jsonl, csv"),
        ("changed > soon", "\"soon\" is no time"),
    ] {
        refuses(&place, &["search", "water", "--filter", filter], 78, why);
    }
    refuses(
        &place,
        &["search", "water", "--changed-since", "soon"],
        78,
        "is no time",
    );
    refuses(
        &place,
        &["search", "water", "--format", "md"],
        78,
        "no file is read as \"md\"",
    );
}

#[test]
fn the_past_is_searched_as_it_was() {
    let place = indexed(&[
        ("a.md", "The lighthouse was painted white.\n"),
        ("b.md", "A note about something else.\n"),
    ]);
    let search = |arguments: &[&str], status| {
        place.json(
            &[&["search", "lighthouse painted", "-k1"], arguments].concat(),
            status,
        )
    };
    let now = search(&[], 0);
    let epoch = now["epoch"].to_string();
    place.write("a.md", "The boathouse burned down.\n");
    std::fs::remove_file(place.path("raw/b.md")).unwrap();
    place.says(&["run", "--once"], 0);
    for mode in ["hybrid", "vector", "keyword"] {
        let past = search(&["--as-of", &epoch, "--mode", mode], 0);
        assert_eq!(past["hits"][0]["text"], now["hits"][0]["text"], "{mode}");
        assert_eq!(past["hits"][0]["path"], now["hits"][0]["path"]);
    }
    assert_eq!(search(&["--as-of", &epoch], 0), now, "to the last score");
    assert_eq!(
        search(&["--mode=keyword"], 1)["hits"],
        serde_json::json!([])
    );
    let filtered = search(&["--as-of", &epoch, "--path", "b.md"], 0);
    assert_eq!(names(&filtered), ["b.md"]);
    refuses(
        &place,
        &["search", "x", "--as-of", "999"],
        2,
        "epoch 999 is not committed yet, the last one is",
    );
    assert_eq!(search(&["--as-of", "0"], 1)["hits"], serde_json::json!([]));
}
