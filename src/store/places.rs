//! Where texts lie, many at a time and as of any epoch: what a search asks.
//!
//! A *document* is a record of a JSON, JSONL or CSV file, and of every other format the whole file, whatever the pieces
//! are in which it was read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use floodmark_operators::keys::{Epoch, PathKey};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::codec::{Sql, signed, unescape_path, unsigned};
use super::lookup::{PLACE, document_name, in_file};
use super::recover::roots;
use super::{Label, Snapshot, StoreError};

/// Which document, within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    pub(super) path_id: i64,
    /// Of a format that has records.
    pub(super) record: Option<u64>,
}

/// That a text lies in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Home {
    /// The text.
    pub label: Label,
    /// The document.
    pub document: DocumentKey,
    pub(super) content_id: i64,
    pub(super) ord: i64,
}

/// A place where a text lies, with all that a hit shows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The text, and its document.
    pub home: Home,
    /// Root of the file, absolute.
    pub root: PathBuf,
    /// The file, below the root.
    pub path: PathBuf,
    /// How it was read: `markdown`, `code/rust`, ….
    pub format: String,
    /// Last change of the file's bytes, nanoseconds since 1970.
    pub changed_ns: Option<i64>,
    /// Whether the file has a newer version that can't be indexed.
    pub stale: bool,
    /// The document: its own id, or else its number in the file.
    pub document: String,
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
    /// The epoch from which on it lies there.
    pub since: Epoch,
}

/// A piece of a file that is in the index. The fields are those of [`Place`].
#[derive(Clone, Debug, PartialEq)]
pub struct Piece<'a> {
    #[allow(missing_docs)]
    pub root: &'a Path,
    #[allow(missing_docs)]
    pub path: &'a Path,
    #[allow(missing_docs)]
    pub format: &'a str,
    #[allow(missing_docs)]
    pub changed_ns: Option<i64>,
    #[allow(missing_docs)]
    pub since: Epoch,
    content_id: i64,
    record_base: u64,
    path_id: i64,
}

/// A document of a [`Piece`].
#[derive(Clone, Debug, PartialEq)]
pub struct PieceDocument {
    /// Its own id, or else its number in the file.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// A JSON object: what else it has.
    pub metadata: String,
    ord: i64,
}

impl Home {
    /// For tests of what ranks: a text of a record of a file.
    #[cfg(test)]
    pub(crate) fn of_test(label: Label, path_id: i64, record: u64) -> Self {
        Self {
            label,
            document: DocumentKey {
                path_id,
                record: Some(record),
            },
            content_id: path_id,
            ord: 0,
        }
    }
}

pub(super) fn has_records(format: &str) -> bool {
    matches!(format, "json" | "jsonl" | "csv")
}

impl Snapshot {
    /// The condition under which a row of `table` counts at epoch `at`. Rows that count now are found by index.
    fn counts(&self, table: &str, at: Epoch) -> String {
        if at >= self.epoch() {
            return format!("{table}.removed IS NULL");
        }
        let at = signed(at);
        format!("{table}.added <= {at} AND ({table}.removed IS NULL OR {table}.removed > {at})")
    }

    /// The documents in which these texts lie at epoch `at`; a text comes once for each.
    ///
    /// # Errors
    /// As SQLite says; so for all below.
    pub fn homes(&self, labels: &[Label], at: Epoch) -> Result<Vec<Home>, StoreError> {
        let counts = self.counts("s", at);
        self.ask(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT c.text_id, s.path_id, k.format, s.record_base + d.record, c.content_id, c.document \
                     FROM json_each(?) j CROSS JOIN chunks c ON c.text_id = j.value \
                     CROSS JOIN segments s ON s.content_id = c.content_id AND {counts} \
                     CROSS JOIN contents k ON k.id = c.content_id \
                     CROSS JOIN documents d ON d.content_id = c.content_id AND d.ord = c.document"
                ))?
                .query_map([list(labels)], home)?
                .collect()
        })
    }

    /// The places of these texts at epoch `at`, by path, root and position.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn places(&self, labels: &[Label], at: Epoch) -> Result<Vec<Place>, StoreError> {
        let (segment, file) = (self.counts("s", at), self.counts("f", at));
        self.ask(|connection| {
            let roots = roots(connection)?;
            let mut places = connection
                .prepare_cached(&format!(
                    "SELECT c.text_id, s.path_id, k.format, s.record_base + d.record, c.content_id, c.document, \
                     p.root_id, p.path, f.mtime_ns, ifnull(f.stale, 0), d.id, d.title, d.metadata, c.ord, \
                     s.byte_base, c.start, c.end, s.added \
                     FROM json_each(?) j CROSS JOIN chunks c ON c.text_id = j.value \
                     CROSS JOIN segments s ON s.content_id = c.content_id AND {segment} \
                     CROSS JOIN contents k ON k.id = c.content_id \
                     CROSS JOIN documents d ON d.content_id = c.content_id AND d.ord = c.document \
                     CROSS JOIN paths p ON p.id = s.path_id CROSS JOIN roots r ON r.id = p.root_id \
                     LEFT JOIN files f ON f.path_id = s.path_id AND {file} \
                     ORDER BY p.path, r.path, {PLACE}, c.document, c.ord"
                ))?
                .query_map([list(labels)], |row| {
                    let root = roots.get(&row.get(6)?).map(|root| root.to_path_buf());
                    let (home, byte_base) = (home(row)?, row.get(14)?);
                    Ok(Place {
                        home,
                        root: root.unwrap_or_default(),
                        path: unescape_path(row.get_ref(7)?.as_str()?),
                        format: row.get(2)?,
                        changed_ns: row.get(8)?,
                        stale: row.get(9)?,
                        document: document_name(row.get(10)?, unsigned(row.get(3)?)),
                        title: row.get(11)?,
                        metadata: row.get(12)?,
                        chunk: row.get(13)?,
                        start: in_file(byte_base, row.get(15)?),
                        end: in_file(byte_base, row.get(16)?),
                        since: unsigned(row.get(17)?),
                    })
                })?
                .collect::<rusqlite::Result<Vec<Place>>>()?;
            for place in &mut places {
                let key = place.home.document;
                if key.record.is_none() && place.document != "0" && place.metadata == "{}" {
                    let head = head(connection, key.path_id, &segment)?;
                    (place.title, place.metadata) = inherited(head, place.title.take());
                }
            }
            Ok(places)
        })
    }

    /// The texts of these documents at epoch `at`: for each, in their order, at most `most` of them, or none at all if there
    /// are more. The homes must be of that epoch.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn texts_of_documents(
        &self,
        homes: &[Home],
        at: Epoch,
        most: usize,
    ) -> Result<Vec<Vec<Label>>, StoreError> {
        let counts = self.counts("s", at);
        let limit = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
        self.ask(|connection| {
            let mut of_record = connection.prepare_cached(
                "SELECT text_id FROM chunks WHERE content_id = ? AND document = ? LIMIT ?",
            )?;
            let mut of_file = connection.prepare_cached(&format!(
                "SELECT c.text_id FROM segments s CROSS JOIN chunks c ON c.content_id = s.content_id \
                 WHERE s.path_id = ? AND {counts} LIMIT ?"
            ))?;
            homes
                .iter()
                .map(|home| {
                    let labels: Vec<Label> = match home.document.record {
                        Some(_) => of_record
                            .query_map(params![home.content_id, home.ord, limit], |row| row.get(0))?
                            .collect::<rusqlite::Result<_>>()?,
                        None => of_file
                            .query_map(params![home.document.path_id, limit], |row| row.get(0))?
                            .collect::<rusqlite::Result<_>>()?,
                    };
                    Ok(if labels.len() > most { Vec::new() } else { labels })
                })
                .collect()
        })
    }

    /// Hands over every piece of a file that is in the index at epoch `at`, by file and place.
    ///
    /// # Errors
    /// As SQLite says, or what `each` says.
    pub fn for_each_piece(
        &self,
        at: Epoch,
        mut each: impl FnMut(&Piece<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (segment, file) = (self.counts("s", at), self.counts("f", at));
        let mut outcome = Ok(());
        self.ask(|connection| {
            let roots = roots(connection)?;
            let mut statement = connection.prepare_cached(&format!(
                "SELECT s.path_id, s.content_id, s.record_base, s.added, k.format, p.root_id, p.path, f.mtime_ns \
                 FROM segments s NOT INDEXED CROSS JOIN contents k ON k.id = s.content_id \
                 CROSS JOIN paths p ON p.id = s.path_id \
                 LEFT JOIN files f ON f.path_id = s.path_id AND {file} \
                 WHERE {segment} ORDER BY s.path_id, s.slot"
            ))?;
            let mut rows = statement.query([])?;
            let (mut path_id, mut path) = (None, PathBuf::new());
            while let Some(row) = rows.next()? {
                let id = row.get(0)?;
                if path_id != Some(id) {
                    (path_id, path) = (Some(id), unescape_path(row.get_ref(6)?.as_str()?));
                }
                let root = roots.get(&row.get(5)?);
                outcome = each(&Piece {
                    root: root.map_or(Path::new(""), AsRef::as_ref),
                    path: &path,
                    format: row.get_ref(4)?.as_str()?,
                    changed_ns: row.get(7)?,
                    since: unsigned(row.get(3)?),
                    content_id: row.get(1)?,
                    record_base: unsigned(row.get(2)?),
                    path_id: id,
                });
                if outcome.is_err() {
                    break;
                }
            }
            Ok(())
        })?;
        outcome
    }

    /// The documents of a piece at epoch `at`.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn documents_of(
        &self,
        piece: &Piece<'_>,
        at: Epoch,
    ) -> Result<Vec<PieceDocument>, StoreError> {
        let counts = self.counts("s", at);
        self.ask(|connection| {
            let mut documents = connection
                .prepare_cached(
                    "SELECT ord, id, record, title, metadata FROM documents WHERE content_id = ? ORDER BY ord",
                )?
                .query_map([piece.content_id], |row| {
                    let record = piece.record_base + unsigned(row.get(2)?);
                    Ok(PieceDocument {
                        ord: row.get(0)?,
                        name: document_name(row.get(1)?, record),
                        title: row.get(3)?,
                        metadata: row.get(4)?,
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            if !has_records(piece.format) && piece.record_base > 0 {
                for document in &mut documents {
                    if document.metadata == "{}" {
                        let head = head(connection, piece.path_id, &counts)?;
                        (document.title, document.metadata) = inherited(head, document.title.take());
                    }
                }
            }
            Ok(documents)
        })
    }

    /// Hands over the texts of a piece; of one of its documents, if one is given.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn texts_of(
        &self,
        piece: &Piece<'_>,
        document: Option<&PieceDocument>,
        mut each: impl FnMut(Label),
    ) -> Result<(), StoreError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT text_id FROM chunks WHERE content_id = ?1 AND document >= ?2 AND document <= ?3",
            )?;
            let (first, last) = document.map_or((0, i64::MAX), |document| (document.ord, document.ord));
            let mut rows = statement.query(params![piece.content_id, first, last])?;
            while let Some(row) = rows.next()? {
                each(row.get(0)?);
            }
            Ok(())
        })
    }

    /// Whether a file of that key was ever seen, be it gone or not.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn was_seen(&self, key: PathKey) -> Result<bool, StoreError> {
        self.ask(|connection| {
            connection
                .prepare_cached("SELECT 1 FROM paths WHERE key = ?")?
                .exists([Sql(key)])
        })
    }

    /// The labels that were in the index at epoch `at`, ascending.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn live_labels_at(&self, at: Epoch) -> Result<Vec<Label>, StoreError> {
        let mut labels: std::collections::BTreeSet<Label> =
            self.live_labels()?.into_iter().collect();
        for change in self.changes(at)? {
            if change.op > 0 {
                labels.remove(&change.label);
            } else {
                labels.insert(change.label);
            }
        }
        Ok(labels.into_iter().collect())
    }
}

/// `[1,2,3]`, for `json_each`.
pub(super) fn list(labels: &[Label]) -> String {
    let mut list = String::with_capacity(2 + labels.len() * 8);
    for label in labels {
        let _ = write!(list, "{}{label}", if list.is_empty() { '[' } else { ',' });
    }
    if list.is_empty() {
        list.push('[');
    }
    list + "]"
}

/// From the first six columns.
fn home(row: &SqlRow<'_>) -> rusqlite::Result<Home> {
    let record = unsigned(row.get(3)?);
    Ok(Home {
        label: row.get(0)?,
        document: DocumentKey {
            path_id: row.get(1)?,
            record: has_records(row.get_ref(2)?.as_str()?).then_some(record),
        },
        content_id: row.get(4)?,
        ord: row.get(5)?,
    })
}

/// Title and metadata of a file's first piece, where its front matter is.
type Head = Option<(Option<String>, String)>;

fn head(connection: &Connection, path_id: i64, counts: &str) -> rusqlite::Result<Head> {
    connection
        .prepare_cached(&format!(
            "SELECT d.title, d.metadata FROM segments s \
             CROSS JOIN documents d ON d.content_id = s.content_id AND d.ord = 0 \
             WHERE s.path_id = ? AND {counts} ORDER BY {PLACE} LIMIT 1"
        ))?
        .query_row([path_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// What a later piece of a file says of itself: what the first one says.
fn inherited(head: Head, own_title: Option<String>) -> (Option<String>, String) {
    let (title, metadata) = head.unwrap_or((None, "{}".into()));
    (title.or(own_title), metadata)
}
