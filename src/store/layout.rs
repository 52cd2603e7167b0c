//! Which texts lie in which contents, in memory: what a ranking asks of some hundred texts at once.
//!
//! What a content holds never changes, and a content that was written once stays. So this only grows, and whoever follows
//! it reads what is new. Which contents lie in files, and in which, changes with every epoch: that is asked of the store.
//!
//! Four numbers a chunk, two a content and one a text: some 30 bytes for each chunk of the store.

use std::collections::HashMap;
use std::ops::Range;

use floodmark_operators::keys::Epoch;
use rusqlite::Connection;

use super::codec::unsigned;
use super::places::{DocumentKey, Home, has_records, list};
use super::{Label, Snapshot, StoreError, damaged, ids_max};

/// The texts of all contents that were committed up to an epoch.
#[derive(Debug, Default)]
pub struct Layout {
    epoch: Epoch,
    /// By content, document and place in it.
    chunks: Vec<Chunk>,
    /// By the content's id.
    contents: Vec<Content>,
    /// By label: one of its chunks, and 1 more. 0: it has none.
    chunk_of: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    label: u32,
    content: u32,
    /// Its document in the content.
    document: u32,
    /// The document's record in the content.
    record: u32,
    /// Another chunk of the same text, and 1 more. 0: there is none.
    other: u32,
}

#[derive(Clone, Copy, Debug)]
struct Content {
    /// Of its chunks.
    first: u32,
    /// Whether its documents are records of a file, or all one.
    records: bool,
}

/// What was committed since, in the order of the contents.
#[derive(Debug)]
pub struct News {
    epoch: Epoch,
    /// Content, and whether it has records.
    contents: Vec<(u32, bool)>,
    chunks: Vec<Chunk>,
}

/// Where a content lies: path, and records of the file before it.
type Lying = HashMap<u32, Vec<(i64, u64)>>;

impl Layout {
    /// Up to this epoch it knows all. Earlier ones can be asked for as well.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What `store` has that is not known here. Reading it disturbs nobody who asks.
    ///
    /// # Errors
    /// As SQLite says; `Broken` for a store of more chunks than the numbers here can count, some four billion.
    pub fn news(&self, store: &Snapshot) -> Result<News, StoreError> {
        let mut news = News {
            epoch: store.epoch(),
            contents: Vec::new(),
            chunks: Vec::new(),
        };
        let last = self.contents.len().saturating_sub(1) as i64;
        let mut fits = true;
        let mut small = |number: i64| {
            u32::try_from(number)
                .ok()
                .filter(|number| *number < u32::MAX)
                .unwrap_or_else(|| {
                    fits = false;
                    0
                })
        };
        store.ask(|connection| {
            let most = ids_max(connection)?;
            let id = |id: i64| match id <= most {
                true => Ok(id),
                false => Err(damaged(format!("id {id} of a content or a text"))),
            };
            let mut contents = connection
                .prepare_cached("SELECT id, format FROM contents WHERE id > ? ORDER BY id")?;
            let mut rows = contents.query([last])?;
            while let Some(row) = rows.next()? {
                let records = has_records(row.get_ref(1)?.as_str()?);
                news.contents.push((small(id(row.get(0)?)?), records));
            }
            let mut chunks = connection.prepare_cached(
                "SELECT c.content_id, c.document, c.text_id, d.record FROM documents d \
                 CROSS JOIN chunks c ON c.content_id = d.content_id AND c.document = d.ord \
                 WHERE d.content_id > ? ORDER BY d.content_id, d.ord, c.ord",
            )?;
            let mut rows = chunks.query([last])?;
            while let Some(row) = rows.next()? {
                news.chunks.push(Chunk {
                    content: small(row.get(0)?),
                    document: small(row.get(1)?),
                    label: small(id(row.get(2)?)?),
                    record: small(row.get(3)?),
                    other: 0,
                });
            }
            Ok(())
        })?;
        small((self.chunks.len() + news.chunks.len()) as i64);
        if fits {
            Ok(news)
        } else {
            Err(StoreError::broken("more than four billion chunks"))
        }
    }

    /// Takes up what is new. News that are older than what is known, or the same, change nothing.
    pub fn follow(&mut self, news: News) {
        if news.epoch <= self.epoch {
            return;
        }
        self.epoch = news.epoch;
        let mut chunks = news.chunks.into_iter().peekable();
        for (id, records) in news.contents {
            let known = (id as usize) < self.contents.len();
            // Ids that no content has are contents without chunks.
            let first = self.chunks.len() as u32;
            let empty = Content {
                first,
                records: false,
            };
            if !known {
                self.contents.resize(id as usize, empty);
                self.contents.push(Content { first, records });
            }
            while let Some(mut chunk) = chunks.next_if(|chunk| chunk.content == id) {
                if known {
                    continue;
                }
                let label = chunk.label as usize;
                if label >= self.chunk_of.len() {
                    self.chunk_of.resize(label + 1, 0);
                }
                chunk.other = self.chunk_of[label];
                self.chunks.push(chunk);
                self.chunk_of[label] = self.chunks.len() as u32;
            }
        }
    }

    /// The documents in which these texts lie now; a text comes once for each chunk that it is.
    ///
    /// `store` must be of [`Self::epoch`] or earlier.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn homes(&self, store: &Snapshot, labels: &[Label]) -> Result<Vec<Home>, StoreError> {
        let chunks: Vec<Chunk> = labels
            .iter()
            .flat_map(|label| self.of_text(*label))
            .collect();
        let mut contents: Vec<i64> = chunks.iter().map(|chunk| chunk.content.into()).collect();
        contents.sort_unstable();
        contents.dedup();
        let lying = store.ask(|connection| lying(connection, &contents))?;
        let mut homes = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let records = self.contents[chunk.content as usize].records;
            for (path_id, record_base) in lying.get(&chunk.content).into_iter().flatten() {
                let record = record_base + u64::from(chunk.record);
                homes.push(Home {
                    label: chunk.label.into(),
                    document: DocumentKey {
                        path_id: *path_id,
                        record: records.then_some(record),
                    },
                    content_id: chunk.content.into(),
                    ord: chunk.document.into(),
                });
            }
        }
        Ok(homes)
    }

    /// The texts of these documents now: for each, in their order, at most `most` of them, or none at all if there are more.
    ///
    /// `store` must be of [`Self::epoch`] or earlier, and the homes be of its epoch.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn texts_of_documents(
        &self,
        store: &Snapshot,
        homes: &[Home],
        most: usize,
    ) -> Result<Vec<Vec<Label>>, StoreError> {
        let whole = |home: &Home| {
            home.document
                .record
                .is_none()
                .then_some(home.document.path_id)
        };
        let paths: Vec<i64> = homes.iter().filter_map(whole).collect();
        let pieces = store.ask(|connection| self.pieces(connection, &paths, most))?;
        let labels = |rows: Range<usize>| self.chunks[rows].iter().map(|chunk| chunk.label.into());
        let texts = |home: &Home| -> Vec<Label> {
            let rows: Vec<Range<usize>> = match home.document.record {
                Some(_) => vec![self.document(home.content_id, home.ord)],
                None => pieces
                    .get(&home.document.path_id)
                    .into_iter()
                    .flatten()
                    .map(|content| self.content(*content))
                    .collect(),
            };
            if rows.iter().map(ExactSizeIterator::len).sum::<usize>() > most {
                return Vec::new();
            }
            rows.into_iter().flat_map(labels).collect()
        };
        Ok(homes.iter().map(texts).collect())
    }

    /// The contents of these files now; of a file with more than `most` chunks those in which one more was found.
    fn pieces(
        &self,
        connection: &Connection,
        paths: &[i64],
        most: usize,
    ) -> rusqlite::Result<HashMap<i64, Vec<i64>>> {
        let mut statement = connection.prepare_cached(
            "SELECT content_id FROM segments WHERE path_id = ? AND removed IS NULL",
        )?;
        let mut pieces = HashMap::with_capacity(paths.len());
        for path in paths {
            let (mut contents, mut chunks) = (Vec::new(), 0);
            let mut rows = statement.query([path])?;
            while chunks <= most
                && let Some(row) = rows.next()?
            {
                let content = row.get(0)?;
                chunks += self.content(content).len();
                contents.push(content);
            }
            pieces.insert(*path, contents);
        }
        Ok(pieces)
    }

    /// Chunks of a text.
    fn of_text(&self, label: Label) -> impl Iterator<Item = Chunk> + '_ {
        let label = usize::try_from(label).unwrap_or(usize::MAX);
        let chunk = |number: u32| Some(self.chunks[number.checked_sub(1)? as usize]);
        let first = self.chunk_of.get(label).and_then(|number| chunk(*number));
        std::iter::successors(first, move |one| chunk(one.other))
    }

    /// Where the chunks of a content are.
    fn content(&self, id: i64) -> Range<usize> {
        let first = |id: usize| self.contents.get(id).map(|content| content.first as usize);
        let id = usize::try_from(id).unwrap_or(usize::MAX - 1);
        first(id).map_or(0..0, |start| {
            start..first(id + 1).unwrap_or(self.chunks.len())
        })
    }

    /// Where the chunks of a document of it are.
    fn document(&self, content: i64, ord: i64) -> Range<usize> {
        let whole = self.content(content);
        let chunks = &self.chunks[whole.clone()];
        let before = |limit: i64| chunks.partition_point(|chunk| i64::from(chunk.document) < limit);
        whole.start + before(ord)..whole.start + before(ord + 1)
    }
}

/// Where these contents lie now.
fn lying(connection: &Connection, contents: &[i64]) -> rusqlite::Result<Lying> {
    let mut statement = connection.prepare_cached(
        "SELECT s.content_id, s.path_id, s.record_base FROM json_each(?) j \
         CROSS JOIN segments s ON s.content_id = j.value AND s.removed IS NULL",
    )?;
    let mut rows = statement.query([list(contents)])?;
    let mut lying = Lying::with_capacity(contents.len());
    while let Some(row) = rows.next()? {
        let place = (row.get(1)?, unsigned(row.get(2)?));
        lying.entry(row.get(0)?).or_default().push(place);
    }
    Ok(lying)
}
