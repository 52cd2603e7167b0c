//! What a query costs in a large index, by mode, with its embedding and without; and beside a run that embeds at full speed.
//!
//! Every text is a real sentence, embedded by the model: what a graph of neighbours costs depends on how they lie, and made-up
//! vectors, between those of real texts, cost three times as much.

use std::sync::Arc;
use std::time::Instant;

use floodmark::answers::{Mode, Query};
use floodmark::search::Searcher;
use floodmark::service::{follower, keep_fresh};
use floodmark::worker::{Mode as RunMode, Run};

use super::bench::{Bench, By, fail, options};
use super::corpus;
use super::results::{Row, at};

/// Texts of the run beside the queries: more than it embeds meanwhile.
const BESIDE: usize = 5_000;
/// Words of a query.
const WORDS: usize = 6;

/// Alone, and beside a run.
pub fn measure(bench: &Bench) {
    let kept = bench.arguments.query_index.as_deref();
    let [input, state] = ["query", "query-state"].map(|name| match kept {
        Some(kept) => kept.join(name),
        None => bench.path(name),
    });
    let wanted = bench.arguments.query_chunks;
    let mut texts = corpus::sentences(&bench.arguments, wanted + BESIDE.min(wanted));
    let new = texts.split_off(wanted.min(texts.len().saturating_sub(BESIDE.min(wanted))));
    let size = texts.len();
    let found = state.exists();
    if !found {
        corpus::write_lines(&input, &texts, 1000);
        let once = options(&input, &state, RunMode::Once);
        let run = Run::start(once, bench.engine(By::Model), Vec::new(), Arc::new(fail));
        run.expect("a run").join().expect("a clean end");
        bench.build_view(&state);
    }

    let all: Vec<String> = texts.iter().filter_map(|text| query(text)).collect();
    let wanted = bench.arguments.queries.min(all.len());
    let queries: Vec<String> = (0..wanted)
        .map(|number| all[number * all.len() / wanted].clone())
        .collect();
    let searcher = bench.searcher(&state);
    let kind = searcher.view().vectors.kind.name();
    let asked = ask(&searcher, &queries, Mode::Hybrid);
    let input_said = format!(
        "{size} chunks, {kind}, {} queries of six words",
        queries.len()
    );
    let alone = [("vector", Mode::Vector), ("keyword", Mode::Keyword)]
        .map(|(what, mode)| (what, ask(&searcher, &queries, mode).known));
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let row = |what: &str, samples: &[f64]| {
            figure(
                bench,
                &format!("{what}, {name}"),
                at(samples, part),
                None,
                &input_said,
            );
        };
        row("hybrid, its embedding included", &asked.whole);
        row("hybrid", &asked.known);
        for (what, samples) in &alone {
            row(what, samples);
        }
    }
    drop(searcher);
    if found {
        return; // a profiler's: it stays as it is
    }

    // New texts, through the model, on every core.
    let below = input.join("beside");
    corpus::write_lines(&below, &new, 100);
    let (witness, commits) = follower();
    let watch = options(&input, &state, RunMode::Watch);
    let run = Run::start(
        watch,
        bench.engine(By::Model),
        vec![witness],
        Arc::new(fail),
    )
    .expect("a run");
    let searcher = bench.searcher(&state);
    let view = keep_fresh(searcher.clone(), commits).expect("a thread");
    let before = searcher.reader().snapshot().expect("a snapshot").epoch();
    let started = Instant::now();
    // Begun when the first of them is committed.
    while searcher.reader().snapshot().expect("a snapshot").epoch() == before
        && started.elapsed().as_secs() < 60
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let beside = ask(&searcher, &queries, Mode::Hybrid);
    let epochs = searcher.reader().snapshot().expect("a snapshot").epoch() - before;
    run.handle().stop();
    run.join().expect("a clean end");
    drop(view);
    let said = format!("{input_said}; {epochs} epochs were committed meanwhile");
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let of = |what: &str, beside: &[f64], alone: &[f64]| {
            let limit = ("alone", vec![at(alone, part)]);
            figure(
                bench,
                &format!("{what}, {name}"),
                at(beside, part),
                Some(limit),
                &said,
            );
        };
        of(
            "hybrid beside a run, its embedding included",
            &beside.whole,
            &asked.whole,
        );
        of("hybrid beside a run", &beside.known, &asked.known);
    }
}

fn figure(bench: &Bench, what: &str, ms: f64, limit: Option<(&str, Vec<f64>)>, input: &str) {
    let row = Row {
        what,
        unit: "ms",
        more_is_better: false,
        samples: vec![ms],
        limit,
        input: input.to_owned(),
    };
    bench.row("query", row);
}

/// Milliseconds of each query.
struct Asked {
    whole: Vec<f64>,
    /// Asked again at once: its vector is known.
    known: Vec<f64>,
}

fn ask(searcher: &Searcher, queries: &[String], mode: Mode) -> Asked {
    let mut asked = Asked {
        whole: Vec::new(),
        known: Vec::new(),
    };
    let ask = |text: &String| {
        let query = Query {
            mode,
            ..Query::new(text, 10)
        };
        let started = Instant::now();
        searcher.search(&query).expect("hits");
        started.elapsed().as_secs_f64() * 1000.0
    };
    queries.first().map(ask);
    // As a run does after its first query.
    searcher.remember().expect("what the store holds");
    for query in queries {
        asked.whole.push(ask(query));
        asked.known.push(ask(query));
    }
    asked
}

/// Words of letters alone that stand together in a text: what somebody might type, and no address or line of code.
fn query(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let plain = |word: &&str| word.chars().all(char::is_alphabetic);
    let found = words.windows(WORDS).find(|words| words.iter().all(plain))?;
    Some(found.join(" "))
}
