//! A run that is under way, as other commands see it: its lock, its pid file, its socket.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use floodmark::answers::{Forgotten, Found, Hit, Query, Retried, Status};
use floodmark::control::{Handler, Refusal, Server};
use floodmark::daemon::RunLock;

use super::{Place, refuses, stderr, stdout};

#[test]
fn stop_without_a_run_has_nothing_to_do() {
    let place = Place::new();
    let output = place.run(&["stop"]);
    assert!(output.status.success());
    assert_eq!(stdout(&output), "not running\n");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

const ROLE: &str = "CLI_TEST_STATE";

/// What another test starts: holds the lock of a run until its standard input ends.
#[test]
fn holder() {
    let Some(state) = std::env::var_os(ROLE) else {
        return;
    };
    let _lock = RunLock::acquire(Path::new(&state)).unwrap();
    println!("held");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn hold(state: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "beside_a_run::holder", "--nocapture"])
        .env(ROLE, state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("held")));
    child
}

#[test]
fn the_pid_file_names_a_run_that_lives_and_no_other() {
    let place = Place::new();
    let mut child = hold(&place.path().join(".floodmark"));
    let output = place.run(&["start"]);
    assert!(output.status.success());
    assert!(
        stdout(&output).starts_with(&format!("already running: process {};", child.id())),
        "{}",
        stdout(&output)
    );
    refuses(
        &place.run(&["run"]),
        1,
        &format!("process {} already runs on .floodmark", child.id()),
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let pid_file = std::fs::read_to_string(place.path().join(".floodmark/run.pid")).unwrap();
    assert!(
        pid_file.starts_with(&child.id().to_string()),
        "a killed process leaves its number: {pid_file:?}"
    );
    assert_eq!(stdout(&place.run(&["stop"])), "not running\n");
    let mut child = hold(&place.path().join(".floodmark"));
    assert_eq!(
        stdout(&place.run(&["stop"])),
        format!("stopped: process {}\n", child.id())
    );
    child.wait().unwrap();
}

#[test]
fn a_start_that_fails_says_what_the_log_says() {
    let place = Place::new();
    let output = place.run(&["start", "--model", "no-such-model"]);
    refuses(
        &output,
        1,
        "the run ended before it was ready (exit status: 1); the end of .floodmark/floodmark.log:\n",
    );
    let log = std::fs::read_to_string(place.path().join(".floodmark/floodmark.log")).unwrap();
    let last = log.lines().last().unwrap();
    assert!(stderr(&output).contains(last), "{last}");
    assert_eq!(stdout(&place.run(&["stop"])), "not running\n");
}

/// A run that knows one text.
struct OneText;

impl Handler for OneText {
    fn status(&self) -> Result<Status, Refusal> {
        Ok(Status {
            running: true,
            epoch: 17,
            pid: Some(std::process::id()),
            ..Status::default()
        })
    }

    fn search(&self, query: &Query) -> Result<Found, Refusal> {
        assert_eq!(query.hits, 3);
        let hit = Hit {
            path: "notes/a.md".into(),
            document: "0".into(),
            chunk: 2,
            start: 10,
            end: 42,
            score: 0.5,
            title: None,
            text: "the tide\ncame in".into(),
            metadata: serde_json::Map::new(),
            stale: false,
            other_paths: vec!["copy.md".into()],
            ..Hit::default()
        };
        Ok(Found {
            epoch: 17,
            hits: if query.query == "high tide" {
                vec![hit]
            } else {
                Vec::new()
            },
            ..Found::default()
        })
    }

    fn stop(&self) {}

    fn wait(&self, _path: &Path, _timeout: Duration) -> Result<u64, Refusal> {
        Ok(17)
    }

    fn wait_epoch(&self, epoch: u64, _timeout: Duration) -> Result<u64, Refusal> {
        Ok(epoch)
    }

    fn forget(&self, paths: &[PathBuf]) -> Result<Forgotten, Refusal> {
        Ok(Forgotten {
            files: paths.len() as u64,
            epoch: Some(18),
            running: true,
        })
    }

    fn retry_dead(&self, paths: &[PathBuf]) -> Result<Retried, Refusal> {
        Ok(Retried {
            files: paths.len() as u64,
            running: true,
        })
    }
}

#[test]
fn status_and_search_ask_the_run_that_is_under_way() {
    let place = Place::new();
    let lock = RunLock::acquire(&place.path().join(".floodmark")).unwrap();
    let _server = Server::start(&lock, Arc::new(OneText)).unwrap();
    let json = |arguments: &[&str], status: i32| -> serde_json::Value {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let status = json(&["status", "--json"], 0);
    let names: Vec<&str> = status
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "running",
            "pid",
            "epoch",
            "lag",
            "files",
            "kept",
            "documents",
            "chunks",
            "refused",
            "embeddings",
            "model_trouble",
            "last_commit",
            "last_build",
            "keywords",
            "model",
            "memory"
        ]
    );
    assert_eq!(
        (&status["epoch"], &status["lag"]["files"]),
        (&17.into(), &serde_json::Value::Null)
    );
    assert!(stdout(&place.run(&["status"])).contains("0 indexed, 0 retrying, 0 dead"));

    let retried = json(&["dead", "retry", "a.md", "sub", "--json"], 0);
    assert_eq!(retried, serde_json::json!({"files": 2, "running": true}));

    let found = json(&["search", "high", "tide", "-k", "3", "--json"], 0);
    assert_eq!(found["hits"][0]["text"], "the tide\ncame in");
    assert_eq!(
        json(&["search", "low tide", "--hits=3", "--json"], 1)["hits"],
        serde_json::json!([])
    );
    let output = place.run(&["search", "high tide", "-k3"]);
    assert_eq!(
        stdout(&output),
        " 1. notes/a.md:10-42  (0.500)\n    the tide came in\n    also in copy.md\n"
    );
    let none = place.run(&["search", "low tide", "-k3"]);
    assert_eq!(
        (none.status.code(), stdout(&none)),
        (Some(1), String::new())
    );
}
