//! How far behind the index is, for whoever asks.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use floodmark_operators::keys::Epoch;

use crate::ingest::kept::Kept;
use crate::ingest::ledger::Witness;
use crate::ingest::memory::{Gauge, Limits};
use crate::store::row::FileRow;

/// Written by the dataflow's threads, read by `status` and `wait`.
#[derive(Debug, Default)]
pub struct Progress {
    files: AtomicUsize,
    scanned: AtomicBool,
    kept: Mutex<Vec<Kept>>,
    upper: AtomicU64,
    joined: AtomicU64,
    commits: Mutex<u64>,
    committed: Condvar,
    memory: Gauge,
    /// Memory was short for good, and the run ended early.
    starved: AtomicBool,
}

impl Progress {
    /// Of a run that may hold so much memory.
    pub fn new(limits: Limits) -> Self {
        Self {
            memory: Gauge::new(limits),
            ..Self::default()
        }
    }

    /// How much memory the process holds.
    pub fn memory(&self) -> &Gauge {
        &self.memory
    }

    pub(crate) fn starve(&self) {
        self.starved.store(true, Ordering::Release);
    }

    /// Whether the run ended before everything was indexed, because there was no memory for more.
    pub fn starved(&self) -> bool {
        self.starved.load(Ordering::Acquire)
    }

    pub(crate) fn files_behind(&self, files: usize, scanned: bool) {
        self.files.store(files, Ordering::Relaxed);
        self.scanned.store(scanned, Ordering::Release);
    }

    /// Files that were heard of and are not settled.
    pub fn files(&self) -> usize {
        self.files.load(Ordering::Relaxed)
    }

    /// Whether the first scan is over: before that, nobody knows how many files there are.
    pub fn scanned(&self) -> bool {
        self.scanned.load(Ordering::Acquire)
    }

    pub(crate) fn keeps(&self, kept: Vec<Kept>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// Files that are not there and stay in the index, by input and reason.
    pub fn kept(&self) -> Vec<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    /// Every epoch before this one was committed in this run; 0 before the first.
    pub fn upper(&self) -> Epoch {
        self.upper.load(Ordering::Acquire)
    }

    /// Chunks that joined the index in this run.
    pub fn joined(&self) -> u64 {
        self.joined.load(Ordering::Relaxed)
    }

    /// Waits for the next commit, until `deadline`.
    pub fn wait_for_commit(&self, deadline: Instant) {
        let commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = *commits;
        let left = deadline.saturating_duration_since(Instant::now());
        // Spurious or not, the caller looks again.
        let _woken = self
            .committed
            .wait_timeout_while(commits, left, |commits| *commits == seen);
    }
}

/// Tells [`Progress`] what was committed.
pub struct Report(pub std::sync::Arc<Progress>);

impl Witness for Report {
    fn committed(&mut self, upper: Epoch, _files: &[FileRow]) {
        self.0.upper.store(upper, Ordering::Release);
        *self
            .0
            .commits
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.committed.notify_all();
    }

    fn joined(&mut self, chunks: u64) {
        self.0.joined.fetch_add(chunks, Ordering::Relaxed);
    }
}
