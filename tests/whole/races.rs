//! Sixteen threads that change a folder as fast as they can while the program reads it: whatever it saw of that, soon after
//! the last change the index is what a computation from scratch says.
//!
//! A long one: `RACE_SECONDS=600 RACE_SEED=7 cargo test --test whole races::a_long_storm -- --ignored --nocapture`

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Place, builtin, difference, poll};
use floodmark::formats::TokenOffsets;

/// More than any machine needs; what it took is printed.
const LATEST: Duration = Duration::from_secs(120);
const THREADS: u64 = 16;

/// The program, which does not outlive its test.
struct Program {
    child: Child,
    log: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(place: &Place, command: &mut Command) -> Self {
        let log = place.0.path().join("log");
        let child = command
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn is_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended: {ended:?}\n{}", self.log());
    }

    /// Waits until it has looked at everything that was there when it was started.
    fn watches(&mut self) {
        self.until("the first scan", |program| {
            program.log().contains("watching")
        });
    }

    fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + LATEST;
        while !so(self) {
            self.is_alive();
            assert!(Instant::now() < deadline, "no {what}:\n{}", self.log());
            poll(deadline);
        }
    }

    /// Waits until the index is right. The files must have come to rest. How long it took.
    #[track_caller]
    fn converges(&mut self, place: &Place, tokens: &dyn TokenOffsets) -> Duration {
        let (begin, expected) = (Instant::now(), place.expected(tokens));
        loop {
            self.is_alive();
            let wrong = match place.snapshot() {
                Some(snapshot) => difference(&snapshot, &expected),
                None => Some("there is no store".into()),
            };
            let Some(wrong) = wrong else {
                let took = begin.elapsed();
                println!(
                    "converged {} ms after the last change, {} lines",
                    took.as_millis(),
                    expected.lines.len()
                );
                return took;
            };
            assert!(begin.elapsed() < LATEST, "{wrong}\n{}", self.log());
            poll(begin + LATEST);
        }
    }

    /// Ends it, and asks `verify` too.
    fn ends_well(mut self, place: &Place) {
        self.signal(Signal::TERM);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
        let verify = place.program(&["verify"]).output().unwrap();
        let said = String::from_utf8_lossy(&verify.stdout);
        assert!(verify.status.success(), "{said}");
    }
}

fn watching(place: &Place, more: &[&str]) -> Program {
    // What the files hold now is what the oracle knows, not what they held before they turned bad.
    let mut arguments = vec!["run", "--epoch-target-ms", "50", "--on-bad", "drop"];
    arguments.extend(more);
    let mut program = Program::start(place, &mut place.program(&arguments));
    program.watches();
    program
}

/// Numbers that are the same everywhere (Marsaglia's xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }
}

/// One of sixty texts: there is much to read, move and forget, and little to embed.
fn text(dice: &mut Dice) -> String {
    const WORDS: &[&str] = &["ebb", "flood", "quay", "lamp", "rope", "salt"];
    let number = dice.next(60) as usize;
    format!("{} {number} {}", WORDS[number % 6], WORDS[number / 10])
}

fn bytes(name: &str, dice: &mut Dice) -> String {
    let count = [0, 1, 3, 70][dice.next(4) as usize];
    let texts: Vec<String> = (0..count).map(|_| text(dice)).collect();
    match name {
        "rows.jsonl" => texts
            .iter()
            .map(|text| format!("{{\"text\":\"{text}\"}}\n"))
            .collect(),
        "list.json" => {
            let items: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
            format!("[{}]", items.join(","))
        }
        "table.csv" => format!("text\n{}\n", texts.join("\n")),
        _ => texts.join("\n\n"),
    }
}

const FOLDERS: [&str; 7] = ["", "a", "a/b", "a/b/c", "d", "e", "e/f"];
const NAMES: [&str; 5] = [
    "rows.jsonl",
    "list.json",
    "table.csv",
    "note.txt",
    "page.md",
];

fn folder(root: &Path, dice: &mut Dice) -> PathBuf {
    root.join(FOLDERS[dice.next(FOLDERS.len() as u64) as usize])
}

/// One change. What can't be done, because another thread was there before, is not done.
fn change(root: &Path, dice: &mut Dice, beside: &Path) {
    let name = NAMES[dice.next(NAMES.len() as u64) as usize];
    let at = folder(root, dice).join(name);
    let bytes = bytes(name, dice);
    let write = |options: &mut fs::OpenOptions, bytes: &[u8]| {
        options.open(&at).and_then(|mut file| file.write_all(bytes))
    };
    let _ = match dice.next(12) {
        0..3 => fs::create_dir_all(at.parent().unwrap()).and_then(|()| fs::write(&at, bytes)),
        3 | 4 => fs::write(beside, bytes).and_then(|()| fs::rename(beside, &at)),
        5 | 6 => write(fs::File::options().append(true), bytes.as_bytes()),
        // In place, over what is there, and with the size that it has.
        7 => write(
            fs::File::options().write(true),
            &bytes.as_bytes()[..bytes.len() / 2],
        ),
        8 => fs::File::options()
            .write(true)
            .open(&at)
            .and_then(|file| file.set_len(dice.next(300))),
        9 => fs::remove_file(&at),
        10 => fs::rename(folder(root, dice), folder(root, dice)),
        // There and back again: only the times of the folder say that anything happened.
        _ => {
            let away = root.join("away");
            let from = folder(root, dice);
            fs::rename(&from, &away).and_then(|()| fs::rename(&away, &from))
        }
    };
}

/// All threads at once, until each says that it is enough.
fn storm(place: &Place, seed: u64, enough: impl Fn(u64) -> bool + Sync) {
    let root = place.files();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (root, enough) = (&root, &enough);
            let beside = place.0.path().join(format!("new-{thread}"));
            scope.spawn(move || {
                let mut dice = Dice(1 + seed * 1000 + thread);
                for round in 0.. {
                    if enough(round) {
                        break;
                    }
                    change(root, &mut dice, &beside);
                }
            });
        }
    });
}

#[test]
fn a_storm_of_sixteen_writers_leaves_the_right_index() {
    let (place, model) = (Place::new(), builtin());
    let mut program = watching(&place, &[]);
    for seed in [1, 2] {
        storm(&place, seed, |round| round >= 150);
        program.converges(&place, &model);
    }
    program.ends_well(&place);
}

#[test]
#[ignore = "takes RACE_SECONDS (default 60)"]
fn a_long_storm() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
    };
    let end = Instant::now() + Duration::from_secs(number("RACE_SECONDS", 60));
    let (place, model) = (Place::new(), builtin());
    let mut program = watching(&place, &[]);
    let (mut seed, mut rounds, mut slowest) = (number("RACE_SEED", 100), 0, Duration::ZERO);
    while Instant::now() < end {
        println!("seed {seed}");
        let rest = Instant::now() + Duration::from_millis(500 + seed % 7 * 300);
        storm(&place, seed, |_| Instant::now() >= rest);
        slowest = slowest.max(program.converges(&place, &model));
        (seed, rounds) = (seed + 1, rounds + 1);
    }
    program.ends_well(&place);
    println!(
        "{rounds} storms, slowest convergence {} ms",
        slowest.as_millis()
    );
}

#[test]
fn an_overflow_of_the_kernels_queue_loses_nothing() {
    let Ok(limit) = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events") else {
        return println!("SKIPPED: no inotify here, and so no queue that could overflow");
    };
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 200_000 {
        return println!(
            "SKIPPED: {limit} events fit the kernel's queue; lower fs.inotify.max_queued_events"
        );
    }
    let (place, model) = (Place::new(), builtin());
    let at = |number: usize| place.files().join(format!("{number:03}.txt"));
    (0..200).for_each(|number| fs::write(at(number), "before").unwrap());
    let mut program = watching(&place, &[]);
    program.converges(&place, &model);
    // It sleeps, the kernel writes down what happens until it can't, and what comes last is seen by nobody.
    program.signal(Signal::STOP);
    (0..limit + 1000)
        .for_each(|round| fs::write(at(round % 200), format!("quay {}", round % 7)).unwrap());
    fs::create_dir(place.files().join("new")).unwrap();
    fs::write(place.files().join("new/last.txt"), "flood").unwrap();
    fs::remove_file(at(3)).unwrap();
    program.signal(Signal::CONT);
    program.converges(&place, &model);
    program.until("word of the overflow", |program| {
        program.log().to_lowercase().contains("overflow")
    });
    program.ends_well(&place);
}

/// Runs `command` in a user namespace of its own, where limits can be lowered, if the system lets us.
fn in_a_namespace(command: &Command, first: &str) -> Option<Command> {
    let can = Command::new("unshare").args(["-Ur", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let mut inside = Command::new("unshare");
    inside
        .args(["-Ur", "sh", "-c", &format!("{first} && exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .stdin(Stdio::null());
    command.get_envs().for_each(|(name, value)| match value {
        Some(value) => drop(inside.env(name, value)),
        None => drop(inside.env_remove(name)),
    });
    Some(inside)
}

#[test]
fn too_few_watches_make_it_slower_and_not_wrong() {
    let (place, model) = (Place::new(), builtin());
    for number in 0..40 {
        let folder = place.files().join(format!("{number:02}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.txt"), "ebb").unwrap();
    }
    let plain = place.program(&["run", "--poll-interval", "1s", "--on-bad", "drop"]);
    let lowered = in_a_namespace(&plain, "echo 20 > /proc/sys/user/max_inotify_watches");
    let Some(mut lowered) = lowered else {
        return println!(
            "SKIPPED: `unshare -Ur` is not allowed here, and so the limit can't be lowered"
        );
    };
    let mut program = Program::start(&place, &mut lowered);
    program.watches();
    program.converges(&place, &model);
    storm(&place, 5, |round| round >= 20);
    fs::write(place.files().join("39/a.txt"), "flood").unwrap();
    program.converges(&place, &model);
    assert!(
        program.log().contains("max_user_watches"),
        "{}",
        program.log()
    );
    program.ends_well(&place);
}

#[test]
fn links_that_lead_in_circles_end() {
    let (place, model) = (Place::new(), builtin());
    let root = place.files();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/note.txt"), "salt").unwrap();
    symlink("..", root.join("a/b/up")).unwrap();
    symlink("self", root.join("self")).unwrap();
    symlink("two", root.join("one")).unwrap();
    symlink("one", root.join("two")).unwrap();
    symlink(&root, root.join("a/root")).unwrap();
    symlink("a/b/note.txt", root.join("link.txt")).unwrap();
    for symlinks in ["skip", "files", "follow"] {
        let status = place
            .program(&["run", "--once", "--symlinks", symlinks])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{symlinks}");
        let found = place.snapshot().unwrap().files(Some("indexed")).unwrap();
        let expect = if symlinks == "skip" { 1 } else { 2 };
        assert_eq!(found.len(), expect, "{symlinks}: {found:?}");
    }
    fs::remove_file(root.join("link.txt")).unwrap();
    assert!(
        place
            .program(&["run", "--once"])
            .status()
            .unwrap()
            .success()
    );
    place.is_right(&place.expected(&model));
}

#[test]
fn a_file_that_may_not_be_read_is_a_dead_letter_until_it_may() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let secret = place.files().join("secret.txt");
    fs::write(&secret, "ebb").unwrap();
    fs::write(place.files().join("open.txt"), "flood").unwrap();
    let mode = |bits| fs::set_permissions(&secret, fs::Permissions::from_mode(bits)).unwrap();
    let plain = place.program(&["run"]);
    let mut command = if rustix::process::geteuid().is_root() {
        // Nobody keeps root from reading: it runs as someone else, from a copy that all may run.
        let copy = place.0.path().join("floodmark");
        fs::copy(env!("CARGO_BIN_EXE_floodmark"), &copy).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(copy)
            .args(plain.get_args())
            .current_dir(place.0.path())
            .env("XDG_CACHE_HOME", place.0.path().join("cache"))
            .env("HOME", place.0.path());
        let everybody = fs::Permissions::from_mode(0o777);
        fs::set_permissions(place.0.path(), everybody).unwrap();
        if !Command::new("setpriv")
            .arg("--version")
            .output()
            .is_ok_and(|o| o.status.success())
        {
            return println!(
                "SKIPPED: this is root, who may read anything, and there is no setpriv"
            );
        }
        command
    } else {
        plain
    };
    mode(0o000);
    let mut program = Program::start(&place, &mut command);
    let standing = |place: &Place, state: &str| {
        let files = place
            .snapshot()
            .map(|store| store.files(Some(state)).unwrap());
        files.unwrap_or_default().len()
    };
    program.until("dead letter", |_| {
        standing(&place, "dead") == 1 && standing(&place, "indexed") == 1
    });
    mode(0o644);
    program.until("good end", |_| standing(&place, "indexed") == 2);
    // And one that was good: what was read of it before stays, marked stale.
    mode(0o000);
    program.until("second dead letter", |_| standing(&place, "dead") == 1);
    mode(0o644);
    program.until("second good end", |_| standing(&place, "indexed") == 2);
    program.signal(Signal::TERM);
    assert!(program.child.wait().unwrap().success());
}
