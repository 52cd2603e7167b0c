//! The thread that writes: nobody who embeds waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use floodmark_operators::keys::ChunkHash;

use super::file::{self, File};
use super::{FILE, Quantised};
use crate::fault;

/// Texts of a transaction, about.
const TOGETHER: usize = 256;
/// How long the end waits for what is not written yet.
const LAST_CHANCE: Duration = Duration::from_secs(10);

/// What the keeper may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes that may wait to be written; what comes on top is left out.
    pub waiting: usize,
    /// Free bytes of the disk that are left to what matters more than a cache.
    pub free: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 64 << 20,
            free: 256 << 20,
        }
    }
}

type Rows = Vec<(ChunkHash, Quantised)>;
/// Gives the texts of the index, or says why not.
type Live = Box<dyn FnOnce() -> Result<Vec<ChunkHash>, String> + Send>;

enum Job {
    Put(Rows),
    Prune(Live),
    Close(Sender<()>),
}

/// Takes token vectors and has them written. Nothing that happens here is an error for anybody else.
#[derive(Debug)]
pub struct Keeper {
    jobs: Sender<Job>,
    limits: Limits,
    /// Bytes.
    waiting: Arc<AtomicUsize>,
    left_out: Arc<AtomicU64>,
    said_none: AtomicBool,
}

impl Keeper {
    /// Into the state folder `state`, for the model with this key. One at a time for a folder: whoever holds its lock.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(state: &Path, model: &str) -> std::io::Result<Arc<Self>> {
        Self::start_with(state, model, Limits::default())
    }

    /// The same, with other limits.
    pub(crate) fn start_with(
        state: &Path,
        model: &str,
        limits: Limits,
    ) -> std::io::Result<Arc<Self>> {
        let (jobs, to_do) = unbounded();
        let left_out = Arc::new(AtomicU64::new(0));
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            path: state.join(FILE),
            model: model.to_owned(),
            limits,
            waiting: waiting.clone(),
            file: None,
            complained: false,
            left_out: left_out.clone(),
        };
        std::thread::Builder::new()
            .name("token-vectors".into())
            .spawn(move || writer.run(&to_do))?;
        Ok(Arc::new(Self {
            jobs,
            limits,
            waiting,
            left_out,
            said_none: AtomicBool::new(false),
        }))
    }

    /// Has them written, or leaves them out where too much waits already.
    pub fn put(&self, rows: Rows) {
        let (texts, bytes) = (rows.len() as u64, size(&rows));
        if texts == 0 {
            return;
        }
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting > self.limits.waiting || self.jobs.send(Job::Put(rows)).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            tracing::debug!(
                texts,
                "token vectors are left out: too much waits to be written"
            );
            self.left_out.fetch_add(texts, Ordering::Relaxed);
        }
    }

    /// Deletes what is of no text that `live` names, if that is more than a quarter of what there is.
    pub fn prune(&self, live: impl FnOnce() -> Result<Vec<ChunkHash>, String> + Send + 'static) {
        // Gone: it was closed.
        let _ = self.jobs.send(Job::Prune(Box::new(live)));
    }

    /// The model has none to keep: said once.
    pub fn none(&self) {
        if !self.said_none.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "token-vectors is set, but the model pools inside its graph and gives none: nothing is kept"
            );
        }
    }

    /// How many texts were left out.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Ends it when all that waits is written, or after ten seconds. What comes later is left out.
    pub fn close(&self) {
        let (done, closed) = bounded(1);
        let sent = self.jobs.send(Job::Close(done));
        // Disconnected: it has ended before.
        let ended = sent.is_ok() && closed.recv_timeout(LAST_CHANCE).is_ok();
        let texts = self.left_out();
        if !ended || texts > 0 {
            tracing::info!(
                texts,
                "some token vectors were not kept; the second look makes them when it needs them"
            );
        }
    }
}

/// In words.
fn said(error: std::io::Error) -> String {
    error.to_string()
}

/// In memory.
fn size(rows: &Rows) -> usize {
    let size = |(_, vectors): &(ChunkHash, Quantised)| vectors.bytes().len();
    rows.iter().map(size).sum()
}

struct Writer {
    path: PathBuf,
    model: String,
    limits: Limits,
    waiting: Arc<AtomicUsize>,
    file: Option<File>,
    complained: bool,
    left_out: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, to_do: &Receiver<Job>) {
        // At once: what is there now is what may be pruned.
        let _opened = self.attempt(|_| Ok(()));
        while let Ok(job) = to_do.recv() {
            let mut next = Some(job);
            while let Some(job) = next.take() {
                match job {
                    Job::Put(mut rows) => {
                        while rows.len() < TOGETHER && next.is_none() {
                            match to_do.try_recv() {
                                Ok(Job::Put(more)) => rows.extend(more),
                                Ok(other) => next = Some(other),
                                Err(_) => break,
                            }
                        }
                        self.put(&rows);
                        self.waiting.fetch_sub(size(&rows), Ordering::Relaxed);
                    }
                    Job::Prune(live) => self.prune(live),
                    Job::Close(done) => {
                        fault::pass("tokens.close.before");
                        // The last connection takes the log into the file and removes it.
                        self.file = None;
                        fault::pass("tokens.close.after");
                        let _ = done.send(());
                        return;
                    }
                }
            }
        }
    }

    fn put(&mut self, rows: &Rows) {
        let written = match self.room() {
            Ok(()) => fault::point("tokens.put")
                .map_err(said)
                .and_then(|()| self.attempt(|file| file.put(rows))),
            Err(why) => Err(why),
        };
        match written {
            Ok(()) => self.complained = false,
            Err(why) => {
                self.left_out
                    .fetch_add(rows.len() as u64, Ordering::Relaxed);
                self.complain(&why);
            }
        }
    }

    fn prune(&mut self, live: Live) {
        let live = live();
        let pruned = live.and_then(|live| {
            fault::point("tokens.prune").map_err(said)?;
            self.attempt(|file| file.prune(&live))
        });
        match pruned {
            Ok(0) => {}
            Ok(texts) => tracing::info!(texts, "token vectors of texts that are gone were deleted"),
            Err(why) => {
                tracing::warn!(%why, "token vectors of texts that are gone could not be deleted")
            }
        }
    }

    /// With the file, which is opened if it is not.
    fn attempt<T>(
        &mut self,
        act: impl FnOnce(&mut File) -> rusqlite::Result<T>,
    ) -> Result<T, String> {
        let opened = match self.file.take() {
            Some(file) => Ok(file),
            None => {
                fault::point("tokens.open").map_err(said)?;
                File::open(&self.path, &self.model)
            }
        };
        let done = opened.and_then(|mut file| {
            let done = act(&mut file);
            // A damaged one is opened anew the next time, which begins it anew if it can't be used.
            if !done.as_ref().is_err_and(file::useless) {
                self.file = Some(file);
            }
            done
        });
        done.map_err(|error| error.to_string())
    }

    /// Whether the disk has any to spare.
    fn room(&self) -> Result<(), String> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let stat = rustix::fs::statvfs(folder).map_err(|error| error.to_string())?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < self.limits.free {
            return Err(format!(
                "{} MiB are free, and {} are left to the index",
                free >> 20,
                self.limits.free >> 20
            ));
        }
        Ok(())
    }

    /// Once for each time that it begins to fail.
    fn complain(&mut self, why: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::error!(file = %self.path.display(), %why, "token vectors can't be kept; the run goes on, and the second look makes them when it needs them");
        }
    }
}
