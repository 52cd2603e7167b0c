//! The keyword view: texts, found by their words, of exactly one epoch.
//!
//! ```text
//!   source (the store) ──changes──▶ KeywordView ──publishes──▶ Snapshot ──▶ hits
//!                                       │
//!                     1,000 changes     ▼
//!                        a save beside it ──▶ segments, current
//! ```
//!
//! tantivy keeps the postings; what a word is ([`analyse`]), what a match is worth (`score`) and what is durable when
//! (`ground`, `save`) is decided here.
//!
//! Invariants:
//! - A view is never the truth. Whatever lies in its folder may be lost, torn, old or of another store: it is detected and
//!   made again from the source.
//! - All hits of a [`Snapshot`] are of its epoch.
//! - A score depends on the query and on the live texts alone: not on segments, merges, or on what was deleted and not yet merged away.
//! - A text is analysed in one language, a query in all that occur, so that they meet.

pub mod analyse;
mod boxed;
mod expression;
mod few;
mod ground;
mod held;
mod inspect;
mod query;
mod save;
mod schema;
mod score;
mod scored;
mod segment;
mod snapshot;
pub mod view;

use std::io;
use std::path::Path;

use floodmark_operators::keys::Epoch;

use crate::index::FileError;
pub use crate::index::{Change, Inspection, SourceError};
pub use analyse::Languages;
pub use inspect::{compare, inspect};
pub use save::{LastSave, last_save};
pub use scored::{Hit, Scored};
pub use snapshot::Snapshot;
pub use view::{KeywordView, Options, Reader, Status};

/// Where the texts come from: the store, behind an adapter.
///
/// Each method answers from a committed state; a later call may see a later one.
pub trait TextSource {
    /// The last committed epoch.
    fn epoch(&self) -> Result<Epoch, SourceError>;
    /// Number of live labels.
    fn live_count(&self) -> Result<u64, SourceError>;
    /// Hands over each live label with its text, once.
    fn live(&self, each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError>;
    /// The changes of all epochs after `epoch`; `None` when they are no longer all known.
    fn changes_after(&self, epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError>;
    /// Hands over the texts of `labels`, in any order, also of those that are not live.
    fn texts(&self, labels: &[u64], each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError>;
}

/// How a query is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// As words, any of which may match: whatever stands in it is looked for, nothing is an operator, nothing is an error.
    #[default]
    Words,
    /// As an expression: `+must -not "a phrase" (a OR b)`.
    Query,
}

/// What the caller has to do about a [`KeywordError`].
pub use crate::index::ErrorKind;

/// The keyword view could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeywordError {
    /// The query is no expression.
    #[error(
        "the query can't be read as an expression: {0}; without --query-syntax it is searched as plain words"
    )]
    Syntax(String),
    /// The source lists a label as live and has no text for it.
    #[error("the store has no text for live label {label}: run `floodmark verify --repair`")]
    MissingText {
        /// The label.
        label: u64,
    },
    /// A file of the view failed, or is not what was written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The keyword index failed.
    #[error("the keyword index could not {doing}: {source}")]
    Tantivy {
        /// What was asked of it.
        doing: &'static str,
        /// What it said.
        source: tantivy::TantivyError,
    },
    /// The source failed.
    #[error("the store could not be read: {0}")]
    Source(#[source] SourceError),
}

impl KeywordError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File(error) => error.kind(),
            Self::Syntax(_) => ErrorKind::FixInput,
            Self::Source(_) | Self::Tantivy { .. } => ErrorKind::Retry,
            Self::MissingText { .. } => ErrorKind::Stop,
        }
    }

    fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        FileError::io(doing, path, source).into()
    }

    fn unusable(path: &Path, reason: impl Into<String>) -> Self {
        FileError::unusable(path, reason).into()
    }

    /// For `map_err`.
    fn tantivy<E: Into<tantivy::TantivyError>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Tantivy {
            doing,
            source: source.into(),
        }
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
