//! The system says no: to the N-th call of a kind (strace injects that), or to every write since the disk is full.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::history::{SHORT, act};
use crate::life::{Ended, Layout, Life};
use crate::random::Random;
use crate::site::{Durable, Site};
use crate::tally::Tally;

/// Calls by which something is written, and how often one life makes them, about.
const CALLS: &[(&str, u64)] = &[
    ("fsync,fdatasync", 40),
    ("pwrite64", 200),
    ("write", 60),
    ("ftruncate", 6),
    ("rename,renameat,renameat2", 6),
    ("openat", 120),
    ("mkdir,mkdirat", 4),
    ("unlink,unlinkat,rmdir", 20),
    ("read,pread64", 200),
];

/// Why it can't be tried here, if so.
pub fn lacking(scenario: &str) -> Option<String> {
    if scenario == "full" {
        return (!rustix::process::geteuid().is_root()).then(|| "mounting needs root".into());
    }
    // Tracing may be forbidden although the program is there.
    let traced = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    (!traced.is_ok_and(|status| status.success()))
        .then(|| "there is no strace that may trace".into())
}

/// Some lives in which one call fails, or all from the N-th on.
pub fn calls(seed: u64, folder: &Path, tally: &Tally) -> Result<(), String> {
    let mut random = Random::new(seed);
    let site = Site::new(folder);
    let mut durable = Durable::default();
    for round in 0..6 {
        (0..1 + random.below(8)).for_each(|_| act(&site.files(), &mut random, SHORT));
        let final_sync = round == 1;
        let (call, often) = *random.pick(CALLS);
        let error = *random.pick(&["EIO", "ENOSPC"]);
        let when = 1 + random.below(often);
        let forever = if random.percent(25) { "+" } else { "" };
        let mut wrapper: Vec<String> = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"]
            .map(Into::into)
            .into();
        if final_sync {
            // The log of the store, and nothing else: what is not synced is not durable.
            let log = site.state().join("store.sqlite-wal");
            act(&site.files(), &mut random, SHORT);
            fs::write(
                site.files().join("sure.txt"),
                format!("a change for certain {seed}"),
            )
            .map_err(|e| e.to_string())?;
            wrapper.extend([
                format!(
                    "inject=fsync,fdatasync:error=EIO:when={}",
                    1 + random.below(2)
                ),
                "-P".into(),
                log.display().to_string(),
            ]);
        } else {
            wrapper.push(format!("inject={call}:error={error}:when={when}{forever}"));
        }
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let layout = Layout::Threads(1 + random.below(2) as usize);
        let how = format!("round {round}, {layout:?}, {}", wrapper.join(" "));
        let (ended, told, _) =
            Life::start_under(&wrapper, &site, "once", layout, ["", ""]).wait(None);
        let fail = |why: String| format!("{how}: {why}");
        tally.count(&format!(
            "{} failed",
            if final_sync { "fsync of the log" } else { call }
        ));
        match &ended {
            Ended::Failed(why)
                if final_sync
                    && ["could not be made durable", "could not take over"]
                        .iter()
                        .any(|end| why.contains(end)) =>
            {
                tally.count("fsync of the log: stopped, and said why");
            }
            other if final_sync => {
                return Err(fail(format!(
                    "an fsync failed and that was not the end: {other:?}"
                )));
            }
            Ended::Failed(why) if why.contains("hangs") => return Err(fail(why.clone())),
            // A thread, a channel or the language's own library may give up before we are asked.
            // Where nothing can be written any more, there are no last words either.
            Ended::Failed(why) if !(why.contains(": ") || call == "write" && forever == "+") => {
                return Err(fail(format!("it ends without a word: {why}")));
            }
            Ended::Failed(why) if why.contains("a defect of floodmark") => {
                tally.count("ended by a panic")
            }
            Ended::Failed(_) => tally.count("ended with a reason"),
            Ended::Killed => return Err(fail("it was ended by a signal".into())),
            Ended::Done => tally.count("went on and ended well"),
        }
        durable = site.holds(&durable, &told).map_err(fail)?;
        durable = finish(&site, &durable, tally).map_err(fail)?;
    }
    Ok(())
}

/// A disk that has room for less and less.
pub fn full(seed: u64, folder: &Path, tally: &Tally) -> Result<(), String> {
    let mut random = Random::new(seed);
    let disk = folder.join("disk");
    let files = folder.join("files");
    fs::create_dir_all(&disk)
        .and_then(|()| fs::create_dir_all(&files))
        .map_err(|error| error.to_string())?;
    let mount = |options: &str| {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "floodmark"])
            .arg(&disk)
            .status();
        status
            .map_err(|error| error.to_string())
            .and_then(|status| {
                status
                    .success()
                    .then_some(())
                    .ok_or(format!("mount -o {options}: {status}"))
            })
    };
    mount("size=64m")?;
    let _unmounted = Unmount(&disk);
    let mut site = Site::at(&disk, &files);
    site.logs = folder.to_owned();
    let mut durable = Durable::default();
    for round in 0..6 {
        (0..1 + random.below(8)).for_each(|_| act(&files, &mut random, SHORT));
        let used = used(&site.state());
        let room = used + 4096 * (1 + random.below(120));
        mount(&format!("remount,size={room}"))?;
        let (ended, told, _) = Life::start(&site, "once", Layout::Threads(1), ["", ""]).wait(None);
        let fail = |why: String| format!("round {round}, {room} bytes, {used} used: {why}");
        tally.count("lives on a disk with little room");
        match &ended {
            Ended::Failed(why)
                if why.contains("hangs") || why.contains("a defect of floodmark") =>
            {
                return Err(fail(why.clone()));
            }
            Ended::Failed(why) if !why.contains(": ") => {
                return Err(fail(format!("it ends without a word: {why}")));
            }
            Ended::Failed(_) => tally.count("full: ended with a reason"),
            Ended::Killed => tally.count("full: ended by a signal"),
            Ended::Done => tally.count("full: ended well"),
        }
        mount("remount,size=64m")?;
        if ended == Ended::Killed && !site.state().join("store.sqlite").exists() {
            continue;
        }
        durable = site.holds(&durable, &told).map_err(fail)?;
        durable = finish(&site, &durable, tally).map_err(fail)?;
    }
    Ok(())
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn used(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => used(&entry.path()),
        Ok(metadata) => metadata.len().next_multiple_of(4096),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

fn finish(site: &Site, before: &Durable, tally: &Tally) -> Result<Durable, String> {
    let (ended, told, _) = Life::start(site, "once", Layout::Threads(1), ["", ""]).wait(None);
    if ended != Ended::Done {
        return Err(format!("afterwards: {ended:?}"));
    }
    tally.completed();
    site.is_complete()?;
    site.holds(before, &told)
}
