//! Token vectors of texts, kept on the disk, so that a second look need not make them again for each query.
//!
//! ```text
//!  session that embeds ──▶ vectors of the text's own tokens ──▶ 8 bits each ──▶ queue ──▶ a thread ──▶ token-vectors.sqlite
//!  second look         ◀── those that are there; what is not, it makes ──▶ queue (inside a run)
//! ```
//!
//! A cache and nothing else: no promise rests on it. What is missing, or is not what was written, is made at query time; the file may be
//! deleted at any time; what can't be written is left out. Answers do not depend on it: what a second look makes itself it
//! rounds in the same way.

mod file;
mod keeper;
mod quantised;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use floodmark_operators::keys::ChunkHash;

use file::Shelf;
pub use keeper::Keeper;
#[cfg(test)]
pub(crate) use keeper::Limits;
pub use quantised::Quantised;

/// The file in a state folder.
pub const FILE: &str = "token-vectors.sqlite";

/// Bytes of the file in the state folder `state` and of its log; `None`: there is none.
pub fn bytes(state: &Path) -> Option<u64> {
    let main = std::fs::metadata(state.join(FILE)).ok()?.len();
    let log = std::fs::metadata(state.join(format!("{FILE}-wal")));
    Some(main + log.map_or(0, |log| log.len()))
}

/// Where the file lies, by which model, and who writes to it.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    model: String,
}

impl Place {
    /// Of the model with this key, in the state folder `state`.
    pub fn new(state: &Path, model: &str) -> Self {
        Self {
            path: state.join(FILE),
            model: model.to_owned(),
        }
    }

    /// What is there now. Without a file, or with one that can't be read, that is nothing. `keeper` takes what is missing.
    pub fn look(&self, keeper: Option<Arc<Keeper>>) -> Known {
        Known {
            shelf: Shelf::open(&self.path, &self.model),
            keeper,
        }
    }
}

/// What is known of texts at the moment, and who wants to know more.
#[derive(Debug, Default)]
pub struct Known {
    shelf: Option<Shelf>,
    keeper: Option<Arc<Keeper>>,
}

impl Known {
    /// The vectors of a text's own tokens.
    pub fn find(&self, text: &str) -> Option<Quantised> {
        self.shelf.as_ref()?.find(hash(text))
    }

    /// Keeps what was not found.
    pub fn put(&self, text: &str, vectors: &Quantised) {
        if let Some(keeper) = &self.keeper {
            keeper.put(vec![(hash(text), vectors.clone())]);
        }
    }
}

/// As the store names a text.
pub fn hash(text: &str) -> ChunkHash {
    ChunkHash::of(&[text.as_bytes()])
}

#[cfg(test)]
mod tests;
