//! One row into its tables.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use floodmark_operators::keys::{ChunkHash, ContentKey, Epoch, PathKey};
use rusqlite::{Connection, Transaction, params};

use super::Batch;
use crate::fault;
use crate::store::codec::{Sql, encode_vector, signed, unsigned, vector_fault};
use crate::store::error::{Context, StoreError};
use crate::store::row::{ContentRow, EmbeddingRow, FileRow, FileState, SegmentRow};
use crate::store::{Label, file};

/// Writes one batch. Ids are looked up once a key.
pub(super) struct Writer<'a> {
    tx: &'a Transaction<'a>,
    path: &'a Path,
    model: i64,
    dimension: usize,
    texts: HashMap<ChunkHash, Label>,
    contents: HashMap<ContentKey, i64>,
    paths: HashMap<PathKey, i64>,
    // Texts that joined in this commit.
    joined: BTreeMap<Label, ChunkHash>,
    bytes: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        tx: &'a Transaction<'a>,
        path: &'a Path,
        model: i64,
        dimension: usize,
    ) -> Self {
        Self {
            tx,
            path,
            model,
            dimension,
            texts: HashMap::new(),
            contents: HashMap::new(),
            paths: HashMap::new(),
            joined: BTreeMap::new(),
            bytes: Vec::new(),
        }
    }

    pub(super) fn write(mut self, batch: Batch) -> Result<(), StoreError> {
        // Embeddings first: they bring the text with the hash, so that a text's row is written once and not grown.
        for row in &batch.embeddings {
            fault::pass("store.commit.embedding");
            self.embedding(row)?;
        }
        for row in &batch.contents {
            fault::pass("store.commit.content");
            self.content(row).context("commit to", self.path)?;
        }
        for (&epoch, group) in &batch.epochs {
            // What is retired goes before what takes its place.
            for row in &group.files {
                fault::pass("store.commit.file");
                self.file(epoch, row)?;
            }
            for row in &group.segments {
                fault::pass("store.commit.segment");
                self.segment(epoch, row)?;
            }
            for (&hash, &change) in &group.live {
                fault::pass("store.commit.live");
                self.live(epoch, hash, change)?;
            }
        }
        self.every_joined_text_has_a_vector()
    }

    fn embedding(&mut self, row: &EmbeddingRow) -> Result<(), StoreError> {
        if let Some(fault) = vector_fault(&row.vector, self.dimension) {
            return Err(StoreError::broken(format!(
                "the vector of text {}: {fault}",
                row.hash
            )));
        }
        let mut write = || {
            let known = text_id(self.tx, &mut self.texts, row.hash, Some(&row.text))?;
            if let Known::Before(id) = known {
                self.tx
                    .prepare_cached("UPDATE texts SET text = ? WHERE id = ? AND text IS NULL")?
                    .execute(params![row.text, id])?;
            }
            encode_vector(&row.vector, &mut self.bytes);
            self.tx
                .prepare_cached("INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?)")?
                .execute(params![self.model, known.id(), self.bytes])
        };
        write().context("commit to", self.path).map(|_| ())
    }

    fn content(&mut self, row: &ContentRow) -> rusqlite::Result<()> {
        let chunks: usize = row
            .documents
            .iter()
            .map(|document| document.chunks.len())
            .sum();
        let new = self
            .tx
            .prepare_cached(
                "INSERT OR IGNORE INTO contents (key, hash, bytes, format, documents, chunks, failures) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                Sql(row.key),
                Sql(row.hash),
                signed(row.bytes),
                Sql(row.format),
                row.documents.len() as i64,
                chunks as i64,
                row.failures.len() as i64,
            ])?;
        if new == 0 {
            return Ok(());
        }
        let id = self.tx.last_insert_rowid();
        self.contents.insert(row.key, id);
        let mut documents = self
            .tx
            .prepare_cached("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
        let mut chunks = self
            .tx
            .prepare_cached("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?)")?;
        for (ord, document) in row.documents.iter().enumerate() {
            documents.execute(params![
                id,
                ord as i64,
                document.id,
                signed(document.record),
                document.title,
                document.metadata,
                signed(document.start),
                signed(document.end),
            ])?;
            for (at, chunk) in document.chunks.iter().enumerate() {
                let text = text_id(self.tx, &mut self.texts, chunk.hash, None)?.id();
                let (start, end) = (signed(chunk.start), signed(chunk.end));
                chunks.execute(params![id, ord as i64, at as i64, start, end, text])?;
            }
        }
        let mut failures = self
            .tx
            .prepare_cached("INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?)")?;
        for (ord, failure) in row.failures.iter().enumerate() {
            failures.execute(params![
                id,
                ord as i64,
                failure.record.map(signed),
                failure.line.map(signed),
                failure.reason,
                failure.message,
                failure.advice,
            ])?;
        }
        Ok(())
    }

    fn file(&mut self, epoch: Epoch, row: &FileRow) -> Result<(), StoreError> {
        if row.state == FileState::Moving {
            return Ok(());
        }
        let doing = "commit to";
        let path_id =
            file::path_id(self.tx, row.key, &row.root, &row.path).context(doing, self.path)?;
        self.paths.insert(row.key, path_id);
        let before = file::current(self.tx, path_id).context(doing, self.path)?;
        if before.as_ref().is_some_and(|state| state.since >= epoch) {
            let path = row.path.display();
            return Err(StoreError::broken(format!(
                "two rows about {path} in epoch {epoch}"
            )));
        }
        let after = file::next_state(epoch, row, before.as_ref());
        if after != before {
            file::close(self.tx, path_id, epoch).context(doing, self.path)?;
            if let Some(state) = &after {
                file::insert(self.tx, path_id, state).context(doing, self.path)?;
            }
        }
        if row.state == FileState::Gone {
            return self.retire_all(epoch, path_id).context(doing, self.path);
        }
        row.retire
            .iter()
            .try_for_each(|&slot| self.retire(epoch, path_id, slot))
            .context(doing, self.path)
    }

    fn retire_all(&self, epoch: Epoch, path_id: i64) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "UPDATE segments SET removed = ? WHERE path_id = ? AND removed IS NULL",
            )?
            .execute(params![signed(epoch), path_id])
            .map(|_| ())
    }

    fn retire(&self, epoch: Epoch, path_id: i64, slot: u32) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "UPDATE segments SET removed = ? WHERE path_id = ? AND slot = ? AND removed IS NULL",
            )?
            .execute(params![signed(epoch), path_id, slot])
            .map(|_| ())
    }

    fn segment(&mut self, epoch: Epoch, row: &SegmentRow) -> Result<(), StoreError> {
        let doing = "commit to";
        let path_id = match self.paths.entry(row.key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let id = file::known_path_id(self.tx, row.key).context(doing, self.path)?;
                *entry.insert(id.ok_or_else(|| {
                    StoreError::broken(format!(
                        "segment {:#x} of unknown file {}",
                        row.slot, row.key
                    ))
                })?)
            }
        };
        let content_id = match self.contents.entry(row.content) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let id = self
                    .tx
                    .prepare_cached("SELECT id FROM contents WHERE key = ?")
                    .and_then(|mut statement| {
                        let mut rows = statement.query([Sql(row.content)])?;
                        rows.next()?.map(|row| row.get::<_, i64>(0)).transpose()
                    })
                    .context(doing, self.path)?;
                *entry.insert(id.ok_or_else(|| {
                    StoreError::broken(format!("a segment of unknown content {}", row.content))
                })?)
            }
        };
        let after = (
            content_id,
            row.byte_base,
            signed(row.record_base),
            signed(row.line_base),
        );
        let before = self
            .tx
            .prepare_cached(
                "SELECT added, content_id, byte_base, record_base, line_base FROM segments \
                 WHERE path_id = ? AND slot = ? AND removed IS NULL",
            )
            .and_then(|mut statement| {
                let mut rows = statement.query(params![path_id, row.slot])?;
                let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<_> {
                    Ok((
                        unsigned(row.get(0)?),
                        (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?),
                    ))
                };
                rows.next()?.map(read).transpose()
            })
            .context(doing, self.path)?;
        match before {
            Some((_, before)) if before == after => return Ok(()),
            Some((added, _)) if added >= epoch => {
                let (slot, key) = (row.slot, row.key);
                return Err(StoreError::broken(format!(
                    "two segments in slot {slot:#x} of file {key} in epoch {epoch}"
                )));
            }
            Some(_) => self
                .retire(epoch, path_id, row.slot)
                .context(doing, self.path)?,
            None => {}
        }
        let (content_id, byte_base, record_base, line_base) = after;
        self.tx
            .prepare_cached("INSERT INTO segments VALUES (?, ?, ?, NULL, ?, ?, ?, ?)")
            .and_then(|mut statement| {
                statement.execute(params![
                    path_id,
                    row.slot,
                    signed(epoch),
                    content_id,
                    byte_base,
                    record_base,
                    line_base
                ])
            })
            .context(doing, self.path)
            .map(|_| ())
    }

    fn live(&mut self, epoch: Epoch, hash: ChunkHash, change: i64) -> Result<(), StoreError> {
        if change == 0 {
            return Ok(());
        }
        let doing = "commit to";
        let label = text_id(self.tx, &mut self.texts, hash, None)
            .context(doing, self.path)?
            .id();
        let changed = match change {
            1 => {
                self.joined.insert(label, hash);
                self.tx
                    .prepare_cached("INSERT OR IGNORE INTO live VALUES (?, ?)")
                    .and_then(|mut statement| statement.execute(params![label, signed(epoch)]))
            }
            -1 => {
                self.joined.remove(&label);
                self.tx
                    .prepare_cached("DELETE FROM live WHERE text_id = ?")
                    .and_then(|mut statement| statement.execute([label]))
            }
            _ => Ok(0),
        };
        if changed.context(doing, self.path)? != 1 {
            return Err(StoreError::broken(format!(
                "text {hash} changes by {change:+} in epoch {epoch}, and is {} the index",
                if change > 0 { "already in" } else { "not in" }
            )));
        }
        self.tx
            .prepare_cached("INSERT INTO changelog VALUES (?, ?, ?)")
            .and_then(|mut statement| statement.execute(params![signed(epoch), label, change]))
            .context(doing, self.path)
            .map(|_| ())
    }

    /// At the end, not at each row: what joined and left again within the commit may have been withdrawn unembedded.
    fn every_joined_text_has_a_vector(&self) -> Result<(), StoreError> {
        let mut statement = self
            .tx
            .prepare_cached("SELECT 1 FROM embeddings WHERE model_id = ? AND text_id = ?")
            .context("commit to", self.path)?;
        for (label, hash) in &self.joined {
            if !statement
                .exists(params![self.model, label])
                .context("commit to", self.path)?
            {
                return Err(StoreError::broken(format!(
                    "text {hash} joins the index without a vector"
                )));
            }
        }
        Ok(())
    }
}

/// A text's label, and whether its row was there before.
#[derive(Clone, Copy)]
enum Known {
    Before(Label),
    New(Label),
}

impl Known {
    fn id(self) -> Label {
        match self {
            Self::Before(id) | Self::New(id) => id,
        }
    }
}

fn text_id(
    tx: &Connection,
    cache: &mut HashMap<ChunkHash, Label>,
    hash: ChunkHash,
    text: Option<&str>,
) -> rusqlite::Result<Known> {
    let entry = match cache.entry(hash) {
        Entry::Occupied(entry) => return Ok(Known::Before(*entry.get())),
        Entry::Vacant(entry) => entry,
    };
    let mut find = tx.prepare_cached("SELECT id FROM texts WHERE hash = ?")?;
    let mut rows = find.query([Sql(hash)])?;
    if let Some(row) = rows.next()? {
        return Ok(Known::Before(*entry.insert(row.get(0)?)));
    }
    tx.prepare_cached("INSERT INTO texts (hash, text) VALUES (?, ?)")?
        .execute(params![Sql(hash), text])?;
    Ok(Known::New(*entry.insert(tx.last_insert_rowid())))
}
