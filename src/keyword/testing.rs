//! What the tests of this module share: texts, a source in memory, and the exact answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use floodmark_operators::keys::Epoch;

use super::analyse::{Analyser, Languages, split};
use super::{Change, Hit, SourceError, TextSource};
use crate::index::Rank;

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
}

/// Words, the first of them the most frequent.
const WORDS: [&str; 24] = [
    "tide",
    "harbour",
    "moon",
    "gauge",
    "storm",
    "surge",
    "river",
    "delta",
    "basin",
    "flood",
    "dyke",
    "sluice",
    "getUserName",
    "path/to/file.rs",
    "utf8",
    "Crème",
    "潮位",
    "洪水警报",
    "the",
    "and",
    "levels",
    "der",
    "die",
    "steigt",
];

/// The text of a label: the same for ever.
pub(super) fn text(label: u64) -> String {
    let mut random = Random(label.wrapping_mul(0x2545_f491_4f6c_dd1d) + 1);
    let count = 3 + random.below(20);
    let words: Vec<&str> = (0..count)
        .map(|_| {
            let (a, b) = (random.below(24), random.below(24));
            WORDS[a.min(b) as usize]
        })
        .collect();
    format!("{} n{label}", words.join(" "))
}

/// Queries that meet those texts.
pub(super) const QUERIES: [&str; 9] = [
    "tide",
    "harbours of the moon",
    "user name",
    "sluice sluice basin",
    "file.rs",
    "creme",
    "水",
    "洪水",
    "the and",
];

/// A source whose history is a list of epochs.
#[derive(Default)]
pub(super) struct Memory {
    pub history: Vec<Change>,
    pub pruned_before: Epoch,
    pub epoch: Epoch,
    pub missing: BTreeSet<u64>,
    /// Texts that are not those of [`text`].
    pub others: HashMap<u64, String>,
}

impl Memory {
    pub fn text(&self, label: u64) -> String {
        (self.others.get(&label).cloned()).unwrap_or_else(|| text(label))
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

    /// An epoch in which these texts arrive.
    pub fn add(&mut self, texts: &[&str]) -> Vec<u64> {
        let first = self.others.len() as u64 + 1;
        let labels: Vec<u64> = (first..first + texts.len() as u64).collect();
        for (label, text) in labels.iter().zip(texts) {
            self.others.insert(*label, (*text).to_owned());
        }
        self.commit(labels.iter().map(|label| (*label, 1)));
        labels
    }

    /// Labels live at an epoch, recomputed from the whole history.
    pub fn live_at(&self, epoch: Epoch) -> BTreeSet<u64> {
        let mut counts: BTreeMap<u64, i64> = BTreeMap::new();
        for change in self.history.iter().filter(|c| c.epoch <= epoch) {
            *counts.entry(change.label).or_default() += i64::from(change.op);
        }
        (counts.into_iter())
            .filter(|(_, n)| *n > 0)
            .map(|(label, _)| label)
            .collect()
    }

    /// The exact answer at an epoch for words of one term each, by the formula: nothing of the view but its analyser.
    pub fn best(
        &self,
        epoch: Epoch,
        query: &str,
        k: usize,
        admit: &dyn Fn(u64) -> bool,
    ) -> Vec<Hit> {
        let mut analyser = Analyser::new(Languages::Auto);
        let mut texts: BTreeMap<u64, (HashMap<String, u32>, f64)> = BTreeMap::new();
        let mut spoken = BTreeSet::new();
        for label in self.live_at(epoch) {
            let (terms, held) = analyser.text(&self.text(label));
            spoken.insert(held.language);
            let mut counts = HashMap::new();
            for term in terms.split(['\u{1}', '\u{2}']).filter(|t| !t.is_empty()) {
                *counts.entry(term.to_owned()).or_default() += 1;
            }
            texts.insert(label, (counts, held.words as f64));
        }
        let n = texts.len() as f64;
        let mean = texts.values().map(|(_, words)| words).sum::<f64>() / n;
        // Each word of the query: the terms that it may be, over all languages.
        let mut words: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        let mut stops: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        split(query, &mut |piece| {
            let (mut kept, mut stopped) = (BTreeSet::new(), BTreeSet::new());
            for language in &spoken {
                let (term, stop) = analyser.term(*language, &piece);
                if stop { &mut stopped } else { &mut kept }.insert(term);
            }
            if piece.kind == super::analyse::Kind::Pair && piece.term.chars().count() == 1 {
                kept = (texts.values())
                    .flat_map(|(counts, _)| counts.keys())
                    .filter(|term| term.starts_with(&piece.term))
                    .cloned()
                    .collect();
            }
            if piece.kind != super::analyse::Kind::Last {
                let (into, terms) = match kept.is_empty() {
                    true => (&mut stops, stopped),
                    false => (&mut words, kept),
                };
                *into.entry(terms.into_iter().collect()).or_default() += 1.0;
            }
            ControlFlow::Continue(())
        });
        if words.is_empty() {
            words = stops;
        }
        let mut scores: BTreeMap<u64, f64> = BTreeMap::new();
        for (terms, times) in words {
            let having: usize = (terms.iter())
                .map(|term| texts.values().filter(|(t, _)| t.contains_key(term)).count())
                .sum();
            let having = (having as f64).min(n);
            let idf = (1.0 + (n - having + 0.5) / (having + 0.5)).ln() * times;
            for (label, (counts, words)) in &texts {
                for tf in terms.iter().filter_map(|term| counts.get(term)) {
                    let tf = f64::from(*tf);
                    let gain = idf * tf / (tf + 0.9 * (0.6 + 0.4 * words / mean));
                    *scores.entry(*label).or_default() += gain;
                }
            }
        }
        let mut hits: Vec<Hit> = (scores.into_iter())
            .filter(|(label, _)| admit(*label))
            .map(|(label, score)| Hit {
                label,
                score: score as f32,
            })
            .collect();
        hits.sort_by(Rank::order);
        hits.truncate(k);
        hits
    }
}

impl TextSource for Memory {
    fn epoch(&self) -> Result<Epoch, SourceError> {
        Ok(self.epoch)
    }

    fn live_count(&self) -> Result<u64, SourceError> {
        Ok(self.live_at(self.epoch).len() as u64)
    }

    fn live(&self, each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError> {
        for label in self.live_at(self.epoch) {
            each(label, &self.text(label));
        }
        Ok(())
    }

    fn changes_after(&self, epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError> {
        let changes = (self.history.iter())
            .filter(|c| c.epoch > epoch)
            .copied()
            .collect();
        Ok((epoch >= self.pruned_before).then_some(changes))
    }

    fn texts(&self, labels: &[u64], each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError> {
        for label in labels.iter().filter(|l| !self.missing.contains(l)) {
            each(*label, &self.text(*label));
        }
        Ok(())
    }
}
