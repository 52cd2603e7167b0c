//! export, explain, dead and embed as a person calls them: the real program with the real model on small folders.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use floodmark::control::Client;
use serde_json::{Value, json};

/// How long anything may take on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(300);

/// A folder of its own, with no settings but those of the test.
struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floodmark"));
        command
            .args(line.split(' '))
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FLOODMARK_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Its standard output, given that it ends so.
    #[track_caller]
    fn says(&self, line: &str, status: i32) -> String {
        let output = self.command(line).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(status),
            "{line}: {}",
            stderr(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn lines(&self, line: &str, status: i32) -> Vec<Value> {
        let said = self.says(line, status);
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn full(&self, path: &str) -> String {
        self.path.join(path).to_str().unwrap().to_owned()
    }

    /// A run that watches, and a line to it.
    fn watch(&self, line: &str) -> (Watching, Client) {
        let child = self.command(line).stderr(Stdio::null()).spawn().unwrap();
        let watching = Watching(child);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(client) = Client::connect(&self.path.join(".floodmark")).unwrap() {
                return (watching, client);
            }
            assert!(Instant::now() < deadline, "the run does not answer");
            std::thread::yield_now();
        }
    }
}

struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn paths(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["path"].as_str().unwrap())
        .collect()
}

#[test]
fn an_export_is_sorted_and_says_nothing_of_the_machine() {
    let place = Place::new();
    place.write("in/b/tide.md", "The tide comes in twice a day.");
    place.write("in/b.txt", "The tide comes in twice a day.");
    place.write(
        "in/a.jsonl",
        "{\"id\":\"x\",\"text\":\"salt\"}\nno json\n{\"text\":\"water\"}\n",
    );
    place.says("run --once --input in", 0);
    let lines = place.lines("export --vectors", 0);
    assert_eq!(paths(&lines), ["a.jsonl", "a.jsonl", "b.txt", "b/tide.md"]);
    let names: Vec<&str> = lines[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let fields = [
        "path",
        "document",
        "chunk",
        "start",
        "end",
        "text_hash",
        "vector_hash",
    ];
    assert_eq!(names, [&fields[..], &["vector"]].concat());
    assert_eq!(
        (&lines[0]["document"], &lines[1]["document"]),
        (&json!("x"), &json!("2"))
    );
    assert_eq!(
        lines[2]["vector_hash"], lines[3]["vector_hash"],
        "one text, one vector"
    );
    for line in &lines {
        let vector: Vec<f32> = serde_json::from_value(line["vector"].clone()).unwrap();
        let bytes: Vec<u8> = vector
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        assert_eq!(line["vector_hash"], blake3::hash(&bytes).to_hex()[..32]);
    }
    assert_eq!(lines[0]["text_hash"].as_str().map(str::len), Some(32));
    let plain = place.says("export", 0);
    assert!(!plain.contains("vector\":["), "{plain}");

    place.write("other/in.txt", "salt");
    place.says("run --once --input in --input other", 0);
    let lines = place.lines("export", 0);
    let two = [
        "in/a.jsonl",
        "in/a.jsonl",
        "in/b.txt",
        "in/b/tide.md",
        "other/in.txt",
    ];
    assert_eq!(paths(&lines), two);

    let explained = place
        .lines("explain in/b.txt --input in --json", 0)
        .remove(0);
    assert_eq!(explained["standing"], "indexed");
    assert_eq!(
        explained["chunks"][0]["other_paths"],
        json!([place.full("in/b/tide.md")])
    );
    assert_eq!(
        (&explained["bytes"], &explained["format"]),
        (&json!(30), &json!("text"))
    );
    assert!(explained["model"].is_string() && explained["epoch"].is_u64());
    let records = place.lines("explain in/a.jsonl --json", 0).remove(0);
    assert_eq!(
        (&records["documents"], &records["failures"][0]["line"]),
        (&json!(2), &json!(2))
    );
    let letters = place.lines("dead list --json", 0);
    assert_eq!(
        (&letters[0]["record"], &letters[0]["reason"]),
        (&json!(1), &json!("invalid-json"))
    );
}

#[test]
fn explain_says_where_a_file_stands_and_why() {
    let place = Place::new();
    place.write("in/good.txt", "high tide");
    place.write("in/changed.txt", "low tide");
    place.write("in/gone.txt", "no tide");
    place.write("in/bad.json", "{\"text\": ");
    place.write("in/.hidden.txt", "ebb");
    place.write("in/out.log", "flood");
    place.write("beside.txt", "neap");
    place.says("run --once --input in --exclude *.log", 0);
    place.write("in/changed.txt", "spring tide");
    place.write("in/new.txt", "new tide");
    std::fs::remove_file(place.path.join("in/gone.txt")).unwrap();
    for (path, standing, why) in [
        ("in/good.txt", "indexed", "as it is on the disk"),
        (
            "in/changed.txt",
            "changed",
            "Until then its previous version is found",
        ),
        ("in/new.txt", "new", "not looked at yet"),
        ("in/gone.txt", "gone", "no longer on the disk"),
        ("in/bad.json", "dead", "invalid-json"),
        ("in/.hidden.txt", "excluded", "hidden = true"),
        ("in/out.log", "excluded", "exclude has the line \"*.log\""),
        ("beside.txt", "excluded", "below no input"),
        ("in/never.txt", "unknown", "never"),
    ] {
        let exit = i32::from(standing != "indexed");
        let line = format!("explain {path} --input in --exclude *.log --json");
        let explained = place.lines(&line, exit).remove(0);
        assert_eq!(explained["standing"], standing, "{path}: {explained}");
        assert!(
            explained["why"].as_str().unwrap().contains(why),
            "{path}: {explained}"
        );
    }
    assert!(
        place
            .says("explain in/good.txt --input in", 0)
            .contains("document 0, chunk 0: bytes 0-9")
    );
    let folder = place.command("explain in --input in").output().unwrap();
    assert_eq!(folder.status.code(), Some(2), "{}", stderr(&folder));
}

#[test]
fn a_dead_letter_is_listed_and_tried_again_beside_a_run() {
    let place = Place::new();
    place.write("in/good.txt", "high tide");
    place.write("in/sub/bad.json", "[1, ");
    let (_run, mut client) = place.watch("run --input in");
    client
        .wait(&place.path.join("in/sub/bad.json"), PATIENCE)
        .unwrap();
    client
        .wait(&place.path.join("in/good.txt"), PATIENCE)
        .unwrap();
    let letter = place.lines("dead list --json", 0).remove(0);
    assert_eq!(letter["path"], place.full("in/sub/bad.json"));
    assert_eq!(
        (&letter["reason"], &letter["attempts"]),
        (&json!("invalid-json"), &json!(1))
    );
    assert!(
        letter["since"].is_string() && letter["stale"] == false,
        "{letter}"
    );
    assert!(
        place
            .says("dead list", 0)
            .contains("bad.json:1: invalid-json: ")
    );
    assert_eq!(place.lines("export", 0).len(), 1, "beside the run");

    let before = client.status().unwrap().epoch;
    assert_eq!(
        place.says("dead retry in/good.txt", 1),
        "0 files will be looked at again now\n"
    );
    assert_eq!(
        place.says("dead retry in/sub", 0),
        "1 file will be looked at again now\n"
    );
    let deadline = Instant::now() + PATIENCE;
    while client.status().unwrap().epoch == before {
        assert!(Instant::now() < deadline, "nobody looks again");
        std::thread::yield_now();
    }
    assert_eq!(
        client.status().unwrap().files.dead,
        1,
        "it is as bad as before"
    );
}

#[test]
fn without_a_run_a_retry_is_for_the_next_one() {
    let place = Place::new();
    place.write("in/deep.json", "{\"text\": \"tide\", \"deep\": [[1]]}");
    let deep = place.full("in/deep.json");
    place.says("run --once --input in --max-depth 2", 0);
    let letters = place.lines("dead list --json", 0);
    assert_eq!(
        (&letters[0]["path"], &letters[0]["reason"]),
        (&json!(deep), &json!("too-deep"))
    );
    assert_eq!(
        place.says("dead retry nowhere", 1),
        "0 files will be looked at again in the next run\n"
    );
    let retried = place.lines("dead retry --json", 0);
    assert_eq!(retried, [json!({"files": 1, "running": false})]);
    place.says("run --once --input in", 0);
    let files = place.lines("status --json", 0).remove(0)["files"].clone();
    assert_eq!((&files["dead"], &files["indexed"]), (&json!(0), &json!(1)));
    assert_eq!(
        place.says("dead retry", 0),
        "0 files will be looked at again in the next run\n"
    );
    // One that is gone by then is not kept for ever.
    place.write("in/bad.json", "{");
    place.says("run --once --input in", 0);
    place.says("dead retry in/bad.json", 0);
    std::fs::remove_file(place.path.join("in/bad.json")).unwrap();
    place.says("run --once --input in", 0);
    assert!(place.lines("status --json", 0)[0]["files"]["dead"] == 0);
}

#[test]
fn a_dead_file_is_moved_and_its_letter_stays() {
    let place = Place::new();
    place.write("in/sub/bad.json", "[1, ");
    place.write("in/good.txt", "high tide");
    let run = "run --once --input in --failed-dir failed --settle 1ms";
    place.says(run, 0);
    assert!(!place.path.join("in/sub/bad.json").exists());
    let moved = place.path.join("failed/sub/bad.json");
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "[1, ");
    let log = std::fs::read_to_string(moved.with_file_name("bad.json.error.txt")).unwrap();
    assert!(
        log.contains("invalid-json") && log.contains(&place.full("in/sub/bad.json")),
        "{log}"
    );
    let listed = |count: usize| {
        let letters = place.lines("dead list --json", 0);
        assert_eq!(letters.len(), count, "{letters:?}");
        for letter in letters {
            assert_eq!(letter["path"], place.full("in/sub/bad.json"));
            let advice = letter["advice"].as_str().unwrap();
            assert!(
                advice.starts_with(&format!("it was moved to {}", moved.display())),
                "{advice}"
            );
        }
    };
    listed(1);
    place.says(run, 0);
    listed(1); // after a restart too
    let explained = place
        .lines("explain in/sub/bad.json --input in --json", 1)
        .remove(0);
    assert_eq!(explained["standing"], "dead", "{explained}");
    assert_eq!(
        place
            .lines("explain in/good.txt --input in --json", 0)
            .len(),
        1
    );

    place.write("in/sub/bad.json", "[\"mended\"]");
    place.says(run, 0);
    listed(0);
    assert_eq!(
        paths(&place.lines("export", 0)),
        ["good.txt", "sub/bad.json"]
    );

    let nested = place
        .command("run --once --input in --failed-dir in/failed")
        .output()
        .unwrap();
    assert!(
        stderr(&nested).contains("lie inside each other"),
        "{}",
        stderr(&nested)
    );
}

#[test]
fn a_dead_file_is_moved_beside_a_run() {
    let place = Place::new();
    place.write("in/good.txt", "high tide");
    let (_run, mut client) = place.watch("run --input in --failed-dir failed --settle 1ms");
    client
        .wait(&place.path.join("in/good.txt"), PATIENCE)
        .unwrap();
    let bad = place.path.join("in/bad.json");
    for number in ["", ".1"] {
        std::fs::write(&bad, "{").unwrap();
        let deadline = Instant::now() + PATIENCE;
        while bad.exists() {
            assert!(Instant::now() < deadline, "it stays");
            std::thread::yield_now();
        }
        client.wait(&bad, PATIENCE).unwrap();
        assert!(
            place
                .path
                .join(format!("failed/bad.json{number}.error.txt"))
                .exists()
        );
        assert_eq!(place.lines("dead list --json", 0).len(), 1);
    }
    // What is tried again and not there is forgotten.
    place.says("dead retry", 0);
    let deadline = Instant::now() + PATIENCE;
    while client.status().unwrap().files.dead > 0 {
        assert!(Instant::now() < deadline, "it is still dead");
        std::thread::yield_now();
    }
}

fn snippet(id: u32) -> String {
    format!(
        r#"{{"id":"{id}","file_path":"a.rs","language":"rust","content":"fn tide_{id}() {{}}","kept":[{id}]}}"#
    )
}

#[test]
fn embed_goes_from_file_to_file_and_through_a_pipe() {
    let place = Place::new();
    place.write("in.jsonl", &format!("{}\n{}\n", snippet(1), snippet(2)));
    assert_eq!(place.says("embed in.jsonl -o out.jsonl", 0), "");
    let written = std::fs::read_to_string(place.path.join("out.jsonl")).unwrap();
    let lines: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (lines.len(), &lines[1]["kept"], &lines[1]["normalized"]),
        (2, &json!([2]), &json!(true))
    );
    assert!(lines[0]["embedding"].as_array().unwrap().len() > 100 && lines[0]["model"].is_string());

    let mut child = place
        .command("embed -")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(format!("{}\n{}", snippet(1), snippet(2)).as_bytes())
        .unwrap();
    drop(input);
    let mut piped = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut piped)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(piped, written, "the same bytes");

    place.write("empty.jsonl", "");
    place.says("embed empty.jsonl -o empty.out", 0);
    assert_eq!(std::fs::read(place.path.join("empty.out")).unwrap(), b"");
}

#[test]
fn embed_stops_at_a_bad_line_or_sets_it_aside() {
    let place = Place::new();
    place.write(
        "in.jsonl",
        &format!(
            "{}\n{{\"id\":\"2\"}}\nno json\n{}\n",
            snippet(1),
            snippet(4)
        ),
    );
    let stopped = place
        .command("embed in.jsonl -o out.jsonl")
        .output()
        .unwrap();
    assert_eq!(stopped.status.code(), Some(1));
    let said = stderr(&stopped);
    assert!(
        said.contains("in.jsonl, line 2") && said.contains("file_path"),
        "{said}"
    );
    assert!(
        !place.path.join("out.jsonl").exists(),
        "whole or not at all"
    );
    assert_eq!(
        place
            .command("embed none.jsonl")
            .output()
            .unwrap()
            .status
            .code(),
        Some(1)
    );

    place.says("embed in.jsonl -o out.jsonl --on-error skip", 0);
    let lines = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(place.path.join(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    assert_eq!(lines("out.jsonl").len(), 2);
    let aside = lines("out.jsonl.errors.jsonl");
    assert_eq!(
        (&aside[0]["line"], &aside[1]["line"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(
        place
            .says("embed in.jsonl --on-error skip", 0)
            .lines()
            .count(),
        2
    );
    assert_eq!(lines("embed.errors.jsonl").len(), 2);
    place.says("embed in.jsonl --on-error skip --errors-to aside.jsonl", 0);
    assert_eq!(lines("aside.jsonl").len(), 2);
    place.says("embed in.jsonl -o x --on-error skip --errors-to x", 1);
}
