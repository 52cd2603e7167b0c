//! From a hint to the content that lies there now.
//!
//! Every hint goes to the worker that owns its path, and from there to a thread that looks, reads and hashes. What comes
//! back is either a [`Finding::Content`], the very bytes together with the key under which they are known, or a
//! [`Finding::Note`], where there is nothing to read: a file that is gone, can't be read, or changed under the reader's eyes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;

use crate::keys::{ContentKey, Epoch, PathKey};
use crate::offload::{Pool, offload};
use crate::parse::Found;

/// What a look at a file found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Finding<B, P, N> {
    /// Bytes, their key, and the place where they were found.
    Content(ContentKey, B, P),
    /// Something to remember about a file, without bytes.
    Note(N),
}

impl<B, P, N> Finding<B, P, N> {
    /// What is on its way to the parser.
    pub fn content(self) -> Option<Found<B, P>> {
        match self {
            Self::Content(content, bytes, place) => Some(Found {
                content,
                bytes,
                place,
            }),
            Self::Note(_) => None,
        }
    }

    /// What is only remembered.
    pub fn note(self) -> Option<N> {
        match self {
            Self::Content(..) => None,
            Self::Note(note) => Some(note),
        }
    }
}

/// Looks at files. Called on many threads at once.
pub trait Fingerprint: Send + Sync + 'static {
    /// Which file to look at.
    type Hint: ExchangeData;
    /// Bytes on their way to the parser: cheap to clone.
    type Bytes: ExchangeData;
    /// Where bytes were found.
    type Place: ExchangeData;
    /// What is remembered of a file.
    type Note: ExchangeData;

    /// The file that a hint is about: all hints of one file are looked at by one worker.
    fn path(hint: &Self::Hint) -> PathKey;

    /// Looks. Never fails: a failure is a note.
    fn look(&self, hint: Self::Hint) -> Vec<Finding<Self::Bytes, Self::Place, Self::Note>>;
}

/// What the stream of findings carries.
pub type Findings<F> =
    Finding<<F as Fingerprint>::Bytes, <F as Fingerprint>::Place, <F as Fingerprint>::Note>;

/// Looks at each hint's file, on `pool`.
pub fn fingerprint<'scope, F: Fingerprint>(
    hints: StreamVec<'scope, Epoch, F::Hint>,
    reader: Arc<F>,
    pool: &Pool,
) -> StreamVec<'scope, Epoch, Findings<F>> {
    let owner = Exchange::new(|hint: &F::Hint| F::path(hint).route());
    offload(hints, owner, "Fingerprint", pool, move |hint| {
        reader.look(hint)
    })
}
