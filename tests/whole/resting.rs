//! How a run that is done leaves its views: as whoever opens them next would have them.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use floodmark::index::last_build;
use floodmark::search::VIEW;
use rustix::process::{Pid, Signal, kill_process};

use super::support::{Place, poll, records, wait};

/// As many as make a build due.
const TEXTS: usize = 1_000;

fn place() -> Place {
    let place = Place::new();
    fs::write(place.files().join("rows.jsonl"), records(0, TEXTS)).unwrap();
    place
}

#[test]
fn a_run_that_is_done_waits_for_the_build_that_is_under_way() {
    let place = place();
    let output = place
        .program(&["run", "--once"])
        // Not begun, far less made, when the last text is committed.
        .env("FAULT_POINTS", "view.build=sleep:1500")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let build = last_build(&place.state().join(VIEW)).expect("a build");
    assert_eq!(build.count, TEXTS as u64, "{log}");
}

#[test]
fn a_run_that_waits_for_a_build_can_be_stopped() {
    let place = place();
    let mut run = place
        .program(&["run", "--once"])
        .env("FAULT_POINTS", "view.build=sleep:120000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait("every text in the store", poll, || {
        assert!(run.try_wait().unwrap().is_none(), "it did not wait");
        let live = place
            .snapshot()
            .map_or(0, |store| store.status().unwrap().live);
        match live == TEXTS as u64 {
            true => Ok(()),
            false => Err(format!("{live} texts")),
        }
    });
    kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    let asked = Instant::now();
    assert!(run.wait().unwrap().success());
    assert!(
        asked.elapsed() < Duration::from_secs(60),
        "it waited for the build"
    );
    assert!(last_build(&place.state().join(VIEW)).is_none());
}
