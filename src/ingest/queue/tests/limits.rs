use crossbeam_channel::{Receiver, Sender, unbounded};

use super::super::*;
use crate::formats::Format;
use crate::ingest::memory::Limits;
use crate::store::row::FileState;
use floodmark_operators::keys::ContentHash;

/// A queue, and the ends of its channels.
struct Rig {
    queue: Queue,
    arrivals: Sender<Arrival>,
    epoch: Epoch,
    _doubts: Receiver<Name>,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        let (arrivals, arrived) = unbounded();
        let (doubts, _doubts) = unbounded();
        let pace = Pace {
            in_flight: 4,
            target_ms: 400,
            once: false,
        };
        let queue = Queue::new(
            vec![PathBuf::from("/in")],
            Vec::new(),
            (arrived, doubts),
            pace,
            Arc::new(Progress::new(limits)),
            WakerSlot::default(),
            None,
        );
        Self {
            queue,
            arrivals,
            epoch: 1,
            _doubts,
        }
    }

    /// The paths of the next epoch. `committed`: all before it are durable.
    fn next(&mut self, committed: bool) -> Vec<PathBuf> {
        let upper = if committed { self.epoch } else { 0 };
        match self.queue.next(self.epoch, upper) {
            Next::Batch(hints) => {
                self.epoch += 1;
                hints.into_iter().map(|hint| hint.path).collect()
            }
            Next::Idle => Vec::new(),
            Next::Done => panic!("it is done"),
        }
    }

    fn hears(&self, path: &str, identity: Identity) {
        let found = Found {
            root: 0,
            path: path.into(),
            identity,
        };
        self.arrivals
            .send(Arrival::Found(vec![found], None))
            .unwrap();
    }

    fn commits(&self, path: &str, identity: Identity) {
        let row = FileRow {
            key: crate::sources::key(&PathBuf::from("/in"), path.as_ref()),
            root: "/in".into(),
            path: path.into(),
            identity: Some(identity),
            state: FileState::Indexed {
                format: Format::Text,
                content: ContentHash::of(&[b"x"]),
                generation: 0,
                segments: 1,
            },
            retire: Vec::new(),
        };
        self.arrivals.send(Arrival::Committed(vec![row])).unwrap();
    }
}

fn identity(ctime_ns: i64) -> Identity {
    Identity {
        dev: 1,
        ino: 2,
        size: 3,
        mtime_ns: ctime_ns,
        ctime_ns,
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_nanos()).unwrap()
}

#[test]
fn what_changed_in_the_same_tick_as_it_was_read_is_read_again() {
    let mut rig = Rig::new(Limits::default());
    // Written now, read now; then the watch tells of a write that left the same `stat`.
    let fresh = identity(now_ns());
    rig.hears("a.txt", fresh);
    assert_eq!(rig.next(true), [PathBuf::from("a.txt")]);
    rig.commits("a.txt", fresh);
    assert!(rig.next(true).is_empty());
    rig.hears("a.txt", fresh);
    assert_eq!(rig.next(true), [PathBuf::from("a.txt")]);

    // Read long after it was written: what is heard of it changes nothing.
    let old = identity(now_ns() - 1_000_000_000);
    rig.hears("b.txt", old);
    assert_eq!(rig.next(true), [PathBuf::from("b.txt")]);
    rig.commits("b.txt", old);
    rig.hears("b.txt", old);
    assert!(rig.next(true).is_empty());
}

#[test]
fn memory_above_the_soft_limit_admits_one_epoch_at_a_time_and_above_the_hard_one_none() {
    let old = identity(1);
    let mut soft = Rig::new(Limits {
        soft_bytes: 1,
        hard_bytes: None,
    });
    soft.hears("a.txt", old);
    assert_eq!(soft.next(false), [PathBuf::from("a.txt")]);
    soft.hears("b.txt", old);
    assert!(soft.next(false).is_empty(), "one is under way");
    assert_eq!(soft.next(true), [PathBuf::from("b.txt")]);

    let mut hard = Rig::new(Limits {
        soft_bytes: 1,
        hard_bytes: Some(2),
    });
    hard.hears("a.txt", old);
    assert!(hard.next(true).is_empty());

    let mut free = Rig::new(Limits::default());
    free.hears("a.txt", old);
    assert_eq!(free.next(false), [PathBuf::from("a.txt")]);
    free.hears("b.txt", old);
    assert_eq!(free.next(false), [PathBuf::from("b.txt")]);
}
