//! A run as its user meets it: the workers, the view that follows them, and the socket that answers questions.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
use floodmark_operators::keys::Epoch;

use crate::answers::{
    Admission, FileCounts, Forgotten, Found, KeptFiles, KeptReason, Lag, Memory, Query, Retried,
    SavedKeywords, Status, shown,
};
use crate::control::{Handler, Refusal, RefusalKind};
use crate::index::last_build;
use crate::ingest::engine::Ward;
use crate::ingest::kept::Kept;
use crate::ingest::ledger::Witness;
use crate::ingest::memory::Pressure;
use crate::ingest::progress::Progress;
use crate::keyword::{KeywordError, last_save};
use crate::search::{KEYWORDS, SearchError, Searcher, VIEW};
use crate::sources::{Doubt, Identity, Selection};
use crate::store::row::FileRow;
use crate::store::{Reader, Standing, StoreError};
use crate::worker::Handle;
use crate::{dead, fault, forget};

/// Tells the view that there is something to follow.
struct Follow(Sender<()>);

impl Witness for Follow {
    fn committed(&mut self, _upper: Epoch, _files: &[FileRow]) {
        // Full: it has been told and has not looked yet.
        let _ = self.0.try_send(());
    }
}

/// A witness for [`crate::worker::Run::start`], and what [`keep_fresh`] listens to.
pub fn follower() -> (Box<dyn Witness>, Receiver<()>) {
    let (sender, receiver) = bounded(1);
    (Box::new(Follow(sender)), receiver)
}

/// How often an unchanged view looks whether its build is done.
const BUILD_CHECK: Duration = Duration::from_secs(1);

/// Follows every commit, on a thread of its own, until the run ends.
///
/// # Errors
/// When the system refuses a thread.
pub fn keep_fresh(
    searcher: Arc<Searcher>,
    commits: Receiver<()>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("view".into()).spawn(move || {
        loop {
            if let Err(error) = searcher.remember() {
                tracing::error!(%error, "queries take longer than they need to; the next second tries again");
            }
            match commits.recv_timeout(BUILD_CHECK) {
                Ok(()) => {}
                Err(crossbeam_channel::RecvTimeoutError::Timeout) if searcher.view().vectors.building => {}
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => continue,
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
            }
            fault::pass("view.follow");
            if let Err(error) = searcher.follow() {
                tracing::error!(%error, "the views stay behind; the store is complete, and the next commit tries again");
            }
        }
    })
}

/// Answers for a run.
pub struct Service {
    /// To speak to it.
    pub handle: Handle,
    /// To search in it.
    pub searcher: Arc<Searcher>,
    /// The state folder.
    pub state: PathBuf,
    /// What is left to embed.
    pub backlog: Arc<AtomicUsize>,
    /// How its model is.
    pub ward: Option<Arc<Ward>>,
    /// Which files are its own.
    pub selection: Selection,
}

/// The part of [`Status`] that the store knows.
///
/// # Errors
/// As the store says.
pub fn stored_status(reader: &Reader, state: &Path) -> Result<Status, StoreError> {
    let store = reader.snapshot()?;
    let counts = store.status()?;
    Ok(Status {
        epoch: store.epoch(),
        files: FileCounts {
            indexed: counts.files.indexed + counts.files.partial,
            retrying: counts.files.retrying,
            dead: counts.files.dead,
            stale: counts.files.stale,
        },
        documents: counts.documents,
        chunks: counts.chunks,
        refused: counts.refused,
        embeddings: counts.live,
        last_commit: counts.last_commit_ms.map(time),
        last_build: last_build(&state.join(VIEW)).map(|build| build.created),
        keywords: saved_keywords(&state.join(KEYWORDS)),
        model: (store.epoch() > 0).then(|| store.model().id.clone()),
        ..Status::default()
    })
}

/// What was saved of the keyword view. Damage is for `doctor` to name, and for the next opening to mend.
fn saved_keywords(dir: &Path) -> Option<SavedKeywords> {
    let saved = last_save(dir)
        .inspect_err(|error| tracing::debug!(%error, "the keyword view on the disk can't be read"))
        .ok()??;
    Some(SavedKeywords {
        saved_epoch: saved.epoch,
        texts: saved.texts,
        saved_at: saved.at.and_then(moment),
    })
}

/// RFC 3339.
pub fn moment(at: SystemTime) -> Option<String> {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(time(i64::try_from(since.as_millis()).ok()?))
}

pub use crate::answers::time;

impl Handler for Service {
    fn status(&self) -> Result<Status, Refusal> {
        let status = stored_status(self.searcher.reader(), &self.state)
            .map_err(|error| refusal(error.into()))?;
        let progress: &Progress = self.handle.progress();
        let lag = Lag {
            // Before the first scan is over nobody knows how much there is.
            files: progress.scanned().then(|| progress.files() as u64),
            chunks: Some(self.backlog.load(Ordering::Relaxed) as u64),
        };
        let model_trouble = self.ward.as_ref().and_then(|ward| ward.trouble());
        let mut files = status.files;
        if model_trouble.is_some() {
            // All of them wait for it, and are tried again by themselves.
            files.retrying += progress.files() as u64;
        }
        let gauge = progress.memory();
        let memory = gauge.rss_bytes().map(|rss_bytes| Memory {
            rss_bytes,
            soft_bytes: gauge.limits().soft_bytes,
            hard_bytes: gauge.limits().hard_bytes,
            admission: match gauge.pressure() {
                Pressure::None => Admission::Free,
                Pressure::Soft => Admission::Slow,
                Pressure::Hard => Admission::Stopped,
            },
        });
        Ok(Status {
            running: true,
            pid: Some(std::process::id()),
            lag,
            files,
            kept: progress.kept().iter().map(kept).collect(),
            model_trouble,
            memory,
            ..status
        })
    }

    fn search(&self, query: &Query) -> Result<Found, Refusal> {
        self.searcher.search(query).map_err(refusal)
    }

    fn stop(&self) {
        self.handle.stop();
    }

    fn wait(&self, path: &Path, timeout: Duration) -> Result<Epoch, Refusal> {
        let deadline = Instant::now() + timeout;
        if self.selection.roots().locate(path).is_none() {
            let message = format!(
                "{} lies in none of the folders that the run indexes",
                path.display()
            );
            return Err(Refusal::new(RefusalKind::Invalid, message));
        }
        loop {
            // The store first: what it says of the file may be newer than our stat, never older than the answer.
            let before = stat(path);
            if let Some(epoch) = self.settled(path, before).map_err(refusal)?
                && stat(path) == before
            {
                return Ok(epoch);
            }
            if Instant::now() >= deadline {
                let message = format!(
                    "{} is not searchable yet as it is on the disk; floodmark explain {0} says why",
                    path.display()
                );
                return Err(Refusal::new(RefusalKind::TimedOut, message));
            }
            self.handle
                .progress()
                .wait_for_commit(deadline.min(Instant::now() + Duration::from_millis(100)));
        }
    }

    fn wait_epoch(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, Refusal> {
        let deadline = Instant::now() + timeout;
        loop {
            let store = self.searcher.reader().snapshot();
            let last = store.map_err(|error| refusal(error.into()))?.epoch();
            if last >= epoch {
                return Ok(last);
            }
            if Instant::now() >= deadline {
                let message = format!("epoch {epoch} is not committed yet, the last one is {last}");
                return Err(Refusal::new(RefusalKind::TimedOut, message));
            }
            self.handle
                .progress()
                .wait_for_commit(deadline.min(Instant::now() + Duration::from_millis(100)));
        }
    }

    fn retry_dead(&self, paths: &[PathBuf]) -> Result<Retried, Refusal> {
        let reader = self.searcher.reader();
        let files = reader
            .snapshot()
            .and_then(|store| dead::files(&store, paths));
        let files = files.map_err(|error| refusal(error.into()))?;
        let count = files.len() as u64;
        self.handle.retry_dead(files);
        Ok(Retried {
            files: count,
            running: true,
        })
    }

    fn forget(&self, paths: &[PathBuf]) -> Result<Forgotten, Refusal> {
        if let Some(there) = forget::still_there(&self.selection, paths) {
            return Err(Refusal::new(RefusalKind::Invalid, forget::refusal(&there)));
        }
        let reader = self.searcher.reader();
        let failed = |error: StoreError| refusal(error.into());
        let leaving = forget::files(&reader.snapshot().map_err(failed)?, paths).map_err(failed)?;
        let files = leaving.len() as u64;
        let mut forgotten = Forgotten {
            files,
            epoch: None,
            running: true,
        };
        if leaving.is_empty() {
            return Ok(forgotten);
        }
        self.handle
            .forget(leaving.iter().map(forget::remembered).collect());
        let deadline = Instant::now() + FORGETTING;
        while forgotten.epoch.is_none() && Instant::now() < deadline {
            let store = reader.snapshot().map_err(failed)?;
            let mut left = true;
            for file in &leaving {
                if store.file_of(file.key).map_err(failed)?.is_some() {
                    left = false;
                    break;
                }
            }
            if left {
                forgotten.epoch = Some(store.epoch());
            } else {
                drop(store);
                self.handle
                    .progress()
                    .wait_for_commit(deadline.min(Instant::now() + Duration::from_millis(100)));
            }
        }
        Ok(forgotten)
    }
}

/// How long somebody waits for files to be forgotten that are not in line yet; they leave all the same.
const FORGETTING: Duration = Duration::from_secs(20);

fn kept(kept: &Kept) -> KeptFiles {
    KeptFiles {
        input: shown(&kept.input),
        files: kept.files,
        reason: match kept.doubt {
            Doubt::RootMissing | Doubt::NotWalked => KeptReason::Missing,
            Doubt::Emptied => KeptReason::Emptied,
            Doubt::DeviceAway => KeptReason::DiskAway,
            Doubt::Unreadable(_) => KeptReason::Unreadable,
        },
        advice: kept.doubt.advice().to_owned(),
    }
}

fn stat(path: &Path) -> Option<Identity> {
    std::fs::metadata(path)
        .ok()
        .map(|metadata| Identity::of(&metadata))
}

impl Service {
    /// The epoch of the answer, if the file is indexed, or a dead letter, as `identity` says, or gone as it should be.
    fn settled(
        &self,
        path: &Path,
        identity: Option<Identity>,
    ) -> Result<Option<Epoch>, SearchError> {
        let path: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let roots = self.selection.roots();
        let Some((root, below)) = roots.locate(&path) else {
            return Ok(None);
        };
        let Some(root) = roots.get(root) else {
            return Ok(None);
        };
        let store = self.searcher.reader().snapshot()?;
        let stored = store.file_of(crate::sources::key(&root.path, &below))?;
        let same = match (&stored, identity) {
            (None, None) => self.handle.progress().scanned(),
            (Some(stored), Some(_)) => stored.identity == identity && stored.partial.is_none(),
            // A dead letter whose file was moved to the failed ones.
            (Some(stored), None) => {
                stored.identity.is_none() && matches!(stored.standing, Standing::Dead { .. })
            }
            _ => false,
        };
        Ok(same.then(|| store.epoch()))
    }
}

fn refusal(error: SearchError) -> Refusal {
    let kind = match error {
        SearchError::Keyword(KeywordError::Syntax(_)) => RefusalKind::Invalid,
        SearchError::Store(_)
        | SearchError::Index(_)
        | SearchError::Keyword(_)
        | SearchError::Model(_)
        | SearchError::NoAnswer { .. }
        | SearchError::Panicked
        | SearchError::Thread(_) => RefusalKind::Failed,
        _ => RefusalKind::Invalid,
    };
    Refusal::new(kind, error.to_string())
}
