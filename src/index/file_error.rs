//! What can go wrong with the files of a view, either view.

use std::io;
use std::path::{Path, PathBuf};

/// A view's file or folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system failed.
    #[error("could not {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what was written, or not for this source.
    #[error("{path} is not usable: {reason}")]
    Unusable {
        /// The view's folder or file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl FileError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn unusable(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// What to do about it.
    pub(crate) fn kind(&self) -> super::ErrorKind {
        match self {
            Self::Io { .. } => super::ErrorKind::Retry,
            Self::Unusable { .. } => super::ErrorKind::Stop,
        }
    }
}
