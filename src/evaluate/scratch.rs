//! A folder for an index that is made to be measured, and the run that makes it.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::daemon::{DaemonError, RunLock};
use crate::ingest::engine::Engine;
use crate::model::{Model, ModelError};
use crate::sources::SourceOptions;
use crate::store::{StoreError, roots_of};
use crate::worker::{Options, Run, RunError};

/// Why there is no index to measure.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The folder can't be made.
    #[error("can't make the folder {} for the index: {source}", path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder is somebody's index.
    #[error(
        "{} holds the index of {}: a collection gets a state of its own; name another folder with --state, or none",
        state.display(), root.display()
    )]
    InUse {
        /// The state folder.
        state: PathBuf,
        /// What it indexes.
        root: PathBuf,
    },
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another run has the state.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The run did not begin.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model can't start.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The run ended before its work was done.
    #[error("indexing ended early: {0}")]
    Ended(String),
}

/// A state folder. A temporary one goes with this value.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    temporary: bool,
}

impl Scratch {
    /// This folder, which stays.
    pub fn kept(path: PathBuf) -> Self {
        Self {
            path,
            temporary: false,
        }
    }

    /// A new one in the system's folder for such, for this user alone.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn temporary() -> Result<Self, ScratchError> {
        let folder = std::env::temp_dir();
        let process = std::process::id();
        for attempt in 0u32.. {
            let path = folder.join(format!("floodmark-eval-{process}-{attempt}"));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        temporary: true,
                    });
                }
                Err(error)
                    if error.kind() == std::io::ErrorKind::AlreadyExists && attempt < 1_000 => {}
                Err(source) => return Err(ScratchError::Make { path, source }),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes with this value.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(folder = %self.path.display(), %error, "a folder that is no longer needed is left behind");
        }
    }
}

/// Indexes the collection's `corpus` as a run that ends does, and waits until all of it is durable. What is in the state already is
/// not embedded again. `options`: how; which files, and the state, are set here.
///
/// # Errors
/// See [`ScratchError`].
pub fn index(
    corpus: &Path,
    state: &Path,
    mut options: Options,
    model: &Model,
    stop: Arc<dyn Fn(String) + Send + Sync>,
) -> Result<Duration, ScratchError> {
    let began = Instant::now();
    let folder = corpus.parent().unwrap_or(corpus);
    let folder = crate::sources::resolved(folder).map_err(|source| ScratchError::Make {
        path: folder.to_owned(),
        source,
    })?;
    refuse_foreign(state, &folder)?;
    let name = corpus.file_name().unwrap_or_default().to_string_lossy();
    options.state = state.to_owned();
    options.sources = SourceOptions {
        inputs: vec![folder],
        include: vec![format!("/{name}")],
        gitignore: false,
        hidden: true,
        ..SourceOptions::default()
    };
    options.failed_dir = None;
    let lock = RunLock::acquire(state)?;
    let run = Run::start(options, Engine::new(model)?, Vec::new(), stop)?;
    run.join().map_err(ScratchError::Ended)?;
    drop(lock);
    Ok(began.elapsed())
}

/// A run takes what is not below its inputs out of the index: a state that somebody uses must not become a scratch.
fn refuse_foreign(state: &Path, folder: &Path) -> Result<(), ScratchError> {
    // The run migrates a store of an earlier version, but not one that is somebody else's.
    let roots = match roots_of(state) {
        Ok(roots) => roots,
        Err(StoreError::Missing { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match roots.into_iter().find(|root| root != folder) {
        Some(root) => Err(ScratchError::InUse {
            state: state.to_owned(),
            root,
        }),
        None => Ok(()),
    }
}
