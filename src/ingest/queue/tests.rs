//! The queue by hand: what is heard in which order, and what is looked at then.

mod limits;

use std::path::Path;

use crossbeam_channel::unbounded;

use super::*;
use crate::ingest::hint::Known;
use crate::sources::{Roots, Scope, Selection, SourceOptions, key};
use crate::store::row::{FileState, Resume};

/// A queue over one folder, and both of its ends.
struct Rig {
    queue: Queue,
    arrivals: Sender<Arrival>,
    doubts: Receiver<Name>,
    selection: Selection,
    progress: Arc<Progress>,
    epoch: Epoch,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SourceOptions {
            inputs: vec![folder.path().to_owned()],
            ..SourceOptions::default()
        };
        let state = folder.path().join("state");
        let roots = Roots::resolve(&options, &state).unwrap();
        let paths = roots.iter().map(|root| root.path.clone()).collect();
        let selection = Selection::new(&options, roots, &state).unwrap();
        let (arrivals, arrived) = unbounded();
        let (doubted, doubts) = unbounded();
        let progress = Arc::<Progress>::default();
        let queue = Queue::new(
            paths,
            Vec::new(),
            (arrived, doubted),
            Pace {
                in_flight: 4,
                target_ms: 50,
                once: true,
            },
            progress.clone(),
            WakerSlot::default(),
            None,
        );
        Self {
            queue,
            arrivals,
            doubts,
            selection,
            progress,
            epoch: 1,
            _folder: folder,
        }
    }

    fn hear(&self, arrival: Arrival) {
        self.arrivals.send(arrival).unwrap();
    }

    fn found(&self, path: &str, ino: u64, pass: Option<u64>) {
        self.found_so(path, identity(ino), pass);
    }

    /// Found by the first scan.
    fn found_sized(&self, path: &str, size: u64) {
        self.found_so(
            path,
            Identity {
                size,
                ..identity(7)
            },
            Some(1),
        );
    }

    fn found_so(&self, path: &str, identity: Identity, pass: Option<u64>) {
        let found = Found {
            root: 0,
            path: path.into(),
            identity,
        };
        self.hear(Arrival::Found(vec![found], pass));
    }

    /// A pass over everything ends that saw nothing but what it said before.
    fn scanned(&self, pass: u64) {
        self.hear(Arrival::Scanned(
            pass,
            ScanReport::listed(&self.selection, 0),
        ));
    }

    fn committed(&self, path: &str, state: FileState, ino: Option<u64>) {
        self.hear(Arrival::Committed(vec![self.row(path, state, ino)]));
    }

    /// A slice up to `offset` was read.
    fn slice(&self, path: &str, offset: u64, ino: u64) {
        self.hear(Arrival::Slice(self.row(path, in_part(offset), Some(ino))));
    }

    fn row(&self, path: &str, state: FileState, ino: Option<u64>) -> FileRow {
        let root = self.queue.roots[0].clone();
        FileRow {
            key: key(&root, Path::new(path)),
            root,
            path: path.into(),
            identity: ino.map(identity),
            state,
            retire: Vec::new(),
        }
    }

    /// It was read, and lay where the folder is: on its device.
    fn committed_here(&self, path: &str) {
        let root = self.queue.roots[0].clone();
        let folder = Identity::of(&std::fs::metadata(&root).unwrap());
        self.hear(Arrival::Committed(vec![FileRow {
            key: key(&root, Path::new(path)),
            root,
            path: path.into(),
            identity: Some(folder),
            state: indexed(),
            retire: Vec::new(),
        }]));
    }

    /// What goes into the next epoch: path, and whether it is known to be gone. `None`: the queue is done.
    fn next(&mut self) -> Option<Vec<(String, bool)>> {
        let epoch = self.epoch;
        self.epoch += 1;
        match self.queue.next(epoch, epoch) {
            Next::Batch(hints) => Some(
                hints
                    .into_iter()
                    .map(|hint| (hint.path.to_str().unwrap().to_owned(), hint.gone))
                    .collect(),
            ),
            Next::Idle => Some(Vec::new()),
            Next::Done => None,
        }
    }
}

fn identity(ino: u64) -> Identity {
    Identity {
        dev: 1,
        ino,
        size: 10,
        mtime_ns: 0,
        ctime_ns: 0,
    }
}

fn indexed() -> FileState {
    FileState::Indexed {
        format: crate::formats::Format::Text,
        content: floodmark_operators::keys::ContentHash::of(&[b"a"]),
        generation: 0,
        segments: 1,
    }
}

fn look(path: &str) -> Option<Vec<(String, bool)>> {
    Some(vec![(path.to_owned(), false)])
}

/// A folder is renamed away and back: one pass sees its file, the next does not, the reader does not find it either, and
/// only then comes the answer about it.
#[test]
fn a_doubt_about_a_file_that_is_forgotten_meanwhile_is_no_longer_waited_for() {
    let mut rig = Rig::new();
    rig.found("a/page.md", 7, Some(1));
    rig.scanned(2);
    assert_eq!(rig.next(), look("a/page.md"));
    assert_eq!(rig.doubts.try_recv(), Ok((0, "a/page.md".into())));
    rig.committed("a/page.md", FileState::Gone, None);
    assert_eq!(rig.next(), None, "nothing is left to wait for");
    assert_eq!(rig.progress.files(), 0);
    rig.hear(Arrival::Gone((0, "a/page.md".into())));
    assert_eq!(rig.next(), None);
    assert_eq!(rig.progress.files(), 0);
}

/// One thread sees the file come back while its going is on its way to the store; another one's pass, which began before,
/// ends without having seen it.
#[test]
fn a_file_that_one_saw_and_another_did_not_is_looked_at_again() {
    let mut rig = Rig::new();
    rig.found("a/page.md", 7, Some(1));
    assert_eq!(rig.next(), look("a/page.md"));
    rig.committed("a/page.md", indexed(), Some(7));
    rig.hear(Arrival::Gone((0, "a/page.md".into())));
    assert_eq!(rig.next(), Some(vec![("a/page.md".to_owned(), true)]));
    rig.found("a/page.md", 7, None);
    rig.scanned(2);
    rig.committed("a/page.md", FileState::Gone, None);
    assert_eq!(rig.next(), look("a/page.md"));
}

/// The same with two versions: the newer one is heard of first.
#[test]
fn of_two_versions_that_were_seen_meanwhile_none_is_taken_for_the_last() {
    let mut rig = Rig::new();
    rig.found("page.md", 7, Some(1));
    assert_eq!(rig.next(), look("page.md"));
    rig.found("page.md", 8, Some(2));
    rig.found("page.md", 7, Some(1));
    rig.committed("page.md", indexed(), Some(7));
    assert_eq!(rig.next(), look("page.md"));
}

#[test]
fn a_file_that_was_seen_as_it_was_read_is_left_alone() {
    let mut rig = Rig::new();
    rig.found("page.md", 7, Some(1));
    assert_eq!(rig.next(), look("page.md"));
    rig.found("page.md", 7, Some(2));
    rig.found("page.md", 7, Some(3));
    rig.scanned(3);
    rig.committed("page.md", indexed(), Some(7));
    assert_eq!(rig.next(), None);
}

/// Of a file so large, an epoch has one.
const MIB: u64 = 1 << 20;

/// As it is after a look that ended at `offset`.
fn in_part(offset: u64) -> FileState {
    FileState::Partial {
        format: crate::formats::Format::Text,
        resume: Resume {
            offset,
            segment: 1,
            ..Resume::default()
        },
    }
}

#[test]
fn a_file_is_gone_on_with_while_it_has_less_left_than_the_next_in_line() {
    let mut rig = Rig::new();
    rig.found_sized("a", 50 * MIB);
    assert_eq!(rig.next(), look("a"));
    rig.found_sized("b", 50 * MIB);
    rig.found_sized("c", 40 * MIB);
    rig.committed("a", in_part(20 * MIB), Some(7));
    assert_eq!(rig.next(), look("a"));
    rig.committed("a", indexed(), Some(7));
    assert_eq!(rig.next(), look("b"));
    // The large one waits for what is smaller than its rest, and then is gone on with.
    rig.committed("b", in_part(5 * MIB), Some(7));
    assert_eq!(rig.next(), look("c"));
    assert_eq!(rig.next(), look("b"));
    // The rest of what was begun: the least first.
    rig.committed("b", in_part(15 * MIB), Some(7));
    rig.committed("c", in_part(20 * MIB), Some(7));
    assert_eq!(rig.next(), look("c"));
    assert_eq!(rig.next(), look("b"));
    rig.committed("b", indexed(), Some(7));
    rig.committed("c", indexed(), Some(7));
    rig.scanned(1);
    assert_eq!(rig.next(), None);
}

#[test]
fn a_file_is_gone_on_with_when_a_slice_was_read_and_is_done_when_the_last_is_durable() {
    let mut rig = Rig::new();
    rig.found_sized("a", 50 * MIB);
    rig.scanned(1);
    assert_eq!(rig.next(), look("a"));
    assert_eq!(rig.next(), Some(Vec::new()), "one reader at a time");
    rig.slice("a", 20 * MIB, 7);
    assert_eq!(rig.next(), look("a"));
    rig.slice("a", 40 * MIB, 7);
    // What becomes durable now was taken account of.
    rig.committed("a", in_part(20 * MIB), Some(7));
    assert_eq!(rig.next(), look("a"));
    rig.committed("a", in_part(40 * MIB), Some(7));
    assert_eq!(rig.next(), Some(Vec::new()), "the last look is under way");
    rig.committed("a", indexed(), Some(7));
    assert_eq!(rig.next(), None);
}

#[test]
fn a_file_that_is_forgotten_between_two_slices_leaves_with_both() {
    let mut rig = Rig::new();
    rig.found_sized("a", 50 * MIB);
    rig.scanned(1);
    assert_eq!(rig.next(), look("a"));
    rig.slice("a", 20 * MIB, 7);
    rig.hear(Arrival::Gone((0, "a".into())));
    assert_eq!(rig.next(), Some(vec![("a".to_owned(), true)]));
    let known = &rig.queue.files.get(&(0, "a".into())).unwrap().known;
    assert_eq!(known.filling.as_ref().unwrap().offset, 20 * MIB);
    rig.committed("a", in_part(20 * MIB), Some(7));
    assert_eq!(rig.next(), Some(Vec::new()), "it has not left yet");
    rig.committed("a", FileState::Gone, None);
    assert_eq!(rig.next(), None);
    assert!(rig.queue.files.get(&(0, "a".into())).is_none());
}

#[test]
fn a_file_that_waits_in_a_slow_line_and_changes_is_looked_at_next_and_once() {
    let mut rig = Rig::new();
    let changed = |ino| Identity {
        size: 50 * MIB,
        ..identity(ino)
    };
    for path in ["a", "b", "c", "d"] {
        rig.found_sized(path, 50 * MIB);
    }
    assert_eq!(rig.next(), look("a"));
    rig.committed("a", in_part(0), Some(7));
    // One that a scan found changes twice, and one that was begun.
    rig.found_so("d", changed(8), None);
    rig.found_so("d", changed(9), None);
    rig.found_so("a", changed(8), None);
    assert_eq!(rig.next(), look("d"));
    rig.committed("d", indexed(), Some(9));
    assert_eq!(rig.next(), look("a"));
    rig.committed("a", indexed(), Some(8));
    // Their old places are passed over.
    assert_eq!(rig.next(), look("b"));
    assert_eq!(rig.next(), look("c"));
    rig.committed("b", indexed(), Some(7));
    rig.committed("c", indexed(), Some(7));
    rig.scanned(1);
    assert_eq!(rig.next(), None);
}

/// What a scan says of the folder, which holds nothing.
fn emptied(rig: &Rig) -> ScanReport {
    let nothing = &mut |_| std::ops::ControlFlow::Continue(());
    crate::sources::scan(&rig.selection, None, &Scope::All, nothing)
}

fn kept(rig: &Rig) -> Vec<u64> {
    let kept = rig.progress.kept();
    kept.iter().map(|kept| kept.files).collect()
}

#[test]
fn files_of_an_input_that_was_emptied_wait_for_somebody_to_say_so() {
    let mut rig = Rig::new();
    for path in ["a.md", "b.md"] {
        rig.found(path, 7, Some(1));
        assert_eq!(rig.next(), look(path));
        rig.committed_here(path);
    }
    rig.hear(Arrival::Scanned(2, emptied(&rig)));
    assert_eq!(rig.next(), None, "nothing is to be done");
    assert!(rig.doubts.try_recv().is_err(), "nobody is to look");
    assert_eq!(kept(&rig), [2]);
    // One of them was seen leaving, and is gone; of the other somebody says it.
    rig.hear(Arrival::Gone((0, "a.md".into())));
    assert_eq!(rig.next(), Some(vec![("a.md".to_owned(), true)]));
    assert_eq!(kept(&rig), [1]);
    rig.committed("a.md", FileState::Gone, None);
    rig.hear(Arrival::Forget(vec![Remembered {
        root: rig.queue.roots[0].as_path().into(),
        path: "b.md".into(),
        known: Known::default(),
        last_seen: None,
        standpoint: Standpoint::Settled,
    }]));
    assert_eq!(rig.next(), Some(vec![("b.md".to_owned(), true)]));
    assert_eq!(kept(&rig), [0; 0]);
    assert_eq!(rig.progress.files(), 1);
    rig.committed("b.md", FileState::Gone, None);
    assert_eq!(rig.next(), None);
    assert_eq!(rig.progress.files(), 0);
}

#[test]
fn a_file_that_comes_back_while_it_is_forgotten_is_read() {
    let mut rig = Rig::new();
    rig.found("a.md", 7, Some(1));
    assert_eq!(rig.next(), look("a.md"));
    rig.committed("a.md", indexed(), Some(7));
    rig.hear(Arrival::Forget(vec![Remembered {
        root: rig.queue.roots[0].as_path().into(),
        path: "a.md".into(),
        known: Known::default(),
        last_seen: None,
        standpoint: Standpoint::Settled,
    }]));
    assert_eq!(rig.next(), Some(vec![("a.md".to_owned(), true)]));
    rig.found("a.md", 8, None);
    rig.committed("a.md", FileState::Gone, None);
    assert_eq!(rig.next(), look("a.md"));
}

#[test]
fn a_file_that_is_being_read_while_its_input_is_emptied_is_kept() {
    let mut rig = Rig::new();
    rig.found("a.md", 7, Some(1));
    assert_eq!(rig.next(), look("a.md"));
    rig.hear(Arrival::Scanned(2, emptied(&rig)));
    assert_eq!(rig.next(), Some(Vec::new()));
    assert_eq!(kept(&rig), [1], "before it is read");
    // It was open, and could be read all the same.
    rig.committed_here("a.md");
    assert_eq!(rig.next(), None, "nothing is to be done");
    assert!(rig.doubts.try_recv().is_err(), "nobody is to look");
    assert_eq!(kept(&rig), [1]);
}

#[test]
fn a_file_that_nothing_was_read_of_before_its_input_was_emptied_is_not_counted_as_kept() {
    let mut rig = Rig::new();
    rig.found("a.md", 7, Some(1));
    assert_eq!(rig.next(), look("a.md"));
    rig.hear(Arrival::Scanned(2, emptied(&rig)));
    assert_eq!(rig.next(), Some(Vec::new()));
    rig.committed("a.md", FileState::Gone, None);
    assert_eq!(rig.next(), None);
    assert_eq!(kept(&rig), [0; 0]);
}

#[test]
fn a_file_that_waits_in_line_while_its_input_is_emptied_is_not_read_before_it_is_back() {
    let mut rig = Rig::new();
    rig.found("a.md", 7, Some(1));
    assert_eq!(rig.next(), look("a.md"));
    rig.committed_here("a.md");
    rig.found("a.md", 8, None);
    rig.hear(Arrival::Scanned(2, emptied(&rig)));
    assert_eq!(rig.next(), Some(Vec::new()), "to read it could only fail");
    assert_eq!(kept(&rig), [1]);
    assert_eq!(rig.next(), None, "and nothing waits for it");
    rig.found("a.md", 8, None);
    assert_eq!(rig.next(), look("a.md"));
    assert_eq!(kept(&rig), [0; 0]);
}

/// A walk that began before the input was emptied, and saw some of its files, doubts the others. By the time at which they are
/// looked at nothing is there.
#[test]
fn a_doubt_that_is_answered_after_the_input_was_emptied_is_no_deletion() {
    let mut rig = Rig::new();
    for path in ["a.md", "b.md"] {
        rig.found(path, 7, Some(1));
        assert_eq!(rig.next(), look(path));
        rig.committed(path, indexed(), Some(7));
    }
    rig.found("a.md", 7, Some(2));
    rig.scanned(2);
    assert_eq!(rig.next(), Some(Vec::new()));
    assert_eq!(rig.doubts.try_recv(), Ok((0, "b.md".into())));
    rig.hear(Arrival::Kept((0, "b.md".into()), Doubt::Emptied));
    assert_eq!(rig.next(), None);
    assert_eq!(kept(&rig), [1]);
    // Of one that was seen again meanwhile the answer says nothing.
    rig.hear(Arrival::Kept((0, "a.md".into()), Doubt::Emptied));
    assert_eq!(rig.next(), None);
    assert_eq!(kept(&rig), [1]);
}
