//! From a label to its places, from a file to everything about it, from failures to what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use floodmark_operators::keys::{ChunkHash, ContentHash, ContentKey, Epoch, PathKey};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::codec::{Sql, escape_path, signed, unescape_path, unsigned};
use super::file::{self, COLUMNS, Standing, StoredFile, read_state};
use super::recover::roots;
use super::row::Failure;
use super::{Label, Snapshot, StoreError};
use crate::formats::Format;

/// A place where a text lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Root of the file, absolute.
    pub root: PathBuf,
    /// The file, below the root.
    pub path: PathBuf,
    /// How it was read.
    pub format: Format,
    /// Last change of the file's bytes, nanoseconds since 1970.
    pub modified_ns: Option<i64>,
    /// The document: its own id, or else its number in the file.
    pub document: String,
    /// Number of the document in the file, from 0.
    pub record: u64,
    /// Title of the document.
    pub title: Option<String>,
    /// A JSON object: what else the document has.
    pub metadata: String,
    /// Number of the chunk in the document, from 0.
    pub chunk: u32,
    /// First byte in the file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// First byte of the piece of the file that it was read with, and the lines of the file before that byte: the line
    /// of `start` is one more than these and the line breaks between.
    pub segment_start: u64,
    /// See [`Self::segment_start`].
    pub lines_before: u64,
}

/// A file that failed, or a record or a chunk of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRow {
    /// Root of the file, absolute.
    pub root: PathBuf,
    /// The file, below the root.
    pub path: PathBuf,
    /// `dead` or `retrying`: the file; `record`: only the record that [`Failure::record`] names; `text`: only one chunk of
    /// it, whose text the model refused.
    pub state: &'static str,
    /// The document whose chunk it is, if it is about one: its own id, or else its number in the file.
    pub document: Option<String>,
    /// The chunk of that document, from 0.
    pub chunk: Option<u32>,
    /// Tries so far; 0 for a record, which depends on its bytes alone.
    pub attempts: u32,
    /// An older version of the file is in the index.
    pub stale: bool,
    /// The epoch from which on it stands so.
    pub since: Epoch,
    /// Why, and what to do. Record and line count from the start of the file.
    pub failure: Failure,
}

/// All about one file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileDetail {
    /// Its key.
    pub key: PathKey,
    /// Where it stands; `None`: it is gone, see [`Self::history`].
    pub file: Option<StoredFile>,
    /// Where it stood, oldest first.
    pub history: Vec<FileSpan>,
    /// What of it is in the index, by place.
    pub segments: Vec<SegmentDetail>,
}

/// How a file stood for some epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpan {
    /// `indexed`, `partial`, `retrying` or `dead`.
    pub state: String,
    /// From this epoch on.
    pub added: Epoch,
    /// Until this epoch; `None`: now.
    pub removed: Option<Epoch>,
}

/// A piece of a file in the index.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentDetail {
    /// Its place: `generation << 31 | number`.
    pub slot: u32,
    /// What lies there.
    pub content: ContentKey,
    /// Hash of its bytes alone.
    pub hash: ContentHash,
    /// Bytes.
    pub bytes: u64,
    /// How it was read.
    pub format: Format,
    /// Add to a position in the content to get the one in the file.
    pub byte_base: i64,
    /// Records of the file before it.
    pub record_base: u64,
    /// Lines of the file before it.
    pub line_base: u64,
    /// The epoch in which it took its place.
    pub added: Epoch,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkDetail>,
    /// Records of it that can't be indexed. Record and line count from the start of the file.
    pub failures: Vec<Failure>,
}

/// A chunk of a file in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkDetail {
    /// The document: its own id, or else its number in the file.
    pub document: String,
    /// Number of the document in the file, from 0.
    pub record: u64,
    /// Number of the chunk in the document, from 0.
    pub chunk: u32,
    /// First byte in the file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Its text's hash.
    pub hash: ChunkHash,
    /// Its text's label in the views.
    pub label: Label,
    /// The epoch from which on its text is in the index.
    pub live_since: Option<Epoch>,
    /// Its text has a vector by the model.
    pub embedded: bool,
    /// The model refused its text, and why.
    pub refused: Option<Failure>,
}

/// The order of everything that is listed by place: by path, root and position, and by nothing that depends on the
/// order in which things were indexed before the last tie.
pub(super) const PLACE: &str = "s.record_base, s.byte_base, s.line_base, s.slot";

/// A position of a content in the file. A CSV header that is prefixed lies before the file's own bytes.
pub(super) fn in_file(byte_base: i64, position: i64) -> u64 {
    u64::try_from(byte_base.saturating_add(position)).unwrap_or(0)
}

/// The name of a document: its own id, or else its number in the file.
pub(super) fn document_name(id: Option<String>, record: u64) -> String {
    id.unwrap_or_else(|| record.to_string())
}

impl Snapshot {
    /// The places of a text, by path, root and position.
    ///
    /// # Errors
    /// As SQLite says; so for all below.
    pub fn occurrences(&self, label: Label) -> Result<Vec<Occurrence>, StoreError> {
        self.ask(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT r.path, p.path, k.format, f.mtime_ns, d.id, s.record_base + d.record, d.title, d.metadata, \
                     c.ord, s.byte_base, c.start, c.end, s.line_base FROM chunks c \
                     JOIN segments s ON s.content_id = c.content_id AND s.removed IS NULL \
                     JOIN documents d ON d.content_id = c.content_id AND d.ord = c.document \
                     JOIN contents k ON k.id = c.content_id \
                     JOIN paths p ON p.id = s.path_id JOIN roots r ON r.id = p.root_id \
                     LEFT JOIN files f ON f.path_id = s.path_id AND f.removed IS NULL \
                     WHERE c.text_id = ? ORDER BY p.path, r.path, {PLACE}, c.document, c.ord"
                ))?
                .query_map([label], |row| {
                    let byte_base = row.get(9)?;
                    let record = unsigned(row.get(5)?);
                    Ok(Occurrence {
                        root: unescape_path(row.get_ref(0)?.as_str()?),
                        path: unescape_path(row.get_ref(1)?.as_str()?),
                        format: row.get::<_, Sql<_>>(2)?.0,
                        modified_ns: row.get(3)?,
                        document: document_name(row.get(4)?, record),
                        record,
                        title: row.get(6)?,
                        metadata: row.get(7)?,
                        chunk: row.get(8)?,
                        start: in_file(byte_base, row.get(10)?),
                        end: in_file(byte_base, row.get(11)?),
                        segment_start: in_file(byte_base, 0),
                        lines_before: unsigned(row.get(12)?),
                    })
                })?
                .collect()
        })
    }

    /// Files that are not gone, by path and root; only those in `state` (see [`Standing::name`]) if one is given.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn files(&self, state: Option<&str>) -> Result<Vec<StoredFile>, StoreError> {
        self.ask(|connection| {
            let roots = roots(connection)?;
            connection
                .prepare_cached(&format!(
                    "SELECT p.key, p.root_id, p.path, {COLUMNS} FROM files f JOIN paths p ON p.id = f.path_id \
                     JOIN roots r ON r.id = p.root_id WHERE f.removed IS NULL AND f.state = ifnull(?, f.state) \
                     ORDER BY p.path, r.path"
                ))?
                .query_map([state], |row| stored(row, roots.get(&row.get(1)?).cloned()))?
                .collect()
        })
    }

    /// Files that failed or are tried again, and records that failed in what is in the index; by path and root.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn dead(&self) -> Result<Vec<DeadRow>, StoreError> {
        let mut dead = Vec::new();
        for (name, state) in [("dead", "dead"), ("retrying", "retrying")] {
            for file in self.files(Some(name))? {
                let stale = file.stale();
                let (attempts, failure) = match file.standing {
                    Standing::Retrying {
                        attempt, failure, ..
                    } => (attempt, *failure),
                    Standing::Dead { attempts, failure } => (attempts, *failure),
                    Standing::Indexed | Standing::Partial => continue,
                };
                let (root, path) = (file.root.to_path_buf(), file.path);
                dead.push(DeadRow {
                    root,
                    path,
                    state,
                    document: None,
                    chunk: None,
                    attempts,
                    stale,
                    since: file.since,
                    failure,
                });
            }
        }
        dead.extend(self.dead_records()?);
        dead.extend(self.dead_texts()?);
        // Stable: within a file its own failure comes first, then its records in order, then its chunks.
        dead.sort_by(|a, b| {
            let place = |row: &DeadRow| {
                (
                    row.path.as_os_str().to_owned(),
                    row.root.as_os_str().to_owned(),
                )
            };
            place(a).cmp(&place(b))
        });
        Ok(dead)
    }

    fn dead_records(&self) -> Result<Vec<DeadRow>, StoreError> {
        self.ask(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT r.path, p.path, e.record + s.record_base, e.line + s.line_base, e.reason, e.message, \
                     e.advice, ifnull(f.stale, 0), s.added FROM failures e \
                     JOIN segments s ON s.content_id = e.content_id AND s.removed IS NULL \
                     JOIN paths p ON p.id = s.path_id JOIN roots r ON r.id = p.root_id \
                     LEFT JOIN files f ON f.path_id = s.path_id AND f.removed IS NULL \
                     ORDER BY p.path, r.path, {PLACE}, e.ord"
                ))?
                .query_map([], |row| {
                    Ok(DeadRow {
                        root: unescape_path(row.get_ref(0)?.as_str()?),
                        path: unescape_path(row.get_ref(1)?.as_str()?),
                        state: "record",
                        document: None,
                        chunk: None,
                        attempts: 0,
                        stale: row.get(7)?,
                        since: unsigned(row.get(8)?),
                        failure: failure(row, 2)?,
                    })
                })?
                .collect()
        })
    }

    fn dead_texts(&self) -> Result<Vec<DeadRow>, StoreError> {
        self.ask(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT r.path, p.path, d.id, s.record_base + d.record, c.ord, g.attempts, ifnull(f.stale, 0), \
                     max(g.since, s.added), g.reason, g.message, g.advice FROM refusals g \
                     JOIN chunks c ON c.text_id = g.text_id \
                     JOIN segments s ON s.content_id = c.content_id AND s.removed IS NULL \
                     JOIN documents d ON d.content_id = c.content_id AND d.ord = c.document \
                     JOIN paths p ON p.id = s.path_id JOIN roots r ON r.id = p.root_id \
                     LEFT JOIN files f ON f.path_id = s.path_id AND f.removed IS NULL \
                     WHERE g.model_id = ? ORDER BY p.path, r.path, {PLACE}, c.document, c.ord"
                ))?
                .query_map([self.model_id()], |row| {
                    let record = unsigned(row.get(3)?);
                    Ok(DeadRow {
                        root: unescape_path(row.get_ref(0)?.as_str()?),
                        path: unescape_path(row.get_ref(1)?.as_str()?),
                        state: "text",
                        document: Some(document_name(row.get(2)?, record)),
                        chunk: Some(row.get(4)?),
                        attempts: row.get(5)?,
                        stale: row.get(6)?,
                        since: unsigned(row.get(7)?),
                        failure: Failure {
                            record: Some(record),
                            line: None,
                            reason: row.get(8)?,
                            message: row.get(9)?,
                            advice: row.get(10)?,
                        },
                    })
                })?
                .collect()
        })
    }

    /// The texts of one file that the model refused, without repetition.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn refused_texts(
        &self,
        root: &Path,
        path: &Path,
    ) -> Result<Vec<(ChunkHash, Arc<str>)>, StoreError> {
        self.ask(|connection| {
            connection
                .prepare_cached(
                    "SELECT DISTINCT t.hash, t.text FROM paths p \
                     JOIN segments s ON s.path_id = p.id AND s.removed IS NULL \
                     JOIN chunks c ON c.content_id = s.content_id \
                     JOIN refusals g ON g.model_id = ? AND g.text_id = c.text_id \
                     JOIN texts t ON t.id = c.text_id WHERE p.key = ? AND t.text IS NOT NULL ORDER BY t.id",
                )?
                .query_map(
                    params![self.model_id(), Sql(crate::sources::key(root, path))],
                    |row| Ok((row.get::<_, Sql<ChunkHash>>(0)?.0, row.get(1)?)),
                )?
                .collect()
        })
    }

    /// When an epoch was committed, milliseconds since 1970. For display only.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn committed_ms(&self, epoch: Epoch) -> Result<Option<i64>, StoreError> {
        self.ask(|connection| {
            // A commit of several epochs bears the number of the last.
            connection
                .prepare_cached(
                    "SELECT committed_at_ms FROM epochs WHERE epoch >= ? ORDER BY epoch LIMIT 1",
                )?
                .query_row([signed(epoch)], |row| row.get(0))
                .optional()
        })
    }

    /// The folders that files were ever found below.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn roots(&self) -> Result<Vec<PathBuf>, StoreError> {
        let roots = self.ask(roots)?;
        Ok(roots.values().map(|root| root.to_path_buf()).collect())
    }

    /// All about one file; `None`: it was never seen.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn file(&self, root: &Path, path: &Path) -> Result<Option<FileDetail>, StoreError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached("SELECT id FROM paths WHERE key = ?")?;
            let key = crate::sources::key(root, path);
            let found = statement
                .query_row([Sql(key)], |row| row.get(0))
                .optional()?;
            let Some(path_id) = found else {
                return Ok(None);
            };
            let file = file::current(connection, path_id)?;
            let file = file.map(|state| state.stored(key, root.into(), &escape_path(path)));
            Ok(Some(FileDetail {
                key,
                file,
                history: history(connection, path_id)?,
                segments: segments(connection, path_id, self.model_id())?,
            }))
        })
    }
}

pub(super) fn stored(row: &SqlRow<'_>, root: Option<Arc<Path>>) -> rusqlite::Result<StoredFile> {
    let key = row.get::<_, Sql<PathKey>>(0)?.0;
    let root = root.unwrap_or_else(|| Path::new("").into());
    Ok(read_state(row, 3)?.stored(key, root, row.get_ref(2)?.as_str()?))
}

/// Reads record, line, reason, message and advice from column `at` on.
pub(super) fn failure(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Failure> {
    Ok(Failure {
        record: row.get::<_, Option<i64>>(at)?.map(unsigned),
        line: row.get::<_, Option<i64>>(at + 1)?.map(unsigned),
        reason: row.get(at + 2)?,
        message: row.get(at + 3)?,
        advice: row.get(at + 4)?,
    })
}

fn history(connection: &Connection, path_id: i64) -> rusqlite::Result<Vec<FileSpan>> {
    connection
        .prepare_cached("SELECT state, added, removed FROM files WHERE path_id = ? ORDER BY added")?
        .query_map([path_id], |row| {
            Ok(FileSpan {
                state: row.get(0)?,
                added: unsigned(row.get(1)?),
                removed: row.get::<_, Option<i64>>(2)?.map(unsigned),
            })
        })?
        .collect()
}

fn segments(
    connection: &Connection,
    path_id: i64,
    model: i64,
) -> rusqlite::Result<Vec<SegmentDetail>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT s.slot, k.key, k.hash, k.bytes, k.format, s.byte_base, s.record_base, s.line_base, s.added, k.id \
         FROM segments s JOIN contents k ON k.id = s.content_id \
         WHERE s.path_id = ? AND s.removed IS NULL ORDER BY {PLACE}"
    ))?;
    let mut rows = statement.query([path_id])?;
    let mut segments = Vec::new();
    while let Some(row) = rows.next()? {
        let content_id: i64 = row.get(9)?;
        let mut segment = SegmentDetail {
            slot: row.get(0)?,
            content: row.get::<_, Sql<_>>(1)?.0,
            hash: row.get::<_, Sql<_>>(2)?.0,
            bytes: unsigned(row.get(3)?),
            format: row.get::<_, Sql<_>>(4)?.0,
            byte_base: row.get(5)?,
            record_base: unsigned(row.get(6)?),
            line_base: unsigned(row.get(7)?),
            added: unsigned(row.get(8)?),
            chunks: Vec::new(),
            failures: Vec::new(),
        };
        segment.chunks = chunks(connection, content_id, model, &segment)?;
        segment.failures = connection
            .prepare_cached(
                "SELECT record + ?, line + ?, reason, message, advice FROM failures \
                 WHERE content_id = ? ORDER BY ord",
            )?
            .query_map(
                params![row.get::<_, i64>(6)?, row.get::<_, i64>(7)?, content_id],
                |row| failure(row, 0),
            )?
            .collect::<rusqlite::Result<_>>()?;
        segments.push(segment);
    }
    Ok(segments)
}

fn chunks(
    connection: &Connection,
    content_id: i64,
    model: i64,
    segment: &SegmentDetail,
) -> rusqlite::Result<Vec<ChunkDetail>> {
    connection
        .prepare_cached(
            "SELECT d.id, d.record, c.ord, c.start, c.end, t.hash, t.id, l.added, \
             EXISTS (SELECT 1 FROM embeddings e WHERE e.model_id = ?1 AND e.text_id = t.id), \
             g.reason, g.message, g.advice FROM chunks c JOIN documents d ON d.content_id = c.content_id AND d.ord = c.document \
             JOIN texts t ON t.id = c.text_id LEFT JOIN live l ON l.text_id = t.id \
             LEFT JOIN refusals g ON g.model_id = ?1 AND g.text_id = t.id \
             WHERE c.content_id = ?2 ORDER BY c.document, c.ord",
        )?
        .query_map([model, content_id], |row| {
            let record = segment.record_base + unsigned(row.get(1)?);
            Ok(ChunkDetail {
                document: document_name(row.get(0)?, record),
                record,
                chunk: row.get(2)?,
                start: in_file(segment.byte_base, row.get(3)?),
                end: in_file(segment.byte_base, row.get(4)?),
                hash: row.get::<_, Sql<_>>(5)?.0,
                label: row.get(6)?,
                live_since: row.get::<_, Option<i64>>(7)?.map(unsigned),
                embedded: row.get(8)?,
                refused: match row.get::<_, Option<String>>(9)? {
                    None => None,
                    Some(reason) => Some(Failure {
                        reason,
                        message: row.get(10)?,
                        advice: row.get(11)?,
                        record: Some(record),
                        line: None,
                    }),
                },
            })
        })?
        .collect()
}
