//! Random histories, and a program that is killed again and again while it follows them.

use std::path::Path;
use std::time::{Duration, Instant};

use floodmark::fault::POINTS;

use crate::history::{LONG, SHORT};
use crate::life::{Ended, Layout, Life};
use crate::random::Random;
use crate::site::{Durable, Site};
use crate::tally::Tally;

/// Points that the child does not come to: it moves no dead files, unpacks no runtime, and so on. See `points.rs`.
const ELSEWHERE: &[&str] = &[
    "failed.",
    "runtime.",
    "embed-file.",
    "reload.",
    "start.",
    "store.mend.",
];

/// Points of a program that watches and is asked something: `tests/whole/panics.rs` brings the real one to each of them.
pub const WATCHING: &[&str] = &[
    "watch.events",
    "scan.look",
    "view.follow",
    "control.accept",
    "control.serve",
];

/// Names that a child may come to.
pub fn names() -> Vec<&'static str> {
    let names = POINTS.iter().map(|(name, _)| *name);
    names
        .filter(|name| !ELSEWHERE.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| !WATCHING.contains(name))
        .collect()
}

/// One history with its deaths. The error says what does not hold.
pub fn case(seed: u64, folder: &Path, tally: &Tally) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut site = Site::new(folder);
    // By the seed itself, so that what a seed did before it still does.
    if seed.is_multiple_of(2) {
        site = site.with_what_stays();
    }
    if seed % 5 < 2 {
        site = site.keeping();
    }
    let counts = if seed.is_multiple_of(3) { LONG } else { SHORT };
    let mut durable = Durable::default();
    for round in 0..2 + random.below(4) {
        for _ in 0..1 + random.below(8) {
            site.act(&mut random, counts);
        }
        let mut deaths = 0;
        // A death, then the recovery from it may be killed as well, and that one's too.
        while deaths < 6 && random.percent(if deaths == 0 { 95 } else { 70 }) {
            let (now, killed) = life(&site, &durable, &mut random, counts, tally)
                .map_err(|why| format!("round {round}, after {deaths} deaths: {why}"))?;
            durable = now;
            if !killed {
                break;
            }
            deaths += 1;
        }
        if site.may_be_away() && random.percent(25) {
            durable = away(&site, durable, &mut random, tally)
                .map_err(|why| format!("round {round}, away: {why}"))?;
        }
        if random.percent(40) {
            durable = finish(&site, &durable, &mut random, tally)
                .map_err(|why| format!("round {round}, after {deaths} deaths: {why}"))?;
        }
    }
    finish(&site, &durable, &mut random, tally)
        .map(drop)
        .map_err(|why| format!("at the end: {why}"))
}

/// The input is away, or was emptied, while the program lives and dies: nothing joins the index and nothing leaves it.
fn away(
    site: &Site,
    mut before: Durable,
    random: &mut Random,
    tally: &Tally,
) -> Result<Durable, String> {
    let emptied = random.percent(50);
    site.leave(emptied).map_err(|error| error.to_string())?;
    for _ in 0..1 + random.below(3) {
        let (layout, fault) = (layout(random), fault(random));
        let (ended, told, seen) = Life::start(site, "once", layout, [&fault, ""]).wait(None);
        let how = format!("emptied {emptied}, {layout:?}: {fault}");
        tally.reached(&seen);
        tally.died(layout, &seen, ended == Ended::Killed);
        tally.count(match emptied {
            true => "lives while the input was emptied",
            false => "lives while the input was away",
        });
        if let Ended::Failed(why) = ended {
            return Err(format!("{how}: {why}"));
        }
        let now = site
            .holds(&before, &told)
            .map_err(|why| format!("{how}: {why}"))?;
        if let Some(change) = now.changes.difference(&before.changes).next() {
            return Err(format!("{how}: {change:?} came into the changelog"));
        }
        before = now;
    }
    site.return_to().map_err(|error| error.to_string())?;
    Ok(before)
}

fn layout(random: &mut Random) -> Layout {
    match random.below(20) {
        0..9 => Layout::Threads(1),
        9..18 => Layout::Threads(2 + random.below(2) as usize),
        _ => Layout::Processes,
    }
}

/// Runs once, to the end.
fn finish(
    site: &Site,
    before: &Durable,
    random: &mut Random,
    tally: &Tally,
) -> Result<Durable, String> {
    let layout = layout(random);
    let (ended, told, seen) = Life::start(site, "once", layout, ["", ""]).wait(None);
    tally.reached(&seen);
    if ended != Ended::Done {
        return Err(format!("{layout:?}, unharmed: {ended:?}"));
    }
    let durable = site
        .holds(before, &told)
        .and_then(|durable| site.is_complete_after(before).map(|kept| (durable, kept)));
    if layout != Layout::Processes {
        let kept = site.kept_tokens()?;
        if let Some(text) = told.embedded.keys().find(|text| !kept.contains(*text)) {
            return Err(format!(
                "{layout:?}, unharmed: the tokens of {text} were not kept"
            ));
        }
    }
    tally.completed();
    let (durable, kept) = durable.map_err(|why| format!("{layout:?}, unharmed: {why}"))?;
    (0..kept).for_each(|_| tally.count("files that turned bad and were kept as they were"));
    Ok(durable)
}

/// A death by a point's name, or by the number of points that were passed, or none.
fn fault(random: &mut Random) -> String {
    let most = random.percent(75);
    match random.below(10) {
        0..5 => format!(
            "{}=kill@{}",
            random.pick(&names()),
            random.up_to(if most { 3 } else { 40 })
        ),
        5..9 => format!("*=kill@{}", random.up_to(700)),
        _ => String::new(),
    }
}

/// One life that is to end early: what is durable after it, and whether it was killed.
fn life(
    site: &Site,
    before: &Durable,
    random: &mut Random,
    counts: &[usize],
    tally: &Tally,
) -> Result<(Durable, bool), String> {
    let layout = layout(random);
    let watch = random.percent(20);
    let fault = fault(random);
    let deadline = fault
        .is_empty()
        .then(|| Instant::now() + Duration::from_millis(random.below(250)));
    let victim = usize::from(layout == Layout::Processes && random.percent(40));
    let faults = match victim {
        0 => [fault.as_str(), ""],
        _ => ["", fault.as_str()],
    };
    let mode = if watch { "watch" } else { "once" };
    let mut life = Life::start(site, mode, layout, faults);
    if watch {
        let end =
            deadline.unwrap_or(Instant::now() + Duration::from_millis(100 + random.below(300)));
        while Instant::now() < end && life.lives() {
            site.act(random, counts);
            std::thread::sleep(Duration::from_millis(random.below(20)));
        }
        if deadline.is_none() {
            life.terminate();
        }
    }
    let (ended, told, seen) = life.wait(deadline);
    let how = format!("{mode} {layout:?}, process {victim}: {fault}");
    tally.reached(&seen);
    tally.died(layout, &seen, ended == Ended::Killed);
    if ended == Ended::Killed && told.files.values().any(|(kind, _)| kind == "Partial") {
        tally.count("killed while a file was indexed in part");
    }
    match ended {
        Ended::Failed(why) => return Err(format!("{how}: {why}")),
        Ended::Done if !watch => {
            site.is_complete_after(before)
                .map_err(|why| format!("{how}, which it outlived: {why}"))?;
        }
        _ => {}
    }
    let now = site
        .holds(before, &told)
        .map_err(|why| format!("{how}: {why}"))?;
    Ok((now, ended == Ended::Killed))
}
