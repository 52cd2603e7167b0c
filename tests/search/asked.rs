//! Whatever is asked, and however.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use super::{CORPUS, documents, names, refuses, serving};
use crate::place::{Place, wait_until};

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

/// The page's commands, run on the sample corpus.
#[test]
fn every_command_of_the_page_finds_something() {
    let page = include_str!("../../docs/searching.md");
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
