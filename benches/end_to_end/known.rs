//! All but the model: a stand-in makes the vectors, or they are known already.

use super::bench::{Bench, By};
use super::corpus::{self, sentence};
use super::limits;
use super::results::Row;

/// New files, copies of known ones, and a view made anew.
pub fn measure(bench: &Bench) {
    let texts: Vec<String> = (0..bench.arguments.chunks).map(sentence).collect();
    let input = bench.path("known");
    corpus::write_many(&input, &texts);
    let (files, bytes) = corpus::size_of(&input);
    let (chunks, mb) = (texts.len() as f64, bytes as f64 / 1e6);
    let (mut whole, mut disk, mut sqlite) = (Vec::new(), Vec::new(), Vec::new());
    for round in bench.rounds() {
        disk.push(limits::read_and_hash(&input));
        let file = bench.path("known-sqlite");
        sqlite.push(limits::sqlite(&file, &texts, bench.model.dimension()));
        let state = bench.path(&format!("known-state-{round}"));
        whole.push(bench.run(&input, &state, By::StandIn).0);
    }
    let per = |of: f64, seconds: &[f64]| seconds.iter().map(|s| of / s).collect::<Vec<_>>();
    let size = format!("{files} JSON files, {} chunks, {mb:.1} MB", texts.len());
    let row = |what: &str, unit: &str, of: f64, limit: (&str, &[f64])| {
        bench.row(
            "without the model",
            Row {
                what,
                unit,
                more_is_better: true,
                samples: per(of, &whole),
                limit: Some((limit.0, per(of, limit.1))),
                input: size.clone(),
            },
        );
    };
    row(
        "new files, stand-in for the model",
        "chunks/s",
        chunks,
        ("bare SQLite, same texts and vectors", &sqlite),
    );
    row(
        "new files, stand-in for the model",
        "files/s",
        files as f64,
        ("bare read + BLAKE3", &disk),
    );
    row(
        "new files, stand-in for the model",
        "MB/s",
        mb,
        ("bare read + BLAKE3", &disk),
    );

    let state = bench.path("known-state-0");
    let (mut copied, mut disk) = (Vec::new(), Vec::new());
    for round in bench.rounds() {
        let copy = bench.path(&format!("known-copy-{round}"));
        corpus::write_many(&copy, &texts);
        disk.push(limits::read_and_hash(&copy));
        copied.push(bench.run(&copy, &state, By::StandIn).0);
    }
    bench.row(
        "without the model",
        Row {
            what: "a copy of the folder, all contents known",
            unit: "files/s",
            more_is_better: true,
            samples: per(files as f64, &copied),
            limit: Some(("bare read + BLAKE3", per(files as f64, &disk))),
            input: size,
        },
    );
}
