//! Limits of memory, and clocks that jump: what they slow down, and that they change nothing else.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use floodmark::worker::Mode;
use rustix::process::{Pid, Signal, kill_process};

use super::support::{Asked, Place, Stop, Words, builtin, difference, poll, records, wait};

/// Milliseconds of ten years.
const TEN_YEARS_MS: i64 = 10 * 365 * 86_400_000;

#[test]
fn above_the_soft_limit_of_memory_all_is_indexed_slowly_and_said_so() {
    let (place, model) = (Place::new(), builtin());
    for number in 0..20 {
        fs::write(
            place.files().join(format!("{number:02}.jsonl")),
            records(number * 5, 5),
        )
        .unwrap();
    }
    let output = place
        .program(&["run", "--once", "--memory-soft", "1MiB"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert_eq!(log.matches("memory-soft is exceeded").count(), 1, "{log}");
    place.is_right(&place.expected(&model));
}

#[test]
fn above_the_hard_limit_of_memory_nothing_is_admitted_and_the_run_says_so() {
    let place = Place::new();
    fs::write(place.files().join("a.txt"), "ebb").unwrap();
    let output = place
        .program(&["run", "--once", "--memory-hard", "1MiB"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("memory-hard is exceeded") && log.contains("not everything is indexed"),
        "{log}"
    );
    assert_eq!(place.snapshot().unwrap().files(None).unwrap().len(), 0);
}

/// A child that does not outlive its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn quiet(command: &mut Command) -> Program {
    Program(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

#[test]
fn status_says_how_much_memory_a_run_holds() {
    let place = Place::new();
    let mut run = quiet(&mut place.program(&["run", "--memory-hard", "1MiB"]));
    let status = wait("a run that answers", poll, || {
        assert!(run.0.try_wait().unwrap().is_none());
        let output = place.ask(&["status", "--json"]).output().unwrap();
        let status: serde_json::Value =
            serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        match &status["memory"]["admission"] {
            serde_json::Value::String(_) => Ok(status),
            other => Err(other.to_string()),
        }
    });
    let memory = &status["memory"];
    assert_eq!(memory["admission"], "stopped");
    assert_eq!(memory["hard_bytes"], 1 << 20);
    assert!(memory["rss_bytes"].as_u64().unwrap() > 10 << 20);
    let output = place.ask(&["status"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("nothing is admitted"), "{said}");
}

/// The folder changes, and the index follows.
fn follows(place: &Place, right: &mut dyn FnMut() -> Option<String>, round: usize) {
    fs::write(place.files().join("a.jsonl"), records(round * 10, 3)).unwrap();
    fs::write(
        place.files().join(format!("{round}.txt")),
        "the lamp at the quay",
    )
    .unwrap();
    if round > 0 {
        fs::remove_file(place.files().join(format!("{}.txt", round - 1))).unwrap();
    }
    wait("the index", poll, || right().map_or(Ok(()), Err));
}

#[test]
fn time_stamps_that_jump_by_ten_years_change_nothing_else() {
    static NOW_MS: AtomicI64 = AtomicI64::new(1_700_000_000_000);
    let place = Place::new();
    let mut options = place.options(Mode::Watch, 2);
    options.clock = || NOW_MS.load(Ordering::Relaxed);
    let run = place.start(options, &Asked::default());
    let _stop = Stop(run.handle());
    let mut seen = Vec::new();
    for (round, jump) in [0, TEN_YEARS_MS, -2 * TEN_YEARS_MS, TEN_YEARS_MS]
        .into_iter()
        .enumerate()
    {
        let now = NOW_MS.fetch_add(jump, Ordering::Relaxed) + jump;
        let right = &mut || {
            let expected = place.expected(&Words);
            place
                .snapshot()
                .and_then(|store| difference(&store, &expected))
        };
        follows(&place, right, round);
        let store = place.snapshot().unwrap();
        let (epoch, stamp) = (store.epoch(), store.committed_ms(store.epoch()).unwrap());
        assert_eq!(stamp, Some(now), "the stamp is the clock's");
        seen.push(epoch);
    }
    assert!(
        seen.is_sorted(),
        "epochs are in order, whatever the clock says: {seen:?}"
    );
    run.handle().stop();
    run.join().unwrap();
    place.is_right(&place.expected(&Words));
}

#[test]
fn a_system_clock_that_jumps_by_ten_years_changes_nothing_else() {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    if !Path::new(LIBRARY).exists() {
        return println!(
            "SKIPPED: no {LIBRARY} (Debian: faketime), and so the program's clock can't be moved"
        );
    }
    let (place, model) = (Place::new(), builtin());
    let clock = place.0.path().join("clock");
    let set = |offset: &str| fs::write(&clock, offset).unwrap();
    set("+0d");
    let mut command = place.program(&["run", "--epoch-target-ms", "50"]);
    command
        .env("LD_PRELOAD", LIBRARY)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("NO_FAKE_STAT", "1")
        // The clock that a person or a time server sets; the one that only ever counts stays.
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut run = quiet(&mut command);
    let mut stamps = Vec::new();
    for (round, offset) in ["+0d", "+3650d", "-3650d", "+0d"].into_iter().enumerate() {
        set(offset);
        let right = &mut || {
            assert!(run.0.try_wait().unwrap().is_none(), "the run ended");
            let expected = place.expected(&model);
            match place.snapshot() {
                Some(store) => difference(&store, &expected),
                None => Some("no store yet".into()),
            }
        };
        follows(&place, right, round);
        let store = place.snapshot().unwrap();
        stamps.push(store.committed_ms(store.epoch()).unwrap().unwrap());
    }
    let years = |ms: i64| ms / (TEN_YEARS_MS / 10);
    assert_eq!(
        years(stamps[1] - stamps[0]),
        10,
        "the clock did jump: {stamps:?}"
    );
    let told = Instant::now();
    kill_process(Pid::from_child(&run.0), Signal::TERM).unwrap();
    assert!(run.0.wait().unwrap().success());
    println!("stopped after {} ms", told.elapsed().as_millis());
    place.is_right(&place.expected(&model));
}
