//! Rows into tables: all epochs of one call in one transaction, or none.
//!
//! Durability: the transaction is in the log and the log is synced when [`Store::commit`] returns `Ok`. The log is moved
//! into the database (a checkpoint) between commits, and never by SQLite's own automatism, whose errors nobody sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use floodmark_operators::keys::{ChunkHash, Epoch};
use rusqlite::{TransactionBehavior, params};

use super::codec::{signed, unsigned};
use super::error::{Context, StoreError};
use super::row::{ContentRow, EmbeddingRow, FileRow, Row, SegmentRow};
use super::{BUSY_TIMEOUT, Store, checkpoint, meta, set_meta};
use crate::fault;

mod writer;

use writer::Writer;

/// Checkpoint when so many frames (of a page each) wait in the log: 32 MiB. Pages that many commits change are moved once.
/// Fewer in a debug build, so that tests come here often.
const LOG_FRAMES_CHECKPOINT: i64 = if cfg!(debug_assertions) { 256 } else { 4096 };

/// From so many on (64 MiB) wait a moment for readers, so that the log can begin anew even under a stream of searches.
const LOG_FRAMES_PATIENCE: i64 = if cfg!(debug_assertions) { 512 } else { 8192 };
const PATIENCE: Duration = Duration::from_millis(50);

impl Store {
    /// Makes `rows` and with them every epoch below `upper` durable: all, or nothing.
    ///
    /// - Rows may come in any order. Rows of an epoch that is durable already are left out: twice is the same as once.
    /// - Contents and embeddings that are there stay as they are.
    /// - `Live` is exact: a text that is live can't join, one that is not can't leave, and when the call ends every
    ///   text that is live has a vector by the model. `Touched` means: the bytes of [`super::StoredFile::version`].
    ///
    /// # Errors
    /// `Fenced`, `Broken`, or what SQLite said: stop. The handle is poisoned then and refuses every further commit.
    pub fn commit(&mut self, upper: Epoch, rows: Vec<(Epoch, Row)>) -> Result<(), StoreError> {
        if let Some(first) = &self.poison {
            return Err(StoreError::Poisoned {
                first: first.clone(),
            });
        }
        let done = self.apply(upper, rows).and_then(|()| self.tend_log());
        if let Err(error) = &done {
            self.poison(error);
        }
        done
    }

    fn apply(&mut self, upper: Epoch, rows: Vec<(Epoch, Row)>) -> Result<(), StoreError> {
        if upper <= self.upper {
            return Ok(());
        }
        let batch = Batch::sort(self.upper, upper, rows)?;
        let doing = "commit to";
        let path = self.path.clone();
        let at_ms = (self.clock)();
        fault::point("store.commit.begin").context(doing, &path)?;
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .context(doing, &path)?;
        let theirs = unsigned(meta(&tx, "generation").context(doing, &path)?);
        if theirs != self.generation {
            return Err(StoreError::Fenced {
                ours: self.generation,
                theirs,
            });
        }
        fault::point("store.commit.fenced").context(doing, &path)?;
        Writer::new(&tx, &path, self.model, self.dimension).write(batch)?;
        fault::point("store.commit.rows").context(doing, &path)?;
        set_meta(&tx, "upper", signed(upper)).context(doing, &path)?;
        tx.prepare_cached("INSERT INTO epochs VALUES (?, ?)")
            .and_then(|mut statement| statement.execute(params![signed(upper - 1), at_ms]))
            .context(doing, &path)?;
        fault::point("store.commit.before").context(doing, &path)?;
        tx.commit().context(doing, &path)?;
        fault::point("store.commit.after").context(doing, &path)?;
        self.upper = upper;
        Ok(())
    }

    /// Keeps the log short. A reader keeps what it reads in the log; the log then grows by what is written meanwhile.
    fn tend_log(&self) -> Result<(), StoreError> {
        let tend = || -> rusqlite::Result<()> {
            let (frames, moved) = checkpoint(&self.connection, "NOOP")?;
            fault::pass("store.log.looked");
            if frames - moved < LOG_FRAMES_CHECKPOINT {
                return Ok(());
            }
            fault::pass("store.log.fold");
            checkpoint(&self.connection, "PASSIVE")?;
            fault::pass("store.log.folded");
            if frames >= LOG_FRAMES_PATIENCE {
                self.connection.busy_timeout(PATIENCE)?;
                checkpoint(&self.connection, "RESTART")?;
                self.connection.busy_timeout(BUSY_TIMEOUT)?;
            }
            Ok(())
        };
        tend().context("checkpoint", &self.path)
    }
}

/// Rows in the order in which they are applied.
#[derive(Default)]
struct Batch {
    // Memory has no epoch: it comes first, so that whatever refers to it finds it.
    contents: Vec<Arc<ContentRow>>,
    embeddings: Vec<EmbeddingRow>,
    epochs: BTreeMap<Epoch, Group>,
}

#[derive(Default)]
struct Group {
    files: Vec<FileRow>,
    segments: Vec<SegmentRow>,
    live: BTreeMap<ChunkHash, i64>,
}

impl Batch {
    fn sort(from: Epoch, upper: Epoch, rows: Vec<(Epoch, Row)>) -> Result<Self, StoreError> {
        let mut batch = Self::default();
        let mut late = 0u64;
        for (epoch, row) in rows {
            if epoch >= upper {
                return Err(StoreError::broken(format!(
                    "a row of epoch {epoch} in a commit up to {upper}"
                )));
            }
            match row {
                Row::Content(row) => batch.contents.push(row),
                Row::Embedding(row) => batch.embeddings.push(row),
                _ if epoch < from => late += 1,
                Row::File(row) => batch.epochs.entry(epoch).or_default().files.push(row),
                Row::Segment(row) => batch.epochs.entry(epoch).or_default().segments.push(row),
                Row::Live(hash, change) => {
                    let group = batch.epochs.entry(epoch).or_default();
                    *group.live.entry(hash).or_default() += i64::from(change);
                }
            }
        }
        if late > 0 {
            tracing::warn!(
                late,
                from,
                "rows of epochs that are durable already were left out"
            );
        }
        Ok(batch)
    }
}
