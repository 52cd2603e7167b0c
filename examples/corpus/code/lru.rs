//! A cache that forgets what was not asked for lately.

use std::collections::{HashMap, VecDeque};

/// Keeps at most `capacity` values; the one that nobody has read for longest makes room for a new one.
pub struct Lru<V> {
    capacity: usize,
    values: HashMap<String, V>,
    order: VecDeque<String>,
}

impl<V> Lru<V> {
    /// An empty cache.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            values: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The value, which counts as a use.
    pub fn get(&mut self, key: &str) -> Option<&V> {
        self.order.retain(|other| other != key);
        self.order.push_back(key.to_owned());
        self.values.get(key)
    }

    /// Stores a value and evicts the stalest one if there are too many.
    pub fn put(&mut self, key: &str, value: V) {
        self.order.retain(|other| other != key);
        self.order.push_back(key.to_owned());
        self.values.insert(key.to_owned(), value);
        while self.values.len() > self.capacity {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.values.remove(&oldest);
        }
    }
}
