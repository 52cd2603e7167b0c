//! A defect in any thread ends the program with a clear message: never does one half of it live on. What was durable before is
//! there after, and the next run goes on.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::support::{Place, STUCK, builtin, poll, records};

/// Waits for its end, however it comes; then what it said. None in time: it is half alive.
fn outcome(mut command: Command, what: &str) -> Output {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + STUCK;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            panic!("{what}: the program lived on\n{log}");
        }
        poll(deadline);
    }
    child.wait_with_output().unwrap()
}

/// Where each kind of thread can be made to panic, and the beginning of that thread's name.
const THREADS: [(&str, &str); 8] = [
    ("source.admit", "timely"),
    ("read.segment", "read-"),
    ("parse.begin", "read-"),
    ("embed.begin", "embed-"),
    ("store.commit.begin", "commit"),
    ("view.follow", "view"),
    ("scan.walk", "scan"),
    ("pid.locked", "main"),
];

#[test]
fn a_panic_in_any_thread_of_a_run_ends_it() {
    let (place, model) = (Place::new(), builtin());
    fs::write(place.files().join("a.jsonl"), records(0, 5)).unwrap();
    let panics = |point: &str, thread: &str| {
        let mut command = place.program(&["run"]);
        command.env("FAULT_POINTS", format!("{point}=panic"));
        let output = outcome(command, point);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(101), "{point}: {log}");
        assert!(
            log.contains(&format!("a defect of floodmark, thread {thread}")),
            "{point}: {log}"
        );
    };
    for (point, thread) in THREADS {
        panics(point, thread);
    }
    assert!(
        place
            .program(&["run", "--once"])
            .status()
            .unwrap()
            .success()
    );
    // A view that is made again hands all texts to the thread of tantivy's own.
    fs::remove_dir_all(place.state().join("keywords")).unwrap();
    panics("words.file.create", "thrd-tantivy-index0");
    place.is_right(&place.expected(&model));
}

/// Starts a run that watches, and does something at which the thread panics that has to deal with it.
fn provoked(point: &str, thread: &str, more: &[&str], provoke: impl Fn(&Place, u32)) {
    let place = Place::new();
    fs::write(place.files().join("a.txt"), "the lamp at the quay").unwrap();
    let arguments: Vec<&str> = ["run"].iter().chain(more).copied().collect();
    let mut command = place.program(&arguments);
    let log = place.0.path().join("log");
    let mut child = command
        .env("FAULT_POINTS", format!("{point}=panic"))
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let deadline = Instant::now() + STUCK;
    let (mut watching, mut round) = (false, 0);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        watching = watching || said().contains("watching");
        if watching {
            provoke(&place, round);
            round += 1;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{point}: the program lived on\n{}", said());
        }
        poll(Instant::now() + Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(101), "{point}: {}", said());
    let wanted = format!("a defect of floodmark, thread {thread}");
    assert!(said().contains(&wanted), "{point}: {}", said());
}

#[test]
fn a_panic_where_the_watch_is_read_ends_the_run() {
    let touch = |place: &Place, round: u32| {
        fs::write(place.files().join("a.txt"), format!("rope {round}")).unwrap();
    };
    provoked("watch.events", "watch", &[], touch);
    provoked("scan.look", "look", &[], touch);
}

#[test]
fn a_panic_where_questions_are_answered_ends_the_run() {
    let ask = |place: &Place, _: u32| {
        // It may be answered by a run that dies meanwhile.
        let _ = place.ask(&["status"]).output().unwrap();
    };
    provoked("control.accept", "control", &[], ask);
    provoked("control.serve", "control client", &[], ask);
}

#[test]
fn a_panic_where_dead_files_are_moved_ends_the_run() {
    let spoil = |place: &Place, round: u32| {
        fs::write(place.files().join(format!("{round}.json")), "{").unwrap();
    };
    provoked(
        "failed.begin",
        "failed",
        &["--failed-dir", "failed", "--settle", "1ms"],
        spoil,
    );
}
