//! A folder in which nothing has changed: the walk alone, a scan of a run that watches, and a whole run, against `find`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use floodmark::sources::{Roots, Scope, Selection, SourceOptions, scan};
use floodmark::worker::{Mode, Run};

use super::bench::{Bench, By, fail, options};
use super::results::Row;
use super::{corpus, limits};

/// Walks, and runs.
pub fn measure(bench: &Bench) {
    let input = bench.path("walk");
    let files = bench.arguments.files;
    corpus::write_small(&input, files);
    let sources = SourceOptions {
        inputs: vec![input.clone()],
        ..SourceOptions::default()
    };
    let state = bench.path("walk-state");
    bench.run(&input, &state, By::StandIn);
    let (mut walk, mut again, mut whole, mut find) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in bench.rounds() {
        find.extend(limits::find(&input));
        let roots = Roots::resolve(&sources, &state).expect("roots");
        let selection = Selection::new(&sources, roots, &state).expect("a selection");
        let started = Instant::now();
        let report = scan(&selection, None, &Scope::All, &mut |found| {
            std::hint::black_box(found);
            ControlFlow::Continue(())
        });
        walk.push(started.elapsed().as_secs_f64());
        assert_eq!(report.files, files as u64);
        whole.push(bench.run(&input, &state, By::StandIn).0);
        let run = Run::start(
            options(&input, &state, Mode::Watch),
            bench.engine(By::StandIn),
            Vec::new(),
            Arc::new(fail),
        )
        .expect("a run");
        let (handle, scouts) = (run.handle(), run.scouts().expect("a run that watches"));
        let seconds_until = |scans| {
            let started = Instant::now();
            while handle.progress().scans() < scans {
                std::thread::sleep(Duration::from_millis(1));
            }
            started.elapsed().as_secs_f64()
        };
        seconds_until(1);
        // The second still puts what the first has read in its place.
        for scans in [2, 3] {
            scouts.rescan();
            let took = seconds_until(scans);
            if scans == 3 {
                again.push(took);
            }
        }
        handle.stop();
        run.join().expect("a clean end");
    }
    if find.is_empty() {
        eprintln!("walk: there is no find with -printf here: no limit beside it");
    }
    for (what, samples) in [
        ("the walk of unchanged files", walk),
        (
            "a scan by a run that watches: walk and compare; \"rescan\"",
            again,
        ),
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
