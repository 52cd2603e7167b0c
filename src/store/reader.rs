//! Reading while a run writes, and when none runs: every answer of a [`Snapshot`] is of one epoch.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::codec::unsigned;
use super::error::{Context, StoreError};
use super::recover::roots;
use super::snapshot::{Model, Snapshot};
use super::{DATABASE, identify, meta, schema, tune};
use crate::fault;

/// Opens snapshots of a store. Cheap to clone; each snapshot has a connection of its own, used again afterwards.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) idle: Mutex<Vec<Connection>>,
}

/// Connections kept for the next snapshot.
pub(super) const IDLE_MAX: usize = 8;

impl Reader {
    /// Of the store in the state folder `dir`.
    ///
    /// # Errors
    /// [`StoreError::Missing`], `Newer`, `Older`, `Foreign`, `Corrupt`, `ReadOnlyFolder`.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let shared = Shared {
            path: dir.join(DATABASE),
            idle: Mutex::default(),
        };
        let reader = Self {
            shared: Arc::new(shared),
        };
        reader.snapshot()?;
        Ok(reader)
    }

    /// The store as of the last commit. Drop it soon: the log grows by what is written while it lives.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let idle = self
            .shared
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let (connection, reusable) = match idle {
            Some(connection) => (connection, true),
            None => connect(&self.shared.path, schema::VERSION)?,
        };
        let path = &self.shared.path;
        fault::point("store.read").context("read", path)?;
        // A transaction that is deferred takes its snapshot with its first read.
        connection.execute_batch("BEGIN").context("read", path)?;
        let upper = meta(&connection, "upper").context("read", path)?;
        let model_id = meta(&connection, "model").context("read", path)?;
        let since = meta(&connection, "model_since").context("read", path)?;
        let model = connection
            .query_row(
                "SELECT name, dimension FROM models WHERE id = ?",
                [model_id],
                |row| {
                    let dimension: i64 = row.get(1)?;
                    let dimension = usize::try_from(dimension).unwrap_or(0);
                    Ok(Model {
                        id: row.get(0)?,
                        dimension,
                        since: unsigned(since),
                    })
                },
            )
            .optional()
            .context("read", path)?
            .ok_or_else(|| missing(path))?;
        Ok(Snapshot {
            connection: Some(connection),
            reusable,
            shared: Arc::clone(&self.shared),
            epoch: unsigned(upper) - 1,
            model_id,
            model,
        })
    }
}

/// The folders that files of the store in `dir` were ever found below. A store that an earlier floodmark wrote is read as it is: every
/// schema has this table.
///
/// # Errors
/// As [`Reader::open`], but never `Older`.
pub fn roots_of(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let path = dir.join(DATABASE);
    let (connection, _) = connect(&path, 1)?;
    let roots = roots(&connection).context("read", &path)?;
    Ok(roots.values().map(|root| root.to_path_buf()).collect())
}

fn missing(path: &Path) -> StoreError {
    StoreError::Missing {
        dir: path.parent().unwrap_or(path).to_owned(),
    }
}

/// A connection to a store of schema `oldest` or later, and whether it sees later commits as well.
fn connect(path: &Path, oldest: i64) -> Result<(Connection, bool), StoreError> {
    if !path.exists() {
        return Err(missing(path));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let first = Connection::open_with_flags(path, flags)
        .context("open", path)
        .and_then(|connection| checked(connection, path, oldest));
    let Err(StoreError::Sqlite { source, .. }) = &first else {
        return first.map(|connection| (connection, true));
    };
    if !matches!(
        source.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)
    ) {
        return first.map(|connection| (connection, true));
    }
    // Even a reader makes the log's index, store.sqlite-shm, where there is none. In a folder that can't be written
    // nobody writes the database either: with an empty log it is complete by itself.
    if fs::metadata(path.with_extension("sqlite-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(StoreError::ReadOnlyFolder {
            path: path.to_owned(),
        });
    }
    let connection =
        Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)
            .context("open", path)?;
    Ok((checked(connection, path, oldest)?, false))
}

pub(super) fn immutable_uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02x}");
        }
    }
    uri + "?immutable=1"
}

fn checked(connection: Connection, path: &Path, oldest: i64) -> Result<Connection, StoreError> {
    tune(&connection).context("open", path)?;
    match identify(&connection, path)? {
        // Someone is just about to make it.
        0 => Err(missing(path)),
        found if found >= oldest => Ok(connection),
        found => Err(StoreError::Older {
            path: path.to_owned(),
            found,
            known: schema::VERSION,
        }),
    }
}
