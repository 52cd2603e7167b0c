//! Questions to the store as of one epoch; more of them in [`lookup`](super::lookup), [`export`](super::export).

use std::path::Path;
use std::sync::{Arc, PoisonError};

use floodmark_operators::keys::{ChunkHash, Epoch};
use rusqlite::{Connection, OptionalExtension, params};

use super::Label;
use super::check::{self, Difference};
use super::codec::{Sql, decode_vector, signed, unsigned, vector_sum};
use super::error::{Context, StoreError};
use super::reader::{IDLE_MAX, Shared};
use super::recover::{self, Recovery, StoredContent};

/// The store as of one epoch. [`Send`], so that a thread may answer from it.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) connection: Option<Connection>,
    pub(super) reusable: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) epoch: Epoch,
    pub(super) model_id: i64,
    pub(super) model: Model,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.reusable)
            && connection.execute_batch("ROLLBACK").is_ok()
        {
            let mut idle = self
                .shared
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
    }
}

/// The model whose vectors are in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name, with everything that decides what a vector is.
    pub id: String,
    /// Numbers in a vector.
    pub dimension: usize,
    /// From this epoch on. Labels outlive a model: a view of an earlier epoch must be built anew.
    pub since: Epoch,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files, by where they stand.
    pub files: FileCounts,
    /// Documents in the index; a copy counts again.
    pub documents: u64,
    /// Chunks in the index; a copy counts again.
    pub chunks: u64,
    /// Chunks that are not, because the model refused their texts; a copy counts again.
    pub refused: u64,
    /// Texts that have a vector by the model, in the index or remembered.
    pub embeddings: u64,
    /// Texts in the index.
    pub live: u64,
    /// When the last commit was made, milliseconds since 1970.
    pub last_commit_ms: Option<i64>,
}

/// Files, by where they stand. `stale` ones are counted under `retrying` or `dead` as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FileCounts {
    pub indexed: u64,
    pub partial: u64,
    pub retrying: u64,
    pub dead: u64,
    pub stale: u64,
}

/// A text joined or left the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// When.
    pub epoch: Epoch,
    /// Which text.
    pub label: Label,
    /// 1: joined, −1: left.
    pub op: i8,
}

impl Snapshot {
    pub(super) fn connection(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("a snapshot has its connection until it is dropped")
    }

    pub(super) fn path(&self) -> &Path {
        &self.shared.path
    }

    pub(super) fn model_id(&self) -> i64 {
        self.model_id
    }

    /// Runs a query whose errors are about reading this store.
    pub(super) fn ask<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        query(self.connection()).context("read", self.path())
    }

    /// The last epoch that is in it. 0: nothing was ever committed.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The model whose vectors it gives.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How much there is.
    ///
    /// # Errors
    /// As SQLite says; so for all below.
    pub fn status(&self) -> Result<Counts, StoreError> {
        self.ask(|connection| {
            let mut counts = Counts::default();
            let mut statement = connection.prepare_cached(
                "SELECT state, stale, count(*) FROM files WHERE removed IS NULL GROUP BY state, stale",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let count = unsigned(row.get(2)?);
                *match row.get_ref(0)?.as_str()? {
                    "indexed" => &mut counts.files.indexed,
                    "partial" => &mut counts.files.partial,
                    "retrying" => &mut counts.files.retrying,
                    _ => &mut counts.files.dead,
                } += count;
                if row.get(1)? {
                    counts.files.stale += count;
                }
            }
            // The plus keeps SQLite from the partial index, which it does not take for covering: a look-up in the table for each
            // segment, in the order of contents.
            (counts.documents, counts.chunks) = connection.query_row(
                "SELECT ifnull(sum(c.documents), 0), ifnull(sum(c.chunks), 0) FROM segments s \
                 CROSS JOIN contents c ON c.id = s.content_id WHERE +s.removed IS NULL",
                [],
                |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))),
            )?;
            counts.refused = connection.query_row(
                "SELECT count(*) FROM refusals g JOIN chunks c ON c.text_id = g.text_id \
                 JOIN segments s ON s.content_id = c.content_id AND s.removed IS NULL WHERE g.model_id = ?",
                [self.model_id],
                |row| row.get(0).map(unsigned),
            )?;
            counts.chunks = counts.chunks.saturating_sub(counts.refused);
            let count = |sql, model: &[i64]| {
                connection.query_row(sql, rusqlite::params_from_iter(model), |row| row.get(0).map(unsigned))
            };
            counts.live = count("SELECT count(*) FROM live", &[])?;
            counts.embeddings =
                count("SELECT count(*) FROM embeddings WHERE model_id = ?", &[self.model_id])?;
            counts.last_commit_ms = connection
                .query_row("SELECT committed_at_ms FROM epochs ORDER BY epoch DESC LIMIT 1", [], |row| {
                    row.get(0)
                })
                .optional()?;
            Ok(counts)
        })
    }

    /// What changed after epoch `after`, net: at most one change a label, by epoch and label.
    ///
    /// Applied to the labels that were live at `after` they give those that are live now.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn changes(&self, after: Epoch) -> Result<Vec<Change>, StoreError> {
        self.ask(|connection| {
            connection
                .prepare_cached(
                    "SELECT max(epoch), text_id, sum(op) FROM changelog WHERE epoch > ? \
                     GROUP BY text_id HAVING sum(op) <> 0 ORDER BY 1, 2",
                )?
                .query_map([signed(after)], |row| {
                    Ok(Change {
                        epoch: unsigned(row.get(0)?),
                        label: row.get(1)?,
                        op: row.get(2)?,
                    })
                })?
                .collect()
        })
    }

    /// The labels in the index, ascending.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn live_labels(&self) -> Result<Vec<Label>, StoreError> {
        self.ask(|connection| {
            connection
                .prepare_cached("SELECT text_id FROM live ORDER BY text_id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    /// Every live label with its vector of `model().dimension` numbers, by ascending label; constant memory. One without
    /// such a vector is passed over: the next run embeds it again.
    ///
    /// # Errors
    /// `Damaged` if a vector is another than was written; otherwise as SQLite says.
    pub fn for_each_live_vector(
        &self,
        mut each: impl FnMut(Label, &[f32]),
    ) -> Result<(), StoreError> {
        let mut vector = vec![0.0; self.model.dimension];
        let (mut without, mut damaged) = (0u64, None);
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT l.text_id, e.vector, e.sum FROM live l LEFT JOIN embeddings e \
                 ON e.model_id = ? AND e.text_id = l.text_id ORDER BY l.text_id",
            )?;
            let mut rows = statement.query([self.model_id])?;
            while let Some(row) = rows.next()? {
                let label = row.get(0)?;
                match row.get_ref(1)?.as_blob_or_null()? {
                    Some(bytes)
                        if Some(vector_sum(self.model_id, label, bytes)) != row.get(2)? =>
                    {
                        damaged = damaged.or(Some(label));
                    }
                    Some(bytes) if decode_vector(bytes, &mut vector) => each(label, &vector),
                    _ => without += 1,
                }
            }
            Ok(())
        })?;
        if without > 0 {
            tracing::warn!(
                texts = without,
                "texts of the index have no usable vector and are not found; the next start of a run embeds them again"
            );
        }
        damaged.map_or(Ok(()), |label| Err(self.damaged_vector(label)))
    }

    /// The vectors of `labels`, one call each, in their order; none for a label that has none by the model.
    ///
    /// # Errors
    /// `Damaged` if one is another than was written; otherwise as SQLite says.
    pub fn vectors(
        &self,
        labels: impl IntoIterator<Item = Label>,
        mut each: impl FnMut(Label, &[f32]),
    ) -> Result<(), StoreError> {
        let mut vector = vec![0.0; self.model.dimension];
        for label in labels {
            if self.read_vector(label, &mut vector)? {
                each(label, &vector);
            }
        }
        Ok(())
    }

    /// The vector of one label, if the model has made one.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn vector_of(&self, label: Label) -> Result<Option<Vec<f32>>, StoreError> {
        let mut vector = vec![0.0; self.model.dimension];
        Ok(self.read_vector(label, &mut vector)?.then_some(vector))
    }

    /// False: there is none of that length.
    fn read_vector(&self, label: Label, vector: &mut [f32]) -> Result<bool, StoreError> {
        let (whole, read) = self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT vector, sum FROM embeddings WHERE model_id = ? AND text_id = ?",
            )?;
            let mut rows = statement.query(params![self.model_id, label])?;
            let Some(row) = rows.next()? else {
                return Ok((true, false));
            };
            let bytes = row.get_ref(0)?.as_blob()?;
            let whole = Some(vector_sum(self.model_id, label, bytes)) == row.get(1)?;
            Ok((whole, decode_vector(bytes, vector)))
        })?;
        match whole {
            true => Ok(read),
            false => Err(self.damaged_vector(label)),
        }
    }

    /// Every live label with its text, by ascending label; constant memory.
    ///
    /// # Errors
    /// `Damaged` if one is not what its hash says; otherwise as SQLite says.
    pub fn for_each_live_text(&self, mut each: impl FnMut(Label, &str)) -> Result<(), StoreError> {
        let mut damaged = None;
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT l.text_id, t.text, t.hash FROM live l JOIN texts t ON t.id = l.text_id ORDER BY l.text_id",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let text = row.get_ref(1)?.as_str()?;
                match ChunkHash::of(&[text.as_bytes()]) == row.get::<_, Sql<_>>(2)?.0 {
                    true => each(row.get(0)?, text),
                    false => damaged = damaged.or(Some(row.get(0)?)),
                }
            }
            Ok(())
        })?;
        damaged.map_or(Ok(()), |label| Err(self.damaged_text(label)))
    }

    /// The text of a label, if it was ever embedded.
    ///
    /// # Errors
    /// `Damaged` if it is not what its hash says; otherwise as SQLite says.
    pub fn text_of(&self, label: Label) -> Result<Option<String>, StoreError> {
        let found = self.ask(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT text, hash FROM texts WHERE id = ?")?;
            statement
                .query_row([label], |row| {
                    Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Sql<_>>(1)?.0))
                })
                .optional()
        })?;
        match found {
            Some((Some(text), hash)) if ChunkHash::of(&[text.as_bytes()]) != hash => {
                Err(self.damaged_text(label))
            }
            found => Ok(found.and_then(|(text, _)| text)),
        }
    }

    pub(super) fn damaged_vector(&self, label: Label) -> StoreError {
        StoreError::Damaged {
            path: self.shared.path.clone(),
            what: format!("the vector of text {label} has another sum than was written with it"),
        }
    }

    fn damaged_text(&self, label: Label) -> StoreError {
        StoreError::Damaged {
            path: self.shared.path.clone(),
            what: format!("text {label} is not the one that its hash names"),
        }
    }

    /// The hash of a label's text.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn hash_of(&self, label: Label) -> Result<Option<ChunkHash>, StoreError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached("SELECT hash FROM texts WHERE id = ?")?;
            statement
                .query_row([label], |row| row.get::<_, Sql<_>>(0))
                .optional()
        })
        .map(|found| found.map(|Sql(hash)| hash))
    }

    /// The hashes of all texts in the index.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn live_hashes(&self) -> Result<Vec<ChunkHash>, StoreError> {
        self.ask(|connection| {
            connection
                .prepare_cached("SELECT t.hash FROM live l JOIN texts t ON t.id = l.text_id")?
                .query_map([], |row| Ok(row.get::<_, Sql<_>>(0)?.0))?
                .collect()
        })
    }

    /// The label of a text's hash.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn label_of(&self, hash: ChunkHash) -> Result<Option<Label>, StoreError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached("SELECT id FROM texts WHERE hash = ?")?;
            statement
                .query_row([Sql(hash)], |row| row.get(0))
                .optional()
        })
    }

    /// What a run would begin with; see [`super::Store::recover`]. For `plan`.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn recover(&self, keep: &dyn Fn(&StoredContent) -> bool) -> Result<Recovery, StoreError> {
        recover::recover(self.connection(), self.path(), self.model_id, keep)
    }

    /// Compares the store with itself: the index with the files, the changelog with the index, every vector, every
    /// reference, every page. Empty when all is well. Reads everything.
    ///
    /// # Errors
    /// It could not look.
    pub fn check(&self) -> Result<Vec<Difference>, StoreError> {
        check::check(self.connection(), self.path())
    }
}
