//! The view against a naive model: whatever happens to it, it answers what the source's history says.

mod answers;
mod builds;
mod damage;
mod histories;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::policy::{Kind, Policy};
use super::testing::{Memory, Random, clustered};
use super::view::Options;
use super::*;

const D: usize = 24;

/// Builds at the least excuse, of the kind that the sizes say.
fn eager(flat_max: u64, hnsw_max: u64) -> Options {
    let policy = Policy {
        threshold: 0.2,
        changes_min: 1,
        flat_max,
        hnsw_max,
    };
    Options {
        policy,
        build_threads: 1,
        ..Options::default()
    }
}

fn flat() -> Options {
    eager(u64::MAX, u64::MAX)
}

fn never() -> Options {
    Options {
        policy: Policy {
            changes_min: u64::MAX,
            ..Policy::default()
        },
        ..Options::default()
    }
}

fn query(seed: u64) -> Vec<f32> {
    clustered(1 << 50 | seed, D, 50)
}

/// The snapshot answers exactly what the history says of its epoch.
#[track_caller]
fn check(snapshot: &Snapshot, source: &Memory) {
    let live = source.live_at(snapshot.epoch());
    assert_eq!(snapshot.len(), live.len());
    for (seed, k) in [(1, 1), (2, 10), (3, live.len() + 5)] {
        let expected = source.nearest(snapshot.epoch(), &query(seed), k, &|_| true);
        assert_eq!(
            snapshot.search(&query(seed), k, None).unwrap(),
            expected,
            "k = {k}"
        );
    }
    let odd = |label: u64| label % 5 == 1;
    let expected = source.nearest(snapshot.epoch(), &query(4), 7, &odd);
    assert_eq!(
        snapshot.search(&query(4), 7, Some(&odd)).unwrap(),
        expected,
        "filtered"
    );
    let everything = source.nearest(snapshot.epoch(), &query(5), live.len(), &|_| true);
    let labels: Vec<u64> = everything.iter().map(|hit| hit.label).collect();
    let scores: Vec<Option<f32>> = everything.iter().map(|hit| Some(hit.score)).collect();
    assert_eq!(snapshot.scores(&query(5), &labels).unwrap(), scores);
    assert_eq!(snapshot.scores(&query(5), &[u64::MAX]).unwrap(), [None]);
}

/// The share of the true neighbours that the snapshot finds.
fn recall(snapshot: &Snapshot, source: &Memory) -> f64 {
    let (mut found, mut asked) = (0, 0);
    for seed in 0..60 {
        let truth: BTreeSet<u64> = source
            .nearest(snapshot.epoch(), &query(seed), 10, &|_| true)
            .iter()
            .map(|h| h.label)
            .collect();
        let hits = snapshot.search(&query(seed), 10, None).unwrap();
        assert_eq!(hits.len(), truth.len());
        for hit in &hits {
            let score = snapshot::inner_product(&query(seed), &source.vector(hit.label));
            assert_eq!(hit.score, score, "a score depends on the vectors alone");
        }
        found += hits.iter().filter(|h| truth.contains(&h.label)).count();
        asked += truth.len();
    }
    found as f64 / asked as f64
}

fn settled(view: &mut VectorView, source: &Memory) {
    while view.status().building {
        view.wait_for_build().unwrap();
        view.follow(source).unwrap();
    }
}

fn additions(labels: std::ops::Range<u64>) -> impl Iterator<Item = (u64, i8)> {
    labels.map(|label| (label, 1))
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}
