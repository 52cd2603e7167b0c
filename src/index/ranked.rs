//! Hits in a heap whose greatest is the worst: what either view keeps while it looks for the best.

use std::cmp::Ordering;

/// What comes before what.
pub(crate) trait Rank {
    /// Less is better. Total: no two that differ are equal in it.
    fn order(&self, other: &Self) -> Ordering;
}

/// A hit in a heap whose greatest is the worst.
pub(crate) struct Ranked<H>(pub(crate) H);

impl<H: Rank> Ord for Ranked<H> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(&other.0)
    }
}

impl<H: Rank> PartialOrd for Ranked<H> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<H: Rank> PartialEq for Ranked<H> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<H: Rank> Eq for Ranked<H> {}
