//! Where a file stands, as the table `files` has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use floodmark_operators::keys::{ContentHash, Epoch, PathKey};
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, Row as SqlRow, params};
use serde::{Deserialize, Serialize};

use super::codec::{Sql, escape_path, signed, unescape_path, unsigned};
use super::row::{Failure, FileRow, FileState, Resume};
use crate::formats::Format;
use crate::sources::Identity;

/// A file and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFile {
    /// Its key.
    pub key: PathKey,
    /// The root it lies under, absolute.
    pub root: Arc<Path>,
    /// Its path below the root.
    pub path: PathBuf,
    /// What `stat` said of the bytes that were last read or tried.
    pub identity: Option<Identity>,
    /// What was decided.
    pub standing: Standing,
    /// The last version that is in the index as a whole. While a newer one is read or can't be read, it stays.
    pub version: Option<Version>,
    /// The version that is being read; kept while its reading is retried.
    pub partial: Option<Box<Partial>>,
    /// The epoch from which on it stands so.
    pub since: Epoch,
}

impl StoredFile {
    /// An older version is in the index because the newer can't be read.
    pub fn stale(&self) -> bool {
        let failing = matches!(
            self.standing,
            Standing::Retrying { .. } | Standing::Dead { .. }
        );
        failing && self.version.is_some()
    }
}

/// What was decided about a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// All of it is in the index.
    Indexed,
    /// Some of it is; [`StoredFile::partial`] says where to go on.
    Partial,
    /// It is tried again.
    Retrying {
        /// Tries so far.
        attempt: u32,
        /// Wait this long before the next.
        after_ms: u64,
        /// Why.
        failure: Box<Failure>,
    },
    /// It can't be indexed as it is.
    Dead {
        /// Tries it took.
        attempts: u32,
        /// Why, and what to do.
        failure: Box<Failure>,
    },
}

impl Standing {
    /// Its name in the table and in every `--json`: `indexed`, `partial`, `retrying` or `dead`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Indexed => "indexed",
            Self::Partial => "partial",
            Self::Retrying { .. } => "retrying",
            Self::Dead { .. } => "dead",
        }
    }

    /// Why, if it is about a failure.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Indexed | Self::Partial => None,
            Self::Retrying { failure, .. } | Self::Dead { failure, .. } => Some(failure),
        }
    }
}

/// A version of a file that is in the index as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// How it was read.
    pub format: Format,
    /// Hash over the hashes of its segments' bytes.
    pub content: ContentHash,
    /// Its slots are `generation << 31 | 0 .. segments`.
    pub generation: u8,
    /// Number of segments.
    pub segments: u32,
}

impl Version {
    /// Whether all of it goes when these slots are retired.
    fn goes_with(&self, retired: &[u32]) -> bool {
        let slots = u64::from(self.segments);
        let first = u64::from(self.generation & 1) << 31;
        let mut own: Vec<u64> = retired.iter().copied().map(u64::from).collect();
        own.retain(|slot| (first..first + slots).contains(slot));
        own.sort_unstable();
        own.dedup();
        own.len() as u64 == slots
    }
}

/// A version of a file that is being read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// How it is read.
    pub format: Format,
    /// Where to go on.
    #[serde(flatten)]
    pub resume: Resume,
}

/// What a row makes of a file's state; `None`: it is no longer there.
pub(super) fn next_state(epoch: Epoch, row: &FileRow, before: Option<&State>) -> Option<State> {
    let identity = row.identity;
    let version = before.and_then(|state| state.version);
    let partial = || before.and_then(|state| state.partial.clone());
    let state = |standing, version, partial| {
        Some(State {
            since: epoch,
            identity,
            standing,
            version,
            partial,
        })
    };
    match &row.state {
        FileState::Gone => None,
        FileState::Moving => before.cloned(),
        &FileState::Indexed {
            format,
            content,
            generation,
            segments,
        } => {
            let version = Version {
                format,
                content,
                generation,
                segments,
            };
            state(Standing::Indexed, Some(version), None)
        }
        FileState::Partial { format, resume } => {
            let partial = Partial {
                format: *format,
                resume: resume.clone(),
            };
            state(Standing::Partial, version, Some(Box::new(partial)))
        }
        FileState::Retrying {
            attempt,
            after_ms,
            failure,
        } => {
            let (attempt, after_ms, failure) = (*attempt, *after_ms, Box::new(failure.clone()));
            state(
                Standing::Retrying {
                    attempt,
                    after_ms,
                    failure,
                },
                version,
                partial(),
            )
        }
        FileState::Dead { failure, attempts } => {
            let standing = Standing::Dead {
                attempts: *attempts,
                failure: Box::new(failure.clone()),
            };
            state(
                standing,
                version.filter(|version| !version.goes_with(&row.retire)),
                None,
            )
        }
        FileState::Touched => {
            let before = before?;
            let back = version.is_some() && before.standing.failure().is_some();
            let standing = if back {
                Standing::Indexed
            } else {
                before.standing.clone()
            };
            let partial = if back { None } else { partial() };
            state(standing, version, partial)
        }
    }
}

/// The columns of `files` that [`read_standing`] reads, in its order.
pub(super) const COLUMNS: &str = "f.added, f.state, f.dev, f.ino, f.size, f.mtime_ns, f.ctime_ns, f.format, f.content, \
     f.generation, f.segments, f.resume, f.attempts, f.after_ms, f.reason, f.message, f.advice, f.record, f.line";

/// The part of a [`StoredFile`] that changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) since: Epoch,
    pub(super) identity: Option<Identity>,
    pub(super) standing: Standing,
    pub(super) version: Option<Version>,
    pub(super) partial: Option<Box<Partial>>,
}

impl State {
    pub(super) fn stored(self, key: PathKey, root: Arc<Path>, path: &str) -> StoredFile {
        let Self {
            since,
            identity,
            standing,
            version,
            partial,
        } = self;
        StoredFile {
            key,
            root,
            path: unescape_path(path),
            identity,
            standing,
            version,
            partial,
            since,
        }
    }
}

/// Reads [`COLUMNS`] from column `at` on.
pub(super) fn read_state(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<State> {
    let number = |column: usize| {
        row.get::<_, Option<i64>>(at + column)
            .map(Option::unwrap_or_default)
    };
    let identity = match row.get::<_, Option<i64>>(at + 2)? {
        None => None,
        Some(dev) => Some(Identity {
            dev: unsigned(dev),
            ino: unsigned(number(3)?),
            size: unsigned(number(4)?),
            mtime_ns: number(5)?,
            ctime_ns: number(6)?,
        }),
    };
    let version = match row.get::<_, Option<Sql<ContentHash>>>(at + 8)? {
        None => None,
        Some(Sql(content)) => Some(Version {
            format: row.get::<_, Sql<Format>>(at + 7)?.0,
            content,
            generation: row.get(at + 9)?,
            segments: row.get(at + 10)?,
        }),
    };
    let bad = |error| rusqlite::Error::FromSqlConversionFailure(at + 11, Type::Text, error);
    let partial = match row
        .get_ref(at + 11)?
        .as_str_or_null()
        .map_err(|error| bad(error.into()))?
    {
        None => None,
        Some(json) => Some(serde_json::from_str(json).map_err(|error| bad(error.into()))?),
    };
    let failure = || -> rusqlite::Result<Box<Failure>> {
        Ok(Box::new(Failure {
            reason: row.get(at + 14)?,
            message: row.get(at + 15)?,
            advice: row.get(at + 16)?,
            record: row.get::<_, Option<i64>>(at + 17)?.map(unsigned),
            line: row.get::<_, Option<i64>>(at + 18)?.map(unsigned),
        }))
    };
    let standing = match row
        .get_ref(at + 1)?
        .as_str()
        .map_err(|error| bad(error.into()))?
    {
        "indexed" => Standing::Indexed,
        "partial" => Standing::Partial,
        "retrying" => Standing::Retrying {
            attempt: row.get(at + 12)?,
            after_ms: unsigned(number(13)?),
            failure: failure()?,
        },
        _ => Standing::Dead {
            attempts: row.get(at + 12)?,
            failure: failure()?,
        },
    };
    Ok(State {
        since: unsigned(row.get(at)?),
        identity,
        standing,
        version,
        partial,
    })
}

/// The state of a path now.
pub(super) fn current(connection: &Connection, path_id: i64) -> rusqlite::Result<Option<State>> {
    let mut statement: CachedStatement<'_> = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM files f WHERE f.path_id = ? AND f.removed IS NULL"
    ))?;
    let mut rows = statement.query([path_id])?;
    rows.next()?.map(|row| read_state(row, 0)).transpose()
}

/// Makes `state` what holds from `state.since` on.
pub(super) fn insert(connection: &Connection, path_id: i64, state: &State) -> rusqlite::Result<()> {
    let (attempts, after_ms) = match &state.standing {
        Standing::Indexed | Standing::Partial => (None, None),
        Standing::Retrying {
            attempt, after_ms, ..
        } => (Some(*attempt), Some(signed(*after_ms))),
        Standing::Dead { attempts, .. } => (Some(*attempts), None),
    };
    let identity = state.identity.as_ref();
    let version = state.version.as_ref();
    let failure = state.standing.failure();
    let resume = match &state.partial {
        None => None,
        Some(partial) => Some(
            serde_json::to_string(partial)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?,
        ),
    };
    let stale = failure.is_some() && version.is_some();
    connection
        .prepare_cached(
            "INSERT INTO files VALUES (?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            path_id,
            signed(state.since),
            state.standing.name(),
            stale,
            identity.map(|identity| signed(identity.dev)),
            identity.map(|identity| signed(identity.ino)),
            identity.map(|identity| signed(identity.size)),
            identity.map(|identity| identity.mtime_ns),
            identity.map(|identity| identity.ctime_ns),
            version.map(|version| Sql(version.format)),
            version.map(|version| Sql(version.content)),
            version.map(|version| version.generation),
            version.map(|version| version.segments),
            resume,
            attempts,
            after_ms,
            failure.map(|failure| &failure.reason),
            failure.map(|failure| &failure.message),
            failure.map(|failure| &failure.advice),
            failure.and_then(|failure| failure.record).map(signed),
            failure.and_then(|failure| failure.line).map(signed),
        ])
        .map(|_| ())
}

/// Ends at `epoch` what holds now.
pub(super) fn close(connection: &Connection, path_id: i64, epoch: Epoch) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE files SET removed = ? WHERE path_id = ? AND removed IS NULL")?
        .execute(params![signed(epoch), path_id])
        .map(|_| ())
}

/// The id of a path, made if need be.
pub(super) fn path_id(
    connection: &Connection,
    key: PathKey,
    root: &Path,
    path: &Path,
) -> rusqlite::Result<i64> {
    if let Some(id) = known_path_id(connection, key)? {
        return Ok(id);
    }
    let root = escape_path(root);
    connection
        .prepare_cached("INSERT OR IGNORE INTO roots (path) VALUES (?)")?
        .execute([&root])?;
    connection
        .prepare_cached(
            "INSERT INTO paths (key, root_id, path) VALUES (?, (SELECT id FROM roots WHERE path = ?), ?)",
        )?
        .execute(params![Sql(key), root, escape_path(path)])?;
    Ok(connection.last_insert_rowid())
}

/// The id of a path that was seen before.
pub(super) fn known_path_id(
    connection: &Connection,
    key: PathKey,
) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM paths WHERE key = ?")?;
    let mut rows = statement.query([Sql(key)])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}
