//! Which paths may have changed. Hints only: whoever gets one looks for himself.
//!
//! ```text
//!  scan ── arm ──▶ table: watch ↔ folder, its rules
//!                     │
//!  kernel ─▶ reader ──┴─▶ filter by name ──┬─ closed, moved, gone ─▶ Changed ───┐
//!            thread                        ├─ being written ─▶ settle ─▶ …  ────┼─▶ events, wake
//!                                          ├─ a folder, an ignore file ─▶ Subtree
//!                                          └─ overflow, limit, lost root ─▶ Rescan
//! ```
//!
//! A folder is armed by the scan, immediately before it is listed. So the answer to every hint about a folder is one scan
//! of its subtree, with the watcher: it arms what is new and sees what came into being before. Until that scan has run
//! the hint for it is on its way, which is why nothing is missed, however slow the receiver.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use serde::Serialize;

use crate::fault;

use super::selection::rules::Rules;
use super::{PollPolicy, Selection, SourceOptions, SymlinkPolicy};

mod kernel;
mod limits;
mod settle;
mod table;
mod translate;

pub use limits::Limits;

use kernel::{Interest, Kernel};
use settle::Settle;
use table::{Table, Wd};

/// A hint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The file at this path may have changed, come or gone: `look`.
    Changed {
        /// Number of its root.
        root: usize,
        /// Its path below the root.
        path: PathBuf,
    },
    /// Anything at or below this path may have: `scan` the subtree, with the watcher.
    Subtree {
        /// Number of its root.
        root: usize,
        /// Its path below the root.
        path: PathBuf,
    },
    /// Anything may have: `scan` the root (all roots), with the watcher.
    Rescan {
        /// The root; all if `None`.
        root: Option<usize>,
        /// Why.
        reason: RescanReason,
    },
}

/// Why everything must be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RescanReason {
    /// The kernel lost events: they came faster than they were read.
    Overflow,
    /// The root was moved or deleted.
    RootLost,
    /// Something came to lie where the root is expected.
    RootReturned,
    /// A file system below the root was unmounted.
    Unmounted,
    /// Watching ended; from now on the roots are polled (see [`Watcher::mode`]).
    NowPolling,
}

/// How changes below a root are noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// By the kernel's word, and by a scan every `rescan_secs`.
    Watching,
    /// By a scan every `poll_secs`.
    Polling(PollReason),
}

/// Why a root is polled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum PollReason {
    /// It was asked for.
    #[error("poll = \"always\" asks for it")]
    Asked,
    /// Its file system does not tell of changes made elsewhere.
    #[error(
        "it lies on {0}, which does not tell of changes made on another machine (poll = \"never\" watches it all the same)"
    )]
    FileSystem(String),
    /// The system allows no more watches.
    #[error(
        "the system allows no more watches; allow one for each folder and some more, for example: \
         sysctl fs.inotify.max_user_watches=1048576"
    )]
    Limit,
    /// The system allows no more watching programs.
    #[error(
        "the system allows no more watching programs; for example: sysctl fs.inotify.max_user_instances=1024"
    )]
    Instances,
    /// There is nothing to watch with.
    #[error("watching is not possible here: {0}")]
    Unavailable(String),
    /// Watching ended by a fault.
    #[error("watching failed: {0}; restart floodmark to watch again")]
    Failed(String),
}

/// Watches the folders that scans arm, until it is dropped.
pub struct Watcher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What `arm` returns for `equip`.
#[derive(Clone, Copy)]
pub(super) struct Armed(Option<Wd>);

impl Armed {
    pub(super) const NOT: Self = Self(None);
}

type Key = (usize, PathBuf);

struct Shared {
    selection: Arc<Selection>,
    kernel: Option<Kernel>,
    /// Held over the kernel call that makes a watch, so that its first event finds its folder.
    table: Mutex<Table>,
    settle: Mutex<Settle<Key>>,
    settle_earlier: Condvar,
    events: Sender<Event>,
    wake: Box<dyn Fn() + Send + Sync>,
    modes: Mutex<Vec<Mode>>,
    /// Seconds between two scans: while the watch works, and while it does not.
    rescan_secs: AtomicU64,
    poll_secs: AtomicU64,
    stop: AtomicBool,
    /// The kernel's limit, for tests of what happens there.
    watches_max: usize,
}

/// Makes the watcher. It watches nothing until a scan arms it: scan all roots with it, and then again whenever it says so.
/// `wake` is called after hints were sent.
///
/// What can't be watched is polled, and [`Watcher::mode`] says why; an error means that no thread could be started.
pub fn watch(
    selection: Arc<Selection>,
    events: Sender<Event>,
    wake: impl Fn() + Send + Sync + 'static,
) -> io::Result<Watcher> {
    start(selection, events, Box::new(wake), usize::MAX)
}

fn start(
    selection: Arc<Selection>,
    events: Sender<Event>,
    wake: Box<dyn Fn() + Send + Sync>,
    watches_max: usize,
) -> io::Result<Watcher> {
    let policy = selection.options.poll;
    let mode = |path: &Path| match policy {
        PollPolicy::Always => Mode::Polling(PollReason::Asked),
        PollPolicy::Never => Mode::Watching,
        PollPolicy::Auto => match remote(path) {
            Some(name) => Mode::Polling(PollReason::FileSystem(name.to_owned())),
            None => Mode::Watching,
        },
    };
    let mut modes: Vec<Mode> = selection
        .roots
        .iter()
        .map(|root| mode(&root.path))
        .collect();
    let mut kernel = None;
    if modes.contains(&Mode::Watching) {
        match Kernel::new() {
            Ok(made) => kernel = Some(made),
            Err(error) => {
                let reason = match error
                    .raw_os_error()
                    .map(rustix::io::Errno::from_raw_os_error)
                {
                    Some(rustix::io::Errno::MFILE) => PollReason::Instances,
                    _ => PollReason::Unavailable(error.to_string()),
                };
                for mode in modes.iter_mut().filter(|mode| **mode == Mode::Watching) {
                    *mode = Mode::Polling(reason.clone());
                }
            }
        }
    }
    for (root, mode) in selection.roots.iter().zip(&modes) {
        if let Mode::Polling(reason) = mode {
            tracing::warn!(root = %root.path.display(), %reason, "changes are noticed by scanning only");
        }
    }
    let settle = Settle::new(Duration::from_millis(selection.options.settle_ms));
    let shared = Arc::new(Shared {
        rescan_secs: AtomicU64::new(selection.options.rescan_secs),
        poll_secs: AtomicU64::new(selection.options.poll_secs),
        selection,
        kernel,
        table: Mutex::default(),
        settle: Mutex::new(settle),
        settle_earlier: Condvar::new(),
        events,
        wake,
        modes: Mutex::new(modes),
        stop: AtomicBool::new(false),
        watches_max,
    });
    let mut watcher = Watcher {
        shared,
        threads: Vec::new(),
    };
    if watcher.shared.kernel.is_some() {
        watcher.spawn("watch", Shared::read)?;
        watcher.spawn("settle", Shared::settle)?;
    }
    Ok(watcher)
}

#[cfg(target_os = "linux")]
pub use limits::remote;

/// The file system at `path`, if it is one that does not tell of changes made elsewhere.
#[cfg(not(target_os = "linux"))]
pub fn remote(_: &Path) -> Option<&'static str> {
    None
}

impl Watcher {
    /// How changes below a root are noticed now.
    pub fn mode(&self, root: usize) -> Mode {
        lock(&self.shared.modes)[root].clone()
    }

    /// Seconds from one scan of all roots to the next.
    pub fn scan_every_secs(&self) -> u64 {
        let polls = lock(&self.shared.modes)
            .iter()
            .any(|mode| *mode != Mode::Watching);
        let secs = if polls {
            &self.shared.poll_secs
        } else {
            &self.shared.rescan_secs
        };
        secs.load(Ordering::Relaxed)
    }

    /// From now on goes by other times: `rescan_secs`, `poll_secs` and `settle_ms` of `options`, and nothing else of them.
    pub fn retime(&self, options: &SourceOptions) {
        let shared = &self.shared;
        shared
            .rescan_secs
            .store(options.rescan_secs, Ordering::Relaxed);
        shared.poll_secs.store(options.poll_secs, Ordering::Relaxed);
        lock(&shared.settle).retime(Duration::from_millis(options.settle_ms));
    }

    /// What the system lets us watch, and how much of that is used. Looks into every process that it may: milliseconds.
    pub fn limits(&self) -> Limits {
        Limits::now(lock(&self.shared.table).len() as u64)
    }

    /// Watches a folder that is about to be listed.
    pub(super) fn arm(&self, root: usize, path: &Path) -> Armed {
        let interest = if path.as_os_str().is_empty() {
            Interest::Root
        } else {
            Interest::Folder
        };
        let absolute = self.shared.selection.roots[root].path.join(path);
        let armed = self.shared.add(root, &absolute, interest, |table, wd| {
            table.insert(wd, root, path)
        });
        Armed(armed)
    }

    /// Watches for the return of a root.
    pub(super) fn arm_parent(&self, root: usize) {
        let path = &self.shared.selection.roots[root].path;
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            self.shared
                .add(root, parent, Interest::Parent, |table, wd| {
                    table.insert_parent(wd, root, name.to_owned());
                    None
                });
        }
    }

    /// The folder's ignore files were read: from now on what they leave out wakes nobody.
    pub(super) fn equip(&self, armed: Armed, root: usize, path: &Path, rules: &Rules) {
        if let Armed(Some(wd)) = armed {
            lock(&self.shared.table).equip(wd, root, path, rules);
        }
    }

    /// The path could not be looked at: once its attributes change it is worth another try.
    pub(super) fn trouble(&self, root: usize, path: &Path) {
        lock(&self.shared.table).trouble(root, path);
    }

    fn spawn(&mut self, name: &str, body: fn(&Shared) -> io::Result<()>) -> io::Result<()> {
        let shared = self.shared.clone();
        let run = move || {
            // A watcher that ends unnoticed is worse than none.
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&shared)));
            if !shared.stop.load(Ordering::SeqCst) {
                let why = match ended {
                    Ok(Err(error)) => error.to_string(),
                    Ok(Ok(())) => "it ended".to_owned(),
                    Err(_) => "it panicked".to_owned(),
                };
                shared.give_up(PollReason::Failed(why));
            }
        };
        self.threads.push(
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)?,
        );
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        {
            // Under the lock, or the notification might fall between the other thread's look and its sleep.
            let _settle = lock(&self.shared.settle);
            self.shared.stop.store(true, Ordering::SeqCst);
            self.shared.settle_earlier.notify_all();
        }
        if let Some(kernel) = &self.shared.kernel {
            kernel.ring();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn add(
        &self,
        root: usize,
        path: &Path,
        interest: Interest,
        insert: impl FnOnce(&mut Table, Wd) -> Option<Wd>,
    ) -> Option<Wd> {
        let kernel = self.kernel.as_ref()?;
        if lock(&self.modes)[root] != Mode::Watching {
            return None;
        }
        let follow = self.selection.options.symlinks == SymlinkPolicy::Follow;
        let mut table = lock(&self.table);
        let added = if table.len() >= self.watches_max {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            kernel.add(path, interest, follow)
        };
        match added {
            Ok(wd) => {
                if let Some(orphan) = insert(&mut table, wd) {
                    kernel.remove(orphan);
                }
                Some(wd)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory
                ) =>
            {
                drop(table);
                self.give_up(PollReason::Limit);
                None
            }
            // The scan meets the same difficulty and reports it.
            Err(_) => None,
        }
    }

    /// Half a watch is none: what is not watched would be as quiet as what does not change.
    fn give_up(&self, reason: PollReason) {
        tracing::warn!(%reason, "watching ended; changes are noticed by scanning only");
        for mode in lock(&self.modes)
            .iter_mut()
            .filter(|mode| **mode == Mode::Watching)
        {
            *mode = Mode::Polling(reason.clone());
        }
        let watches = lock(&self.table).clear();
        if let Some(kernel) = &self.kernel {
            watches.into_iter().for_each(|wd| kernel.remove(wd));
        }
        self.send([Event::Rescan {
            root: None,
            reason: RescanReason::NowPolling,
        }]);
    }

    fn send(&self, events: impl IntoIterator<Item = Event>) {
        let mut sent = false;
        for event in events {
            // Nobody listens any more: the program is about to end.
            sent |= self.events.send(event).is_ok();
        }
        if sent {
            (self.wake)();
        }
    }

    /// The reader thread.
    fn read(&self) -> io::Result<()> {
        let Some(kernel) = &self.kernel else {
            return Ok(());
        };
        let mut known = HashSet::new();
        kernel.read(&mut |happenings| {
            fault::pass("watch.events");
            if self.stop.load(Ordering::SeqCst) {
                return false;
            }
            let mut events = Vec::new();
            for happening in happenings.drain(..) {
                self.happened(kernel, happening, &mut events);
            }
            if events.len() > 1 {
                known.clear();
                events.retain(|event| known.insert(event.clone()));
            }
            self.send(events);
            true
        })
    }

    /// The thread that looks after files whose writers don't close them.
    fn settle(&self) -> io::Result<()> {
        let mut settle = lock(&self.settle);
        while !self.stop.load(Ordering::SeqCst) {
            let now = Instant::now();
            let due = settle.due(now);
            if !due.is_empty() {
                drop(settle);
                self.send(due.into_iter().map(|(root, path)| self.written(root, path)));
                settle = lock(&self.settle);
                continue;
            }
            settle = match settle.next() {
                None => self
                    .settle_earlier
                    .wait(settle)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let waited = self
                        .settle_earlier
                        .wait_timeout(settle, at.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        Ok(())
    }
}

/// No state here can be left half-written by a panic that a later use would trip over; a thread that panics ends the watch.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
