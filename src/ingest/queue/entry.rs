//! What the queue knows of one file.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use floodmark_operators::keys::ChunkHash;

use crate::ingest::hint::Known;
use crate::sources::{Doubt, Identity};
use crate::store::row::FileRow;

/// How far the time stamp of a change may lag behind the change: two ticks of the slowest kernel's clock.
const FILE_CLOCK_TICK: Duration = Duration::from_millis(20);

/// What is known of one file.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) known: Known,
    pub(super) phase: Phase,
    /// Slices that were read and are not durable: what follows from them is known already.
    pub(super) ahead: u32,
    /// While it is queued: among what just changed.
    pub(super) hurried: bool,
    /// Heard of while under way.
    pub(super) again: bool,
    /// An earlier run has left it unfinished: to be looked at when a scout has seen that it is there.
    pub(super) unfinished: bool,
    /// It is not there, and kept all the same, because nobody can tell why.
    pub(super) kept: Option<Doubt>,
    /// Is not there, or not selected.
    pub(super) gone: bool,
    /// Was moved away as a dead letter; that it is not there says nothing.
    pub(super) moved: bool,
    /// To be said of it, since it was moved away.
    pub(super) letter: Option<Box<FileRow>>,
    /// Where it was when it was last read, or else first seen: a disk that is away is told by that.
    pub(super) last_seen: Option<Identity>,
    pub(super) failures: u32,
    /// Texts of it that the model refused, and is to be asked for again.
    pub(super) texts: Vec<(ChunkHash, Arc<str>)>,
    /// What was seen of it while it was under way.
    pub(super) sighting: Sighting,
    /// The last scan that saw it.
    pub(super) seen: u64,
    pub(super) size: u64,
    /// When it was last sent to be looked at.
    pub(super) sent: Option<SystemTime>,
}

impl Entry {
    /// Whether it is kept because its input is away, or all that was in it.
    pub(super) fn is_away(&self) -> bool {
        use Doubt::{DeviceAway, Emptied, RootMissing};
        matches!(self.kept, Some(DeviceAway | Emptied | RootMissing))
    }

    /// Of a file that was read in part, how many bytes were not.
    pub(super) fn bytes_left(&self) -> Option<u64> {
        let filling = self.known.filling.as_ref()?;
        Some(self.size.saturating_sub(filling.offset))
    }

    /// Whether it may have changed behind the last look and still have the same `stat`: many kernels' clock of files ticks every
    /// few milliseconds only.
    pub(super) fn may_have_changed_in_a_tick(&self, identity: Identity) -> bool {
        let Some(sent) = self.sent else {
            return false; // in an earlier run, and so long ago
        };
        let since_1970 = sent
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let changed = Duration::from_nanos(u64::try_from(identity.ctime_ns).unwrap_or(0));
        changed + FILE_CLOCK_TICK >= since_1970
    }
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Phase {
    #[default]
    Resting,
    /// Waits for its time: a retry.
    Delayed,
    Queued,
    InFlight,
    /// Is being moved away.
    Moving,
}

/// What the scouts saw of a file while a look at it was under way, whose outcome may be older or newer than that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Sighting {
    #[default]
    None,
    /// It was there, and so.
    There(Identity),
    /// A scan should have seen it, and did not.
    Missed,
    /// One saw this and another that. Several threads look, and nobody knows who was the last.
    Mixed,
}

impl Sighting {
    pub(super) fn and(self, other: Self) -> Self {
        match self {
            Self::None => other,
            same if same == other => same,
            _ => Self::Mixed,
        }
    }
}
