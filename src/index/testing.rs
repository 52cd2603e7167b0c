//! What the tests of this module share: clustered vectors, a source in memory, and the exact answer.

use std::collections::{BTreeMap, BTreeSet};

use floodmark_operators::keys::Epoch;

use super::snapshot::inner_product;
use super::{Change, Hit, SourceError, VectorSource};

/// splitmix64.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// About normal.
    fn normal(&mut self) -> f32 {
        (0..4)
            .map(|_| (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5)
            .sum::<f32>()
            * 1.73
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = inner_product(&vector, &vector).sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

/// The vector of a label: one of `clusters` directions, and something of its own. The same for ever.
pub(super) fn clustered(label: u64, dimension: usize, clusters: u64) -> Vec<f32> {
    let mut own = Random(label.wrapping_mul(0x2545_f491_4f6c_dd1d) + 1);
    let mut centre = Random(own.below(clusters) + 0xc1u64);
    unit(
        (0..dimension)
            .map(|_| centre.normal() + 0.6 * own.normal())
            .collect(),
    )
}

/// A source whose history is a list of epochs; labels from [`Self::EQUALS`] on share a vector by forties.
pub(super) struct Memory {
    pub dimension: usize,
    pub model: String,
    pub clusters: u64,
    pub history: Vec<Change>,
    pub pruned_before: Epoch,
    pub epoch: Epoch,
    pub missing: BTreeSet<u64>,
}

impl Memory {
    pub const EQUALS: u64 = 1 << 40;

    pub fn new(dimension: usize) -> Self {
        Self {
            dimension,
            model: "test".into(),
            clusters: 50,
            history: Vec::new(),
            pruned_before: 0,
            epoch: 0,
            missing: BTreeSet::new(),
        }
    }

    pub fn vector(&self, label: u64) -> Vec<f32> {
        clustered(
            if label >= Self::EQUALS {
                label / 40
            } else {
                label
            },
            self.dimension,
            self.clusters,
        )
    }

    /// Commits an epoch.
    pub fn commit(&mut self, ops: impl IntoIterator<Item = (u64, i8)>) -> Epoch {
        self.epoch += 1;
        let epoch = self.epoch;
        self.history.extend(
            ops.into_iter()
                .map(|(label, op)| Change { epoch, label, op }),
        );
        epoch
    }

    /// Labels live at an epoch, recomputed from the whole history.
    pub fn live_at(&self, epoch: Epoch) -> BTreeSet<u64> {
        let mut counts: BTreeMap<u64, i64> = BTreeMap::new();
        for change in self.history.iter().filter(|c| c.epoch <= epoch) {
            *counts.entry(change.label).or_default() += i64::from(change.op);
        }
        counts
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .map(|(label, _)| label)
            .collect()
    }

    /// The exact answer at an epoch.
    pub fn nearest(
        &self,
        epoch: Epoch,
        query: &[f32],
        k: usize,
        admit: &dyn Fn(u64) -> bool,
    ) -> Vec<Hit> {
        let live = self
            .live_at(epoch)
            .into_iter()
            .filter(|label| admit(*label));
        let mut hits: Vec<Hit> = live
            .map(|label| Hit {
                label,
                score: inner_product(query, &self.vector(label)),
            })
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.label.cmp(&b.label)));
        hits.truncate(k);
        hits
    }
}

impl VectorSource for Memory {
    fn epoch(&self) -> Result<Epoch, SourceError> {
        Ok(self.epoch)
    }
    fn dimension(&self) -> usize {
        self.dimension
    }
    fn model_id(&self) -> String {
        self.model.clone()
    }
    fn live_count(&self) -> Result<u64, SourceError> {
        Ok(self.live_at(self.epoch).len() as u64)
    }
    fn live(&self, each: &mut dyn FnMut(u64, &[f32])) -> Result<(), SourceError> {
        for label in self.live_at(self.epoch) {
            each(label, &self.vector(label));
        }
        Ok(())
    }
    fn changes_after(&self, epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError> {
        let changes = self
            .history
            .iter()
            .filter(|c| c.epoch > epoch)
            .copied()
            .collect();
        Ok((epoch >= self.pruned_before).then_some(changes))
    }
    fn vectors(
        &self,
        labels: &[u64],
        each: &mut dyn FnMut(u64, &[f32]),
    ) -> Result<(), SourceError> {
        for label in labels.iter().filter(|l| !self.missing.contains(l)) {
            each(*label, &self.vector(*label));
        }
        Ok(())
    }
}
