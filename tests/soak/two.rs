//! Two programs, one state folder: the second refuses at once and names the first; and where the locks are gone, the one that
//! was paused and wakes writes nothing any more.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::history::{SHORT, act};
use crate::life::{Ended, Layout, Life};
use crate::random::Random;
use crate::site::{Durable, Site};
use crate::tally::Tally;

/// Long enough on any machine; the promise of a second is measured and told, not asserted: a busy machine has none to spare.
const STUCK: Duration = Duration::from_secs(30);

pub fn case(seed: u64, folder: &Path, tally: &Tally) -> Result<(), String> {
    let mut random = Random::new(seed);
    let site = Site::new(folder);
    (0..6).for_each(|_| act(&site.files(), &mut random, SHORT));
    fs::write(
        site.files().join("sure.txt"),
        "there is something to commit",
    )
    .map_err(|error| error.to_string())?;
    // The first stands still in the middle of a commit, before SQLite's own lock is taken.
    let fault = "store.commit.begin=stop@1";
    let mut first = Life::start(&site, "once", Layout::Threads(1), [fault, ""]);
    let deadline = Instant::now() + STUCK;
    while !first.seen(" !") {
        if Instant::now() > deadline || !first.lives() {
            return Err("the first never came to its commit".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut beside = Site::at(folder, &site.files());
    beside.logs = folder.join("second");
    fs::create_dir_all(&beside.logs).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let (ended, _, _) = Life::start(&beside, "once", Layout::Threads(1), ["", ""]).wait(None);
    let ms = began.elapsed().as_millis();
    match ended {
        Ended::Failed(why) if why.contains(&format!("process {}", first.pid())) => {
            tally.count(&format!(
                "second refused within {} ms",
                (ms / 250 + 1) * 250
            ));
        }
        other => {
            return Err(format!(
                "the second did not name process {}: {other:?}",
                first.pid()
            ));
        }
    }
    // Somebody takes the locks away: now only the fence is left.
    for lock in ["lock", "run.pid", "run.lock"] {
        fs::remove_file(site.state().join(lock)).map_err(|error| format!("{lock}: {error}"))?;
    }
    let (ended, told, _) = Life::start(&beside, "once", Layout::Threads(1), ["", ""]).wait(None);
    if ended != Ended::Done {
        return Err(format!("the second, without the locks: {ended:?}"));
    }
    let durable = site.holds(&Durable::default(), &told)?;
    first.wake();
    let (ended, mut told, _) = first.wait(None);
    // It embedded before the second did, and for nothing.
    told.embedded.clear();
    match ended {
        Ended::Failed(why) if why.contains("taken over by another process") => {
            tally.count("paused, taken over, fenced");
        }
        other => return Err(format!("the first woke and was not fenced: {other:?}")),
    }
    if told.upper > 0 {
        return Err("the first was told that something is durable after it was taken over".into());
    }
    let now = site.holds(&durable, &told)?;
    if now != durable {
        return Err("the first wrote after it was taken over".into());
    }
    // The paused one may have been reading, so that the log could not be emptied under it: the next run does that.
    match Life::start(&site, "once", Layout::Threads(1), ["", ""])
        .wait(None)
        .0
    {
        Ended::Done => site.is_complete(),
        other => Err(format!("a run after both: {other:?}")),
    }
}
