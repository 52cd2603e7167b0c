//! The truth: one SQLite database a state folder, one writer.
//!
//! ```text
//!  worker 0                                                  any process, any time
//!  ────────                                                  ─────────────────────
//!  Store::open ─ lock, migrate, fence ─▶ recover             Reader::open ─▶ snapshot ─▶ status, changes, vectors,
//!      │                                                                        │          occurrences, export, check
//!      └─ commit(upper, rows) ─ one transaction ─▶ store.sqlite + write-ahead log ◀─┘
//! ```
//!
//! Invariants
//! - What is in the database is exactly the rows of the epochs below `upper`; a commit moves `upper`, or nothing.
//! - A text is in `live` if and only if a live segment's content has it, and then it has a vector by the current model.
//! - A text's label and its vector never change. A text that left and came back keeps both.
//! - After an error in a commit this handle commits nothing more: whether an fsync that failed wrote anything can't be
//!   known, and a second one that succeeds proves nothing. Opening anew recovers to the last commit.
//! - No order comes from a clock; the only clock is for display, and is passed in.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use floodmark_operators::keys::{ChunkHash, Epoch};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

mod check;
mod codec;
mod commit;
mod error;
mod export;
mod file;
mod inspect;
mod layout;
mod lock;
mod lookup;
mod mend;
mod places;
mod reader;
mod recover;
mod retract;
pub mod row;
mod schema;
mod snapshot;

#[cfg(test)]
mod tests;

pub use check::Difference;
pub(crate) use codec::vector_fault;
pub use codec::{escape_path, unescape_path};
pub use error::StoreError;
pub use export::ExportRow;
pub use file::{Partial, Standing, StoredFile, Version};
pub use layout::{Layout, News};
pub use lock::{Holder, holder};
pub use lookup::{ChunkDetail, DeadRow, FileDetail, FileSpan, Occurrence, SegmentDetail};
pub use mend::Doubts;
pub use places::{DocumentKey, Home, Piece, PieceDocument, Place};
pub use reader::{Reader, roots_of};
pub use recover::{RecoveredFile, Recovery, StoredContent};
pub use snapshot::{Change, Counts, FileCounts, Model, Snapshot};

use codec::unsigned;
use error::Context;
use lock::Lock;

use crate::fault;

/// Names a text in the views: stable for as long as the store lives, the same for every model.
pub type Label = i64;

/// Milliseconds since 1970, for display only.
pub type Clock = fn() -> i64;

/// Which model makes the vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelKey {
    /// Its name, with everything that decides what a vector is.
    pub id: String,
    /// Numbers in a vector.
    pub dimension: usize,
}

/// The name of the database in a state folder.
const DATABASE: &str = "store.sqlite";

/// How long to wait for someone who holds SQLite's own lock for an instant (a checkpoint, a `sqlite3` shell).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The one writer. Dropping it is safe at any time; [`Self::close`] leaves a tidy folder.
#[derive(Debug)]
pub struct Store {
    // Before the lock: the database is closed first.
    connection: Connection,
    path: PathBuf,
    model: i64,
    dimension: usize,
    generation: u64,
    upper: Epoch,
    poison: Option<String>,
    clock: Clock,
    _lock: Lock,
}

impl Store {
    /// Opens the store of `dir` for writing; makes it where there is none.
    ///
    /// Another model than before empties the index in an epoch of its own: labels stay, vectors by the other model
    /// stay for the day it comes back, and what is desired is embedded and joins again.
    ///
    /// # Errors
    /// [`StoreError::Locked`] within a second if another process has it; `Newer`, `Foreign`, `Corrupt`, `Model`,
    /// `NoWal`: see there; otherwise what the operating system or SQLite said.
    pub fn open(dir: &Path, model: &ModelKey, clock: Clock) -> Result<Self, StoreError> {
        create_folder(dir).context("create", dir)?;
        let lock = Lock::take(dir, clock())?;
        let path = dir.join(DATABASE);
        fault::point("store.open").context("open", &path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).context("open", &path)?;
        prepare(&mut connection, &path)?;
        let (model_id, generation, upper) = take_over(&mut connection, &path, model)?;
        fault::point("store.opened").context("open", &path)?;
        tracing::debug!(generation, upper, path = %path.display(), "store opened");
        Ok(Self {
            connection,
            path,
            model: model_id,
            dimension: model.dimension,
            generation,
            upper,
            poison: None,
            clock,
            _lock: lock,
        })
    }

    /// Every epoch below is durable.
    pub fn upper(&self) -> Epoch {
        self.upper
    }

    /// What the dataflow needs to go on where the store stands; see [`Recovery`].
    ///
    /// `keep` says whether a content was read by today's recipe; the others are not given.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn recover(&self, keep: &dyn Fn(&StoredContent) -> bool) -> Result<Recovery, StoreError> {
        recover::recover(&self.connection, &self.path, self.model, keep)
    }

    /// Texts that are in the index and have no vector by the model. There are none, unless the database was damaged or
    /// edited.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn without_vector(&self) -> Result<Vec<ChunkHash>, StoreError> {
        let ask =
            || -> rusqlite::Result<Vec<ChunkHash>> {
                // Both sides are read from slim indexes.
                self.connection
                .prepare(
                    "SELECT t.hash FROM live l JOIN texts t ON t.id = l.text_id WHERE NOT EXISTS \
                     (SELECT 1 FROM embeddings e WHERE e.model_id = ? AND e.text_id = l.text_id)",
                )?
                .query_map([self.model], |row| Ok(row.get::<_, codec::Sql<ChunkHash>>(0)?.0))?
                .collect()
            };
        ask().context("read", &self.path)
    }

    /// Compares the store with itself; empty when all is well. See [`Snapshot::check`].
    ///
    /// # Errors
    /// It could not look.
    pub fn check(&self) -> Result<Vec<Difference>, StoreError> {
        check::check(&self.connection, &self.path)
    }

    /// Moves everything from the log into the database and closes both. Not needed for durability.
    ///
    /// # Errors
    /// As SQLite says; what was committed stays committed.
    pub fn close(self) -> Result<(), StoreError> {
        if self.poison.is_none() {
            // A reader in its midst makes this a smaller checkpoint, not an error.
            fault::point("store.close.before").context("checkpoint", &self.path)?;
            checkpoint(&self.connection, "TRUNCATE").context("checkpoint", &self.path)?;
            fault::point("store.close.after").context("checkpoint", &self.path)?;
        }
        Ok(())
    }

    /// From here on nothing is committed, not even by the checkpoint that SQLite does at closing.
    fn poison(&mut self, error: &StoreError) {
        let _ = self
            .connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        self.poison = Some(error.to_string());
    }
}

/// Makes a state folder that only its owner may look into, if there is none.
pub(crate) fn create_folder(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    // Texts of the user's files lie in it.
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fault::point("state.folder.made")?;
    // A new name is durable only when its folder is.
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// No id of contents and texts is greater: they count from 1, none is ever removed, and each takes a byte of the file at least. Whoever keeps
/// room for all up to the greatest asks this first, because a damaged store may name any number.
fn ids_max(connection: &Connection) -> rusqlite::Result<i64> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    Ok(number("page_count")?.saturating_mul(number("page_size")?))
}

/// What SQLite would say if it had noticed itself.
fn damaged(what: String) -> rusqlite::Error {
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(corrupt, Some(what))
}

/// What holds for every connection.
fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Built with STAT4, SQLite plans a statement anew whenever another value is bound: ten times the work of a look-up.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(|_| ())
}

/// Checks that it is ours before anything is changed, then sets it up and migrates it.
fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    tune(connection).context("open", path)?;
    let found = identify(connection, path)?;
    // Five vectors of 384 numbers fill a page of 8 KiB; of 4 KiB, two leave a quarter empty. Before the first table only.
    connection
        .pragma_update(None, "page_size", 8192)
        .context("set up", path)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .context("set up", path)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::NoWal {
            path: path.to_owned(),
            mode,
        });
    }
    fault::point("store.log-mode").context("set up", path)?;
    let settings = [
        ("synchronous", "FULL"), // the log is synced at every commit, before it is acknowledged
        ("fullfsync", "ON"),     // macOS: through the drive's cache as well
        ("checkpoint_fullfsync", "ON"),
        ("wal_autocheckpoint", "0"), // SQLite ignores the errors of its own; see commit.rs
        ("journal_size_limit", "67108864"), // the log shrinks to this when it is reset after a long read
        ("cache_size", "-16384"),           // KiB
        ("foreign_keys", "OFF"), // checked by `check`; ids come from look-ups in the same transaction
    ];
    for (name, value) in settings {
        connection
            .query_row(&format!("PRAGMA {name} = {value}"), [], |_| Ok(()))
            .optional()
            .context("set up", path)?;
    }
    schema::migrate(connection, found).context("migrate", path)
}

/// The schema version of a database that is ours and not from the future; 0 for an empty file.
fn identify(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let read = || -> rusqlite::Result<(i64, i64, i64)> {
        // All of one moment: another process may be making it.
        let moment = connection.unchecked_transaction()?;
        let pragma = |name| moment.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let count = "SELECT count(*) FROM sqlite_schema";
        let tables = moment.query_row(count, [], |row| row.get::<_, i64>(0))?;
        Ok((pragma("application_id")?, pragma("user_version")?, tables))
    };
    let (application, version, tables) = read().context("read", path)?;
    match (application, tables) {
        (schema::APPLICATION_ID, _) if version > schema::VERSION => Err(StoreError::Newer {
            path: path.to_owned(),
            found: version,
            known: schema::VERSION,
        }),
        (schema::APPLICATION_ID, _) => Ok(version),
        (0, 0) => Ok(0),
        _ => Err(StoreError::Foreign {
            path: path.to_owned(),
        }),
    }
}

/// Raises the fence, and makes `model` the current one: `(models.id, generation, upper)`.
fn take_over(
    connection: &mut Connection,
    path: &Path,
    model: &ModelKey,
) -> Result<(i64, u64, Epoch), StoreError> {
    let doing = "take over";
    fault::point("store.take-over.begin").context(doing, path)?;
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .context(doing, path)?;
    let known: Option<(i64, i64)> = tx
        .query_row(
            "SELECT id, dimension FROM models WHERE name = ?",
            [&model.id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .context(doing, path)?;
    let id = match known {
        Some((id, dimension)) if dimension == model.dimension as i64 => id,
        Some((_, stored)) => {
            return Err(StoreError::Model {
                id: model.id.clone(),
                stored: usize::try_from(stored).unwrap_or(0),
                given: model.dimension,
            });
        }
        None => {
            tx.execute(
                "INSERT INTO models (name, dimension) VALUES (?, ?)",
                params![model.id, model.dimension as i64],
            )
            .context(doing, path)?;
            tx.last_insert_rowid()
        }
    };
    let generation = meta(&tx, "generation").context(doing, path)? + 1;
    let mut upper = meta(&tx, "upper").context(doing, path)?;
    set_meta(&tx, "generation", generation).context(doing, path)?;
    if meta(&tx, "model").context(doing, path)? != id {
        let left = tx
            .execute(
                "INSERT INTO changelog SELECT ?, text_id, -1 FROM live",
                [upper],
            )
            .and_then(|left| tx.execute("DELETE FROM live", []).map(|_| left))
            .context(doing, path)?;
        if left > 0 {
            upper += 1;
            tracing::info!(
                left,
                model = model.id,
                "another model: what is live is embedded again"
            );
        }
        set_meta(&tx, "upper", upper).context(doing, path)?;
        set_meta(&tx, "model", id).context(doing, path)?;
        set_meta(&tx, "model_since", upper).context(doing, path)?;
    }
    fault::point("store.take-over.before").context(doing, path)?;
    tx.commit().context(doing, path)?;
    fault::point("store.take-over.after").context(doing, path)?;
    Ok((id, unsigned(generation), unsigned(upper)))
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?")?
        .query_row([key], |row| row.get(0))
}

fn set_meta(connection: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE meta SET value = ? WHERE key = ?")?
        .execute(params![value, key])
        .map(|_| ())
}

/// `(frames in the log, frames of them moved into the database)` after a checkpoint of that mode.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok((row.get(1)?, row.get(2)?))
    })
}
