//! The index written out: the same files give the same rows in the same order, whoever indexed them and how often.

use std::io;
use std::path::{Path, PathBuf};

use floodmark_operators::keys::{ChunkHash, Epoch};
use rusqlite::{Connection, params};

use super::codec::{Sql, decode_vector, escape_path, signed, unescape_path, unsigned, vector_sum};
use super::error::{Context, StoreError};
use super::lookup::{PLACE, document_name, in_file};
use super::snapshot::Snapshot;

/// A chunk of the index. Shapes: `vector` is `[d]` f32 of unit norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExportRow<'a> {
    /// Root of the file, absolute.
    pub root: &'a Path,
    /// The file, below the root.
    pub path: &'a Path,
    /// The document: its own id, or else its number in the file.
    pub document: &'a str,
    /// Number of the document in the file, from 0.
    pub record: u64,
    /// Number of the chunk in the document, from 0.
    pub chunk: u32,
    /// First byte in the file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Hash of the text.
    pub text_hash: ChunkHash,
    /// The first 16 bytes of the BLAKE3 hash of the vector's bytes (f32, little-endian), as 32 hexadecimal digits;
    /// `None` while another model's successor has not embedded it yet.
    pub vector_hash: Option<&'a str>,
    /// The vector, if it was asked for.
    pub vector: Option<&'a [f32]>,
}

impl Snapshot {
    /// Gives every chunk of the index to `each`, sorted by path, root, document and position; constant memory.
    ///
    /// # Errors
    /// What `each` says, as [`StoreError::Sink`]; otherwise as SQLite says.
    pub fn export(
        &self,
        vectors: bool,
        each: impl FnMut(&ExportRow<'_>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        self.export_at(self.epoch(), vectors, each)
    }

    /// The roots of which something is in the index, by path.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn live_roots(&self) -> Result<Vec<PathBuf>, StoreError> {
        self.ask(|connection| {
            connection
                .prepare_cached(
                    "SELECT r.path FROM roots r WHERE EXISTS (SELECT 1 FROM paths p JOIN segments s ON s.path_id = p.id \
                     WHERE p.root_id = r.id AND s.removed IS NULL) ORDER BY r.path",
                )?
                .query_map([], |row| Ok(unescape_path(row.get_ref(0)?.as_str()?)))?
                .collect()
        })
    }

    /// As [`Self::export`], of the files below one root.
    ///
    /// # Errors
    /// As [`Self::export`].
    pub fn export_root(
        &self,
        root: &Path,
        vectors: bool,
        each: impl FnMut(&ExportRow<'_>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        self.export_of(Some(root), self.epoch(), vectors, each)
    }

    /// As [`Self::export`], of the index as it was when `epoch` was committed. Vectors are those of today's model.
    ///
    /// # Errors
    /// As [`Self::export`].
    pub fn export_at(
        &self,
        epoch: Epoch,
        vectors: bool,
        each: impl FnMut(&ExportRow<'_>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        self.export_of(None, epoch, vectors, each)
    }

    fn export_of(
        &self,
        root: Option<&Path>,
        epoch: Epoch,
        vectors: bool,
        mut each: impl FnMut(&ExportRow<'_>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let mut export = Export {
            snapshot: self,
            epoch: signed(epoch),
            vectors,
            vector: vec![0.0; self.model().dimension],
        };
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached(
                "SELECT p.id, r.path, p.path FROM paths p JOIN roots r ON r.id = p.root_id WHERE EXISTS \
                 (SELECT 1 FROM segments s WHERE s.path_id = p.id AND s.added <= ?1 \
                  AND (s.removed IS NULL OR s.removed > ?1)) AND r.path = ifnull(?2, r.path) ORDER BY p.path, r.path",
            )
            .context("read", self.path())?;
        let mut rows = statement
            .query(params![export.epoch, root.map(escape_path)])
            .context("read", self.path())?;
        while let Some(row) = rows.next().context("read", self.path())? {
            let read = || -> rusqlite::Result<_> {
                let root = unescape_path(row.get_ref(1)?.as_str()?);
                let path = unescape_path(row.get_ref(2)?.as_str()?);
                Ok((row.get::<_, i64>(0)?, root, path))
            };
            let (path_id, root, path) = read().context("read", self.path())?;
            export.file(path_id, &root, &path, &mut each)?;
        }
        Ok(())
    }
}

struct Export<'a> {
    snapshot: &'a Snapshot,
    epoch: i64,
    vectors: bool,
    vector: Vec<f32>,
}

/// Where the positions of a segment's content count from.
struct Base {
    content_id: i64,
    bytes: i64,
    records: u64,
}

impl Export<'_> {
    fn file(
        &mut self,
        path_id: i64,
        root: &Path,
        path: &Path,
        each: &mut impl FnMut(&ExportRow<'_>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let bases = self
            .snapshot
            .ask(|connection| self.bases(connection, path_id))?;
        bases
            .iter()
            .try_for_each(|base| self.segment(base, root, path, each))
    }

    fn bases(&self, connection: &Connection, path_id: i64) -> rusqlite::Result<Vec<Base>> {
        connection
            .prepare_cached(&format!(
                "SELECT s.content_id, s.byte_base, s.record_base FROM segments s WHERE s.path_id = ?1 \
                 AND s.added <= ?2 AND (s.removed IS NULL OR s.removed > ?2) ORDER BY {PLACE}"
            ))?
            .query_map([path_id, self.epoch], |row| {
                Ok(Base {
                    content_id: row.get(0)?,
                    bytes: row.get(1)?,
                    records: unsigned(row.get(2)?),
                })
            })?
            .collect()
    }

    fn segment(
        &mut self,
        base: &Base,
        root: &Path,
        path: &Path,
        each: &mut impl FnMut(&ExportRow<'_>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let (mut refused, mut damaged) = (None, None::<i64>);
        let model = self.snapshot.model_id();
        let (snapshot, vectors, vector) = (self.snapshot, self.vectors, &mut self.vector);
        snapshot.ask(|connection| {
            // In the order of the primary key: nothing is sorted.
            let mut statement = connection.prepare_cached(
                "SELECT d.id, d.record, c.ord, c.start, c.end, t.hash, e.vector, t.id, e.sum FROM chunks c \
                 CROSS JOIN documents d ON d.content_id = c.content_id AND d.ord = c.document \
                 CROSS JOIN texts t ON t.id = c.text_id \
                 LEFT JOIN embeddings e ON e.model_id = ?1 AND e.text_id = t.id \
                 WHERE c.content_id = ?2 AND NOT EXISTS (SELECT 1 FROM refusals r WHERE r.model_id = ?1 \
                 AND r.text_id = c.text_id) ORDER BY c.document, c.ord",
            )?;
            let mut rows = statement.query(params![model, base.content_id])?;
            while let Some(row) = rows.next()? {
                let record = base.records + unsigned(row.get(1)?);
                let bytes = row.get_ref(6)?.as_blob_or_null()?;
                let label = row.get(7)?;
                if bytes.is_some_and(|bytes| Some(vector_sum(model, label, bytes)) != row.get(8).ok()) {
                    damaged = Some(label);
                    break;
                }
                let hash = bytes.map(|bytes| {
                    let hex = blake3::hash(bytes).to_hex();
                    hex[..32].to_owned()
                });
                let given = vectors && bytes.is_some_and(|bytes| decode_vector(bytes, vector));
                let done = each(&ExportRow {
                    root,
                    path,
                    document: &document_name(row.get(0)?, record),
                    record,
                    chunk: row.get(2)?,
                    start: in_file(base.bytes, row.get(3)?),
                    end: in_file(base.bytes, row.get(4)?),
                    text_hash: row.get::<_, Sql<ChunkHash>>(5)?.0,
                    vector_hash: hash.as_deref(),
                    vector: given.then_some(vector.as_slice()),
                });
                if let Err(error) = done {
                    refused = Some(error);
                    break;
                }
            }
            Ok(())
        })?;
        match (damaged, refused) {
            (Some(label), _) => Err(self.snapshot.damaged_vector(label)),
            (None, Some(error)) => Err(error.into()),
            (None, None) => Ok(()),
        }
    }
}
