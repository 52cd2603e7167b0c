//! The keyword view against a naive model.

mod answers;
mod disk;
mod following;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::testing::{Memory, QUERIES, Random};
use super::{KeywordError, KeywordView, Languages, Options, Snapshot, Syntax, inspect};

fn options() -> Options {
    Options {
        save_after: 1,
        ..Options::default()
    }
}

fn open(dir: &Path, source: &Memory) -> KeywordView {
    KeywordView::open(dir, source, options()).unwrap()
}

fn labels(view: &Snapshot, query: &str) -> Vec<u64> {
    let hits = view.search(query, 100, None, Syntax::Words).unwrap();
    hits.iter().map(|hit| hit.label).collect()
}

/// The view's answers are those that the formula gives for the live texts, and so are the scores of single labels.
fn assert_exact(view: &Snapshot, source: &Memory) {
    assert_eq!(view.len(), source.live_at(view.epoch()).len());
    for query in QUERIES {
        for (k, admit) in [
            (5, (&|_| true) as &(dyn Fn(u64) -> bool + Sync)),
            (3, &|label| label % 3 == 0),
        ] {
            let found = view.search(query, k, Some(admit), Syntax::Words).unwrap();
            let exact = source.best(view.epoch(), query, k, &admit);
            assert_eq!(found.len(), exact.len(), "{query}");
            for (found, exact) in found.iter().zip(&exact) {
                // Sums in another order may swap what is as good as equal.
                assert!(
                    (found.score - exact.score).abs() < 1e-4,
                    "{query}: {found:?} for {exact:?}"
                );
            }
            let asked: Vec<u64> = found.iter().map(|hit| hit.label).collect();
            let scores = view.scores(query, &asked).unwrap();
            let same: Vec<f32> = found.iter().map(|hit| hit.score).collect();
            assert_eq!(scores, same, "{query}");
        }
    }
}

fn bits(view: &Snapshot) -> Vec<Vec<(u64, u32)>> {
    let of = |query: &&str| {
        let hits = view.search(query, 50, None, Syntax::Words).unwrap();
        let bits = hits.iter().map(|hit| (hit.label, hit.score.to_bits()));
        bits.collect()
    };
    QUERIES.iter().map(of).collect()
}

/// One epoch of random changes: some arrive, some of the live leave.
fn step(source: &mut Memory, random: &mut Random, next: &mut u64, size: u64) {
    let live: Vec<u64> = source.live_at(source.epoch).into_iter().collect();
    let mut ops = BTreeMap::new();
    for _ in 0..random.below(size) {
        *next += 1;
        ops.insert(*next, 1);
    }
    for _ in 0..random.below(size) {
        if !live.is_empty() {
            ops.insert(live[random.below(live.len() as u64) as usize], -1);
        }
    }
    // Some come back.
    if *next > 0 && random.below(2) == 0 {
        let label = 1 + random.below(*next);
        if !live.contains(&label) {
            ops.insert(label, 1);
        }
    }
    source.commit(ops);
}
