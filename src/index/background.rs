//! A build on a thread of its own: made from a snapshot, written, and handed over.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::disk::{self, Draft, Stored};
use super::policy::Kind;
use super::snapshot::{Rows, SLICE, Snapshot};
use super::view::Options;
use super::{IndexError, build};
use crate::fault;

/// Builds kept on the disk: the one that answers and the one before.
const KEPT: usize = 2;

/// What a background build hands over.
pub(super) struct Built {
    pub stored: Stored,
    origins: Vec<usize>,
    positions: HashMap<u64, usize>,
}

/// A build brought up to where the standing index is.
pub(super) struct Carried {
    pub rows: Rows,
    /// Row of each live label.
    pub positions: HashMap<u64, usize>,
    /// Labels that came or left since the build's epoch.
    pub changed: u64,
}

impl Built {
    /// Applies what came and left in the standing index since the build saw its first `seen` rows.
    pub(super) fn carry_over(self, standing: &Rows, seen: usize) -> Result<Carried, IndexError> {
        let Self {
            stored,
            origins,
            mut positions,
        } = self;
        let mut rows = Rows::new(stored.ann, stored.labels, stored.manifest.nprobe)?;
        let mut changed = 0;
        for (row, &origin) in origins.iter().enumerate() {
            if !standing.is_live(origin) {
                positions.remove(&rows.labels()[row]);
                // Whoever still sees it looks at the old rows.
                rows.remove(row, 0);
                changed += 1;
            }
        }
        let since: Vec<usize> = (seen..standing.len())
            .filter(|&row| standing.is_live(row))
            .collect();
        let dimension = rows.dimension();
        let mut vectors = vec![0f32; SLICE * dimension];
        for slice in since.chunks(SLICE) {
            for (&row, into) in slice.iter().zip(vectors.chunks_exact_mut(dimension)) {
                standing.vector(row, into)?;
            }
            let labels: Vec<u64> = slice.iter().map(|&row| standing.labels()[row]).collect();
            let first = rows.len();
            rows.append(&labels, &vectors[..slice.len() * dimension])?;
            for (row, label) in (first..).zip(labels) {
                rows.publish(row);
                positions.insert(label, row);
                changed += 1;
            }
        }
        Ok(Carried {
            rows,
            positions,
            changed,
        })
    }
}

/// A build under way. Dropped, it is forgotten: it may still compute, but never writes again.
pub(super) struct Building {
    thread: Option<JoinHandle<Result<Built, IndexError>>>,
    snapshot: Snapshot,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    cancelled: AtomicBool,
    /// Held while files are written, so that whoever cancels knows that nothing is being written.
    writing: Mutex<()>,
}

impl Gate {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}

impl Building {
    /// Starts a build of what `snapshot` sees.
    pub(super) fn start(
        snapshot: &Snapshot,
        dir: &Path,
        model: &str,
        options: &Options,
    ) -> Result<Self, IndexError> {
        let kind = options.policy.kind(snapshot.len() as u64);
        tracing::info!(
            epoch = snapshot.epoch,
            kind = kind.name(),
            vectors = snapshot.live,
            "building the vector view anew"
        );
        let gate = Arc::new(Gate::default());
        let (source, theirs, model, options) = (
            snapshot.clone(),
            gate.clone(),
            model.to_owned(),
            options.clone(),
        );
        let folder = dir.to_owned();
        let thread = thread::Builder::new()
            .name("vector-build".into())
            .spawn(move || {
                yield_to_others();
                make_and_write(&source, kind, &folder, &model, &options, &theirs)
            })
            .map_err(|error| IndexError::io("start a thread for", dir, error))?;
        Ok(Self {
            thread: Some(thread),
            snapshot: snapshot.clone(),
            gate,
        })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits for it: the snapshot that it was made of, and the build.
    pub(super) fn finish(mut self) -> (Snapshot, Result<Built, IndexError>) {
        let thread = self
            .thread
            .take()
            .expect("a build is finished once: this takes it");
        let panicked = |_| {
            Err(IndexError::faiss(
                "build an index",
                "the thread panicked".into(),
            ))
        };
        (
            self.snapshot.clone(),
            thread.join().unwrap_or_else(panicked),
        )
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        self.gate.cancelled.store(true, Ordering::SeqCst);
        drop(
            self.gate
                .writing
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Gives way to embedding and queries when all cores are busy: a build may take its time, the standing index answers.
/// FAISS's own threads inherit it.
#[cfg(target_os = "linux")]
fn yield_to_others() {
    // On Linux a thread has a priority of its own. Where it can't be lowered, the build competes: no reason to fail.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
}

#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

/// Makes, then writes unless it was told not to.
fn make_and_write(
    snapshot: &Snapshot,
    kind: Kind,
    dir: &Path,
    model: &str,
    options: &Options,
    gate: &Gate,
) -> Result<Built, IndexError> {
    fault::pass("view.build");
    let made = build::make(snapshot, kind, options.build_threads, &|| {
        gate.is_cancelled()
    })?;
    let writing = gate.writing.lock().unwrap_or_else(PoisonError::into_inner);
    if gate.is_cancelled() {
        return Err(IndexError::Cancelled);
    }
    let draft = Draft {
        model,
        epoch: snapshot.epoch,
        ef_search: made.ef_search,
        nprobe: made.nprobe,
        created: (options.now)().to_string(),
        recall: made.recall,
    };
    let stored = disk::write(dir, made.ann, &made.labels, draft)?;
    if let Err(error) = disk::prune(dir, KEPT) {
        tracing::warn!(%error, "old builds of the vector view stay on the disk");
    }
    fault::pass("view.built");
    drop(writing);
    let positions = stored
        .labels
        .iter()
        .enumerate()
        .map(|(row, label)| (*label, row))
        .collect();
    Ok(Built {
        stored,
        origins: made.origins,
        positions,
    })
}
