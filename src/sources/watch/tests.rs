use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::sync::atomic::AtomicUsize;

use crossbeam_channel::{Receiver, unbounded};

use super::super::tests::{Tree, walk};
use super::super::{Fate, Found, Identity, Looked, Scope};
use super::kernel::{Change, Happening};
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// What a receiver that follows the hints believes to be there.
struct Follower {
    selection: Arc<Selection>,
    watcher: Watcher,
    events: Receiver<Event>,
    known: BTreeMap<PathBuf, Identity>,
    wakes: Arc<AtomicUsize>,
}

impl Follower {
    fn new(tree: &Tree) -> Self {
        Self::with_watches(tree, usize::MAX)
    }

    fn with_watches(tree: &Tree, watches_max: usize) -> Self {
        let selection = tree.selection();
        let (sender, events) = unbounded();
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = wakes.clone();
        let wake = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let watcher = start(selection.clone(), sender, Box::new(wake), watches_max).unwrap();
        let mut follower = Self {
            selection,
            watcher,
            events,
            known: BTreeMap::new(),
            wakes,
        };
        follower.scan(Scope::All);
        follower
    }

    fn scan(&mut self, scope: Scope) {
        let (found, report) = walk(&self.selection, Some(&self.watcher), &scope);
        let found: BTreeMap<PathBuf, Identity> = found
            .into_iter()
            .map(|f: Found| (f.path, f.identity))
            .collect();
        let fates = report.fates();
        self.known.retain(|path, identity| {
            found.contains_key(path) || fates(0, path, identity) != Fate::Gone
        });
        self.known.extend(found);
    }

    fn follow(&mut self, event: Event) {
        match event {
            Event::Changed { root, path } => match self.selection.look(root, &path) {
                Looked::File(found) => drop(self.known.insert(path, found.identity)),
                Looked::Gone | Looked::Skipped { .. } => drop(self.known.remove(&path)),
                Looked::Folder => panic!("a folder is a subtree: {path:?}"),
                Looked::Unknown { error, .. } => panic!("{error}"),
            },
            Event::Subtree { root, path } => self.scan(Scope::Subtree { root, path }),
            Event::Rescan {
                root: Some(root), ..
            } => self.scan(Scope::Root(root)),
            Event::Rescan { root: None, .. } => self.scan(Scope::All),
        }
    }

    /// Follows the hints until they lead to the truth.
    #[track_caller]
    fn catch_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (truth, _) = walk(&self.selection, None, &Scope::All);
            if truth.len() == self.known.len()
                && truth
                    .iter()
                    .all(|f| self.known.get(&f.path) == Some(&f.identity))
            {
                return;
            }
            match self.events.recv_deadline(deadline) {
                Ok(event) => {
                    self.follow(event);
                    while let Ok(event) = self.events.try_recv() {
                        self.follow(event);
                    }
                }
                Err(_) => panic!(
                    "hints ended; known: {:?}, there: {truth:?}",
                    self.known.keys()
                ),
            }
        }
    }

    /// The next hint that passes.
    #[track_caller]
    fn wait(&self, pass: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.events.recv_deadline(deadline).expect("a hint");
            if pass(&event) {
                return event;
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.known.keys().map(|p| p.to_str().unwrap()).collect()
    }
}

fn changed(path: &str) -> Event {
    Event::Changed {
        root: 0,
        path: path.into(),
    }
}

#[test]
fn a_storm_of_new_folders_misses_nothing() {
    let tree = Tree::new();
    let mut follower = Follower::new(&tree);
    let root = tree.path("");
    let writer = std::thread::spawn(move || {
        for i in 0..300 {
            let folder = root.join(format!("{i}/a/b"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("f"), i.to_string()).unwrap();
            fs::write(root.join(format!("{i}/g")), i.to_string()).unwrap();
        }
    });
    // Reads while the storm goes on: this is where others lose files.
    while !writer.is_finished() {
        if let Ok(event) = follower.events.recv_timeout(Duration::from_millis(1)) {
            follower.follow(event);
        }
    }
    writer.join().unwrap();
    follower.catch_up();
    assert_eq!(follower.known.len(), 600);
    assert!(follower.wakes.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_storm_of_renamed_folders_misses_nothing() {
    let tree = Tree::new();
    let mut follower = Follower::new(&tree);
    let root = tree.path("");
    let writer = std::thread::spawn(move || {
        for i in 0..200 {
            let (here, there) = (root.join("here"), root.join("there"));
            fs::create_dir_all(here.join("a/b")).unwrap();
            fs::write(here.join(format!("a/b/{i}")), i.to_string()).unwrap();
            fs::rename(&here, &there).unwrap();
            fs::write(there.join(format!("a/{i}")), i.to_string()).unwrap();
            fs::rename(there.join("a"), root.join("a")).unwrap();
            fs::rename(&there, &here).unwrap();
            fs::write(root.join(format!("a/b/late{i}")), i.to_string()).unwrap();
            fs::rename(root.join("a"), here.join("a")).unwrap();
        }
    });
    while !writer.is_finished() {
        if let Ok(event) = follower.events.recv_timeout(Duration::from_millis(1)) {
            follower.follow(event);
        }
    }
    writer.join().unwrap();
    follower.catch_up();
    assert_eq!(follower.known.len(), 600);
}

#[test]
fn a_renamed_tree_is_followed_and_stays_watched() {
    let tree = Tree::of(&[("old/a", "1"), ("old/deep/er/b", "2")]);
    let mut follower = Follower::new(&tree);
    fs::rename(tree.path("old"), tree.path("new")).unwrap();
    follower.catch_up();
    assert_eq!(follower.names(), ["new/a", "new/deep/er/b"]);
    tree.write("new/deep/er/c", "3");
    follower.catch_up();
    fs::rename(tree.path("new/deep"), tree.path("../deep")).unwrap();
    follower.catch_up();
    fs::rename(tree.path("../deep"), tree.path("back")).unwrap();
    follower.catch_up();
    tree.write("back/er/d", "4");
    follower.catch_up();
    assert_eq!(
        follower.names(),
        ["back/er/b", "back/er/c", "back/er/d", "new/a"]
    );
}

#[test]
fn replaced_linked_truncated_and_deleted_files_are_noticed() {
    let tree = Tree::of(&[("a", "1"), ("dir/b", "2"), ("dir/sub/c", "3")]);
    let mut follower = Follower::new(&tree);
    tree.write("a.tmp", "atomic");
    fs::rename(tree.path("a.tmp"), tree.path("a")).unwrap();
    follower.catch_up();
    fs::hard_link(tree.path("a"), tree.path("hard")).unwrap();
    let event = follower.wait(|event| *event == changed("hard"));
    follower.follow(event);
    // The other name's ctime moved with the number of links. The kernel tells nobody; its bytes are the same.
    follower.scan(Scope::All);
    follower.catch_up();
    fs::File::options()
        .write(true)
        .truncate(true)
        .open(tree.path("dir/b"))
        .unwrap();
    follower.catch_up();
    fs::File::create(tree.path("empty")).unwrap();
    follower.catch_up();
    fs::remove_dir_all(tree.path("dir")).unwrap();
    follower.catch_up();
    assert_eq!(follower.names(), ["a", "empty", "hard"]);
}

#[test]
fn changed_rights_are_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let tree = Tree::of(&[("a", "1")]);
    let mut follower = Follower::new(&tree);
    fs::set_permissions(tree.path("a"), fs::Permissions::from_mode(0o600)).unwrap();
    let event = follower.wait(|_| true);
    assert_eq!(event, changed("a"));
    follower.follow(event);
    follower.catch_up();
}

#[test]
fn a_writer_that_never_closes_is_seen_once_it_is_quiet() {
    let tree = Tree::new();
    let mut follower = Follower::new(&tree);
    let mut log = fs::File::create(tree.path("log")).unwrap();
    for line in ["one\n", "two\n"] {
        log.write_all(line.as_bytes()).unwrap();
        assert_eq!(follower.wait(|_| true), changed("log"));
        follower.known.insert(
            "log".into(),
            Identity::of(&fs::metadata(tree.path("log")).unwrap()),
        );
    }
    follower.catch_up();
}

#[test]
fn a_closed_file_is_told_once_and_at_once() {
    // A day of settling: what comes, comes because of the close.
    let tree = Tree::new().with(|o| o.settle_ms = 86_400_000);
    let follower = Follower::new(&tree);
    tree.write("a", "1");
    assert_eq!(follower.wait(|_| true), changed("a"));
    tree.write("b", "2");
    assert_eq!(follower.wait(|_| true), changed("b"));
}

#[test]
fn our_own_reading_wakes_nobody() {
    let tree = Tree::of(&[("a", "1"), ("dir/b", "2")]);
    let mut follower = Follower::new(&tree);
    fs::read(tree.path("a")).unwrap();
    follower.scan(Scope::All);
    tree.write("last", "");
    assert_eq!(follower.wait(|_| true), changed("last"));
}

#[test]
fn what_is_left_out_wakes_nobody() {
    let tree = Tree::of(&[(".gitignore", "*.log\ntarget/\n"), ("target/x", "")])
        .with(|o| o.settle_ms = 86_400_000);
    let follower = Follower::new(&tree);
    for path in ["a.log", "target/y", ".hidden", ".git/index"] {
        tree.write(path, "1");
    }
    tree.write("last", "");
    assert_eq!(follower.wait(|_| true), changed("last"));
}

#[test]
fn a_changed_ignore_file_changes_what_is_in() {
    let tree = Tree::of(&[("dir/a.log", "1"), ("dir/b.txt", "2"), ("c.log", "3")]);
    let mut follower = Follower::new(&tree);
    tree.write("dir/.gitignore", "*.log\n");
    follower.catch_up();
    assert_eq!(follower.names(), ["c.log", "dir/b.txt"]);
    tree.write("dir/d.log", "4");
    tree.write(".floodmarkignore", "!a.log\n");
    follower.catch_up();
    assert_eq!(follower.names(), ["c.log", "dir/a.log", "dir/b.txt"]);
    fs::remove_file(tree.path("dir/.gitignore")).unwrap();
    follower.catch_up();
    // The new rules hold for the watch too.
    fs::write(tree.path("dir/d.log"), "changed").unwrap();
    follower.catch_up();
    assert_eq!(
        follower.names(),
        ["c.log", "dir/a.log", "dir/b.txt", "dir/d.log"]
    );
}

#[test]
fn a_root_that_goes_and_returns_is_watched_again() {
    let tree = Tree::of(&[("a", "1"), ("dir/b", "2")]);
    let away = tree.state().with_file_name("away");
    let mut follower = Follower::new(&tree);
    fs::rename(tree.path(""), &away).unwrap();
    let lost = Event::Rescan {
        root: Some(0),
        reason: RescanReason::RootLost,
    };
    follower.wait(|event| *event == lost);
    follower.scan(Scope::Root(0));
    assert_eq!(follower.known.len(), 2, "a lost root is no deletion");
    fs::rename(&away, tree.path("")).unwrap();
    let returned = Event::Rescan {
        root: Some(0),
        reason: RescanReason::RootReturned,
    };
    follower.wait(|event| *event == returned);
    follower.scan(Scope::Root(0));
    tree.write("dir/c", "3");
    follower.catch_up();
    assert_eq!(follower.names(), ["a", "dir/b", "dir/c"]);
}

#[test]
fn beyond_the_limit_everything_is_polled_and_said_so() {
    let tree = Tree::of(&[("a/x", "1"), ("b/x", "2"), ("c/x", "3")]);
    // The root, the folder above it and two more.
    let follower = Follower::with_watches(&tree, 4);
    assert_eq!(follower.watcher.mode(0), Mode::Polling(PollReason::Limit));
    assert_eq!(follower.known.len(), 3, "the scan goes on");
    follower.wait(|event| {
        *event
            == Event::Rescan {
                root: None,
                reason: RescanReason::NowPolling,
            }
    });
    assert_eq!(follower.watcher.limits().folders, 0);
    assert_eq!(follower.watcher.scan_every_secs(), tree.options.poll_secs);
    assert!(PollReason::Limit.to_string().contains("max_user_watches"));
}

#[test]
fn lost_events_and_unmounted_disks_lead_to_a_scan() {
    let tree = Tree::of(&[("disk/x", "1")]);
    let follower = Follower::new(&tree);
    let shared = &follower.watcher.shared;
    let kernel = shared.kernel.as_ref().unwrap();
    let Armed(Some(disk)) = follower.watcher.arm(0, Path::new("disk")) else {
        panic!()
    };
    let told = |wd, change| {
        let mut events = Vec::new();
        shared.happened(
            kernel,
            Happening {
                wd,
                change,
                is_dir: false,
                name: None,
            },
            &mut events,
        );
        events
    };
    let rescan = |root, reason| vec![Event::Rescan { root, reason }];
    assert_eq!(
        told(-1, Change::Overflow),
        rescan(None, RescanReason::Overflow)
    );
    assert_eq!(
        told(disk, Change::Unmounted),
        rescan(Some(0), RescanReason::Unmounted)
    );
    assert_eq!(told(disk, Change::Forgotten), []);
    // Given up by the kernel without a word why.
    let Armed(Some(disk)) = follower.watcher.arm(0, Path::new("disk")) else {
        panic!()
    };
    assert_eq!(
        told(disk, Change::Forgotten),
        [Event::Subtree {
            root: 0,
            path: "disk".into()
        }]
    );
}

#[test]
fn polling_on_demand_watches_nothing() {
    let tree = Tree::of(&[("a", "1")]).with(|o| o.poll = PollPolicy::Always);
    let follower = Follower::new(&tree);
    assert_eq!(follower.watcher.mode(0), Mode::Polling(PollReason::Asked));
    assert_eq!(follower.watcher.limits().folders, 0);
}

#[test]
fn links_to_folders_are_watched_where_they_are_followed() {
    use std::os::unix::fs::symlink;
    let tree = Tree::of(&[("../outside/x", "1")]).with(|o| o.symlinks = SymlinkPolicy::Follow);
    let mut follower = Follower::new(&tree);
    symlink("../outside", tree.path("link")).unwrap();
    follower.catch_up();
    tree.write("../outside/y", "2");
    follower.catch_up();
    assert_eq!(follower.names(), ["link/x", "link/y"]);
    fs::remove_file(tree.path("link")).unwrap();
    follower.catch_up();
    assert_eq!(follower.names(), [""; 0]);
}

/// From the close to the hint: `cargo test --release --lib measure_the_latency -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn measure_the_latency() {
    let tree = Tree::new();
    let follower = Follower::new(&tree);
    let mut micros: Vec<u128> = (0..2000)
        .map(|i| {
            let name = format!("f{i}");
            let mut file = fs::File::create(tree.path(&name)).unwrap();
            file.write_all(b"x").unwrap();
            let start = Instant::now();
            drop(file);
            follower.wait(|event| *event == changed(&name));
            start.elapsed().as_micros()
        })
        .collect();
    micros.sort_unstable();
    println!(
        "close to hint: p50 {} µs, p99 {} µs",
        micros[1000], micros[1980]
    );
}
