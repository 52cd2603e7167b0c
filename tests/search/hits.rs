//! What a hit says, in which order hits come, and how they are paged.

use serde_json::Value;

use super::{CORPUS, documents, indexed, names, refuses, serving};

#[test]
fn a_hit_says_what_was_found_where_and_why() {
    let place = indexed(CORPUS);
    let found = place.json(&["search", "tides at the harbour", "-k", "2"], 0);
    assert_eq!(found["epoch"], place.json(&["status"], 0)["epoch"]);
    assert_eq!(found["next"], 2);
    let hit = &found["hits"][0];
    assert_eq!(hit["path"], place.path("raw/tide.md").to_str().unwrap());
    assert_eq!(hit["title"], "The tide");
    assert_eq!(hit["metadata"]["tags"], serde_json::json!(["sea", "moon"]));
    assert_eq!(hit["format"], "markdown");
    assert_eq!(
        (&hit["chunk"], &hit["stale"], &hit["more"]),
        (&0.into(), &false.into(), &serde_json::json!([]))
    );
    assert!(
        hit["changed"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok()
    );
    assert!(hit["since"].as_u64().unwrap() >= 1);
    // The bytes that it names are the text that it shows.
    let bytes = std::fs::read(place.path("raw/tide.md")).unwrap();
    let range = |name: &str| hit[name].as_u64().unwrap() as usize;
    let lies = String::from_utf8_lossy(&bytes[range("start")..range("end")]).into_owned();
    assert_eq!(hit["text"].as_str().unwrap().trim(), lies.trim());
    for arm in ["vector", "keyword", "fused"] {
        assert!(hit["scores"][arm].as_f64().unwrap() > 0.0, "{arm}: {hit}");
    }
    assert_eq!(hit["score"], hit["scores"]["fused"]);
    let snippet = hit["snippet"]["text"].as_str().unwrap();
    let marked: Vec<&str> = hit["snippet"]["marks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mark| {
            &snippet
                [mark["start"].as_u64().unwrap() as usize..mark["end"].as_u64().unwrap() as usize]
        })
        .collect();
    assert_eq!(marked, ["tide", "harbour"], "{snippet}");

    let plain = place.says(&["search", "tides at the harbour", "-k", "1"], 0);
    assert!(
        !plain.contains('\u{1b}'),
        "no terminal, no colours: {plain:?}"
    );
    assert!(
        plain.contains("raw/tide.md:") && plain.contains("harbour wall"),
        "{plain}"
    );
}

#[test]
fn each_mode_looks_at_what_it_says() {
    let place = serving(CORPUS);
    let search = |flags: &[&str]| place.json(&[&["search"], flags].concat(), 0);
    // No word of it stands in the file: meaning alone finds it.
    let vector = search(&["baking a loaf", "--mode", "vector", "-k", "1"]);
    assert_eq!(names(&vector), ["bread.txt"]);
    assert_eq!(vector["hits"][0]["scores"]["keyword"], Value::Null);
    assert_eq!(
        vector["hits"][0]["score"],
        vector["hits"][0]["scores"]["vector"]
    );
    assert_eq!(
        place.json(&["search", "baking a loaf", "--mode=keyword"], 1)["hits"],
        serde_json::json!([])
    );
    let keyword = search(&["overnight", "--mode=keyword"]);
    assert_eq!(names(&keyword), ["bread.txt"]);
    assert_eq!(keyword["hits"][0]["scores"]["vector"], Value::Null);
    // Parts of names in code are words.
    assert_eq!(
        names(&search(&["gauge read", "--mode=keyword"])),
        ["gauge.py"]
    );
    for fusion in ["zscore", "minmax", "rrf"] {
        let found = search(&["overnight", "--fusion", fusion, "-k1"]);
        assert_eq!(names(&found), ["bread.txt"], "{fusion}");
    }
    let rrf = search(&["knead the dough", "--fusion=rrf", "--rrf-k=9", "-k1"]);
    assert_eq!(
        rrf["hits"][0]["score"], 0.2,
        "first in both lists: 1/10 + 1/10"
    );
    // With all the weight on one arm it is that arm's order.
    for (weight, mode) in [("1", "vector"), ("0", "keyword")] {
        let fused = search(&["the water level", "--dense-weight", weight, "-k1"]);
        let alone = search(&["the water level", "--mode", mode, "-k1"]);
        assert_eq!(names(&fused), names(&alone), "{mode}");
    }
}

#[test]
fn the_weight_is_told_and_follows_what_is_understood() {
    let place = serving(CORPUS);
    let weight =
        |flags: &[&str]| place.json(&[&["search"], flags].concat(), 0)["dense_weight"].clone();
    let auto = |query: &str| weight(&[query]).as_f64().unwrap();
    // Every word is there: both count as much, were it not for the code among the few texts.
    let plain = auto("the pump failed at noon");
    assert!((0.5..0.7).contains(&plain), "{plain}");
    // No word is there.
    assert_eq!(auto("baking a loaf"), 1.0);
    // The model has no words of that script, and neither has any text.
    let foreign = auto("насос сломался в полдень");
    assert!((0.5..0.7).contains(&foreign), "{foreign}");
    assert!(auto("water 水位上升了很多") < auto("water rises"));
    // What is given is taken.
    assert_eq!(weight(&["baking a loaf", "--dense-weight", "0.25"]), 0.25);
    assert_eq!(weight(&["pump", "--dense-weight", "auto"]), auto("pump"));
    for other in [
        ["pump", "--mode=keyword"],
        ["pump", "--mode=vector"],
        ["pump", "--fusion=rrf"],
    ] {
        assert_eq!(weight(&other), Value::Null, "{other:?}");
    }
    refuses(
        &place,
        &["search", "pump", "--dense-weight", "1.5"],
        78,
        "auto, or a number from 0 to 1",
    );
}

#[test]
fn a_document_comes_once_with_its_best_chunks_and_a_duplicate_with_all_its_paths() {
    let long = |what: &str| {
        let filler =
            "Nothing of interest was seen that day, and the log says so at length. ".repeat(25);
        format!(
            "# Log\n\n## One\n\n{what} in the morning.\n\n{filler}\n\n## Two\n\n{filler}\n\n## Three\n\n{what} at night, again.\n"
        )
    };
    let whales = long("A whale was sighted off the breakwater");
    let place = serving(&[
        ("a/log.md", &whales),
        ("b/copy of log.md", &whales),
        ("c/other.md", "A seal was sighted near the breakwater.\n"),
        (
            "d/records.jsonl",
            "{\"id\":\"x\",\"text\":\"a whale calf\"}\n{\"id\":\"y\",\"text\":\"a whale calf\"}\n",
        ),
    ]);
    let grouped = place.json(&["search", "whale sighted", "-k", "10"], 0);
    assert_eq!(
        names(&grouped)
            .iter()
            .filter(|name| name.contains("log"))
            .count(),
        1,
        "{grouped}"
    );
    let log = grouped["hits"]
        .as_array()
        .unwrap()
        .iter()
        .find(|hit| hit["path"].as_str().unwrap().contains("log"))
        .unwrap();
    assert_eq!(
        log["other_paths"],
        serde_json::json!([place.path("raw/b/copy of log.md").to_str().unwrap()])
    );
    let more = log["more"].as_array().unwrap();
    assert!(!more.is_empty() && more.len() <= 2, "{more:?}");
    assert!(
        more.iter().any(|passage| passage["snippet"]["text"]
            .as_str()
            .unwrap()
            .contains("whale")),
        "{more:?}"
    );
    let calf = grouped["hits"]
        .as_array()
        .unwrap()
        .iter()
        .find(|hit| hit["document"] == "x")
        .unwrap();
    assert_eq!(
        calf["other_paths"],
        serde_json::json!([]),
        "it is the same file"
    );
    assert_eq!(calf["duplicates"][0]["document"], "y");

    let chunks = place.json(&["search", "whale sighted", "-k", "10", "--chunks"], 0);
    assert!(
        names(&chunks)
            .iter()
            .filter(|name| name.contains("log"))
            .count()
            >= 2,
        "{chunks}"
    );
    assert!(
        chunks["hits"]
            .as_array()
            .unwrap()
            .iter()
            .all(|hit| hit["more"] == serde_json::json!([]))
    );

    // A text in two files of which one passes: that one is shown, and no other.
    let filtered = place.json(&["search", "whale sighted", "--path", "b/"], 0);
    assert_eq!(names(&filtered), ["copy of log.md"]);
    assert_eq!(filtered["hits"][0]["other_paths"], serde_json::json!([]));
}

#[test]
fn pages_follow_each_other_also_when_the_index_has_gone_on() {
    let records: String = (0..230)
        .map(|number| {
            format!(
                "{{\"id\":\"r{number}\",\"text\":\"gauge {number} reads {} at the quay\"}}\n",
                number * 37 % 1000
            )
        })
        .collect();
    let place = indexed(&[("gauges.jsonl", &records)]);
    let all = place.json(&["search", "gauge at the quay", "-k", "500"], 0);
    assert_eq!((documents(&all).len(), &all["next"]), (230, &Value::Null));
    let epoch = all["epoch"].to_string();
    let mut pages: Vec<String> = Vec::new();
    let mut offset = Some(0);
    while let Some(at) = offset {
        if at == 140 {
            // The rest of the pages are of an epoch that has passed.
            place.write(
                "gauges.jsonl",
                "{\"id\":\"new\",\"text\":\"gauge at the quay\"}\n",
            );
            place.says(&["run", "--once"], 0);
        }
        let page = place.json(
            &[
                "search",
                "gauge at the quay",
                "-k",
                "70",
                "--as-of",
                &epoch,
                "--offset",
                &at.to_string(),
            ],
            0,
        );
        assert_eq!(page["epoch"].to_string(), epoch);
        pages.extend(documents(&page).into_iter().map(str::to_owned));
        offset = page["next"].as_u64();
    }
    assert_eq!(pages, documents(&all));
    assert_eq!(
        place.json(&["search", "gauge", "--offset", "500"], 1)["next"],
        Value::Null
    );
    let numbered = place.says(
        &[
            "search",
            "gauge at the quay",
            "-k1",
            "--offset=4",
            "--as-of",
            &epoch,
        ],
        0,
    );
    assert!(numbered.starts_with(" 5. "), "{numbered}");
}
