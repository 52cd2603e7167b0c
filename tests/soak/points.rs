//! Every point of the list, once and on purpose: killed there, and where an error can come out, told to fail there. The
//! program itself with its own model does what the child of the other scenarios does not.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use floodmark::fault::{Kind, POINTS};

use crate::kills::{WATCHING, names};
use crate::life::{Ended, Layout, Life};
use crate::random::Random;
use crate::site::{Durable, Site};
use crate::tally::Tally;

/// What brings the program to the points that the child never comes to.
const JOURNEYS: &[(&str, &[&str])] = &[
    (
        "failed.",
        &["run", "--once", "--settle", "0s", "--failed-dir", "failed"],
    ),
    (
        "embed-file.",
        &["embed", "codes.jsonl", "--output", "vectors.jsonl"],
    ),
    ("start.", &["start", "--once"]),
    ("reload.", &["run"]),
    ("store.mend.", &["verify", "--repair"]),
];

/// All points whose names begin with `only`; `few`: of those that need the program itself, only some.
pub fn case(seed: u64, folder: &Path, tally: &Tally, few: bool, only: &str) -> Result<(), String> {
    let mut random = Random::new(seed);
    let names: Vec<&str> = names()
        .into_iter()
        .filter(|name| name.starts_with(only))
        .collect();
    for name in &names {
        at_child(name, "kill", folder, &mut random, tally)?;
    }
    for (name, kind) in POINTS {
        if *kind == Kind::Fails && names.contains(name) && (!few || random.percent(30)) {
            let how = random.pick(&["eio", "enospc"]);
            at_child(name, how, folder, &mut random, tally)?;
        }
    }
    for (name, kind) in POINTS
        .iter()
        .filter(|(name, _)| name.starts_with("runtime."))
    {
        if name.starts_with(only) {
            at_unpacking(name, "kill", folder, tally)?;
            if *kind == Kind::Fails {
                at_unpacking(name, "enospc", folder, tally)?;
            }
        }
    }
    for (prefix, arguments) in JOURNEYS {
        let points = POINTS
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) && name.starts_with(only));
        for (number, (name, kind)) in points.enumerate() {
            // The life after the one that was ended comes by all the others, but for these.
            if few && number > 0 && *prefix != "reload." && *name != "failed.copied" {
                continue;
            }
            at_program(name, "kill", arguments, folder, tally)?;
            if *kind == Kind::Fails && !few {
                at_program(name, "eio", arguments, folder, tally)?;
            }
        }
    }
    let reached = tally.names();
    let missed = |(name, _): &&(&str, Kind)| {
        name.starts_with(only) && !WATCHING.contains(name) && !reached.iter().any(|n| n == name)
    };
    match POINTS.iter().find(missed) {
        Some((name, _)) => Err(format!("nothing ever comes by {name}")),
        None => Ok(()),
    }
}

/// A site of its own that has lived once, is changed, and meets its fate at that point; then it must be as it should.
fn at_child(
    name: &str,
    how: &str,
    folder: &Path,
    random: &mut Random,
    tally: &Tally,
) -> Result<(), String> {
    let site = Site::new(&folder.join(format!("{name}-{how}")));
    let fail = |why: String| format!("{name}={how}: {why}");
    let rows = |from: usize, count: usize| -> String {
        (from..from + count)
            .map(|at| format!("{{\"text\":\"gauge {at} reads {}\"}}\n", at * 7))
            .collect()
    };
    let write = |file: &str, text: String| {
        fs::write(site.files().join(file), text).map_err(|error| error.to_string())
    };
    write("rows.jsonl", rows(0, 40))?;
    write("bad.json", "{".into())?;
    // A run that ends gives up the build of the view that is under way; who asks for a point of it waits for that build.
    let mode = match name.starts_with("view.") {
        true => "built",
        false => "once",
    };
    // Some points are come by at the first start only, some at a later one only.
    for round in 0..20 {
        write("more.jsonl", rows(1000 * round, 30 + 20 * round))?;
        let many = matches!(name, "store.log.fold" | "store.log.folded");
        if many {
            write("many.jsonl", rows(100_000 * (round + 1), 4000))?;
        }
        let fault = format!("{name}={how}@1");
        let before = site.durable().map_err(fail)?;
        let layout = Layout::Threads(1 + random.below(2) as usize);
        let (ended, told, seen) = Life::start(&site, mode, layout, [&fault, ""]).wait(None);
        tally.reached(&seen);
        tally.died(layout, &seen, ended == Ended::Killed);
        let hit = seen
            .iter()
            .any(|line| line.strip_suffix(" !") == Some(name));
        if hit {
            tally.count(&format!("{how} at a point"));
        }
        match &ended {
            Ended::Failed(why)
                if why.contains("a defect of floodmark") || why.contains("hangs") =>
            {
                return Err(fail(format!("it ends badly: {why}")));
            }
            // An error may stop it; then it says so, and goes on at the next start.
            Ended::Failed(why) if why.trim_end().ends_with(']') => {
                return Err(fail(format!("it ends without a word: {why}")));
            }
            Ended::Killed if how != "kill" => return Err(fail("it was killed".into())),
            _ => {}
        }
        site.holds(&before, &told).map_err(fail)?;
        // What the next life is to prune has left the index in the one before it.
        if name.starts_with("tokens.prune.") {
            fs::remove_file(site.files().join("more.jsonl")).map_err(|error| error.to_string())?;
        }
        finish(&site, &before, tally).map_err(fail)?;
        if hit {
            return fs::remove_dir_all(&site.folder).map_err(|error| error.to_string());
        }
    }
    Err(fail("no life came by".into()))
}

fn finish(site: &Site, before: &Durable, tally: &Tally) -> Result<(), String> {
    let (ended, _, _) = Life::start(site, "once", Layout::Threads(1), ["", ""]).wait(None);
    if ended != Ended::Done {
        return Err(format!("afterwards: {ended:?}"));
    }
    tally.completed();
    site.is_complete()?;
    site.holds(before, &Default::default()).map(drop)
}

/// A library that is unpacked; in a build of the source tree the program takes the one that lies there.
fn at_unpacking(name: &str, how: &str, folder: &Path, tally: &Tally) -> Result<(), String> {
    let cache = folder.join(format!("{name}-{how}"));
    fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
    let seen = cache.join("seen");
    let unpack = |fault: &str| {
        let mut child = Command::new(std::env::current_exe()?);
        child.args(["child", "unpack"]).arg(&cache);
        child
            .env("FAULT_POINTS", fault)
            .env("FAULT_POINTS_SEEN", &seen)
            .output()
    };
    let first = unpack(&format!("{name}={how}@1")).map_err(|error| error.to_string())?;
    let lines = fs::read_to_string(&seen).unwrap_or_default();
    let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    tally.reached(&lines);
    tally.died(Layout::Threads(1), &lines, how == "kill");
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    let as_told = match how {
        "kill" => first.status.signal() == Some(9),
        _ => first.status.code() == Some(1) && said.contains("XDG_CACHE_HOME"),
    };
    if !as_told || !lines.contains(&format!("{name} !")) {
        return Err(format!("{name}={how}: {:?} {said}", first.status));
    }
    well(name, &unpack("").map_err(|error| error.to_string())?)
}

/// The real program; afterwards the same command succeeds, and `verify` finds nothing.
fn at_program(
    name: &str,
    how: &str,
    arguments: &[&str],
    folder: &Path,
    tally: &Tally,
) -> Result<(), String> {
    let place = folder.join(format!("program-{name}-{how}"));
    let said = |error: std::io::Error| error.to_string();
    fs::create_dir_all(place.join("files")).map_err(said)?;
    for (file, text) in [
        (
            "files/note.txt",
            "The lock keeper raises the gate at four.\n",
        ),
        ("files/bad.json", "{\"text\": "),
        (
            "codes.jsonl",
            "{\"id\": \"1\", \"file_path\": \"a.rs\", \"language\": \"rust\", \"content\": \"fn main() {}\"}\n",
        ),
        ("floodmark.toml", "input = [\"files\"]\nstate = \"state\"\n"),
    ] {
        fs::write(place.join(file), text).map_err(said)?;
    }
    let seen = place.join("seen");
    let fault = format!("{name}={how}@1");
    // Copied is what goes to another file system.
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(said)?;
    let far = elsewhere.path().join("failed").display().to_string();
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|argument| match *argument {
            "failed" if name == "failed.copied" => far.as_str(),
            other => other,
        })
        .collect();
    let arguments = arguments.as_slice();
    let program = |arguments: &[&str], fault: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floodmark"));
        command
            .args(arguments)
            .current_dir(&place)
            .stdin(Stdio::null());
        command
            .env("FAULT_POINTS", fault)
            .env("FAULT_POINTS_SEEN", &seen);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOODMARK_"))
        {
            command.env_remove(name);
        }
        command
    };
    let ends = |arguments: &[&str], fault: &str| program(arguments, fault).output().map_err(said);
    if name.starts_with("store.mend.") {
        well(name, &ends(&["run", "--once"], "")?)?;
        let store = rusqlite::Connection::open(place.join("state/store.sqlite"));
        let store = store.map_err(|error| error.to_string())?;
        store
            .execute("UPDATE texts SET text = 'another'", [])
            .map_err(|error| error.to_string())?;
    }
    let output = if name.starts_with("reload.") {
        let mut child = program(arguments, &fault)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(said)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let pid = rustix::process::Pid::from_child(&child);
        // It is told once it answers; before, it could not have heard.
        while !place.join("state/control.sock").exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::HUP);
        while child.try_wait().map_err(said)?.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        child.wait_with_output().map_err(said)?
    } else {
        ends(arguments, &fault)?
    };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if errors.contains("a defect of floodmark") {
        return Err(format!("{fault}: {errors}"));
    }
    // `start` is not the process that dies.
    let deadline = Instant::now() + Duration::from_secs(60);
    let reached = format!("{name} !");
    let hit =
        || fs::read_to_string(&seen).is_ok_and(|seen| seen.lines().any(|line| line == reached));
    while arguments[0] == "start" && !hit() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    if !hit() {
        return Err(format!("{fault}: no life came by: {errors}"));
    }
    if how == "kill" && output.status.signal() != Some(9) {
        return Err(format!("{fault}: {:?} {errors}", output.status));
    }
    let lines = fs::read_to_string(&seen).unwrap_or_default();
    let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    tally.died(Layout::Threads(1), &lines, how == "kill");
    let again = match arguments {
        ["start", ..] | ["run"] => &["run", "--once"],
        _ => arguments,
    };
    well(&fault, &ends(again, "")?)?;
    if arguments[0] == "embed" {
        let vectors = fs::read_to_string(place.join("vectors.jsonl")).map_err(said)?;
        let left = fs::read_dir(&place).map_err(said)?.flatten();
        let left = left
            .filter(|entry| entry.file_name().to_string_lossy().contains("unfinished"))
            .count();
        // A process that is killed leaves its own unfinished file, and never touches the finished one.
        if vectors.lines().count() != 1 || (how != "kill" && left > 0) {
            return Err(format!("{fault}: {left} unfinished files, {vectors}"));
        }
    } else {
        well(&fault, &ends(&["run", "--once"], "")?)?;
        well(&fault, &ends(&["verify"], "")?)?;
        tally.completed();
    }
    let seen = fs::read_to_string(&seen).map_err(said)?;
    tally.reached(&seen.lines().map(str::to_owned).collect::<Vec<_>>());
    fs::remove_dir_all(&place).map_err(said)
}

fn well(what: &str, output: &Output) -> Result<(), String> {
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = [&output.stdout, &output.stderr]
                .map(|out| String::from_utf8_lossy(out).into_owned());
            Err(format!("{what}: afterwards: {:?} {said:?}", output.status))
        }
    }
}
