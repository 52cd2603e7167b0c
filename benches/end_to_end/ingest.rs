//! From files to durable epochs, the model included, against the bare embed loop over the same texts, taken in turn.

use std::path::PathBuf;

use floodmark::store::Reader;

use super::bench::{Bench, By};
use super::corpus::{self, sentence};
use super::process;
use super::results::Row;

/// An input, and the texts that the model must see for it.
struct Input {
    what: String,
    folder: PathBuf,
    texts: Vec<String>,
    /// The bare model is given one in so many of the texts: its rate is that of any number.
    bare_share: usize,
    rounds: usize,
}

/// Of very many short texts the bare model gets one in so many, from all of them: the later ones have longer numbers in them.
const BARE_SHARE: usize = 5;
/// From so many on.
const VERY_MANY: usize = 20_000;

/// All inputs.
pub fn measure(bench: &Bench) {
    let passages = corpus::passages(&bench.arguments);
    let rounds = bench.arguments.rounds;
    let (many, one) = (bench.path("ingest-many"), bench.path("ingest-one"));
    corpus::write_many(&many, &passages);
    corpus::write_lines(&one, &passages, usize::MAX);
    let files = passages.len().div_ceil(corpus::RECORDS_A_FILE);
    let mut inputs = vec![
        Input {
            what: format!("{} passages in {files} JSON files", passages.len()),
            folder: many.clone(),
            bare_share: 1,
            texts: passages.clone(),
            rounds,
        },
        Input {
            what: format!("{} passages in 1 JSONL file", passages.len()),
            folder: one,
            bare_share: 1,
            texts: passages,
            rounds,
        },
    ];
    if let Some(edits) = &bench.arguments.edits {
        let folder = bench.path("ingest-edits");
        let files = corpus::write_edited(&folder, edits);
        // Which texts there are to embed, the index itself says.
        let state = bench.path("ingest-edits-once");
        bench.run(&folder, &state, By::Model);
        let mut texts = Vec::new();
        let snapshot = Reader::open(&state).expect("a store").snapshot();
        snapshot
            .expect("a snapshot")
            .for_each_live_text(|_, text| texts.push(text.to_owned()))
            .expect("texts");
        inputs.push(Input {
            what: format!("{files} real Markdown files, {} chunks", texts.len()),
            folder,
            bare_share: 1,
            texts,
            rounds,
        });
    }
    let short = bench.arguments.short;
    if short > 0 {
        let folder = bench.path(&format!("short-{short}"));
        let texts: Vec<String> = (0..short).map(sentence).collect();
        corpus::write_lines(&folder, &texts, 1000);
        inputs.push(Input {
            what: format!("{short} short records"),
            folder,
            bare_share: if short > VERY_MANY { BARE_SHARE } else { 1 },
            texts,
            rounds: 1,
        });
    }
    for (number, input) in inputs.iter().enumerate() {
        one_input(bench, number, input);
    }
    if short > 0 {
        let last = inputs.len() - 1;
        let state = bench.path(&format!("ingest-{last}-state-0"));
        bench.keep(short, &inputs[last].folder, &state);
    }
    let state = bench.path("ingest-process");
    bench.row(
        "memory",
        Row {
            what: "whole process at ingestion, at most",
            unit: "MB",
            more_is_better: false,
            samples: vec![process::once(&many, &state, &[]).peak_mb],
            limit: None,
            input: inputs[0].what.clone(),
        },
    );
}

fn one_input(bench: &Bench, number: usize, input: &Input) {
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    let (mut bare_busy, mut whole_busy) = (Vec::new(), Vec::new());
    let bare_texts: Vec<String> = (input.texts.iter())
        .step_by(input.bare_share)
        .cloned()
        .collect();
    let (all, some) = (input.texts.len() as f64, bare_texts.len() as f64);
    let mut alone = || {
        let (seconds, busy) = bench.embed_alone(&bare_texts, bench.model.sessions());
        bare.push(some / seconds);
        bare_busy.push(busy * all / some);
    };
    for round in bench.rounds().take(input.rounds) {
        alone();
        let state = bench.path(&format!("ingest-{number}-state-{round}"));
        let (seconds, busy) = bench.run(&input.folder, &state, By::Model);
        whole.push(all / seconds);
        whole_busy.push(busy);
    }
    // What is measured once is measured between two measurements of its limit: machines drift.
    if whole.len() == 1 {
        alone();
    }
    bench.row(
        "ingest",
        Row {
            what: &input.what,
            unit: "texts/s",
            more_is_better: true,
            samples: whole,
            limit: Some(("bare embed loop", bare)),
            input: format!("{} texts", input.texts.len()),
        },
    );
    bench.row(
        "overhead",
        Row {
            what: &format!("processor time, {}", input.what),
            unit: "s",
            more_is_better: false,
            samples: whole_busy,
            limit: Some(("bare embed loop", bare_busy)),
            input: format!("{} texts", input.texts.len()),
        },
    );
}
