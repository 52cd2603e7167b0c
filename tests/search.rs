//! Searching as a person does it: every flag, what it prints, and with which status it ends.

#[path = "shared/place.rs"]
mod place;

use std::io::Write;
use std::process::Stdio;

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

#[test]
fn whatever_is_asked_there_is_an_answer_or_a_reason() {
    let place = serving(CORPUS);
    for empty in ["", "   \n\t", "\u{7}\u{1}"] {
        refuses(&place, &["search", empty], 2, "the query is empty");
    }
    for odd in [
        "+(-\"",
        "AND OR NOT",
        "a:b:c",
        "tide~~^^9",
        "[1 TO",
        "\\",
        "'; DROP TABLE live; --",
        "*",
        "?",
        "!!!",
        "tide\u{0}\u{1b}[2J".trim_matches('\u{0}'),
        "漢字",
        "🌊",
        "ﷺ",
        "a\u{301}",
        "\u{202e}tide",
    ] {
        let odd = odd.replace('\u{0}', "");
        let output = place.run(&["search", "--json", "--", &odd]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{odd:?}: {said}"
        );
        assert!(!said.contains("panicked"), "{odd:?}: {said}");
    }
    let from_stdin = |query: &[u8]| {
        let mut child = place
            .command(&["search", "-", "--json", "-k1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Whoever has read enough hangs up.
        let _ = child.stdin.take().unwrap().write_all(query);
        child.wait_with_output().unwrap()
    };
    let found: Value = serde_json::from_slice(&from_stdin(b"kneading\n dough\n").stdout).unwrap();
    assert_eq!(names(&found), ["bread.txt"]);
    let long = from_stdin("tide ".repeat(13_000).as_bytes());
    assert_eq!(
        long.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&long.stderr)
    );
    let huge = from_stdin(&vec![b'x'; 1 << 20]);
    assert_eq!(huge.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&huge.stderr).contains("65536 is the most"));
    assert_eq!(from_stdin(b"tide \xff\xfe\x00 wall").status.code(), Some(0));
}

#[test]
fn user_text_is_an_expression_only_if_it_says_so() {
    let place = serving(CORPUS);
    let keyword = |query: &str, syntax: &str, status| {
        place.json(&["search", "--mode=keyword", syntax, query], status)
    };
    assert_eq!(
        names(&keyword("+pump -water", "--query-syntax=true", 0)),
        ["log.jsonl"]
    );
    assert_eq!(
        documents(&keyword("water -metre", "--query-syntax=true", 1)).len(),
        0
    );
    assert_eq!(
        documents(&keyword("water -metre", "--query-syntax=false", 0)),
        ["b"]
    );
    assert_eq!(
        documents(&keyword("\"pump failed\"", "--query-syntax", 0)),
        ["a"]
    );
    assert_eq!(
        documents(&keyword("\"failed pump\"", "--query-syntax", 1)).len(),
        0
    );
    let hybrid = place.json(&["search", "+pump -water", "--query-syntax", "-k1"], 0);
    assert_eq!(documents(&hybrid), ["a"]);
    refuses(
        &place,
        &["search", "--query-syntax", "(tide"],
        2,
        "--query-syntax",
    );
}

#[test]
fn what_a_script_has_just_written_is_found() {
    let place = Place::with(CORPUS);
    place.says(&["start"], 0);
    for number in 0..3 {
        let name = format!("fresh{number}.txt");
        place.write(
            &name,
            &format!(
                "Message {number}: the password of the harbour master is kittiwake{number}.\n"
            ),
        );
        let query = format!("kittiwake{number}");
        let path = format!("raw/{name}");
        let found = place.json(&["search", &query, "--wait", &path, "-k1"], 0);
        assert_eq!(names(&found), std::slice::from_ref(&name));
        place.write(&name, &format!("Now it says something else, {number}.\n"));
        let found = place.json(
            &[
                "search",
                "something else",
                "--mode=keyword",
                "--wait",
                &path,
                "-k9",
            ],
            0,
        );
        assert!(
            names(&found).contains(&name),
            "the present content, not the one before"
        );
    }
    let gone = place.path("raw/fresh0.txt");
    std::fs::remove_file(&gone).unwrap();
    let found = place.json(
        &[
            "search",
            "something else",
            "--mode=keyword",
            "--wait",
            "raw/fresh0.txt",
        ],
        0,
    );
    assert!(!names(&found).contains(&"fresh0.txt".to_owned()));
    let epoch = found["epoch"].as_u64().unwrap();
    let later = place.json(&["search", "tide", "--wait-epoch", &epoch.to_string()], 0);
    assert!(later["epoch"].as_u64().unwrap() >= epoch);

    refuses(
        &place,
        &["search", "x", "--wait", "floodmark.toml"],
        2,
        "lies in none of the folders that the run indexes",
    );
    refuses(
        &place,
        &["search", "x", "--wait", "raw/never.txt"],
        2,
        "neither on the disk nor was it ever in the index",
    );
    refuses(&place, &["search", "x", "--wait", "raw"], 2, "is a folder");
    place.write("bad.json", "{\"text\": ");
    refuses(
        &place,
        &["search", "x", "--wait", "raw/bad.json"],
        2,
        "is not in the index as it is:",
    );
    let far = (epoch + 1_000_000).to_string();
    refuses(
        &place,
        &[
            "search",
            "x",
            "--wait-epoch",
            &far,
            "--wait-timeout",
            "50ms",
        ],
        2,
        "is not committed yet, the last one is",
    );
    place.says(&["stop"], 0);

    assert!(!place.log().contains("ERROR"), "{}", place.log());

    // Without a run: what is indexed as it is on the disk needs none.
    assert_eq!(
        names(&place.json(&["search", "pump", "-k1", "--wait", "raw/log.jsonl"], 0)),
        ["log.jsonl"]
    );
    place.write("tide.md", "Changed.\n");
    refuses(
        &place,
        &["search", "x", "--wait", "raw/tide.md"],
        2,
        "in an older version, and no run is under way",
    );
    place.write("new.md", "New.\n");
    refuses(
        &place,
        &["search", "x", "--wait", "raw/new.md"],
        2,
        "is not in the index, and no run is under way",
    );
    refuses(
        &place,
        &["search", "x", "--wait-epoch", &far],
        2,
        "no run is under way that could bring it",
    );
    place.json(&["search", "pump", "--wait-epoch", "1"], 0);
}

/// The page's commands, run on the sample corpus.
#[test]
fn every_command_of_the_page_finds_something() {
    let page = include_str!("../docs/searching.md");
    let place = Place::with(&[]);
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/corpus");
    let copied = std::process::Command::new("cp")
        .args(["-r", corpus])
        .arg(place.path("raw/"))
        .status();
    assert!(copied.unwrap().success());
    std::fs::rename(place.path("raw/corpus"), place.path("corpus")).unwrap();
    std::fs::write(place.path("floodmark.toml"), "input = [\"corpus\"]\n").unwrap();
    place.says(&["start"], 0);
    wait_until("all is indexed", || {
        place.json(&["status"], 0)["lag"] == serde_json::json!({"files": 0, "chunks": 0})
    });
    let commands: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    assert!(commands.len() >= 15, "{commands:?}");
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_floodmark"))
        .parent()
        .unwrap();
    let search_path = format!(
        "{}:{}",
        folder.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    for command in &commands {
        let output = std::process::Command::new("sh")
            .args(["-ec", command])
            .current_dir(place.path(""))
            .env("PATH", &search_path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command}: {said}");
    }
    let mut all = floodmark::cli::command();
    all.build();
    let search = all.find_subcommand("search").unwrap();
    let shared = ["state", "config", "help", "version", "json"];
    let other = ["model", "index", "logs"];
    for flag in search
        .get_arguments()
        .filter_map(|argument| argument.get_long())
    {
        let group = floodmark::config::GROUPS
            .iter()
            .find(|group| group.keys.iter().any(|key| key.name == flag));
        if shared.contains(&flag) || group.is_some_and(|group| other.contains(&group.name)) {
            continue;
        }
        assert!(
            commands
                .iter()
                .any(|command| command.contains(&format!("--{flag}"))),
            "docs/searching.md shows no example of --{flag}"
        );
    }
}

/// While files come and go, every answer is of one epoch, with the same texts in both arms.
#[test]
fn no_text_is_ever_found_in_one_arm_only() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use floodmark::answers::Query;
    use floodmark::ingest::engine::Engine;
    use floodmark::model::{Model, ModelOptions};
    use floodmark::search::{Searcher, ViewOptions};
    use floodmark::service::{follower, keep_fresh};
    use floodmark::worker::{Mode, Options, Run};

    /// Ends the run also when the test fails: dropping a run waits for it.
    struct Stop(floodmark::worker::Handle);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.stop();
        }
    }

    let place = Place::with(&[]);
    let model = Model::open(&ModelOptions {
        sessions: 1,
        ..ModelOptions::default()
    })
    .unwrap();
    let state = place.path("state");
    let mut options = Options::new(Mode::Watch, &state, vec![place.path("raw")]);
    options.epoch_target_ms = 20;
    let (witness, commits) = follower();
    let run = Run::start(
        options,
        Engine::new(&model).unwrap(),
        vec![witness],
        Arc::new(|why| panic!("{why}")),
    )
    .unwrap();
    let _stop = Stop(run.handle());
    let searcher = Arc::new(Searcher::open(&state, &model, ViewOptions::default()).unwrap());
    let _followed = keep_fresh(searcher.clone(), commits).unwrap();

    let (handle, done) = (run.handle(), AtomicBool::new(false));
    let enough = AtomicBool::new(false);
    let (mut answers, mut epochs) = (0, std::collections::BTreeSet::new());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let patience = std::time::Instant::now() + std::time::Duration::from_secs(120);
            for round in 0.. {
                // A busy machine has looked at less meanwhile: then there is more to come.
                let looked = enough.load(Ordering::SeqCst);
                if round >= 60 && (looked || std::time::Instant::now() >= patience) {
                    break;
                }
                let seen = handle.progress().upper();
                place.write(
                    &format!("f{}.txt", round % 9),
                    &format!("tide gauge {round} reads {}", round * 37 % 100),
                );
                if round % 4 == 3 {
                    let _ = std::fs::remove_file(
                        place.path("raw").join(format!("f{}.txt", (round * 5) % 9)),
                    );
                }
                std::thread::yield_now();
                // The next one comes when this one is in the index, so that there are many epochs to look at.
                let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
                while handle.progress().upper() == seen && std::time::Instant::now() < deadline {
                    handle.progress().wait_for_commit(
                        deadline
                            .min(std::time::Instant::now() + std::time::Duration::from_millis(50)),
                    );
                    if (40..60).contains(&round) {
                        break;
                    }
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) && !writer.is_finished() {
            let found = searcher.search(&Query::new("tide gauge", 100)).unwrap();
            for hit in &found.hits {
                // Every text has both words, so that there is no score of 0 but for a text that the arm does not have.
                let (vector, keyword) = (hit.scores.vector.unwrap(), hit.scores.keyword.unwrap());
                assert!(
                    vector > 0.1 && keyword > 0.0,
                    "epoch {}: {hit:?}",
                    found.epoch
                );
            }
            // Each arm alone has as many: of the same epoch, which is now perhaps past.
            for mode in [
                floodmark::answers::Mode::Vector,
                floodmark::answers::Mode::Keyword,
            ] {
                let query = Query {
                    mode,
                    as_of: Some(found.epoch),
                    ..Query::new("tide gauge", 100)
                };
                let alone = searcher.search(&query).unwrap();
                assert_eq!(
                    (alone.epoch, alone.hits.len()),
                    (found.epoch, found.hits.len()),
                    "{mode:?}"
                );
            }
            // From now on out of memory, which follows.
            searcher.remember().unwrap();
            answers += 1;
            epochs.insert(found.epoch);
            enough.store(answers >= 10 && epochs.len() >= 5, Ordering::SeqCst);
        }
        writer.join().unwrap();
    });
    // What one has remembered and followed, another reads from the store.
    run.handle().stop();
    run.join().unwrap();
    let afresh = Searcher::open(&state, &model, ViewOptions::default()).unwrap();
    let query = Query::new("tide gauge", 100);
    let found = searcher.search(&query).unwrap();
    assert!(!found.hits.is_empty());
    assert_eq!(found, afresh.search(&query).unwrap());
    assert!(
        answers >= 10 && epochs.len() >= 5,
        "{answers} answers of {} epochs",
        epochs.len()
    );
}
