//! A large index, opened: how long until it answers, and until it knows that nothing has changed.

use std::fs;
use std::path::Path;
use std::time::Instant;

use floodmark::answers::{Mode, Query};
use floodmark::model::{Model, ModelOptions};
use floodmark::search::Opened;

use super::bench::{Bench, By};
use super::change;
use super::corpus::sentence;
use super::limits;
use super::results::Row;

/// Opens, answers, catches up: the largest index that the model made, and the stand-in's if that is larger.
pub fn measure(bench: &Bench) {
    let size = bench.arguments.sizes.iter().copied().max().unwrap_or(1000);
    let (input, state) = bench.short(size);
    one_size(bench, "restart", size, &input, &state, By::Model);
    let sizes = &bench.arguments.stand_in_sizes;
    if let Some(&large) = sizes.iter().max().filter(|large| **large > size) {
        let (input, state) = change::stand_in_index(bench, large);
        one_size(bench, "large restart", large, &input, &state, By::StandIn);
    }
}

fn one_size(bench: &Bench, section: &str, size: usize, input: &Path, state: &Path, by: By) {
    // What another section has changed since is caught up before the clock starts.
    bench.run(input, state, by);
    bench.build_view(state);
    // The model can't be asked about vectors that it did not make.
    let (mode, first, later) = match by {
        By::Model => (
            Mode::Hybrid,
            "first answer, the opening of the model and the query's embedding included",
            "a query, its embedding included",
        ),
        By::StandIn => (
            Mode::Keyword,
            "first answer, by words, the opening of the model included",
            "a query by words",
        ),
    };
    let (mut opened, mut answered, mut caught_up) = (Vec::new(), Vec::new(), Vec::new());
    let (mut disk, mut queries) = (Vec::new(), Vec::new());
    for round in bench.rounds() {
        disk.push(limits::read(state));
        let started = Instant::now();
        drop(bench.searcher(state));
        opened.push(started.elapsed().as_secs_f64());
        // As `floodmark search` does it.
        let started = Instant::now();
        let (model, views) = std::thread::scope(|scope| {
            let model = scope.spawn(|| Model::open(&ModelOptions::default()));
            let views = Opened::open(state, Bench::reading());
            (model.join(), views)
        });
        let model = model.expect("a thread").expect("the built-in model");
        let searcher = views.expect("a view").with(&model);
        let query = |number: usize| Query {
            mode,
            ..Query::new(sentence(number * 7), 10)
        };
        let found = searcher.search(&query(round)).expect("hits");
        answered.push(started.elapsed().as_secs_f64());
        assert_eq!(found.hits.len(), 10);
        for number in 0..50 {
            let started = Instant::now();
            searcher.search(&query(number)).expect("hits");
            queries.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        drop(searcher);
        caught_up.push(bench.run(input, state, by).0);
    }
    let row = |what: &str, unit: &str, samples: Vec<f64>, limit: Option<(&str, Vec<f64>)>| {
        let input = format!("{size} chunks");
        let more_is_better = false;
        bench.row(
            section,
            Row {
                what,
                unit,
                more_is_better,
                samples,
                limit,
                input,
            },
        );
    };
    let read = || Some(("reading the state folder", disk.clone()));
    row("store and view open", "s", opened, read());
    row(first, "s", answered, read());
    row("caught up: nothing has changed", "s", caught_up, read());
    row(later, "ms", queries, None);

    let mut fresh = Vec::new();
    for _ in bench.rounds() {
        // Who only reads does not write it again.
        let view = state.join("vectors");
        if view.exists() {
            fs::remove_dir_all(view).expect("a view");
        }
        let started = Instant::now();
        let searcher = bench.searcher(state);
        fresh.push(started.elapsed().as_secs_f64());
        assert!(searcher.reader().snapshot().expect("a snapshot").epoch() > 0);
    }
    row(
        "the view lost: ready to answer from the store",
        "s",
        fresh,
        read(),
    );
    bench.build_view(state);
}
