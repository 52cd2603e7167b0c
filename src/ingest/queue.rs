//! What to look at next: the one place that knows every file, and decides what goes into which epoch.
//!
//! ```text
//!  scouts ── found, gone, scanned ──▶ ┌───────┐ ── hints of one epoch ──▶ source
//!  ledger ── committed ─────────────▶ │ queue │
//!  timers ── retries ───────────────▶ └───────┘
//! ```
//!
//! * A file is looked at by one reader at a time; what is heard of it meanwhile makes it look again afterwards. So the
//!   versions of one file follow each other, and a file that changes a hundred times a second costs one look an epoch.
//! * A large file is gone on with as soon as a slice of it was read, in the next epoch. Nothing can overtake: epochs are committed
//!   in their order, so whatever follows from a slice becomes durable after it or not at all.
//! * What just changed goes before what a scan found, and the last of the epochs in flight is reserved for it.
//! * A file too large for one look is gone on with while it has less left than the next in line has. So files are finished one
//!   after the other instead of all at the end, and one of 10 GB holds up none that is smaller.
//! * An epoch is as large as can be embedded and committed in about [`Pace::target_ms`]: the budget shrinks when epochs
//!   take longer and grows when they take less. That, and the bound on epochs in flight, is why a file that changes during
//!   a long import is searchable within a second.

mod absent;
mod entry;
mod files;
mod outcome;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};
use floodmark_operators::keys::{Epoch, PathKey};
use floodmark_operators::source::{Feed, Next};
use timely::scheduling::SyncActivator;

use crate::ingest::failed::{Letter, Outcome};
use crate::ingest::hint::{Again, Hint, Known, once_more};
use crate::ingest::ledger::Witness;
use crate::ingest::memory::Pressure;
use crate::ingest::progress::Progress;
use crate::sources::{Doubt, Found, Identity, ScanReport};
use crate::store::row::FileRow;

use entry::{Entry, Phase, Sighting};
use files::Files;

/// Names a file: its root's number and its path below it.
pub type Name = (usize, PathBuf);

/// What the queue hears.
pub enum Arrival {
    /// Selected files that are there. `pass` numbers the scan that saw them; `None`: the watch.
    Found(Vec<Found>, Option<u64>),
    /// This path is not there, or no longer selected.
    Gone(Name),
    /// This path could not be looked at: neither there nor gone.
    Unknown(Name),
    /// This path is not there, and for this reason nobody can tell whether it is gone.
    Kept(Name, Doubt),
    /// The scan `pass` is over.
    Scanned(u64, ScanReport),
    /// A slice of this file was read, and it is not the last: what the row will say when it is durable.
    Slice(FileRow),
    /// These files' rows are durable.
    Committed(Vec<FileRow>),
    /// Look again at these files, and ask the model again for those texts.
    Retry(Vec<Again>),
    /// Take these files out of the index: they are not there, and somebody said that it is for good.
    Forget(Vec<Remembered>),
    /// What became of a dead file that was to be moved away.
    Moved(Name, Box<Outcome>),
    /// Admit nothing more; end when what is under way is committed.
    Stop,
}

/// How the queue divides work into epochs.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Epochs that may be minted and not committed.
    pub in_flight: usize,
    /// How long an epoch may take from its minting to its commit, in milliseconds.
    pub target_ms: u64,
    /// End when everything that is there now is settled.
    pub once: bool,
}

const BUDGET_MIN: usize = 8 << 10;
const BUDGET_START: usize = 32 << 10;
const BUDGET_MAX: usize = 4 << 20;
/// What a file costs beside its bytes: opening, rows, a commit's share.
const FILE_COST: usize = 256;
/// How long a run that ends when it is done waits for memory while nothing is under way that could free any.
const STARVING_MAX: Duration = Duration::from_secs(10);
/// Wait before a file that changed under the reader's eyes is looked at again.
const MOVING_PAUSE: Duration = Duration::from_millis(20);

struct Minted {
    epoch: Epoch,
    at: Instant,
    full: bool,
}

/// Feeds the source of worker 0.
pub struct Queue {
    roots: Vec<PathBuf>,
    files: Files,
    /// To be taken out of the index in one epoch, and under way to that.
    leaving: Vec<Hint>,
    /// Some that were kept are so no more, and were not counted since.
    released: bool,
    /// More are kept than when they were last counted.
    kept_more: bool,
    left: BTreeSet<PathKey>,
    fresh: VecDeque<Name>,
    bulk: VecDeque<Name>,
    /// Read in part: the bytes that are left, least first.
    begun: BinaryHeap<Reverse<(u64, Name)>>,
    delayed: BinaryHeap<Reverse<(Instant, Name)>>,
    arrivals: Receiver<Arrival>,
    /// Paths that a scan should have seen and did not go here, to be looked at one by one.
    doubts: Sender<Name>,
    /// How many of them have not come back.
    doubted: usize,
    /// Scans of everything that are over.
    scans: u64,
    under_way: usize,
    minted: VecDeque<Minted>,
    budget: usize,
    pace: Pace,
    stopping: bool,
    progress: Arc<Progress>,
    waker: WakerSlot,
    /// Where dead files go to be moved away, if they are.
    failed: Option<Sender<Letter>>,
    /// Since when memory keeps everything from being admitted, with nothing under way.
    starving: Option<Instant>,
}

/// Where the source leaves the handle that wakes it.
pub type WakerSlot = Arc<std::sync::OnceLock<SyncActivator>>;

/// Wakes the source, once there is one.
pub fn wake(slot: &WakerSlot) {
    if let Some(waker) = slot.get() {
        // An error means that the worker is gone, and with it the need to wake it.
        let _ = waker.activate();
    }
}

/// Tells the queue what was committed.
pub struct Acknowledge {
    /// To the queue.
    pub arrivals: Sender<Arrival>,
    /// And wakes it.
    pub waker: WakerSlot,
}

impl Witness for Acknowledge {
    fn committed(&mut self, _upper: Epoch, files: &[FileRow]) {
        if !files.is_empty() {
            // The queue is gone once it has said that it is done: nobody needs to know any more.
            let _ = self.arrivals.send(Arrival::Committed(files.to_vec()));
        }
        wake(&self.waker);
    }
}

impl Queue {
    /// Knows `files` of earlier runs, which lie under `roots`.
    pub fn new(
        roots: Vec<PathBuf>,
        files: Vec<Remembered>,
        channels: (Receiver<Arrival>, Sender<Name>),
        pace: Pace,
        progress: Arc<Progress>,
        waker: WakerSlot,
        failed: Option<Sender<Letter>>,
    ) -> Self {
        let mut queue = Self {
            roots,
            files: Files::default(),
            leaving: Vec::new(),
            released: false,
            kept_more: false,
            left: BTreeSet::new(),
            fresh: VecDeque::new(),
            bulk: VecDeque::new(),
            begun: BinaryHeap::new(),
            delayed: BinaryHeap::new(),
            arrivals: channels.0,
            doubts: channels.1,
            doubted: 0,
            scans: 0,
            under_way: 0,
            minted: VecDeque::new(),
            budget: BUDGET_START,
            pace,
            stopping: false,
            progress,
            waker,
            failed,
            starving: None,
        };
        let mut entries: Vec<(Name, Entry)> = Vec::with_capacity(files.len());
        for remembered in files {
            let Remembered {
                root,
                path,
                mut known,
                last_seen,
                standpoint,
            } = remembered;
            let lies_below = |input: &PathBuf| input.as_os_str() == root.as_os_str();
            let Some(number) = queue.roots.iter().position(lies_below) else {
                continue;
            };
            let size = known.identity.map_or(0, |identity| identity.size);
            let unfinished = known.filling.is_some();
            // Died in a run that did not move such files, or had no time to.
            let stranded = standpoint == Standpoint::Dead && queue.failed.is_some();
            if stranded {
                known.identity = None;
            }
            let entry = Entry {
                known,
                size,
                last_seen,
                moved: standpoint == Standpoint::Moved,
                unfinished: unfinished || stranded || standpoint == Standpoint::Retrying,
                ..Entry::default()
            };
            entries.push(((number, path), entry));
        }
        queue.files = Files::of(entries);
        queue
    }

    /// Puts a file in line, unless it is there already.
    fn enqueue(&mut self, name: Name, fresh: bool) {
        let entry = self.files.entry(&name);
        match entry.phase {
            Phase::InFlight | Phase::Moving => entry.again = true,
            // It stands in a slow line and has just changed. Its place there is passed over when it comes.
            Phase::Queued if fresh && !entry.hurried => {
                entry.hurried = true;
                self.fresh.push_back(name)
            }
            Phase::Queued => {}
            Phase::Resting | Phase::Delayed => {
                // One that was to wait for its time was counted when it began to.
                self.under_way += usize::from(entry.phase == Phase::Resting);
                (entry.phase, entry.hurried) = (Phase::Queued, fresh);
                if fresh {
                    self.fresh.push_back(name)
                } else if let Some(left) = entry.bytes_left() {
                    self.begun.push(Reverse((left, name)))
                } else {
                    self.bulk.push_back(name)
                }
            }
        }
    }

    fn hear(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Found(found, pass) => {
                found.into_iter().for_each(|found| self.found(found, pass))
            }
            Arrival::Gone(name) => {
                self.answered(&name);
                if let Some(entry) = self.files.get_mut(&name)
                    && !entry.moved
                    && entry.phase != Phase::Moving
                {
                    entry.gone = true;
                    self.released |= entry.kept.take().is_some();
                    entry.failures = 0;
                    self.enqueue(name, true);
                }
            }
            Arrival::Unknown(name) => self.answered(&name),
            Arrival::Kept(name, doubt) => self.keep(&name, doubt),
            Arrival::Scanned(pass, report) => self.scanned(pass, &report),
            Arrival::Slice(row) => self.slice(row),
            Arrival::Committed(rows) => rows.into_iter().for_each(|row| self.committed(row)),
            Arrival::Retry(files) => files.into_iter().for_each(|file| self.retry(file)),
            Arrival::Forget(files) => files.into_iter().for_each(|file| self.forget(file)),
            Arrival::Moved(name, outcome) => self.moved(name, *outcome),
            Arrival::Stop => self.stopping = true,
        }
    }

    fn retry(&mut self, Again { root, path, texts }: Again) {
        let Some(number) = self.roots.iter().position(|input| *input == root) else {
            return;
        };
        let name = (number, path);
        if let Some(entry) = self.files.get_mut(&name) {
            entry.known.identity = None;
            entry.moved = false;
            entry.failures = 0;
            entry.texts = texts;
            self.enqueue(name, true);
        }
    }

    fn answered(&mut self, name: &Name) {
        if let Some(entry) = self.files.get_mut(name)
            && entry.seen == DOUBTED
        {
            entry.seen = 0;
            self.doubted -= 1;
        }
    }

    fn found(&mut self, found: Found, pass: Option<u64>) {
        let name = (found.root, found.path);
        let entry = self.files.entry(&name);
        if entry.seen == DOUBTED {
            entry.seen = 0;
            self.doubted -= 1;
        }
        let busy = matches!(entry.phase, Phase::InFlight | Phase::Moving);
        let leaves = entry.moved || entry.phase == Phase::Moving;
        if leaves && entry.last_seen == Some(found.identity) {
            return; // seen before it was moved away
        }
        entry.moved = false;
        entry.gone = false;
        self.released |= entry.kept.take().is_some();
        let unfinished = std::mem::take(&mut entry.unfinished);
        entry.size = found.identity.size;
        // A disk may go before it was read even once.
        entry.last_seen.get_or_insert(found.identity);
        if let Some(pass) = pass {
            entry.seen = entry.seen.max(pass);
        }
        // While one look is under way its outcome is not known: look again. If a scan merely passed by, only if the outcome
        // is another than what it saw.
        if unfinished && entry.phase == Phase::Resting {
            self.enqueue(name, pass.is_none());
        } else if entry.known.identity != Some(found.identity) && (!busy || pass.is_none()) {
            if entry.phase != Phase::Delayed || pass.is_none() {
                entry.failures = 0;
                self.enqueue(name, pass.is_none());
            }
        } else if pass.is_none()
            && entry.phase == Phase::Resting
            && entry.may_have_changed_in_a_tick(found.identity)
        {
            self.enqueue(name, true);
        } else if entry.phase == Phase::InFlight {
            entry.sighting = entry.sighting.and(Sighting::There(found.identity));
        } else if entry.phase == Phase::Resting && entry.known == Known::default() {
            self.enqueue(name, pass.is_none());
        }
    }

    /// Brings back what has waited long enough.
    fn wake_delayed(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, _))) = self.delayed.peek()
            && *due <= now
        {
            let Some(Reverse((_, name))) = self.delayed.pop() else {
                break;
            };
            if let Some(entry) = self.files.get_mut(&name)
                && entry.phase == Phase::Delayed
            {
                entry.phase = Phase::Resting;
                self.under_way -= 1;
                self.enqueue(name, true);
            }
        }
    }

    /// Learns from the epochs that were committed how large the next may be.
    fn adapt(&mut self, committed: Epoch) {
        let target = Duration::from_millis(self.pace.target_ms);
        while let Some(minted) = self.minted.front()
            && minted.epoch < committed
        {
            let took = minted.at.elapsed();
            if took > target {
                self.budget = (self.budget * 3 / 4).max(BUDGET_MIN);
            } else if took < target / 2 && minted.full {
                self.budget = (self.budget * 2).min(BUDGET_MAX);
            }
            self.minted.pop_front();
        }
    }

    /// The hints of one epoch: what just changed, then what else is in line.
    fn batch(&mut self) -> (Vec<Hint>, bool) {
        let mut hints = Vec::new();
        let mut cost = 0;
        if !self.leaving.is_empty() {
            // All of them together: whoever asked for it sees all of it, or nothing.
            return (std::mem::take(&mut self.leaving), false);
        }
        let reserved = self.minted.len() + 1 >= self.pace.in_flight.max(2);
        while cost < self.budget {
            let next = match self.fresh.pop_front() {
                None if !reserved => self.found_or_begun(),
                fresh => fresh,
            };
            let Some(name) = next else {
                return (hints, false);
            };
            let Some(entry) = self.files.get_mut(&name) else {
                continue;
            };
            if entry.phase != Phase::Queued {
                continue; // it was in two lines, and its turn came in the other
            }
            if entry.is_away() && !entry.gone {
                // Reading it could only fail, and say less than is known.
                (entry.phase, entry.unfinished) = (Phase::Resting, true);
                self.under_way -= 1;
                continue;
            }
            entry.phase = Phase::InFlight;
            entry.again = false;
            entry.sighting = Sighting::None;
            entry.sent = Some(SystemTime::now());
            cost += FILE_COST
                + usize::try_from(entry.size)
                    .unwrap_or(usize::MAX)
                    .min(self.budget);
            let root = &self.roots[name.0];
            hints.push(Hint {
                key: crate::sources::key(root, &name.1),
                root: root.clone(),
                path: name.1,
                known: entry.known.clone(),
                gone: entry.gone,
                moved: entry.letter.take().filter(|_| entry.moved),
                failures: entry.failures,
                again: std::mem::take(&mut entry.texts)
                    .into_iter()
                    .map(|(hash, text)| (hash, once_more(text)))
                    .collect(),
                budget_bytes: self.budget,
            });
        }
        (hints, true)
    }

    /// Of what a scan found and what was begun, the one that has less to be read.
    fn found_or_begun(&mut self) -> Option<Name> {
        if let Some(Reverse((left, _))) = self.begun.peek() {
            let found = self.bulk.front().and_then(|name| self.files.get(name));
            if found.is_none_or(|entry| *left <= entry.size) {
                return self.begun.pop().map(|Reverse((_, name))| name);
            }
        }
        self.bulk.pop_front()
    }

    /// Whether memory allows another epoch. Gives up where it never will.
    fn has_room(&mut self) -> bool {
        let idle = self.minted.is_empty();
        match self.progress.memory().look() {
            Pressure::None => {}
            Pressure::Soft => {
                self.budget = BUDGET_MIN;
                self.starving = None;
                return idle;
            }
            Pressure::Hard => {
                let since = *self.starving.get_or_insert_with(Instant::now);
                if !idle {
                    self.starving = None;
                } else if self.pace.once && since.elapsed() > STARVING_MAX {
                    self.progress.starve();
                    self.stopping = true;
                }
                return false;
            }
        }
        self.starving = None;
        true
    }

    fn settled(&self) -> bool {
        self.scans > 0 && self.under_way == 0 && self.doubted == 0 && self.arrivals.is_empty()
    }
}

/// Marks a file that is being looked at because a scan did not see it. Scans count from 1 and never get there.
const DOUBTED: u64 = u64::MAX;

/// What earlier runs decided about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standpoint {
    /// In the index.
    Settled,
    /// To be tried again.
    Retrying,
    /// A dead letter.
    Dead,
    /// A dead letter whose file was moved away.
    Moved,
}

/// What earlier runs know of a file.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The root it lies under.
    pub root: Arc<Path>,
    /// Its path below the root.
    pub path: PathBuf,
    /// What the index holds of it.
    pub known: Known,
    /// `stat` when it was last read, also where it is to be read again in any case.
    pub last_seen: Option<Identity>,
    /// What was decided.
    pub standpoint: Standpoint,
}

impl Feed<Hint> for Queue {
    fn attach(&mut self, waker: SyncActivator) {
        // There is one source; a second would find the slot taken and the first still woken.
        let _ = self.waker.set(waker);
    }

    fn next(&mut self, epoch: Epoch, committed: Epoch) -> Next<Hint> {
        while let Ok(arrival) = self.arrivals.try_recv() {
            self.hear(arrival);
        }
        self.wake_delayed();
        self.adapt(committed);
        if self.released || self.kept_more {
            self.count_what_is_kept();
        }
        self.progress
            .files_behind(self.under_way + self.doubted, self.scans);
        if self.stopping || (self.pace.once && self.settled()) {
            return Next::Done;
        }
        if !self.has_room() {
            return Next::Idle;
        }
        let (hints, full) = self.batch();
        if hints.is_empty() {
            return Next::Idle;
        }
        self.minted.push_back(Minted {
            epoch,
            at: Instant::now(),
            full,
        });
        Next::Batch(hints)
    }
}

#[cfg(test)]
mod tests;
