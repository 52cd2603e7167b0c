//! What one changed file costs, by the size of the index: from its closing to the first query that could find it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use floodmark::service::{follower, keep_fresh};
use floodmark::worker::{Mode, Run};

use super::bench::{Bench, By, fail, options};
use super::corpus::{self, sentence};
use super::limits;
use super::results::{Row, at};

/// All sizes, with the model and without.
pub fn measure(bench: &Bench) {
    for &size in &bench.arguments.sizes {
        let (input, state) = bench.short(size);
        one_size(bench, size, &input, &state, By::Model);
    }
    for &size in &bench.arguments.stand_in_sizes {
        let (input, state) = stand_in_index(bench, size);
        one_size(bench, size, &input, &state, By::StandIn);
    }
}

/// `size` short records whose vectors the stand-in made, once for all sections: input and state.
pub fn stand_in_index(bench: &Bench, size: usize) -> (PathBuf, PathBuf) {
    let (input, state) = (
        bench.path(&format!("change-{size}")),
        bench.path(&format!("change-{size}-state")),
    );
    if !input.exists() {
        let texts: Vec<String> = (0..size).map(sentence).collect();
        corpus::write_lines(&input, &texts, 1000);
        bench.run(&input, &state, By::StandIn);
    }
    (input, state)
}

fn one_size(bench: &Bench, size: usize, input: &Path, state: &Path, by: By) {
    bench.build_view(state);
    let notes = bench.arguments.changes;
    // What the same change costs without floodmark: the text alone through the model, and one durable row.
    let mut bare = limits::commits(&bench.path("change-sqlite"), notes);
    if by == By::Model {
        let mut session = bench.model.session().expect("a session");
        for (number, ms) in bare.iter_mut().enumerate() {
            let started = Instant::now();
            session
                .embed(&[&sentence(2_000_000 + number)])
                .expect("a vector");
            *ms += started.elapsed().as_secs_f64() * 1000.0;
        }
    }
    let samples = changes(bench, input, state, by, notes);
    let (section, limit) = match by {
        By::Model => ("change", "bare model + one SQLite commit"),
        By::StandIn => ("change without the model", "one SQLite commit"),
    };
    let input = format!(
        "{notes} small files, one after the other; worst {:.1} ms",
        at(&samples, 1.0)
    );
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        bench.row(
            section,
            Row {
                what: &format!("{name}, index of {size} chunks"),
                unit: "ms",
                more_is_better: false,
                samples: vec![at(&samples, part)],
                limit: Some((limit, vec![at(&bare, part)])),
                input: input.clone(),
            },
        );
    }
}

fn changes(bench: &Bench, input: &Path, state: &Path, by: By, notes: usize) -> Vec<f64> {
    let (witness, commits) = follower();
    let options = options(input, state, Mode::Watch);
    let run = Run::start(options, bench.engine(by), vec![witness], Arc::new(fail)).expect("a run");
    let searcher = bench.searcher(state);
    let view = keep_fresh(searcher.clone(), commits).expect("a thread");
    let progress = run.handle().progress().clone();
    while !progress.scanned() || progress.files() > 0 {
        progress.wait_for_commit(Instant::now() + Duration::from_millis(20));
    }
    let epoch = || searcher.reader().snapshot().expect("a snapshot").epoch();
    let mut searchable = Vec::new();
    for number in 0..notes {
        // A writer pauses between files, as people do.
        std::thread::sleep(Duration::from_millis(20));
        let before = epoch();
        let note = input.join(format!("note-{}.txt", number % 50));
        fs::write(note, sentence(1_000_000 + number)).expect("a note");
        let closed = Instant::now();
        while epoch() == before {
            progress.wait_for_commit(Instant::now() + Duration::from_millis(1));
        }
        searcher.follow().expect("a fresh view");
        searchable.push(closed.elapsed().as_secs_f64() * 1000.0);
    }
    run.handle().stop();
    run.join().expect("a clean end");
    drop(view);
    // The next measurement finds the folder as this one did.
    for number in 0..notes.min(50) {
        fs::remove_file(input.join(format!("note-{number}.txt"))).expect("a note");
    }
    searchable
}
