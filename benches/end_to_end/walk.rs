//! A folder in which nothing has changed: the walk alone, and a whole run, against `find`.

use std::ops::ControlFlow;

use floodmark::sources::{Roots, Scope, Selection, SourceOptions, scan};

use super::bench::{Bench, By};
use super::results::Row;
use super::{corpus, limits};

/// Walks, and runs.
pub fn measure(bench: &Bench) {
    let input = bench.path("walk");
    let files = bench.arguments.files;
    corpus::write_small(&input, files);
    let options = SourceOptions {
        inputs: vec![input.clone()],
        ..SourceOptions::default()
    };
    let state = bench.path("walk-state");
    bench.run(&input, &state, By::StandIn);
    let (mut walk, mut whole, mut find) = (Vec::new(), Vec::new(), Vec::new());
    for _ in bench.rounds() {
        find.extend(limits::find(&input));
        let roots = Roots::resolve(&options, &state).expect("roots");
        let selection = Selection::new(&options, roots, &state).expect("a selection");
        let started = std::time::Instant::now();
        let report = scan(&selection, None, &Scope::All, &mut |found| {
            std::hint::black_box(found);
            ControlFlow::Continue(())
        });
        walk.push(started.elapsed().as_secs_f64());
        assert_eq!(report.files, files as u64);
        whole.push(bench.run(&input, &state, By::StandIn).0);
    }
    if find.is_empty() {
        eprintln!("walk: there is no find with -printf here: no limit beside it");
    }
    for (what, samples) in [
        ("the walk of unchanged files", walk),
        (
            "a whole run over unchanged files: recover, walk, compare",
            whole,
        ),
    ] {
        let limit = (!find.is_empty()).then(|| ("find -printf", find.clone()));
        bench.row(
            "walk",
            Row {
                what,
                unit: "s",
                more_is_better: false,
                samples,
                limit,
                input: format!("{files} files"),
            },
        );
    }
}
