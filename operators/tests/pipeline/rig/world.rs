//! The world: what contents are, what is made of them, and hands that do it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use floodmark_operators::chunk::{Chunk, Chunks};
use floodmark_operators::embed::Text;
use floodmark_operators::fingerprint::{Finding, Fingerprint};
use floodmark_operators::keys::{ChunkHash, ContentKey, Epoch, PathKey};
use floodmark_operators::parse::Parse;
use serde::{Deserialize, Serialize};

/// One hint: this path now holds that content, or nothing.
pub type Change = (u8, Option<u8>);

/// Is looked at only once its content was parsed for another path.
pub const LATE: u8 = 99;
/// Different chunk texts.
const TEXTS: u8 = 24;

pub fn path_key(path: u8) -> PathKey {
    PathKey::of(&[&[path]])
}

pub fn content_key(content: u8) -> ContentKey {
    ContentKey::of(&[&[content]])
}

pub fn text(chunk: u8) -> String {
    format!("text {chunk}")
}

pub fn hash(chunk: u8) -> ChunkHash {
    ChunkHash::of(&[text(chunk).as_bytes()])
}

/// What a content consists of: shared with others, sometimes repeated, sometimes nothing.
pub fn chunks_of(content: u8) -> Vec<u8> {
    let count = if content % 13 == 12 {
        0
    } else {
        content % 4 + 1
    };
    (0..count)
        .map(|k| (content.wrapping_mul(7) + (k % 3) * 5) % TEXTS)
        .collect()
}

/// Contents that no chunker can use.
pub fn refused(content: u8) -> bool {
    content % 11 == 10
}

/// Texts that the model has no vector for.
pub fn unembeddable(chunk: u8) -> bool {
    chunk == 17
}

/// What is committed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Out {
    /// Epoch 0 is through.
    Recovered,
    /// What a look at a path found, and whether it could be used.
    File(u8, Option<u8>, bool),
    /// A content was read for the first time.
    Content(u8),
    /// A text has its vector.
    New(ChunkHash),
    /// A text joined or left.
    Live(ChunkHash, isize),
}

/// Looks, parses and chunks, and counts how often each content was parsed.
#[derive(Default)]
pub struct Hands {
    pub parsed: Mutex<BTreeMap<u8, usize>>,
}

impl Fingerprint for Hands {
    type Hint = Change;
    type Bytes = u8;
    type Place = Change;
    type Note = u8;

    fn path(hint: &Change) -> PathKey {
        path_key(hint.0)
    }

    fn look(&self, (path, content): Change) -> Vec<Finding<u8, Change, u8>> {
        while path == LATE
            && content.is_some_and(|id| !self.parsed.lock().unwrap().contains_key(&id))
        {
            std::thread::yield_now();
        }
        vec![match content {
            Some(id) => Finding::Content(content_key(id), id, (path, content)),
            None => Finding::Note(path),
        }]
    }
}

impl Parse for Hands {
    type Bytes = u8;
    type Documents = u8;

    fn parse(&self, _: ContentKey, content: u8) -> u8 {
        *self.parsed.lock().unwrap().entry(content).or_default() += 1;
        content
    }
}

impl Chunk for Hands {
    type Documents = u8;
    type Row = u8;
    type Refusal = ();

    fn chunk(&self, _: ContentKey, content: &u8) -> Result<Chunks<u8>, ()> {
        if refused(*content) {
            return Err(());
        }
        let texts = chunks_of(*content)
            .into_iter()
            .map(|id| {
                (
                    hash(id),
                    Text {
                        text: text(id).into(),
                        tokens: u32::from(id % 7) + 1,
                        again: false,
                    },
                )
            })
            .collect();
        Ok(Chunks {
            row: *content,
            texts,
        })
    }
}

/// What an earlier run left behind.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub upper: Epoch,
    pub slots: BTreeMap<u8, u8>,
    pub contents: BTreeSet<u8>,
    pub vectors: BTreeSet<ChunkHash>,
}
