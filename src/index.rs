//! The vector view: unit vectors, found by inner product, of exactly one epoch.
//!
//! ```text
//!   source (the store) ──changes──▶ VectorView ──publishes──▶ Snapshot ──▶ hits
//!                                       │  ▲
//!                        churn ≥ 0.2    ▼  │ adopts
//!                                  a build beside it ──▶ builds/<epoch>-<n>/, current
//! ```
//!
//! Invariants:
//! - A view is never the truth. Whatever lies in its folder may be lost, torn or old: it is detected and built again from the source.
//! - All hits of a [`Snapshot`] are of its epoch, whatever is added, removed or rebuilt meanwhile.
//! - A score is computed here, in one order of summation: it depends on the two vectors alone, not on the kind of index.
//! - unsafe code lives in `faiss.rs` and `blas.rs` only.

mod background;
mod blas;
mod build;
mod disk;
mod faiss;
mod file_error;
mod inspect;
pub mod policy;
mod ranked;
mod snapshot;
pub mod view;

use std::io;
use std::path::Path;

use floodmark_operators::keys::Epoch;

pub use disk::{Manifest, RecallSample, last_build};
pub use file_error::FileError;
pub use inspect::{Inspection, compare, inspect};
pub(crate) use ranked::{Rank, Ranked};
pub(crate) use snapshot::inner_product;
pub use snapshot::{Hit, Snapshot};
pub use view::VectorView;

/// What a source's own trouble is called here.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A label joined or left the live vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub epoch: Epoch,
    /// Which. A label means the same vector for ever.
    pub label: u64,
    /// +1 or −1; only the sum within an epoch counts.
    pub op: i8,
}

/// Where the vectors come from: the store, behind an adapter.
///
/// Each method answers from a committed state; a later call may see a later one.
pub trait VectorSource {
    /// The last committed epoch.
    fn epoch(&self) -> Result<Epoch, SourceError>;
    /// Length of a vector.
    fn dimension(&self) -> usize;
    /// What the vectors and their labels belong to: changes with the model, and should with the store itself
    /// (labels of another store mean other texts).
    fn model_id(&self) -> String;
    /// Number of live labels.
    fn live_count(&self) -> Result<u64, SourceError>;
    /// Hands over each live label with its unit vector, once.
    fn live(&self, each: &mut dyn FnMut(u64, &[f32])) -> Result<(), SourceError>;
    /// The changes of all epochs after `epoch`; `None` when they are no longer all known.
    fn changes_after(&self, epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError>;
    /// Hands over the vectors of `labels`, in any order, also of those that are not live.
    fn vectors(&self, labels: &[u64], each: &mut dyn FnMut(u64, &[f32]))
    -> Result<(), SourceError>;
}

/// What the caller has to do about an [`IndexError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Give another query or another configuration.
    FixInput,
    /// Nothing is lost: the same call may succeed later.
    Retry,
    /// An invariant is broken; run `floodmark verify`.
    Stop,
}

/// The vector view could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A vector is of another length.
    #[error(
        "a vector of {got} numbers where {expected} are expected: it was made by another model"
    )]
    Dimension {
        /// Length of the vectors of the view.
        expected: usize,
        /// Length that was given.
        got: usize,
    },
    /// A vector holds a NaN or an infinity.
    #[error("a vector holds NaN or infinity: check the model with `floodmark doctor`")]
    NotFinite,
    /// The source lists a label as live and has no vector for it.
    #[error("the store has no vector for live label {label}: run `floodmark verify --repair`")]
    MissingVector {
        /// The label.
        label: u64,
    },
    /// FAISS failed.
    #[error("FAISS could not {doing}: {message}")]
    Faiss {
        /// What was asked of it.
        doing: &'static str,
        /// What it said.
        message: String,
    },
    /// A file of the view failed, or is not what was written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The source failed.
    #[error("the store could not be read: {0}")]
    Source(#[source] SourceError),
    /// The background build was told to end.
    #[error("the build was cancelled")]
    Cancelled,
}

impl IndexError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File(error) => error.kind(),
            Self::Dimension { .. } | Self::NotFinite => ErrorKind::FixInput,
            Self::Source(_) | Self::Cancelled => ErrorKind::Retry,
            Self::MissingVector { .. } | Self::Faiss { .. } => ErrorKind::Stop,
        }
    }

    fn faiss(doing: &'static str, message: String) -> Self {
        Self::Faiss { doing, message }
    }

    fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        FileError::io(doing, path, source).into()
    }

    fn unusable(path: &Path, reason: impl Into<String>) -> Self {
        FileError::unusable(path, reason).into()
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
