//! Makes an index out of a snapshot and measures it before it may answer.
//!
//! It reads nothing but the snapshot, so it needs no access to the source and runs on any thread, beside queries and additions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::IndexError;
use super::disk::RecallSample;
use super::faiss::Ann;
use super::policy::{self, Kind, RECALL_AT, RECALL_MIN};
use super::snapshot::{Snapshot, inner_product};

/// Vectors handed to FAISS at a time, and so the longest stretch between two looks at `cancelled`.
const BATCH: usize = 4_096;
/// Queries that the recall of HNSW and IVF is measured with, and those that check a flat index.
const QUERIES: (usize, usize) = (100, 16);

/// An index with all that is known of it.
pub(super) struct Made {
    pub ann: Ann,
    pub labels: Vec<u64>,
    /// Row of the snapshot that each row of the index came from.
    pub origins: Vec<usize>,
    pub ef_search: usize,
    pub nprobe: usize,
    pub recall: RecallSample,
}

/// An index of `kind` over what `snapshot` sees, or a flat one where that kind does not find enough.
pub(super) fn make(
    snapshot: &Snapshot,
    kind: Kind,
    threads: usize,
    cancelled: &dyn Fn() -> bool,
) -> Result<Made, IndexError> {
    let made = fill(snapshot, kind, threads, cancelled)?;
    let recall = made.recall.recall();
    if kind == Kind::Flat && recall < 1.0 {
        return Err(IndexError::faiss(
            "build an index",
            format!("an exact index found only {recall:.3}"),
        ));
    }
    if recall < RECALL_MIN {
        tracing::warn!(
            kind = kind.name(),
            recall,
            "the index finds too little on these vectors; building a flat one"
        );
        return make(snapshot, Kind::Flat, threads, cancelled);
    }
    Ok(made)
}

fn fill(
    snapshot: &Snapshot,
    kind: Kind,
    threads: usize,
    cancelled: &dyn Fn() -> bool,
) -> Result<Made, IndexError> {
    let dimension = snapshot.dimension();
    // A view that only grew is not linked anew from the first row on: over a long import that costs several times the last build.
    let mut ann = match snapshot.to_go_on_from(kind) {
        Some(base) => base.copy()?,
        None => Ann::new(kind, dimension)?,
    };
    if let Kind::Ivf { nlist } = kind {
        ann.train(&training(snapshot, nlist)?, threads)?;
    }
    let first = ann.len();
    let mut labels = snapshot.labels(first);
    let mut origins: Vec<usize> = (0..first).collect();
    labels.reserve(snapshot.len().saturating_sub(first));
    origins.reserve(snapshot.len().saturating_sub(first));
    let mut batch = Vec::with_capacity(BATCH * dimension);
    snapshot.for_each(first, |position, label, vector| {
        labels.push(label);
        origins.push(position);
        batch.extend_from_slice(vector);
        if batch.len() == BATCH * dimension {
            if cancelled() {
                return Err(IndexError::Cancelled);
            }
            ann.add(&batch, threads)?;
            batch.clear();
        }
        Ok(())
    })?;
    ann.add(&batch, threads)?;
    if ann.len() != snapshot.len() {
        let what = format!("{} rows where {} are live", ann.len(), snapshot.len());
        return Err(IndexError::faiss("build an index", what));
    }
    let (ef_search, nprobe, recall) = tune(&mut ann, cancelled)?;
    Ok(Made {
        ann,
        labels,
        origins,
        ef_search,
        nprobe,
        recall,
    })
}

/// Vectors to learn cells from, evenly spread over the rows.
fn training(snapshot: &Snapshot, nlist: u32) -> Result<Vec<f32>, IndexError> {
    let (live, wanted) = (
        snapshot.len() as u64,
        policy::training_size(nlist, snapshot.len() as u64),
    );
    let mut vectors = Vec::with_capacity(wanted as usize * snapshot.dimension());
    let mut seen = 0u64;
    snapshot.for_each(0, |_, _, vector| {
        // Row i is taken when i · wanted ÷ live steps over a whole number.
        if (seen + 1) * wanted / live > seen * wanted / live {
            vectors.extend_from_slice(vector);
        }
        seen += 1;
        Ok(())
    })?;
    Ok(vectors)
}

/// Doubles the effort of a query until the sample's recall is reached or nothing is left to double.
fn tune(
    ann: &mut Ann,
    cancelled: &dyn Fn() -> bool,
) -> Result<(usize, usize, RecallSample), IndexError> {
    let sample = Sample::of(ann, cancelled)?;
    let (mut ef_search, mut nprobe) = (policy::EF_SEARCH, 1);
    let most = match ann.kind() {
        Kind::Flat => return Ok((ef_search, nprobe, sample.recall(ann, nprobe)?)),
        Kind::Hnsw { .. } => 1_024,
        Kind::Ivf { nlist } => {
            nprobe = policy::nprobe(nlist);
            nlist as usize
        }
    };
    loop {
        ann.set_ef_search(ef_search)?;
        let recall = sample.recall(ann, nprobe)?;
        let effort = if matches!(ann.kind(), Kind::Hnsw { .. }) {
            &mut ef_search
        } else {
            &mut nprobe
        };
        if recall.recall() >= RECALL_MIN || *effort >= most {
            return Ok((ef_search, nprobe, recall));
        }
        *effort = (*effort * 2).min(most);
    }
}

/// Queries near stored vectors, and how near their true neighbours are.
struct Sample {
    queries: Vec<Vec<f32>>,
    /// For each query, the score of its `k`-th true neighbour.
    worst: Vec<f32>,
    k: usize,
}

impl Sample {
    fn of(ann: &Ann, cancelled: &dyn Fn() -> bool) -> Result<Self, IndexError> {
        let k = RECALL_AT.min(ann.len());
        let wanted = if ann.kind() == Kind::Flat {
            QUERIES.1
        } else {
            QUERIES.0
        };
        let mut vector = vec![0f32; ann.dimension()];
        let mut queries = Vec::with_capacity(wanted);
        let mut noise = 0u64;
        for position in (0..ann.len())
            .step_by((ann.len() / wanted).max(1))
            .take(wanted)
        {
            ann.vector(position, &mut vector)?;
            queries.push(beside(&vector, &mut noise));
        }
        // All queries in one pass over the vectors.
        let mut best: Vec<BinaryHeap<Reverse<Ordered>>> =
            queries.iter().map(|_| BinaryHeap::new()).collect();
        for position in 0..ann.len() {
            if position % BATCH == 0 && cancelled() {
                return Err(IndexError::Cancelled);
            }
            ann.vector(position, &mut vector)?;
            for (query, best) in queries.iter().zip(&mut best) {
                best.push(Reverse(Ordered(inner_product(query, &vector))));
                if best.len() > k {
                    best.pop();
                }
            }
        }
        let worst = best
            .iter()
            .map(|best| best.peek().map_or(0.0, |score| score.0.0))
            .collect();
        Ok(Self { queries, worst, k })
    }

    fn recall(&self, ann: &Ann, nprobe: usize) -> Result<RecallSample, IndexError> {
        let mut found = 0;
        for (query, worst) in self.queries.iter().zip(&self.worst) {
            let near = ann.search(query, self.k, nprobe)?;
            found += near.iter().filter(|n| n.score >= worst - 1e-5).count();
        }
        Ok(RecallSample {
            at: self.k as u64,
            asked: (self.k * self.queries.len()) as u64,
            found: found as u64,
        })
    }
}

/// A unit vector at a cosine of about .9 from `vector`: a question is never a stored text.
fn beside(vector: &[f32], state: &mut u64) -> Vec<f32> {
    let scale = 0.5 * (3.0 / vector.len() as f32).sqrt();
    let mut query: Vec<f32> = vector
        .iter()
        .map(|x| {
            // splitmix64: the same queries for the same vectors, on every run.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            x + scale * ((z >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
        })
        .collect();
    let norm = inner_product(&query, &query).sqrt().max(f32::MIN_POSITIVE);
    query.iter_mut().for_each(|x| *x /= norm);
    query
}

/// A score in a heap.
#[derive(PartialEq)]
struct Ordered(f32);

impl Eq for Ordered {}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
