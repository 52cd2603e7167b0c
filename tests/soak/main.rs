//! The long runs: the program is killed, starved and lied to, and must lose nothing.
//!
//! ```text
//! cargo test --test soak                                   a short part of each, with the same seeds every time
//! cargo test --test soak -- kills --minutes 30             one of them, for as long
//! cargo test --test soak -- kills --kills 10000 --seed 7   until so many; seeds 7, 8, 9, ...
//! cargo test --test soak -- kills --seed 4711 --cases 1    what a failure names: once more
//! ```
//!
//! `--jobs N` histories at a time (2), `--dir DIR` instead of /dev/shm, `--json FILE` for the summary, `--list`, and for
//! `points`: `--only store.commit.`
//!
//! A seed decides what is done to the files and where the program dies. How far its threads are then is up to the machine, so
//! a failure that depends on it may need several tries.

mod child;
mod corrupt;
mod history;
mod kept;
mod kills;
mod life;
mod points;
mod power;
mod random;
mod site;
mod system;
mod tally;
mod two;

#[path = "../whole/support.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests that run the program in their own process"
)]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tally::Tally;

const SCENARIOS: &[&str] = &[
    "kills", "points", "corrupt", "two", "calls", "full", "ext4", "xfs",
];

/// How much of a scenario.
#[derive(Clone, Debug, Default)]
struct Budget {
    seed: Option<u64>,
    cases: Option<u64>,
    kills: Option<u64>,
    minutes: Option<f64>,
    jobs: Option<usize>,
    dir: Option<PathBuf>,
    json: Option<PathBuf>,
    only: String,
}

impl Budget {
    fn is_limited(&self) -> bool {
        self.cases.is_some() || self.kills.is_some() || self.minutes.is_some()
    }

    fn is_left(&self, tally: &Tally, began: Instant) -> bool {
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        self.kills.is_none_or(|kills| tally.kills() < kills)
            && self.minutes.is_none_or(|limit| minutes < limit)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("child", rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return match child::main(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    match read(&arguments) {
        Ok(Some((chosen, budget))) => {
            let failed = chosen
                .iter()
                .filter(|name| !scenario(name, &budget))
                .count();
            ExitCode::from(u8::from(failed > 0))
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("soak: {why}");
            ExitCode::from(78)
        }
    }
}

type Wanted = Option<(Vec<&'static str>, Budget)>;

/// Also what `cargo test` passes on to every test program: names that are no scenario's choose none.
fn read(arguments: &[String]) -> Result<Wanted, String> {
    let (mut budget, mut names) = (Budget::default(), Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if !argument.starts_with('-') {
            names.push(argument.clone());
            continue;
        }
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let bad = |_| format!("{argument}: not a number");
        match argument.as_str() {
            "--seed" => budget.seed = Some(value()?.parse().map_err(bad)?),
            "--cases" => budget.cases = Some(value()?.parse().map_err(bad)?),
            "--kills" => budget.kills = Some(value()?.parse().map_err(bad)?),
            "--jobs" => budget.jobs = Some(value()?.parse().map_err(bad)?),
            "--minutes" => {
                let minutes = value()?.parse();
                budget.minutes = Some(minutes.map_err(|_| "--minutes: not a number")?);
            }
            "--only" => budget.only = value()?.clone(),
            "--dir" => budget.dir = Some(value()?.into()),
            "--json" => budget.json = Some(value()?.into()),
            "--list" => {
                SCENARIOS.iter().for_each(|name| println!("{name}: test"));
                for (name, kind) in floodmark::fault::POINTS {
                    println!("{name} {kind:?}");
                }
                return Ok(None);
            }
            "--nocapture" | "--quiet" | "-q" | "--exact" | "--include-ignored" | "--ignored" => {}
            "--test-threads" | "--skip" | "--format" => drop(value()?),
            other => return Err(format!("what is {other}? See tests/soak/main.rs")),
        }
    }
    let chosen = SCENARIOS.iter().copied();
    let chosen =
        chosen.filter(|name| names.is_empty() || names.iter().any(|wanted| wanted == name));
    Ok(Some((chosen.collect(), budget)))
}

/// Runs one scenario; whether all held.
fn scenario(name: &'static str, budget: &Budget) -> bool {
    let mut budget = budget.clone();
    if !budget.is_limited() {
        budget.cases = Some(if name == "kills" { 10 } else { 1 });
        budget.seed = budget.seed.or(Some(1));
    }
    let seed = budget.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap_or_default().as_millis() as u64 * 1000
    });
    println!("{name}: seed {seed}");
    let lacking = match name {
        "ext4" | "xfs" => power::lacking(name),
        "calls" | "full" => system::lacking(name),
        _ => None,
    };
    if let Some(why) = lacking {
        println!("{name}: !!! SKIPPED, NOTHING WAS TESTED: {why}");
        return true;
    }
    let shm = Path::new("/dev/shm");
    let dir = budget.dir.clone().unwrap_or_else(|| {
        // What a killed process wrote is in the kernel's hands; a disk would only make it slower.
        if shm.is_dir() {
            shm.to_owned()
        } else {
            std::env::temp_dir()
        }
    });
    let tally = Tally::new();
    let (began, next) = (Instant::now(), AtomicU64::new(0));
    let jobs = budget.jobs.unwrap_or(2);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| work(name, seed, &next, &dir, &budget, began, &tally));
        }
        if budget.minutes.is_some() || budget.kills.is_some() {
            scope.spawn(|| report(name, &next, &tally));
        }
    });
    let summary = tally.json();
    let held = tally.violations() == 0;
    println!(
        "{name}: {} histories, {} kills in {} s ({} a second), {} runs compared, {} violations",
        summary["histories"],
        summary["kills"],
        summary["seconds"],
        summary["kills_per_second"],
        summary["completed_and_compared"],
        tally.violations()
    );
    if let Some(path) = &budget.json
        && let Err(error) = std::fs::write(path, format!("{summary:#}\n"))
    {
        eprintln!("{}: {error}", path.display());
        return false;
    }
    held
}

const STOPPED: u64 = u64::MAX / 2;

fn work(
    name: &str,
    seed: u64,
    next: &AtomicU64,
    dir: &Path,
    budget: &Budget,
    began: Instant,
    tally: &Tally,
) {
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= budget.cases.unwrap_or(STOPPED) || !budget.is_left(tally, began) {
            next.store(STOPPED, Ordering::SeqCst);
            return;
        }
        let seed = seed + number;
        let folder = tempfile::Builder::new()
            .prefix("floodmark-soak-")
            .tempdir_in(dir);
        let folder = folder.expect("a folder to work in");
        let (folder, few) = (folder, budget.minutes.is_none());
        let path = folder.path();
        let done = match name {
            "points" => points::case(seed, path, tally, few, &budget.only),
            "corrupt" => corrupt::case(seed, path, tally, !few),
            "two" => two::case(seed, path, tally),
            "calls" => system::calls(seed, path, tally),
            "full" => system::full(seed, path, tally),
            "ext4" | "xfs" => power::case(seed, path, tally, name),
            _ => kills::case(seed, path, tally),
        };
        tally.case();
        if let Err(why) = done {
            let kept = folder.keep();
            println!("{name}: VIOLATION {why}\n  kept in {}", kept.display());
            println!("  again: cargo test --test soak -- {name} --seed {seed} --cases 1");
            tally.violation(seed, &why);
            if tally.violations() >= 5 {
                next.store(STOPPED, Ordering::SeqCst);
            }
        }
    }
}

/// Says from time to time how far it is.
fn report(name: &str, next: &AtomicU64, tally: &Tally) {
    let mut said = Instant::now();
    while next.load(Ordering::SeqCst) < STOPPED {
        std::thread::sleep(Duration::from_millis(100));
        if said.elapsed() >= Duration::from_secs(30) {
            said = Instant::now();
            println!(
                "{name}: {} histories, {} kills, {} violations",
                tally.cases(),
                tally.kills(),
                tally.violations()
            );
        }
    }
}
