//! What the program holds: at rest, by the size of the index, and during a long replay.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use floodmark::control::Client;

use super::bench::Bench;
use super::corpus::sentence;
use super::process;
use super::results::{Row, median};

/// Nothing here takes so long.
const STUCK: Duration = Duration::from_secs(600);
/// Different texts of the replay: the model sees them once.
const TEXTS: usize = 1000;

/// At rest, and over time.
pub fn measure(bench: &Bench) {
    let mut sizes = bench.arguments.sizes.clone();
    sizes.sort_unstable();
    let mut rest = Vec::new();
    for &size in &sizes {
        let (input, state) = bench.short(size);
        bench.build_view(&state);
        let resident = at_rest(&input, &state);
        rest.push((size as f64, resident));
        row(
            bench,
            "at rest, watching",
            resident,
            format!("{size} chunks"),
        );
    }
    if let [(small, less), .., (large, more)] = rest[..]
        && large >= 10_000.0
        && large > small
    {
        let each = (more - less) / (large - small) * 100_000.0;
        row(
            bench,
            "at rest, for every 100,000 chunks more",
            each,
            format!("from {small} to {large} chunks"),
        );
    }
    replay(bench);
}

/// What a run holds that has nothing to do.
fn at_rest(input: &Path, state: &Path) -> f64 {
    let flags = ["--input".to_owned(), input.display().to_string()];
    let mut child = process::start(&["run"], state, &flags);
    let deadline = Instant::now() + STUCK;
    let mut client = loop {
        assert!(Instant::now() < deadline, "the run does not answer");
        assert!(
            child.try_wait().expect("a child").is_none(),
            "the run ended"
        );
        if let Ok(Some(client)) = Client::connect(state) {
            break client;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    while client.status().expect("a status").lag.files != Some(0) {
        assert!(Instant::now() < deadline, "the run does not catch up");
        std::thread::sleep(Duration::from_millis(10));
    }
    let resident = process::memory_mb(child.id(), "VmRSS:");
    client.stop().expect("an end");
    assert!(child.wait().expect("a child").success());
    resident
}

/// A folder of many bytes and few texts: what grows is not the index.
fn replay(bench: &Bench) {
    let (input, state) = (bench.path("replay"), bench.path("replay-state"));
    fs::create_dir_all(&input).expect("a folder");
    let mut records = 0;
    for number in 0..bench.arguments.replay_mb {
        let mut lines = String::with_capacity(1_000_000);
        while lines.len() < 1_000_000 {
            let text = sentence(records % TEXTS);
            // Ids and a filler that is no text: other bytes each time, so that nothing is known by its content.
            writeln!(
                lines,
                r#"{{"id": {records}, "text": "{text}", "serial": "{records:0900}"}}"#
            )
            .expect("a string");
            records += 1;
        }
        fs::write(input.join(format!("{number:06}.jsonl")), lines).expect("a file");
    }
    let child = process::start(&["replay", &input.display().to_string()], &state, &[]);
    let seen = process::watch(child);
    let part = |from: f64, to: f64| {
        let count = seen.resident_mb.len() as f64;
        median(&seen.resident_mb[(count * from) as usize..(count * to).max(1.0) as usize])
    };
    let size = format!(
        "{} MB, {records} records of {TEXTS} texts, {:.0} s",
        bench.arguments.replay_mb, seen.seconds
    );
    row(bench, "replay, at most", seen.peak_mb, size.clone());
    bench.row(
        "memory",
        Row {
            what: "replay, in its last tenth",
            unit: "MB",
            more_is_better: false,
            samples: vec![part(0.9, 1.0)],
            limit: Some(("between a fifth and two fifths of it", vec![part(0.2, 0.4)])),
            input: size,
        },
    );
}

fn row(bench: &Bench, what: &str, mb: f64, input: String) {
    bench.row(
        "memory",
        Row {
            what,
            unit: "MB",
            more_is_better: false,
            samples: vec![mb],
            limit: None,
            input,
        },
    );
}
