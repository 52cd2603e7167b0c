//! Which texts to embed together: oldest epoch first, and nearly no padding.
//!
//! A batch is one rectangle of tokens: as wide as its longest text, and padding costs as much as text. So a batch is
//! made around the longest waiting text *of the oldest epoch*, which is what holds the frontier back, and filled with the
//! next shorter ones of *any* epoch until the rectangle is full, or the next one is so much shorter that it is cheaper on its own.
//!
//! ```
//! use floodmark_operators::batch::Planner;
//! let mut planner = Planner::new(100); // tokens in a batch, padding included
//! planner.insert(7, 40, "old, long");
//! planner.insert(7, 10, "old, short");
//! planner.insert(8, 39, "new, as long");
//! planner.insert(8, 90, "new, longer");
//! assert_eq!(planner.next_batch(), vec!["old, long", "new, as long"]);
//! assert_eq!(planner.next_batch(), vec!["old, short"]);
//! assert_eq!(planner.next_batch(), vec!["new, longer"]);
//! assert!(planner.next_batch().is_empty());
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use crate::keys::Epoch;

/// A text joins a batch for at most this part of the budget as its padding. On a processor a batch of 256 tokens costs some four
/// tokens more than its tokens do (docs/decisions/0016-ingestion.md); who asks for larger ones says that a batch is dear.
const PADDING_SHARE: usize = 32;

/// Texts that wait, by age and by length. All operations take logarithmic time.
pub struct Planner<K> {
    budget_tokens: usize,
    waiting: HashMap<K, (Epoch, usize)>,
    by_age: BTreeMap<Epoch, BTreeSet<(usize, K)>>,
    by_length: BTreeSet<(usize, K)>,
}

impl<K: Copy + Ord + Hash> Planner<K> {
    /// Plans batches of at most `budget_tokens`, padding included. A longer text is a batch of its own.
    pub fn new(budget_tokens: usize) -> Self {
        Self {
            budget_tokens,
            waiting: HashMap::new(),
            by_age: BTreeMap::new(),
            by_length: BTreeSet::new(),
        }
    }

    /// Number of texts that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// `key`, a text of `tokens`, waits since `epoch`. A key that waits already keeps its place.
    pub fn insert(&mut self, epoch: Epoch, tokens: usize, key: K) {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.waiting.entry(key) {
            entry.insert((epoch, tokens));
            self.by_age.entry(epoch).or_default().insert((tokens, key));
            self.by_length.insert((tokens, key));
        }
    }

    /// `key` no longer waits. Returns whether it did.
    pub fn remove(&mut self, key: &K) -> bool {
        let Some((epoch, tokens)) = self.waiting.remove(key) else {
            return false;
        };
        self.by_length.remove(&(tokens, *key));
        let peers = self.by_age.get_mut(&epoch).expect("what waits has an age");
        peers.remove(&(tokens, *key));
        if peers.is_empty() {
            self.by_age.remove(&epoch);
        }
        true
    }

    /// The next batch, longest first; empty when nothing waits.
    pub fn next_batch(&mut self) -> Vec<K> {
        let Some(&(width, first)) = self
            .by_age
            .first_key_value()
            .and_then(|(_, peers)| peers.last())
        else {
            return Vec::new();
        };
        let rows = (self.budget_tokens / width.max(1)).max(1);
        let narrowest = width.saturating_sub(self.budget_tokens / PADDING_SHARE);
        let mut batch = vec![first];
        batch.extend(
            self.by_length
                .range(..=(width, first))
                .rev()
                .take_while(|(tokens, _)| *tokens >= narrowest)
                .map(|(_, key)| *key)
                .filter(|key| *key != first)
                .take(rows - 1),
        );
        for key in &batch {
            self.remove(key);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each text comes out once, no batch is over budget unless it is one text, and each batch has a text of the
        /// oldest epoch.
        #[test]
        fn every_text_once_oldest_first_within_the_budget(
            texts in prop::collection::vec((0u64..5, 1usize..300), 0..200),
            removed in prop::collection::btree_set(0usize..200, 0..50),
            budget in 1usize..1000,
        ) {
            let mut planner = Planner::new(budget);
            for (key, (epoch, tokens)) in texts.iter().enumerate() {
                planner.insert(*epoch, *tokens, key);
            }
            let mut left: BTreeSet<usize> = (0..texts.len()).collect();
            for key in &removed {
                prop_assert_eq!(planner.remove(key), left.remove(key));
            }
            while !left.is_empty() {
                prop_assert_eq!(planner.len(), left.len());
                let oldest = left.iter().map(|key| texts[*key].0).min().unwrap();
                let batch = planner.next_batch();
                prop_assert!(batch.iter().any(|key| texts[*key].0 == oldest));
                let width = batch.iter().map(|key| texts[*key].1).max().unwrap();
                prop_assert!(batch.len() == 1 || width * batch.len() <= budget);
                prop_assert!(batch.iter().all(|key| width - texts[*key].1 <= budget / PADDING_SHARE));
                for key in batch {
                    prop_assert!(left.remove(&key), "{} twice, or after its removal", key);
                }
            }
            prop_assert!(planner.next_batch().is_empty() && planner.is_empty());
        }
    }
}
