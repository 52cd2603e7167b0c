//! When is a file worth looking at whose writer does not close it? When it is quiet, or when patience ends.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Files being written. No clock of its own.
#[derive(Debug)]
pub(super) struct Settle<K> {
    quiet: Duration,
    patience: Duration,
    open: HashMap<K, Writing>,
    /// One entry for each of `open` that is valid (its turn is equal), earliest first.
    queue: BinaryHeap<Reverse<(Instant, u64, K)>>,
    turn: u64,
}

#[derive(Debug)]
struct Writing {
    first: Instant,
    last: Instant,
    turn: u64,
}

impl<K: Clone + Eq + Hash + Ord> Settle<K> {
    /// Due after `quiet` without a change, and every ten times that in any case.
    pub(super) fn new(quiet: Duration) -> Self {
        Self {
            quiet,
            patience: quiet * 10,
            open: HashMap::new(),
            queue: BinaryHeap::new(),
            turn: 0,
        }
    }

    /// Other times for what is written from now on.
    pub(super) fn retime(&mut self, quiet: Duration) {
        (self.quiet, self.patience) = (quiet, quiet * 10);
    }

    /// Something was written. True if [`Self::next`] may have come earlier.
    pub(super) fn written(&mut self, key: &K, now: Instant) -> bool {
        if let Some(writing) = self.open.get_mut(key) {
            writing.last = now;
            return false;
        }
        self.turn += 1;
        self.open.insert(
            key.clone(),
            Writing {
                first: now,
                last: now,
                turn: self.turn,
            },
        );
        self.queue
            .push(Reverse((now + self.quiet, self.turn, key.clone())));
        self.queue.len() == 1
    }

    /// Is it being written?
    pub(super) fn is_open(&self, key: &K) -> bool {
        self.open.contains_key(key)
    }

    /// It was closed, or is gone: no longer a matter of time.
    pub(super) fn closed(&mut self, key: &K) {
        self.open.remove(key);
    }

    /// What is due. It stays due no longer: the next write begins anew.
    pub(super) fn due(&mut self, now: Instant) -> Vec<K> {
        let mut due = Vec::new();
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at <= now
        {
            let Some(Reverse((_, turn, key))) = self.queue.pop() else {
                break;
            };
            let Some(writing) = self.open.get(&key).filter(|w| w.turn == turn) else {
                continue;
            };
            let at = (writing.last + self.quiet).min(writing.first + self.patience);
            if at <= now {
                self.open.remove(&key);
                due.push(key);
            } else {
                self.queue.push(Reverse((at, turn, key)));
            }
        }
        due
    }

    /// When to ask again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, ..))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_file_is_due_once_it_is_quiet() {
        let start = Instant::now();
        let mut settle = Settle::new(500 * MS);
        assert!(settle.written(&"a", start));
        assert!(!settle.written(&"a", start + 400 * MS));
        assert!(settle.due(start + 500 * MS).is_empty());
        assert_eq!(settle.next(), Some(start + 900 * MS));
        assert_eq!(settle.due(start + 900 * MS), ["a"]);
        assert_eq!(settle.due(start + 9000 * MS), [""; 0]);
        assert_eq!(settle.next(), None);
    }

    #[test]
    fn a_file_that_is_never_quiet_is_due_all_the_same() {
        let start = Instant::now();
        let mut settle = Settle::new(500 * MS);
        let mut due = Vec::new();
        for tick in 0..=120 {
            let now = start + tick * 100 * MS;
            due.extend(settle.due(now).into_iter().map(|_| tick * 100));
            settle.written(&"log", now);
        }
        assert_eq!(due, [5000, 10_000]);
    }

    #[test]
    fn a_closed_file_is_never_due_and_a_reopened_one_waits_its_full_time() {
        let start = Instant::now();
        let mut settle = Settle::new(500 * MS);
        settle.written(&"a", start);
        settle.closed(&"a");
        settle.written(&"a", start + 300 * MS);
        assert!(settle.due(start + 500 * MS).is_empty());
        assert!(settle.is_open(&"a"));
        assert_eq!(settle.due(start + 800 * MS), ["a"]);
    }
}
