//! The power goes: a file system in a file is shut down under the program, and what was not synced is gone.
//!
//! The state lies on it, the files beside it: they are what they are, whatever becomes of the state.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::history::{SHORT, act};
use crate::life::{Ended, Layout, Life};
use crate::random::Random;
use crate::site::{Durable, Site};
use crate::tally::Tally;

/// Power cuts between a file system's making and its end.
const CUTS: u64 = 10;

/// Why it can't be tried here, if so.
pub fn lacking(kind: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root".into());
    }
    let there = |tool: &str| {
        let paths = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        paths
            .split(':')
            .any(|folder| Path::new(folder).join(tool).exists())
    };
    let tools = [format!("mkfs.{kind}"), "xfs_io".into(), "mount".into()];
    let missing: Vec<String> = tools.into_iter().filter(|tool| !there(tool)).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "there is no {} (Debian: e2fsprogs, xfsprogs)",
            missing.join(", no ")
        )
    })
}

fn tool(name: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(name)
        .args(arguments)
        .env(
            "PATH",
            std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin",
        )
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{name} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// A file system that can be shut down.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    fn new(folder: &Path, kind: &str) -> Result<Self, String> {
        let disk = Self {
            image: folder.join("image"),
            mounted: folder.join("disk"),
        };
        let bytes = if kind == "xfs" { 320 << 20 } else { 64 << 20 };
        fs::create_dir_all(&disk.mounted).map_err(|error| error.to_string())?;
        let image = fs::File::create(&disk.image).and_then(|image| image.set_len(bytes));
        image.map_err(|error| error.to_string())?;
        tool(&format!("mkfs.{kind}"), &["-q", text(&disk.image)])?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        tool(
            "mount",
            &["-o", "loop", text(&self.image), text(&self.mounted)],
        )
    }

    fn cut(&self) -> Result<(), String> {
        tool("xfs_io", &["-x", "-c", "shutdown", text(&self.mounted)])
    }

    fn unmount(&self) -> Result<(), String> {
        tool("umount", &[text(&self.mounted)])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where it is not mounted there is nothing to unmount.
        let _ = self.unmount();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is text")
}

/// One file system, some power cuts.
pub fn case(seed: u64, folder: &Path, tally: &Tally, kind: &str) -> Result<(), String> {
    let mut random = Random::new(seed);
    let disk = Disk::new(folder, kind)?;
    let files = folder.join("files");
    fs::create_dir_all(&files).map_err(|error| error.to_string())?;
    let mut site = Site::at(&disk.mounted, &files);
    site.logs = folder.to_owned();
    tool("sync", &["-f", text(&disk.mounted)])?;
    let mut durable = Durable::default();
    for cut in 0..CUTS {
        (0..1 + random.below(6)).for_each(|_| act(&files, &mut random, SHORT));
        let layout = Layout::Threads(1 + random.below(2) as usize);
        let mode = *random.pick(&["once", "watch"]);
        // Half of them at a named moment: the program stops there, and then the power goes.
        let at = *random.pick(&[
            "store.commit.after",
            "view.current.renamed",
            "view.renamed",
            "store.log.folded",
            "ledger.told",
        ]);
        let fault = match random.percent(50) {
            true => format!("{at}=stop@{}", random.up_to(3)),
            false => String::new(),
        };
        let mut life = Life::start(&site, mode, layout, [&fault, ""]);
        let end = Instant::now() + Duration::from_millis(30 + random.below(500));
        while Instant::now() < end && life.lives() {
            if mode == "watch" {
                act(&files, &mut random, SHORT);
            }
            std::thread::sleep(Duration::from_millis(random.below(15)));
        }
        let before_the_cut = life.told();
        disk.cut()?;
        // It may find out by itself, or stand still: now it is gone.
        let (_, mut told, _) = life.wait(Some(Instant::now()));
        // The processor has power still. An fsync that is under way while ext4 is shut down may come back as if all were well:
        // its journal is given up, and then there is nothing to wait for. Nobody hears what is acknowledged after the power went.
        if told.upper > before_the_cut.upper {
            tally.count("acknowledged between the cut and the end of the process");
        }
        (told.upper, told.files) = (before_the_cut.upper, before_the_cut.files);
        disk.unmount()?;
        disk.mount()?;
        tally.count(&format!("power cuts on {kind}"));
        let fail = |why: String| format!("{kind}, cut {cut}, {mode} {layout:?} {fault}: {why}");
        durable = site.holds(&durable, &told).map_err(fail)?;
        if random.percent(30) || cut + 1 == CUTS {
            let (ended, told, _) = Life::start(&site, "once", layout, ["", ""]).wait(None);
            if ended != Ended::Done {
                return Err(fail(format!("afterwards: {ended:?}")));
            }
            durable = site
                .holds(&durable, &told)
                .and_then(|now| site.is_complete().map(|()| now))
                .map_err(fail)?;
            tally.completed();
        }
    }
    Ok(())
}
