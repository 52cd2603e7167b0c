//! What was done so far, by all threads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use crate::life::Layout;

/// Counts.
pub struct Tally {
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    kills: u64,
    cases: u64,
    completed: u64,
    layouts: BTreeMap<&'static str, u64>,
    /// By point: lives that came by, and kills there.
    points: BTreeMap<String, (u64, u64)>,
    violations: Vec<Value>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            counts: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines of `FAULT_POINTS_SEEN`.
    pub fn reached(&self, seen: &[String]) {
        let mut counts = self.lock();
        for line in seen.iter().filter(|line| !line.ends_with('!')) {
            counts.points.entry(line.clone()).or_default().0 += 1;
        }
    }

    /// A life has ended early, or was to.
    pub fn died(&self, layout: Layout, seen: &[String], killed: bool) {
        if !killed {
            return;
        }
        let mut counts = self.lock();
        counts.kills += 1;
        let layout = match layout {
            Layout::Threads(1) => "1 worker",
            Layout::Threads(_) => "2 or 3 workers",
            Layout::Processes => "2 processes",
        };
        *counts.layouts.entry(layout).or_default() += 1;
        if let Some(point) = seen.iter().find_map(|line| line.strip_suffix(" !")) {
            counts.points.entry(point.to_owned()).or_default().1 += 1;
        }
    }

    /// A run came to its end and everything was compared.
    pub fn completed(&self) {
        self.lock().completed += 1;
    }

    pub fn case(&self) {
        self.lock().cases += 1;
    }

    pub fn violation(&self, seed: u64, why: &str) {
        self.lock()
            .violations
            .push(json!({"seed": seed, "why": why}));
    }

    pub fn kills(&self) -> u64 {
        self.lock().kills
    }

    pub fn cases(&self) -> u64 {
        self.lock().cases
    }

    pub fn violations(&self) -> usize {
        self.lock().violations.len()
    }

    /// Everything, for programs.
    pub fn json(&self) -> Value {
        let counts = self.lock();
        let seconds = self.began.elapsed().as_secs_f64();
        json!({
            "kills": counts.kills,
            "histories": counts.cases,
            "completed_and_compared": counts.completed,
            "violations": counts.violations,
            "seconds": seconds.round(),
            "kills_per_second": (counts.kills as f64 / seconds * 10.0).round() / 10.0,
            "kills_by_layout": counts.layouts,
            "points": counts.points.iter().map(|(name, (lives, kills))| {
                (name.clone(), json!({"lives": lives, "kills": kills}))
            }).collect::<serde_json::Map<_, _>>(),
        })
    }
}
