//! What a query costs in a large index, by mode, with its embedding and without; and beside a run that embeds at full speed.
//!
//! To embed a hundred thousand texts takes too long. So some are embedded, and every text of the index is made of halves of two of
//! them, with a vector between theirs: words are as frequent as in real texts, and vectors lie as real ones do.

use std::sync::Arc;
use std::time::Instant;

use floodmark::answers::{Mode, Query};
use floodmark::ingest::engine::Engine;
use floodmark::search::Searcher;
use floodmark::service::{follower, keep_fresh};
use floodmark::store::ModelKey;
use floodmark::worker::{Mode as RunMode, Run};
use floodmark_operators::embed::{Embedder, Vector};

use super::bench::{Bench, By, fail, options};
use super::corpus;
use super::results::{Row, at};

/// Texts that are embedded.
const PARENTS: usize = 500;
/// Texts of the run beside the queries: more than it embeds meanwhile.
const BESIDE: usize = 20_000;

/// Alone, and beside a run.
pub fn measure(bench: &Bench) {
    let size = bench.arguments.query_chunks;
    let kept = bench.arguments.query_index.as_deref();
    let [input, state] = ["query", "query-state"].map(|name| match kept {
        Some(kept) => kept.join(name),
        None => bench.path(name),
    });
    let parents = Arc::new(Parents::new(bench));
    if !state.exists() {
        let texts: Vec<String> = (0..size).map(|number| parents.text(number)).collect();
        corpus::write_lines(&input, &texts, 1000);
        let once = options(&input, &state, RunMode::Once);
        let run = Run::start(once, engine(bench, &parents), Vec::new(), Arc::new(fail));
        run.expect("a run").join().expect("a clean end");
        bench.build_view(&state);
    }

    let queries: Vec<String> = (0..bench.arguments.queries)
        .map(|number| parents.query(number))
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
    if kept.is_some() {
        return;
    }

    // New texts, through the model, on every core.
    let below = input.join("beside");
    let new: Vec<String> = (0..BESIDE.min(size))
        .map(|number| parents.text(size + number))
        .collect();
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

/// Texts with the model's vectors, of which all others are made.
struct Parents(Vec<(String, Vector)>);

impl Parents {
    fn new(bench: &Bench) -> Self {
        let mut texts = corpus::passages(&bench.arguments);
        texts.retain(|text| text.split_whitespace().count() >= 12);
        texts.truncate(PARENTS);
        assert!(texts.len() > 1, "passages of twelve words and more");
        let mut session = bench.model.session().expect("a session");
        let mut embed = |text: String| {
            let vector = session.embed(&[&text]).expect("a vector").swap_remove(0);
            (text, vector)
        };
        Self(texts.into_iter().map(&mut embed).collect())
    }

    /// The two that text `number` is made of.
    fn of(&self, number: usize) -> [&(String, Vector); 2] {
        let count = self.0.len();
        let second = number / count * 7 + number * 13 + 1;
        [&self.0[number % count], &self.0[second % count]]
    }

    fn text(&self, number: usize) -> String {
        let [first, second] = self.of(number).map(|(text, _)| {
            let words: Vec<&str> = text.split_whitespace().take(120).collect();
            let skipped = number / self.0.len() % (words.len() / 2);
            words[skipped..skipped + words.len() / 2].join(" ")
        });
        format!("{first} {second} note {number}")
    }

    /// Between its parents', and a little aside.
    fn vector(&self, number: usize) -> Vector {
        let [(_, first), (_, second)] = self.of(number);
        let mut state = number as u64 * 2 + 1;
        let mut aside = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.05
        };
        let sum: Vec<f32> = (first.iter().zip(&**second))
            .map(|(a, b)| a + b + aside())
            .collect();
        let norm = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
        sum.into_iter().map(|x| x / norm).collect()
    }

    /// Six words that stand together somewhere.
    fn query(&self, number: usize) -> String {
        let (text, _) = &self.0[number * 31 % self.0.len()];
        let words: Vec<&str> = text.split_whitespace().collect();
        let first = number * 17 % (words.len() - 6);
        words[first..first + 6].join(" ")
    }
}

/// Vectors of texts that parents made, by their numbers.
struct Between(Arc<Parents>);

impl Embedder for Between {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        let number = |text: &str| {
            let (_, number) = text.rsplit_once("note ")?;
            number.trim().parse().ok()
        };
        // The beginning of a text that was cut has no number.
        texts
            .iter()
            .map(|text| Ok(self.0.vector(number(text).unwrap_or(text.len()))))
            .collect()
    }
}

/// Goes by the model's name: the queries are the model's.
fn engine(bench: &Bench, parents: &Arc<Parents>) -> Engine {
    let model = &bench.model;
    Engine {
        embedders: vec![Box::new(Between(parents.clone()))],
        tokens: Arc::new(model.clone()),
        tokenizer: model.tokenizer_id().to_owned(),
        key: ModelKey {
            id: model.key().to_owned(),
            dimension: model.dimension(),
        },
        ward: None,
    }
}
