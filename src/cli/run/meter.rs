//! What is said while a run catches up: how many files, of how many, how many chunks that made, and how much of a large file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::ingest::progress::{Part, Progress};
use crate::telemetry;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(100);
/// What takes less is not spoken of: a file that changes while somebody watches.
const LONG: Duration = Duration::from_secs(1);

/// Says how far a run is whenever it is behind for longer than a moment, until it is dropped.
pub(super) struct Meter {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Meter {
    /// Of the run with this progress and these texts to embed.
    pub(super) fn start(progress: Arc<Progress>, backlog: Arc<AtomicUsize>) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let thread = thread::Builder::new().name("meter".into()).spawn(move || {
            let mut reading = Reading::new(Instant::now());
            while !ended.load(Ordering::Acquire) {
                let state = State {
                    scanned: progress.scanned(),
                    files: progress.files() as u64,
                    texts: backlog.load(Ordering::Relaxed) as u64,
                    chunks: progress.joined(),
                    part: progress.part(),
                };
                reading.look(state, Instant::now());
                thread::park_timeout(EVERY);
            }
        })?;
        Ok(Self {
            over,
            thread: Some(thread),
        })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ended = thread.join();
        }
    }
}

/// What a look sees.
#[derive(Clone, Copy)]
struct State {
    /// Whether the first scan is over.
    scanned: bool,
    /// Files that are not settled.
    files: u64,
    /// Texts that wait for the model.
    texts: u64,
    /// Chunks that have joined the index so far.
    chunks: u64,
    /// How much of a large file is done.
    part: Option<Part>,
}

/// One time of being behind after another.
struct Reading {
    /// When it was level last.
    level: Instant,
    bar: Option<telemetry::Progress>,
    count: Count,
}

/// How far it is since it was level.
#[derive(Debug, Default, PartialEq)]
struct Count {
    settled: u64,
    files: u64,
    /// Chunks at the beginning.
    chunks: u64,
}

impl Reading {
    fn new(now: Instant) -> Self {
        Self {
            level: now,
            bar: None,
            count: Count::default(),
        }
    }

    fn look(&mut self, state: State, now: Instant) {
        if state.scanned && state.files == 0 && state.texts == 0 {
            *self = Self::new(now);
            self.count.chunks = state.chunks;
            return;
        }
        self.count.step(state.files);
        if now.duration_since(self.level) < LONG {
            return;
        }
        let (settled, total) = (self.count.settled, self.count.settled + self.count.files);
        let bar = (self.bar)
            .get_or_insert_with(|| telemetry::Progress::start("indexing", "files", Some(total)));
        let chunks = state.chunks - self.count.chunks;
        bar.note(note(chunks, now.duration_since(self.level), state.part));
        bar.set_total(total);
        bar.set(settled);
    }
}

/// Chunks are new ones: of a large file whose texts are known, its bytes alone show that it goes on.
fn note(chunks: u64, since: Duration, part: Option<Part>) -> String {
    let per_second = chunks as f64 / since.as_secs_f64();
    let mut note = format!("{chunks} chunks, {per_second:.0} a second");
    if let Some(Part { bytes, of }) = part {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let (bytes, of) = (megabytes(bytes), megabytes(of));
        note.push_str(&format!("; {bytes:.1} of {of:.1} MB of a file"));
    }
    note
}

impl Count {
    /// There are so many files now that are not settled.
    fn step(&mut self, files: u64) {
        self.settled += self.files.saturating_sub(files);
        self.files = files;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_not_spoken_of_and_being_level_ends_it() {
        let start = Instant::now();
        let mut reading = Reading::new(start);
        let behind = |files, chunks| State {
            scanned: true,
            files,
            texts: 0,
            chunks,
            part: None,
        };
        reading.look(behind(1, 0), start + LONG / 2);
        assert!(reading.bar.is_none());
        reading.look(behind(3, 0), start + LONG);
        assert!(reading.bar.is_some());
        reading.look(behind(2, 10), start + 2 * LONG);
        assert_eq!((reading.count.settled, reading.count.files), (1, 2));
        reading.look(behind(0, 12), start + 3 * LONG);
        assert!(reading.bar.is_none());
        let level = Count {
            chunks: 12,
            ..Count::default()
        };
        assert_eq!(reading.count, level);
        let unknown = State {
            scanned: false,
            ..behind(0, 12)
        };
        reading.look(unknown, start + 5 * LONG);
        assert!(reading.bar.is_some(), "nobody knows yet how much there is");
    }

    #[test]
    fn a_large_file_shows_that_it_goes_on() {
        let part = Part {
            bytes: 1_250_000,
            of: 2_000_000_000,
        };
        let said = note(0, 2 * LONG, Some(part));
        assert_eq!(said, "0 chunks, 0 a second; 1.2 of 2000.0 MB of a file");
        assert_eq!(note(30, 2 * LONG, None), "30 chunks, 15 a second");
    }
}
