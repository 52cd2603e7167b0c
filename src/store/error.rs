//! What can go wrong with the store, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::lock::Holder;
use crate::error::ErrorKind;

/// Why the store could not do what was asked. The text says what happened, to which file, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process writes to this state folder.
    #[error("{} is in use by {}; stop it first, or choose another folder with --state", dir.display(),
        holder.as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string))]
    Locked {
        /// The state folder.
        dir: PathBuf,
        /// Who holds it, if the lock file says so.
        holder: Option<Holder>,
    },
    /// There is no store.
    #[error("there is no index in {} yet: `floodmark run` makes one, or name another folder with --state", dir.display())]
    Missing {
        /// The state folder.
        dir: PathBuf,
    },
    /// The store was written by a later version.
    #[error("{} was written by a later floodmark (schema {found}, this one knows {known}): use that version, or another --state", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The last one that this program knows.
        known: i64,
    },
    /// The store was written by an earlier version, and a reader does not migrate.
    #[error("{} was written by an earlier floodmark (schema {found}, this one reads {known}): `floodmark run --once` migrates it", path.display())]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The one that this program reads.
        known: i64,
    },
    /// A database, but not one of floodmark's.
    #[error("{} is a SQLite database of another program; it is left as it is: name another folder with --state", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The database is damaged.
    #[error("{} is damaged ({detail}): move the state folder away and run again, everything is read and embedded anew; or restore a backup of it", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// A row is not what was written.
    #[error("{} is damaged: {what}; `floodmark verify --repair` has it made anew", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// Which row, and how one knows.
        what: String,
    },
    /// The model of this name had vectors of another length before.
    #[error(
        "model {id} made vectors of {stored} numbers before and makes {given} now: give a changed model another name"
    )]
    Model {
        /// Its name.
        id: String,
        /// Length in the store.
        stored: usize,
        /// Length now.
        given: usize,
    },
    /// The file system can't do write-ahead logging.
    #[error("{} lies on a file system without shared memory for SQLite's write-ahead log (journal mode stays {mode}): put --state on a local disk", path.display())]
    NoWal {
        /// The database.
        path: PathBuf,
        /// The journal mode that SQLite fell back to.
        mode: String,
    },
    /// A reader may not write the few bytes of shared memory that reading beside a writer needs.
    #[error("{} can't be read without write permission to its folder while changes wait in its log: run as the folder's owner, or end the run that writes it", path.display())]
    ReadOnlyFolder {
        /// The database.
        path: PathBuf,
    },
    /// Another process has taken the store over.
    #[error(
        "the store was taken over by another process (generation {theirs}, this one is {ours}): this process stops, nothing of it was written"
    )]
    Fenced {
        /// The generation of this process.
        ours: u64,
        /// The one in the store.
        theirs: u64,
    },
    /// An earlier write failed; what reached the disk is known only after opening anew.
    #[error("an earlier write failed ({first}); restart: the store recovers to its last commit")]
    Poisoned {
        /// The first error.
        first: String,
    },
    /// An invariant does not hold: a bug, or a store that was edited by hand.
    #[error(
        "broken invariant: {what}; nothing was written. `floodmark verify` names what differs; please report this"
    )]
    Broken {
        /// Which one, with the values.
        what: String,
    },
    /// The operating system said no.
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite said no.
    #[error("could not {doing} {}: {source}", path.display())]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// Whoever takes the rows of an export can't.
    #[error("could not write what was read from the store: {0}")]
    Sink(#[from] io::Error),
}

impl StoreError {
    /// What the caller must do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked { .. } => ErrorKind::Retry,
            Self::Sqlite { source, .. } if is_busy(source) => ErrorKind::Retry,
            Self::Missing { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Foreign { .. }
            | Self::Model { .. }
            | Self::NoWal { .. }
            | Self::ReadOnlyFolder { .. } => ErrorKind::Config,
            Self::Corrupt { .. }
            | Self::Damaged { .. }
            | Self::Fenced { .. }
            | Self::Poisoned { .. }
            | Self::Broken { .. }
            | Self::Io { .. }
            | Self::Sqlite { .. }
            | Self::Sink(_) => ErrorKind::Stop,
        }
    }

    pub(crate) fn broken(what: impl Into<String>) -> Self {
        Self::Broken { what: what.into() }
    }
}

/// Names the file and the deed of an error from below.
pub(super) trait Context<T> {
    fn context(self, doing: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> Context<T> for rusqlite::Result<T> {
    fn context(self, doing: &'static str, path: &Path) -> Result<T, StoreError> {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        self.map_err(|source| match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => StoreError::Corrupt {
                path: path.to_owned(),
                detail: source.to_string(),
            },
            _ => StoreError::Sqlite {
                doing,
                path: path.to_owned(),
                source,
            },
        })
    }
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, doing: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseBusy | DatabaseLocked)
    )
}
