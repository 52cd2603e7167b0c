//! What the dataflow needs to go on after a restart, read in one pass over slim indexes: no text and no vector is touched.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use floodmark_operators::keys::{ChunkHash, ContentHash, ContentKey, Epoch, PathKey};
use rusqlite::Connection;

use super::codec::{Sql, unescape_path, unsigned};
use super::error::{Context, StoreError};
use super::file::{COLUMNS, StoredFile, read_state};
use super::{damaged, ids_max, meta};
use crate::fault;
use crate::formats::Format;

/// Where the store stands.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Every epoch below is durable: the first that may be minted.
    pub upper: Epoch,
    /// How often the store was opened for writing.
    pub generation: u64,
    /// All files that are not gone, by the order in which they were first seen.
    pub files: Vec<RecoveredFile>,
    /// Contents that need not be read again: kept by the caller's predicate, and *every* chunk has a vector by the
    /// model, or was refused by it. With the hashes of the chunks, in order, repetitions included. A content that is missing here must be
    /// read and given to `commit` anew; that is harmless where the store has it.
    pub contents: Vec<(ContentKey, Box<[ChunkHash]>)>,
    /// Texts that have a vector by the model.
    pub embedded: Vec<ChunkHash>,
    /// Texts that the model refused.
    pub refused: Vec<ChunkHash>,
    /// Those of them that are to be tried again, and what they say.
    pub again: Vec<(ChunkHash, Arc<str>)>,
    /// Texts that are in the index.
    pub live: Vec<ChunkHash>,
}

/// A file as it was left.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveredFile {
    /// Where it stands.
    pub file: StoredFile,
    /// Which content lies in which slot, by slot.
    pub segments: Box<[(u32, ContentKey)]>,
}

/// A content, for the one question whether today's recipe would give the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredContent {
    /// Its key.
    pub key: ContentKey,
    /// Hash of its bytes alone.
    pub hash: ContentHash,
    /// Bytes.
    pub bytes: u64,
    /// How it was read.
    pub format: Format,
}

pub(super) fn recover(
    connection: &Connection,
    path: &Path,
    model: i64,
    keep: &dyn Fn(&StoredContent) -> bool,
) -> Result<Recovery, StoreError> {
    fault::point("store.recover.begin").context("recover from", path)?;
    let recovery = read(connection, model, keep).context("recover from", path)?;
    fault::point("store.recover.end").context("recover from", path)?;
    Ok(recovery)
}

fn read(
    connection: &Connection,
    model: i64,
    keep: &dyn Fn(&StoredContent) -> bool,
) -> rusqlite::Result<Recovery> {
    let texts = texts(connection, model)?;
    fault::pass("store.recover.texts");
    let contents = contents(connection)?;
    fault::pass("store.recover.contents");
    let keys: Vec<Option<ContentKey>> = contents
        .iter()
        .map(|content| content.as_ref().map(|content| content.key))
        .collect();
    Ok(Recovery {
        upper: unsigned(meta(connection, "upper")?),
        generation: unsigned(meta(connection, "generation")?),
        files: files(connection, &keys)?,
        contents: whole_contents(connection, &contents, &texts, keep)?,
        embedded: texts
            .iter()
            .flatten()
            .filter(|text| text.embedded)
            .map(|text| text.hash)
            .collect(),
        refused: texts
            .iter()
            .flatten()
            .filter(|text| text.refused)
            .map(|text| text.hash)
            .collect(),
        again: again(connection, model)?,
        live: live(connection, &texts)?,
    })
}

/// Room for the rows of a table by their ids.
fn by_id<T: Clone>(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Option<T>>> {
    let max = format!("SELECT ifnull(max(id), 0) FROM {table}");
    let max: i64 = connection.query_row(&max, [], |row| row.get(0))?;
    if max > ids_max(connection)? {
        return Err(damaged(format!("id {max} in {table}")));
    }
    Ok(vec![None; usize::try_from(max).unwrap_or(0) + 1])
}

fn place<T>(rows: &mut [T], id: i64) -> rusqlite::Result<&mut T> {
    let place = usize::try_from(id).ok().and_then(|id| rows.get_mut(id));
    place.ok_or_else(|| damaged(format!("id {id} in an index, and not in its table")))
}

#[derive(Clone, Copy)]
struct Text {
    hash: ChunkHash,
    embedded: bool,
    refused: bool,
}

/// By label. Labels are dense, which makes a vector smaller and faster than a map.
fn texts(connection: &Connection, model: i64) -> rusqlite::Result<Vec<Option<Text>>> {
    let mut texts = by_id(connection, "texts")?;
    // The index alone has both columns: the texts themselves stay on the disk.
    let mut statement =
        connection.prepare("SELECT id, hash FROM texts INDEXED BY texts_by_hash")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        *place(&mut texts, row.get(0)?)? = Some(Text {
            hash: row.get::<_, Sql<ChunkHash>>(1)?.0,
            embedded: false,
            refused: false,
        });
    }
    let mut statement = connection.prepare(
        "SELECT text_id FROM embeddings INDEXED BY embeddings_by_text WHERE model_id = ?",
    )?;
    let mut rows = statement.query([model])?;
    while let Some(row) = rows.next()? {
        if let Some(Some(text)) = texts.get_mut(row.get::<_, i64>(0)? as usize) {
            text.embedded = true;
        }
    }
    let mut statement = connection.prepare("SELECT text_id FROM refusals WHERE model_id = ?")?;
    let mut rows = statement.query([model])?;
    while let Some(row) = rows.next()? {
        if let Some(Some(text)) = texts.get_mut(row.get::<_, i64>(0)? as usize) {
            text.refused = !text.embedded;
        }
    }
    Ok(texts)
}

fn again(connection: &Connection, model: i64) -> rusqlite::Result<Vec<(ChunkHash, Arc<str>)>> {
    connection
        .prepare(
            "SELECT t.hash, t.text FROM refusals r JOIN texts t ON t.id = r.text_id \
             WHERE r.model_id = ? AND r.again = 1 AND t.text IS NOT NULL",
        )?
        .query_map([model], |row| {
            Ok((row.get::<_, Sql<ChunkHash>>(0)?.0, row.get(1)?))
        })?
        .collect()
}

/// By id.
fn contents(connection: &Connection) -> rusqlite::Result<Vec<Option<StoredContent>>> {
    let mut contents = by_id(connection, "contents")?;
    let mut statement = connection.prepare("SELECT id, key, hash, bytes, format FROM contents")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        *place(&mut contents, row.get(0)?)? = Some(StoredContent {
            key: row.get::<_, Sql<_>>(1)?.0,
            hash: row.get::<_, Sql<_>>(2)?.0,
            bytes: unsigned(row.get(3)?),
            format: row.get::<_, Sql<_>>(4)?.0,
        });
    }
    Ok(contents)
}

fn whole_contents(
    connection: &Connection,
    contents: &[Option<StoredContent>],
    texts: &[Option<Text>],
    keep: &dyn Fn(&StoredContent) -> bool,
) -> rusqlite::Result<Vec<(ContentKey, Box<[ChunkHash]>)>> {
    let mut whole = Vec::new();
    let mut statement = connection.prepare(
        "SELECT content_id, text_id FROM chunks NOT INDEXED ORDER BY content_id, document, ord",
    )?;
    let mut rows = statement.query([])?;
    let mut ahead: Option<(usize, usize)> = None;
    let mut hashes = Vec::new();
    let mut next = || -> rusqlite::Result<Option<(usize, usize)>> {
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        Ok(Some((
            row.get::<_, i64>(0)? as usize,
            row.get::<_, i64>(1)? as usize,
        )))
    };
    for (id, content) in contents.iter().enumerate() {
        hashes.clear();
        let mut embedded = true;
        while let Some((content_id, label)) = match ahead.take() {
            Some(chunk) => Some(chunk),
            None => next()?,
        } {
            if content_id != id {
                ahead = Some((content_id, label));
                break;
            }
            match texts.get(label) {
                Some(Some(text)) if text.embedded || text.refused => hashes.push(text.hash),
                _ => embedded = false,
            }
        }
        if let Some(content) = content.as_ref().filter(|content| embedded && keep(content)) {
            whole.push((content.key, hashes.as_slice().into()));
        }
    }
    Ok(whole)
}

fn live(connection: &Connection, texts: &[Option<Text>]) -> rusqlite::Result<Vec<ChunkHash>> {
    let mut live = Vec::new();
    let mut statement = connection.prepare("SELECT text_id FROM live")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = texts
            .get(row.get::<_, i64>(0)? as usize)
            .and_then(Option::as_ref);
        live.extend(text.map(|text| text.hash));
    }
    Ok(live)
}

fn files(
    connection: &Connection,
    contents: &[Option<ContentKey>],
) -> rusqlite::Result<Vec<RecoveredFile>> {
    let roots = roots(connection)?;
    // Two scans in the order of their primary keys, merged here: no sorting, no look-up a row.
    let mut statement = connection.prepare(
        "SELECT path_id, slot, content_id FROM segments NOT INDEXED WHERE removed IS NULL ORDER BY path_id, slot",
    )?;
    let mut segments = statement.query([])?;
    let mut ahead = None;
    let mut next = || -> rusqlite::Result<Option<(i64, u32, i64)>> {
        let Some(row) = segments.next()? else {
            return Ok(None);
        };
        Ok(Some((row.get(0)?, row.get(1)?, row.get(2)?)))
    };
    let mut statement = connection.prepare(&format!(
        "SELECT p.id, p.key, p.root_id, p.path, {COLUMNS} FROM files f NOT INDEXED CROSS JOIN paths p \
         ON p.id = f.path_id WHERE f.removed IS NULL ORDER BY f.path_id"
    ))?;
    let mut rows = statement.query([])?;
    let mut files = Vec::new();
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        let path_id: i64 = row.get(0)?;
        held.clear();
        while let Some((owner, slot, content)) = match ahead.take() {
            Some(segment) => Some(segment),
            None => next()?,
        } {
            if owner > path_id {
                ahead = Some((owner, slot, content));
                break;
            }
            if owner == path_id {
                let key = contents.get(content as usize).copied().flatten();
                held.extend(key.map(|key| (slot, key)));
            }
        }
        let key = row.get::<_, Sql<PathKey>>(1)?.0;
        let root = roots
            .get(&row.get(2)?)
            .cloned()
            .unwrap_or_else(|| Path::new("").into());
        let path = row.get_ref(3)?.as_str()?;
        let file = read_state(row, 4)?.stored(key, root, path);
        files.push(RecoveredFile {
            file,
            segments: held.as_slice().into(),
        });
    }
    Ok(files)
}

/// Roots by id: one allocation a root, not one a file.
pub(super) fn roots(connection: &Connection) -> rusqlite::Result<HashMap<i64, Arc<Path>>> {
    connection
        .prepare_cached("SELECT id, path FROM roots")?
        .query_map([], |row| {
            Ok((row.get(0)?, unescape_path(row.get_ref(1)?.as_str()?).into()))
        })?
        .collect()
}
