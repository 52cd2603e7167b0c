//! What a source of files is, and what it is given: a line to the [queue](super::queue).
//!
//! ```text
//!  Scout ── Found (pass) …, Scanned (pass) ──▶ queue      all there is, at the start and as often as need be
//!        ── Found, Gone, Unknown, Kept ──────▶            one path, when something says that it may have changed
//!        ◀── doubts ──────────────────────────            a path that a pass did not see: look, and answer
//! ```
//!
//! A scout looks at names, never at bytes. What it says is a hint: whether a file is new, changed or the same as ever is
//! found out by the [reader](super::reader), and a hint too many costs one `stat`.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};

use crate::ingest::queue::{Arrival, Name, WakerSlot, wake};
use crate::sources::{Looked, Selection, away};

/// A source of files.
pub trait Scout: Send {
    /// Starts looking, on a thread of its own: the caller is about to start the workers.
    ///
    /// The thread ends when [`Line::send`] says `Break` or `doubts` is disconnected, whichever it meets first: then the
    /// queue is gone. It answers every doubt with `Found`, `Gone`, `Unknown` or `Kept`; a run that is to end when everything is
    /// settled waits for the answer, and for the first [`Arrival::Scanned`].
    ///
    /// # Errors
    /// What keeps it from starting at all.
    fn start(self: Box<Self>, line: Line, doubts: Receiver<Name>) -> io::Result<()>;
}

/// The line from a scout to the queue. Cheap to clone.
#[derive(Clone)]
pub struct Line {
    selection: Arc<Selection>,
    arrivals: Sender<Arrival>,
    waker: WakerSlot,
    passes: Arc<AtomicU64>,
}

impl Line {
    /// To the queue at the other end of `arrivals`, which `waker` wakes.
    pub fn new(selection: Arc<Selection>, arrivals: Sender<Arrival>, waker: WakerSlot) -> Self {
        Self {
            selection,
            arrivals,
            waker,
            passes: Arc::default(),
        }
    }

    /// Which files are wanted, and where they lie.
    pub fn selection(&self) -> &Arc<Selection> {
        &self.selection
    }

    /// The number of a pass that begins now. Passes count from 1.
    pub fn next_pass(&self) -> u64 {
        self.passes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Says `arrival`. `Break`: nobody listens any more.
    pub fn send(&self, arrival: Arrival) -> ControlFlow<()> {
        let sent = self.arrivals.send(arrival);
        wake(&self.waker);
        if sent.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    /// Looks at one path and says what is there. `pass`: it was come by; `None`: something said that it may have changed.
    pub fn look(&self, name: Name, pass: Option<u64>) -> ControlFlow<()> {
        self.send(self.looked(name, pass))
    }

    /// Looks at paths that a pass did not see, and answers. One that is not there is gone only if its input is there and
    /// holds something else: nobody has seen it leave.
    pub fn answer(&self, doubted: Vec<Name>) -> ControlFlow<()> {
        let doubted = doubted.into_iter();
        let looked: Vec<Arrival> = doubted.map(|name| self.looked(name, None)).collect();
        // After the last look: an input that was emptied before it is empty now.
        let mut inputs = BTreeMap::new();
        looked.into_iter().try_for_each(|arrival| {
            let Arrival::Gone(name) = arrival else {
                return self.send(arrival);
            };
            let doubt = inputs
                .entry(name.0)
                .or_insert_with(|| away(&self.selection, name.0));
            self.send(match doubt {
                Some(doubt) => Arrival::Kept(name, doubt.clone()),
                None => Arrival::Gone(name),
            })
        })
    }

    fn looked(&self, (root, path): Name, pass: Option<u64>) -> Arrival {
        match self.selection.look(root, &path) {
            Looked::File(found) => Arrival::Found(vec![found], pass),
            Looked::Folder | Looked::Skipped { .. } | Looked::Gone => Arrival::Gone((root, path)),
            Looked::Unknown { error, .. } => {
                tracing::warn!(path = %path.display(), %error, "can't be looked at; what is known of it stays");
                Arrival::Unknown((root, path))
            }
        }
    }
}
