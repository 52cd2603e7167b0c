//! The store row by row, for whoever compares it with the files: each answer in the terms of what was committed.

use floodmark_operators::keys::{ContentKey, PathKey};
use rusqlite::{Connection, OptionalExtension, params};

use super::codec::{Sql, unsigned};
use super::file::{self, COLUMNS, StoredFile};
use super::lookup::stored;
use super::recover::roots;
use super::row::{ChunkRow, ContentRow, DocumentRow, Failure, SegmentRow};
use super::{Snapshot, StoreError};

impl Snapshot {
    /// Hands over every file that is not gone; constant memory.
    ///
    /// # Errors
    /// As SQLite says; so for all below. What `each` answers ends the walk.
    pub fn for_each_file<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(StoredFile) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut outcome = Ok(());
        self.ask(|connection| {
            let roots = roots(connection)?;
            let mut statement = connection.prepare(&format!(
                "SELECT p.key, p.root_id, p.path, {COLUMNS} FROM files f NOT INDEXED CROSS JOIN paths p \
                 ON p.id = f.path_id WHERE f.removed IS NULL ORDER BY f.path_id"
            ))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                outcome = each(stored(row, roots.get(&row.get(1)?).cloned())?);
                if outcome.is_err() {
                    break;
                }
            }
            Ok(())
        })?;
        outcome
    }

    /// Where a file stands; `None`: it is gone, or was never seen.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn file_of(&self, key: PathKey) -> Result<Option<StoredFile>, StoreError> {
        self.ask(|connection| {
            let roots = roots(connection)?;
            connection
                .prepare_cached(&format!(
                    "SELECT p.key, p.root_id, p.path, {COLUMNS} FROM paths p JOIN files f ON f.path_id = p.id \
                     AND f.removed IS NULL WHERE p.key = ?"
                ))?
                .query_row([Sql(key)], |row| {
                    stored(row, roots.get(&row.get(1)?).cloned())
                })
                .optional()
        })
    }

    /// What lies in a slot of a file.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn segment(&self, key: PathKey, slot: u32) -> Result<Option<SegmentRow>, StoreError> {
        self.ask(|connection| {
            let Some(path_id) = file::known_path_id(connection, key)? else {
                return Ok(None);
            };
            connection
                .prepare_cached(
                    "SELECT k.key, s.byte_base, s.record_base, s.line_base FROM segments s \
                     JOIN contents k ON k.id = s.content_id \
                     WHERE s.path_id = ? AND s.slot = ? AND s.removed IS NULL",
                )?
                .query_row(params![path_id, slot], |row| {
                    Ok(SegmentRow {
                        key,
                        slot,
                        content: row.get::<_, Sql<_>>(0)?.0,
                        byte_base: row.get(1)?,
                        record_base: unsigned(row.get(2)?),
                        line_base: unsigned(row.get(3)?),
                    })
                })
                .optional()
        })
    }

    /// A content as it was committed, to the last field.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn content(&self, key: ContentKey) -> Result<Option<ContentRow>, StoreError> {
        self.ask(|connection| {
            let found = connection
                .prepare_cached("SELECT id, hash, bytes, format FROM contents WHERE key = ?")?
                .query_row([Sql(key)], |row| {
                    let content = ContentRow {
                        key,
                        hash: row.get::<_, Sql<_>>(1)?.0,
                        bytes: unsigned(row.get(2)?),
                        format: row.get::<_, Sql<_>>(3)?.0,
                        documents: Vec::new(),
                        failures: Vec::new(),
                    };
                    Ok((row.get::<_, i64>(0)?, content))
                })
                .optional()?;
            let Some((id, mut content)) = found else {
                return Ok(None);
            };
            content.documents = documents(connection, id)?;
            content.failures = failures(connection, id)?;
            Ok(Some(content))
        })
    }
}

fn documents(connection: &Connection, content: i64) -> rusqlite::Result<Vec<DocumentRow>> {
    let mut chunks = connection.prepare_cached(
        "SELECT t.hash, c.start, c.end FROM chunks c JOIN texts t ON t.id = c.text_id \
         WHERE c.content_id = ? AND c.document = ? ORDER BY c.ord",
    )?;
    connection
        .prepare_cached(
            "SELECT ord, id, record, title, metadata, start, end FROM documents WHERE content_id = ? ORDER BY ord",
        )?
        .query_map([content], |row| {
            let chunk = |row: &rusqlite::Row<'_>| {
                Ok(ChunkRow {
                    hash: row.get::<_, Sql<_>>(0)?.0,
                    start: unsigned(row.get(1)?),
                    end: unsigned(row.get(2)?),
                })
            };
            Ok(DocumentRow {
                id: row.get(1)?,
                record: unsigned(row.get(2)?),
                title: row.get(3)?,
                metadata: row.get(4)?,
                start: unsigned(row.get(5)?),
                end: unsigned(row.get(6)?),
                chunks: chunks
                    .query_map(params![content, row.get::<_, i64>(0)?], chunk)?
                    .collect::<rusqlite::Result<_>>()?,
            })
        })?
        .collect()
}

fn failures(connection: &Connection, content: i64) -> rusqlite::Result<Vec<Failure>> {
    connection
        .prepare_cached(
            "SELECT record, line, reason, message, advice FROM failures WHERE content_id = ? ORDER BY ord",
        )?
        .query_map([content], |row| super::lookup::failure(row, 0))?
        .collect()
}

impl Snapshot {
    /// What SQLite finds wrong with the pages; empty when nothing is. Reads all of them.
    ///
    /// # Errors
    /// It could not look.
    pub fn quick_check(&self) -> Result<Vec<String>, StoreError> {
        self.ask(|connection| {
            let mut statement = connection.prepare("PRAGMA quick_check")?;
            let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
            lines.filter(|line| line.as_deref() != Ok("ok")).collect()
        })
    }

    /// The version of the schema.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn schema(&self) -> Result<i64, StoreError> {
        self.ask(|connection| connection.pragma_query_value(None, "user_version", |row| row.get(0)))
    }
}
