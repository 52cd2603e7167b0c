//! The standing index and what a query sees of it.
//!
//! Rows are only ever appended, and each row carries the epoch at which it was removed. A snapshot is a number of rows
//! and an epoch: it sees the rows below its count that were not yet removed at its epoch. So it costs nothing to take, sees
//! nothing that came later, and loses nothing that left later.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use floodmark_operators::keys::Epoch;

use super::IndexError;
use super::faiss::Ann;
use super::policy::Kind;
use super::ranked::{Rank, Ranked};

/// A live text and how near it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Label of the vector.
    pub label: u64,
    /// Inner product of the two unit vectors: their cosine.
    pub score: f32,
}

impl Rank for Hit {
    /// Best first; equal scores by label.
    fn order(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(self.label.cmp(&other.label))
    }
}

/// A row that was not removed.
const LIVE: Epoch = Epoch::MAX;
/// A row that no snapshot sees: its addition has not been published.
const PENDING: Epoch = 0;
/// How far FAISS's sum and ours may lie apart for unit vectors.
const ROUNDING: f32 = 1e-5;
/// Vectors appended while queries wait: some 0.1 ms for flat and a few for IVF.
pub(super) const SLICE: usize = 256;

/// Inner product, in an order of summation that is the same on every machine.
pub(crate) fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    // Sixteen running sums: the compiler makes vector instructions of them.
    let mut sums = [0f32; 16];
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// The rows of a view: a build, what was added since, and when each row left.
#[derive(Debug)]
pub(super) struct Rows {
    /// Shared with a build that goes on from it, where it takes no additions itself.
    base: Arc<Ann>,
    /// Additions to a flat or HNSW build, exact. HNSW inserts slowly (each call touches a lock a row), and a flat index
    /// copies all its rows when it first grows; queries would wait for both. IVF takes its additions in itself.
    tail: Option<Ann>,
    labels: Vec<u64>,
    /// A row of each label, also of those that left: a label means the same vector for ever, so any will do.
    by_label: HashMap<u64, usize>,
    removed_at: Vec<Epoch>,
    nprobe: usize,
}

impl Rows {
    /// A build and the labels of its rows, all live.
    pub(super) fn new(base: Ann, labels: Vec<u64>, nprobe: usize) -> Result<Self, IndexError> {
        let tail = match base.kind() {
            Kind::Flat | Kind::Hnsw { .. } => Some(Ann::new(Kind::Flat, base.dimension())?),
            Kind::Ivf { .. } => None,
        };
        let removed_at = vec![LIVE; labels.len()];
        let numbered = labels.iter().enumerate();
        let by_label = numbered.map(|(row, label)| (*label, row)).collect();
        Ok(Self {
            base: Arc::new(base),
            tail,
            labels,
            by_label,
            removed_at,
            nprobe,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    pub(super) fn kind(&self) -> Kind {
        self.base.kind()
    }

    pub(super) fn dimension(&self) -> usize {
        self.base.dimension()
    }

    pub(super) fn labels(&self) -> &[u64] {
        &self.labels
    }

    /// Appends rows that no snapshot sees until [`Self::publish`].
    pub(super) fn append(&mut self, labels: &[u64], vectors: &[f32]) -> Result<(), IndexError> {
        if vectors.len() != labels.len() * self.dimension() {
            return Err(IndexError::Dimension {
                expected: labels.len() * self.dimension(),
                got: vectors.len(),
            });
        }
        let into = match &mut self.tail {
            Some(tail) => tail,
            None => Arc::get_mut(&mut self.base).expect("what takes additions is not shared"),
        };
        into.add(vectors, 1)?;
        let numbered = labels.iter().zip(self.labels.len()..);
        self.by_label
            .extend(numbered.map(|(label, row)| (*label, row)));
        self.labels.extend_from_slice(labels);
        self.removed_at.resize(self.labels.len(), PENDING);
        Ok(())
    }

    /// Makes appended rows live.
    pub(super) fn publish(&mut self, position: usize) {
        self.removed_at[position] = LIVE;
    }

    /// Removes a row for snapshots of `epoch` and later.
    pub(super) fn remove(&mut self, position: usize, epoch: Epoch) {
        self.removed_at[position] = epoch;
    }

    pub(super) fn is_live(&self, position: usize) -> bool {
        self.removed_at[position] == LIVE
    }

    pub(super) fn vector(&self, position: usize, into: &mut [f32]) -> Result<(), IndexError> {
        match (&self.tail, position.checked_sub(self.base.len())) {
            (Some(tail), Some(beyond)) => tail.vector(beyond, into),
            _ => self.base.vector(position, into),
        }
    }

    /// Up to `fetch` positions from each of base and tail, and the best FAISS score that a row not among them may have.
    fn nearest(
        &self,
        query: &[f32],
        fetch: usize,
        nprobe: usize,
    ) -> Result<(Vec<usize>, f32), IndexError> {
        let mut positions = Vec::with_capacity(fetch);
        let mut floor = f32::NEG_INFINITY;
        for (ann, offset) in [
            (Some(&*self.base), 0),
            (self.tail.as_ref(), self.base.len()),
        ] {
            let Some(ann) = ann else { continue };
            let found = ann.search(query, fetch, nprobe)?;
            if let Some(last) = found.last()
                && found.len() < ann.len()
            {
                floor = floor.max(last.score);
            }
            positions.extend(found.iter().map(|n| n.position + offset));
        }
        Ok((positions, floor))
    }
}

/// [`Rows`], shared by the view that appends and the snapshots that read.
#[derive(Debug)]
pub(super) struct Standing(RwLock<Rows>);

impl Standing {
    pub(super) fn new(rows: Rows) -> Arc<Self> {
        Arc::new(Self(RwLock::new(rows)))
    }

    // A panic under the lock leaves at worst pending rows behind, which nobody sees.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> std::sync::RwLockWriteGuard<'_, Rows> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The live vectors of one epoch. Cheap to clone and to keep; queries may run on many threads at once.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) standing: Arc<Standing>,
    pub(super) epoch: Epoch,
    pub(super) count: usize,
    pub(super) live: usize,
}

impl Snapshot {
    /// The epoch that all its answers are of.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Number of live vectors.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Length of a vector.
    pub fn dimension(&self) -> usize {
        self.standing.read().dimension()
    }

    pub(super) fn sees(&self, rows: &Rows, position: usize) -> bool {
        position < self.count && rows.removed_at[position] > self.epoch
    }

    /// The `k` live vectors nearest to `query`, best first, equal scores by label; among those whose label `admit` lets
    /// pass, if given. Fewer than `k` only if there are no more.
    ///
    /// `query`: `[d]` finite f32, unit L2 norm. Flat indexes answer exactly; HNSW and IVF with the recall of their build,
    /// and exactly when a filter or tombstones leave them too little.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        admit: Option<&dyn Fn(u64) -> bool>,
    ) -> Result<Vec<Hit>, IndexError> {
        let rows = self.standing.read();
        if query.len() != rows.dimension() {
            return Err(IndexError::Dimension {
                expected: rows.dimension(),
                got: query.len(),
            });
        }
        if !query.iter().all(|x| x.is_finite()) {
            return Err(IndexError::NotFinite);
        }
        let k = k.min(self.live);
        if k == 0 {
            return Ok(Vec::new());
        }
        // A flat index would look at every vector again for each widening: with a filter, look at the admitted ones once.
        if admit.is_some() && rows.kind() == Kind::Flat {
            return self.exhaustive(&rows, query, k, admit);
        }
        // Room for rows that left or came later, twice as many as there are among k, and for ties: what an HNSW index is asked
        // for is what it costs.
        let unseen = rows.len().saturating_sub(self.live);
        let mut fetch = k + 2 * k * unseen / rows.len().max(1) + 16;
        let mut nprobe = rows.nprobe;
        let mut vector = vec![0f32; rows.dimension()];
        while fetch <= exhaustive_from(&rows) {
            let (positions, floor) = rows.nearest(query, fetch, nprobe)?;
            let mut hits = Vec::with_capacity(positions.len());
            for position in positions {
                let label = rows.labels[position];
                if self.sees(&rows, position) && admit.is_none_or(|admit| admit(label)) {
                    rows.vector(position, &mut vector)?;
                    hits.push(Hit {
                        label,
                        score: inner_product(query, &vector),
                    });
                }
            }
            hits.sort_unstable_by(Hit::order);
            // Whoever was not fetched must not be able to tie with the last.
            if hits.len() >= k && hits[k - 1].score > floor + ROUNDING {
                hits.truncate(k);
                return Ok(hits);
            }
            fetch *= 4;
            nprobe *= 2;
        }
        self.exhaustive(&rows, query, k, admit)
    }

    /// The cosine of `query` with the vector of each of `labels`, in their order; `None` where the standing index has no such
    /// row. Also of labels that are not live at this epoch: a label means the same vector for ever.
    ///
    /// `query`: `[d]` finite f32, unit L2 norm.
    pub fn scores(&self, query: &[f32], labels: &[u64]) -> Result<Vec<Option<f32>>, IndexError> {
        let rows = self.standing.read();
        if query.len() != rows.dimension() {
            return Err(IndexError::Dimension {
                expected: rows.dimension(),
                got: query.len(),
            });
        }
        if !query.iter().all(|x| x.is_finite()) {
            return Err(IndexError::NotFinite);
        }
        let mut vector = vec![0f32; rows.dimension()];
        labels
            .iter()
            .map(|label| {
                let Some(row) = rows.by_label.get(label) else {
                    return Ok(None);
                };
                rows.vector(*row, &mut vector)?;
                Ok(Some(inner_product(query, &vector)))
            })
            .collect()
    }

    /// The build below the additions, for one of `kind` to go on from: only if all of its rows are seen, because none can be
    /// taken out.
    pub(super) fn to_go_on_from(&self, kind: Kind) -> Option<Arc<Ann>> {
        let rows = self.standing.read();
        let takes_none = rows.tail.is_some();
        let whole = || (0..rows.base.len()).all(|position| self.sees(&rows, position));
        (takes_none && rows.kind() == kind && whole()).then(|| rows.base.clone())
    }

    /// Labels of the first `count` rows.
    pub(super) fn labels(&self, count: usize) -> Vec<u64> {
        self.standing.read().labels()[..count].to_vec()
    }

    /// The exact answer: every visible row is looked at.
    pub(super) fn exhaustive(
        &self,
        rows: &Rows,
        query: &[f32],
        k: usize,
        admit: Option<&dyn Fn(u64) -> bool>,
    ) -> Result<Vec<Hit>, IndexError> {
        let mut best = BinaryHeap::with_capacity(k + 1);
        let mut vector = vec![0f32; rows.dimension()];
        for position in 0..self.count {
            let label = rows.labels[position];
            if !self.sees(rows, position) || admit.is_some_and(|admit| !admit(label)) {
                continue;
            }
            rows.vector(position, &mut vector)?;
            best.push(Ranked(Hit {
                label,
                score: inner_product(query, &vector),
            }));
            if best.len() > k {
                best.pop();
            }
        }
        Ok(best
            .into_sorted_vec()
            .into_iter()
            .map(|ranked| ranked.0)
            .collect())
    }

    /// Calls `each` with every visible label and its vector from row `first` on, in slices, so that additions are not held up.
    pub(super) fn for_each(
        &self,
        first: usize,
        mut each: impl FnMut(usize, u64, &[f32]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut vector = vec![0f32; self.dimension()];
        for start in (first..self.count).step_by(SLICE) {
            let rows = self.standing.read();
            for position in start..self.count.min(start + SLICE) {
                if self.sees(&rows, position) {
                    rows.vector(position, &mut vector)?;
                    each(position, rows.labels[position], &vector)?;
                }
            }
        }
        Ok(())
    }
}

/// Fetching more than this from the index costs more than looking at every vector.
fn exhaustive_from(rows: &Rows) -> usize {
    match rows.kind() {
        Kind::Flat => rows.len() / 8,
        Kind::Hnsw { .. } | Kind::Ivf { .. } => rows.len() / 32,
    }
}
