//! What contents are known to consist of, so that none is parsed or chunked twice.
//!
//! One memo lives on each worker, for the contents that the worker owns, and is shared by the operators on it that look
//! things up ([`parse`](crate::parse)), that learn ([`chunk`](crate::chunk)) and that forget ([`expand`](crate::expand)).
//!
//! **Invariant.** [`Memo::known`] answers only for contents whose chunks are all embedded, so that whoever relies on it
//! need not send a text again. That is so for what the store holds, and for what was learned at an epoch that was
//! committed while the content was live. A content that leaves *before* its epoch is durable is forgotten, because its
//! embeddings may have been cancelled.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::ProbeHandle;

use crate::keys::{ChunkHash, ContentKey, Epoch};

struct Entry {
    chunks: Arc<[ChunkHash]>,
    since: Epoch,
}

/// A worker's memory of contents. Cloning shares it.
#[derive(Clone)]
pub struct Memo {
    entries: Rc<RefCell<HashMap<ContentKey, Entry>>>,
    committed: ProbeHandle<Epoch>,
}

impl Memo {
    /// Knows nothing. `committed` is the durable frontier.
    pub fn new(committed: ProbeHandle<Epoch>) -> Self {
        Self {
            entries: Rc::default(),
            committed,
        }
    }

    /// The chunks of `content`, if a finding at `time` may rely on them.
    pub fn known(&self, content: &ContentKey, time: Epoch) -> Option<Arc<[ChunkHash]>> {
        let entries = self.entries.borrow();
        let entry = entries.get(content)?;
        (entry.since == time || self.durable(entry.since)).then(|| entry.chunks.clone())
    }

    /// `content` was found at `time` to consist of `chunks`, whose texts were sent on at that time.
    pub fn learn(&self, content: ContentKey, chunks: Arc<[ChunkHash]>, time: Epoch) {
        self.entries.borrow_mut().insert(
            content,
            Entry {
                chunks,
                since: time,
            },
        );
    }

    /// `content` is no longer live.
    pub fn left(&self, content: &ContentKey) {
        let mut entries = self.entries.borrow_mut();
        if entries
            .get(content)
            .is_some_and(|entry| !self.durable(entry.since))
        {
            entries.remove(content);
        }
    }

    fn durable(&self, epoch: Epoch) -> bool {
        !self.committed.less_equal(&epoch)
    }
}
