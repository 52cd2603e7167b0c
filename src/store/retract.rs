//! Files leave the index where no dataflow is there to derive which texts go with them.

use std::collections::{BTreeMap, HashSet};

use floodmark_operators::keys::{ChunkHash, Epoch};
use rusqlite::Connection;

use super::codec::Sql;
use super::error::{Context, StoreError};
use super::row::{FileRow, FileState, Row};
use super::{Label, Store, StoredFile, file};

impl Store {
    /// Takes these files out of the index, and the texts that lie nowhere else, in one transaction and an epoch of its
    /// own: that epoch. For a store that no run follows.
    ///
    /// # Errors
    /// As [`Self::commit`] says.
    pub fn retract(&mut self, files: &[StoredFile]) -> Result<Epoch, StoreError> {
        let epoch = self.upper();
        let gone = |file: &StoredFile| {
            Row::File(FileRow {
                key: file.key,
                root: file.root.to_path_buf(),
                path: file.path.clone(),
                identity: None,
                state: FileState::Gone,
                retire: Vec::new(),
            })
        };
        let texts = only_in(&self.connection, files).context("read", &self.path)?;
        let rows = files.iter().map(gone);
        let rows = rows.chain(texts.into_values().map(|hash| Row::Live(hash, -1)));
        self.commit(epoch + 1, rows.map(|row| (epoch, row)).collect())?;
        Ok(epoch)
    }
}

/// The texts of the index that lie in these files and in no other.
fn only_in(
    connection: &Connection,
    files: &[StoredFile],
) -> rusqlite::Result<BTreeMap<Label, ChunkHash>> {
    let mut leaving = HashSet::new();
    for stored in files {
        leaving.extend(file::known_path_id(connection, stored.key)?);
    }
    let mut texts = BTreeMap::new();
    let mut of_file = connection.prepare(
        "SELECT DISTINCT c.text_id, t.hash FROM segments s JOIN chunks c ON c.content_id = s.content_id \
         JOIN live l ON l.text_id = c.text_id JOIN texts t ON t.id = c.text_id \
         WHERE s.path_id = ? AND s.removed IS NULL",
    )?;
    for path_id in &leaving {
        let mut rows = of_file.query([path_id])?;
        while let Some(row) = rows.next()? {
            texts.insert(row.get::<_, Label>(0)?, row.get::<_, Sql<ChunkHash>>(1)?.0);
        }
    }
    let mut homes = connection.prepare(
        "SELECT s.path_id FROM chunks c JOIN segments s ON s.content_id = c.content_id AND s.removed IS NULL \
         WHERE c.text_id = ?",
    )?;
    let mut stays = Vec::new();
    for label in texts.keys() {
        let mut rows = homes.query([label])?;
        while let Some(row) = rows.next()? {
            if !leaving.contains(&row.get::<_, i64>(0)?) {
                stays.push(*label);
                break;
            }
        }
    }
    for label in stays {
        texts.remove(&label);
    }
    Ok(texts)
}
