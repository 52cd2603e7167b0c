//! How far behind the index is, for whoever asks.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use floodmark_operators::keys::{Epoch, PathKey};

use crate::ingest::kept::Kept;
use crate::ingest::ledger::Witness;
use crate::ingest::memory::{Gauge, Limits};
use crate::store::row::{FileRow, FileState};

/// How much of a file is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes that are.
    pub bytes: u64,
    /// All of its bytes.
    pub of: u64,
}

/// Written by the dataflow's threads, read by `status` and `wait`.
#[derive(Debug, Default)]
pub struct Progress {
    files: AtomicUsize,
    scans: AtomicU64,
    kept: Mutex<Vec<Kept>>,
    upper: AtomicU64,
    joined: AtomicU64,
    part: Mutex<Option<(PathKey, Part)>>,
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

    pub(crate) fn files_behind(&self, files: usize, scans: u64) {
        self.files.store(files, Ordering::Relaxed);
        self.scans.store(scans, Ordering::Release);
    }

    /// Files that were heard of and are not settled.
    pub fn files(&self) -> usize {
        self.files.load(Ordering::Relaxed)
    }

    /// Whether the first scan is over: before that, nobody knows how many files there are.
    pub fn scanned(&self) -> bool {
        self.scans() > 0
    }

    /// Scans of everything that are over, and whose findings were compared with the index.
    pub fn scans(&self) -> u64 {
        self.scans.load(Ordering::Acquire)
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

    /// Of a large file that is being indexed: how much was durable at its last commit.
    pub fn part(&self) -> Option<Part> {
        let part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        part.map(|(_, part)| part)
    }

    /// Of several large files, the one of which was heard last is the one that is told of.
    fn stands(&self, row: &FileRow) {
        let mut part = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        match (&row.state, row.identity) {
            (FileState::Partial { resume, .. }, Some(identity)) => {
                let (bytes, of) = (resume.offset, identity.size);
                *part = Some((row.key, Part { bytes, of }));
            }
            _ if part.is_some_and(|(key, _)| key == row.key) => *part = None,
            _ => {}
        }
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
    fn committed(&mut self, upper: Epoch, files: &[FileRow]) {
        files.iter().for_each(|row| self.0.stands(row));
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::formats::Format;
    use crate::sources::Identity;
    use crate::store::row::Resume;

    /// Of a file of 100 bytes, of which `offset` are indexed; `None`: it is gone.
    fn row(name: &str, offset: Option<u64>) -> FileRow {
        let state = |offset| FileState::Partial {
            format: Format::Jsonl,
            resume: Resume {
                offset,
                ..Resume::default()
            },
        };
        FileRow {
            key: PathKey::of(&[name.as_bytes()]),
            root: PathBuf::from("/root"),
            path: PathBuf::from(name),
            identity: Some(Identity {
                dev: 1,
                ino: 1,
                size: 100,
                mtime_ns: 0,
                ctime_ns: 0,
            }),
            state: offset.map_or(FileState::Gone, state),
            retire: Vec::new(),
        }
    }

    #[test]
    fn a_file_is_halfway_from_its_first_part_to_its_end() {
        let progress = Arc::new(Progress::default());
        let mut report = Report(progress.clone());
        let mut after = |row| {
            report.committed(1, &[row]);
            progress.part().map(|Part { bytes, of }| (bytes, of))
        };
        assert_eq!(after(row("other", None)), None);
        assert_eq!(after(row("large", Some(40))), Some((40, 100)));
        assert_eq!(after(row("other", None)), Some((40, 100)));
        assert_eq!(after(row("large", Some(80))), Some((80, 100)));
        assert_eq!(after(row("large", None)), None);
    }
}
