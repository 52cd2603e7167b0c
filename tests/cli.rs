//! The program as a person calls it: what it prints where, and with which status it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use floodmark::answers::{Forgotten, Found, Hit, Query, Retried, Status};
use floodmark::control::{Handler, Refusal, Server};
use floodmark::daemon::RunLock;

/// A folder of its own, with no settings but those of the test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floodmark"));
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FLOODMARK_") {
                command.env_remove(name);
            }
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Ends with `status`, prints no result, and says why.
#[track_caller]
fn refuses(output: &Output, status: i32, why: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
    assert!(said.contains(why), "{said:?} does not say {why:?}");
}

const COMMANDS: &[&str] = &[
    "run",
    "replay",
    "search",
    "status",
    "start",
    "stop",
    "explain",
    "plan",
    "verify",
    "export",
    "dead",
    "dead list",
    "dead retry",
    "embed",
    "eval",
    "sts",
    "doctor",
    "completions",
    "man",
];

#[test]
fn every_command_explains_itself_on_standard_output() {
    let place = Place::new();
    for command in [""].iter().chain(COMMANDS) {
        for help in ["-h", "--help"] {
            let arguments: Vec<&str> = command.split_whitespace().chain([help]).collect();
            let output = place.run(&arguments);
            assert!(
                output.status.success(),
                "{command} {help}: {}",
                stderr(&output)
            );
            assert!(output.stderr.is_empty());
            assert!(
                stdout(&output).contains("Usage: floodmark"),
                "{command} {help}"
            );
        }
    }
    let help = stdout(&place.run(&["--help"]));
    for command in COMMANDS.iter().filter(|command| !command.contains(' ')) {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{command} is not in\n{help}"
        );
    }
    assert!(help.contains("Exit status:") && help.contains("FLOODMARK_STATE"));
    assert_eq!(
        stdout(&place.run(&["--version"])),
        concat!("floodmark ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn the_shared_flags_are_wherever_they_have_a_use() {
    let place = Place::new();
    let flags: [(&str, &[&str]); 4] = [
        (
            "--state",
            &[
                "run",
                "replay",
                "search",
                "status",
                "start",
                "stop",
                "explain",
                "plan",
                "verify",
                "export",
                "dead list",
                "dead retry",
                "doctor",
            ],
        ),
        (
            "--config",
            &[
                "run",
                "replay",
                "search",
                "status",
                "start",
                "stop",
                "explain",
                "plan",
                "verify",
                "export",
                "dead list",
                "embed",
                "doctor",
            ],
        ),
        (
            "--input",
            &["run", "start", "explain", "plan", "verify", "doctor"],
        ),
        ("--workers", &["run", "replay", "start", "plan", "verify"]),
    ];
    for (flag, commands) in flags {
        for command in commands {
            let arguments: Vec<&str> = command.split_whitespace().chain(["-h"]).collect();
            assert!(
                stdout(&place.run(&arguments)).contains(&format!("{flag} <")),
                "{command} has no {flag}"
            );
        }
    }
}

#[test]
fn a_command_line_that_means_nothing_ends_with_78() {
    let place = Place::new();
    refuses(&place.run(&["--wrokers", "2"]), 78, "--workers");
    refuses(&place.run(&["serach", "tide"]), 78, "search");
    refuses(&place.run(&["search"]), 78, "QUERY");
    refuses(&place.run(&["search", "tide", "--once"]), 78, "--once");
    refuses(
        &place.run(&["--once", "search", "tide"]),
        78,
        "--once means nothing to this command",
    );
    refuses(&place.run(&["dead"]), 78, "list");
    refuses(
        &place.run(&["--workers", "0"]),
        78,
        "flag --workers: workers can't be \"0\"; allowed is a whole number from 1",
    );
    refuses(&place.run(&["--device", "gpu"]), 78, "cuda");
    refuses(
        &place.run(&["search", "tide", "-k", "-1"]),
        78,
        "flag --hits",
    );
    refuses(&place.run(&["--log", "inof"]), 78, "allowed is a level");
}

#[test]
fn a_bad_configuration_ends_with_78_and_names_its_place() {
    let place = Place::new();
    std::fs::write(
        place.path().join("floodmark.toml"),
        "state = \"here\"\n\n[chunks]\nmax-tokns = 3\n",
    )
    .unwrap();
    refuses(
        &place.run(&["status"]),
        78,
        "floodmark.toml:4: there is no setting \"[chunks] max-tokns\"; did you mean max-tokens?",
    );
    refuses(
        &place.run(&["status", "--config", "none.toml"]),
        78,
        "none.toml",
    );
    std::fs::write(place.path().join("good.toml"), "workers = 2\n").unwrap();
    let typo = place
        .command(&["status", "--config", "good.toml"])
        .env("FLOODMARK_WORKRES", "2")
        .output()
        .unwrap();
    refuses(&typo, 78, "did you mean FLOODMARK_WORKERS?");
    let help = place.run(&["man"]);
    assert!(
        help.status.success(),
        "a bad file keeps nobody from the manual: {}",
        stderr(&help)
    );
}

#[test]
fn a_flag_is_stronger_than_the_environment_and_that_than_the_file() {
    let place = Place::new();
    let file = Some("state = \"of-file\"\n");
    let flag: &[&str] = &["--state", "of-flag"];
    for (file, environment, flags, expect) in [
        (None, None, &[][..], ".floodmark"),
        (file, None, &[], "of-file"),
        (file, Some("of-environment"), &[], "of-environment"),
        (file, Some("of-environment"), flag, "of-flag"),
        (None, None, flag, "of-flag"),
    ] {
        let path = place.path().join("floodmark.toml");
        match file {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => drop(std::fs::remove_file(&path)),
        }
        // The same before and after the command.
        for arguments in [[&["status"], flags].concat(), [flags, &["status"]].concat()] {
            let mut command = place.command(&arguments);
            command.envs(environment.map(|state| ("FLOODMARK_STATE", state)));
            refuses(
                &command.output().unwrap(),
                2,
                &format!("no index in {expect}:"),
            );
        }
    }
}

#[test]
fn a_question_about_no_index_could_not_be_looked_at() {
    let place = Place::new();
    for arguments in [
        &["search", "tide"][..],
        &["status"],
        &["verify"],
        &["export"],
        &["dead", "list"],
        &["explain", "a.md"],
    ] {
        refuses(
            &place.run(arguments),
            2,
            "there is no index in .floodmark: `floodmark run` makes one",
        );
    }
    assert_eq!(
        std::fs::read_dir(place.path()).unwrap().count(),
        0,
        "a question makes no folder"
    );
}

#[test]
fn completions_know_commands_and_flags() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = place.run(&["completions", shell]);
        assert!(output.status.success());
        let script = stdout(&output);
        for word in ["search", "epochs-in-flight", "retry"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
    refuses(&place.run(&["completions", "cobol"]), 78, "cobol");
    let script = stdout(&place.run(&["completions", "bash"]));
    let mut check = Command::new("bash")
        .args(["-n"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    check
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(check.wait().unwrap().success());
}

#[test]
fn the_manual_has_every_command_and_its_settings() {
    let place = Place::new();
    let page = stdout(&place.run(&["man"]));
    assert!(
        page.contains(".TH floodmark 1")
            && page.contains("FLOODMARK_STATE")
            && page.contains("Exit status"),
        "{page}"
    );
    assert!(stdout(&place.run(&["man", "search"])).contains("FLOODMARK_HITS"));
    assert!(stdout(&place.run(&["man", "dead", "retry"])).contains("FLOODMARK_STATE"));
    refuses(
        &place.run(&["man", "serach"]),
        1,
        "there is no command serach",
    );
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let place = Place::new();
    let mut child = place
        .command(&["man"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{:?} {}",
        output.status,
        stderr(&output)
    );
}

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
        .args(["--exact", "holder", "--nocapture"])
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
