//! Two threads that look at names, so that the worker never waits for a file system: one walks, one follows the watch.
//!
//! The watch is set folder by folder as the walk enters them, before each is listed. Every event is a hint only: what it
//! names is looked at, and what is found goes to the [queue](super::queue).

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select, unbounded};

use crate::fault;
use crate::ingest::line::Line;
use crate::ingest::queue::{Arrival, Name};
use crate::sources::{Event, Found, Scope, SourceOptions, Watcher, scan, watch};

/// Files a message.
const FOUND_BATCH: usize = 256;

/// The threads; they end when the queue does.
pub struct Scouts {
    rescans: Sender<Scope>,
    watcher: Option<Arc<Watcher>>,
}

impl Scouts {
    /// Starts both threads. Without `watching`, everything is scanned once and that is all.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(line: Line, doubts: Receiver<Name>, watching: bool) -> io::Result<Self> {
        let (events_sender, events) = unbounded();
        let (rescans, to_scan) = unbounded();
        let watcher = match watching {
            true => Some(Arc::new(watch(
                line.selection().clone(),
                events_sender.clone(),
                || {},
            )?)),
            false => None,
        };
        let _ = rescans.send(Scope::All);
        let (walker, walking) = (Walker(line.clone()), watcher.clone());
        std::thread::Builder::new()
            .name("scan".into())
            .spawn(move || walker.walk_for_ever(&to_scan, walking.as_deref()))?;
        let (looker, looking, ask) = (Walker(line), watcher.clone(), rescans.clone());
        std::thread::Builder::new()
            .name("look".into())
            .spawn(move || {
                let _keep_open = events_sender; // without a watch there are doubts all the same
                looker.look_for_ever(&events, &doubts, looking.as_deref(), &ask)
            })?;
        Ok(Self { rescans, watcher })
    }

    /// Scans everything, now.
    pub fn rescan(&self) {
        // The thread ends with the queue; then there is nothing to scan for.
        let _ = self.rescans.send(Scope::All);
    }

    /// A handle by which a run that goes on is told other times.
    pub fn timer(&self) -> Timer {
        Timer {
            rescans: self.rescans.clone(),
            watcher: self.watcher.as_ref().map(Arc::downgrade),
        }
    }

    /// The watch, if there is one.
    pub fn watcher(&self) -> Option<&Watcher> {
        self.watcher.as_deref()
    }
}

/// Tells the threads other times. Keeps none of them alive.
pub struct Timer {
    rescans: Sender<Scope>,
    watcher: Option<Weak<Watcher>>,
}

impl Timer {
    /// From now on goes by the times in `options`; a scan at once makes sure that no old pause is waited for.
    pub fn retime(&self, options: &SourceOptions) {
        if let Some(watcher) = self.watcher.as_ref().and_then(Weak::upgrade) {
            watcher.retime(options);
            // The thread ends with the queue; then there is nothing to scan for.
            let _ = self.rescans.send(Scope::All);
        }
    }
}

/// What both threads can do.
struct Walker(Line);

impl Walker {
    fn walk(&self, scope: &Scope, watcher: Option<&Watcher>) -> ControlFlow<()> {
        let line = &self.0;
        fault::pass("scan.walk");
        let pass = line.next_pass();
        let mut batch: Vec<Found> = Vec::new();
        let report = scan(line.selection(), watcher, scope, &mut |found| {
            batch.push(found);
            if batch.len() < FOUND_BATCH {
                return ControlFlow::Continue(());
            }
            line.send(Arrival::Found(std::mem::take(&mut batch), Some(pass)))
        });
        line.send(Arrival::Found(batch, Some(pass)))?;
        line.send(Arrival::Scanned(pass, report))
    }

    fn walk_for_ever(&self, to_scan: &Receiver<Scope>, watcher: Option<&Watcher>) {
        loop {
            let pause = watcher.map_or(Duration::MAX, |watcher| {
                Duration::from_secs(watcher.scan_every_secs().max(1))
            });
            let scope = match to_scan.recv_timeout(pause) {
                Ok(scope) => scope,
                Err(RecvTimeoutError::Timeout) => Scope::All,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.walk(&scope, watcher).is_break() {
                return;
            }
        }
    }

    fn look_for_ever(
        &self,
        events: &Receiver<Event>,
        doubts: &Receiver<Name>,
        watcher: Option<&Watcher>,
        ask: &Sender<Scope>,
    ) {
        loop {
            let mut batch = Vec::new();
            select! {
                recv(events) -> event => match event {
                    Ok(event) => batch.push(event),
                    Err(_) => return,
                },
                recv(doubts) -> name => match name {
                    Ok(name) => {
                        let doubted = std::iter::once(name).chain(doubts.try_iter());
                        if self.0.answer(doubted.collect()).is_break() {
                            return;
                        }
                        continue;
                    }
                    Err(_) => return, // the queue is gone
                },
            }
            fault::pass("scan.look");
            // A writer makes several events a file; what is waiting is looked at once.
            batch.extend(events.try_iter());
            let mut seen = HashSet::new();
            batch.retain(|event| seen.insert(event.clone()));
            for event in batch {
                let sent = match event {
                    Event::Changed { root, path } => self.0.look((root, path), None),
                    Event::Subtree { root, path } => {
                        self.walk(&Scope::Subtree { root, path }, watcher)
                    }
                    Event::Rescan { root, reason } => {
                        tracing::warn!(?reason, "everything is looked at again");
                        let _ = ask.send(root.map_or(Scope::All, Scope::Root));
                        ControlFlow::Continue(())
                    }
                };
                if sent.is_break() {
                    return;
                }
            }
        }
    }
}
