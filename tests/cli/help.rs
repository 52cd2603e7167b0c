//! What the program says of itself: help, completions, the manual.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Place, refuses, stderr, stdout};

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
