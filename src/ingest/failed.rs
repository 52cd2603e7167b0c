//! Moves files that became dead letters out of the inputs, each with a log that says why.
//!
//! A letter comes here when it is durable, and on a thread of its own, so that nothing waits for a copy to another disk.
//! The log is on the disk before the file is moved; nothing that lies in the folder is ever overwritten.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::fault;
use crate::ingest::queue::{Arrival, Name, WakerSlot, wake};
use crate::service::time;
use crate::sources::{Identity, resolved};
use crate::store::Clock;
use crate::store::row::{Failure, FileRow, FileState};

/// A dead file, with what is durable of it.
pub type Letter = (Name, FileRow);

/// What became of a dead file.
#[derive(Debug)]
pub enum Outcome {
    /// It was moved, and this is to be said of it.
    Moved(Box<FileRow>),
    /// It is no longer what it was: it must be looked at again.
    Changed,
    /// It could not be moved; it stays where it is.
    Stays,
}

/// Dead files can't go there.
#[derive(Debug, thiserror::Error)]
pub enum FailedDirError {
    /// What lies in it would be indexed, or moved, again.
    #[error("failed-dir {} and the input {} lie inside each other: choose a folder beside the inputs", folder.display(), input.display())]
    Nested {
        /// The folder.
        folder: PathBuf,
        /// The input.
        input: PathBuf,
    },
    /// It can't be used.
    #[error("failed-dir {} can't be used: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Moves dead files to one folder.
#[derive(Clone, Debug)]
pub struct Mover {
    folder: PathBuf,
    /// A file that changed less than so long ago may still be written: what seems bad may be half of something good.
    rest: Duration,
    clock: Clock,
}

impl Mover {
    /// Makes the folder if it is missing.
    ///
    /// # Errors
    /// See [`FailedDirError`].
    pub fn new(
        folder: &Path,
        inputs: &[PathBuf],
        rest: Duration,
        clock: Clock,
    ) -> Result<Self, FailedDirError> {
        let failed = |source| FailedDirError::Folder {
            folder: folder.to_owned(),
            source,
        };
        let settled = resolved(folder).map_err(failed)?;
        let nested = |input: &&PathBuf| settled.starts_with(input) || input.starts_with(&settled);
        if let Some(input) = inputs.iter().find(nested) {
            return Err(FailedDirError::Nested {
                folder: settled,
                input: input.clone(),
            });
        }
        fs::create_dir_all(&settled).map_err(failed)?;
        let folder = settled.canonicalize().map_err(failed)?;
        Ok(Self {
            folder,
            rest,
            clock,
        })
    }

    /// Moves what is sent until nobody can send any more, and tells the queue what became of each.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(self, arrivals: Sender<Arrival>, waker: WakerSlot) -> io::Result<Sender<Letter>> {
        let (sender, letters): (_, Receiver<Letter>) = unbounded();
        let work = move || {
            for (name, row) in letters {
                let path = row.root.join(&row.path);
                let outcome = self.bury(row).unwrap_or_else(|error| {
                    tracing::error!(
                        path = %path.display(), folder = %self.folder.display(), %error,
                        "a dead file can't be moved; it stays where it is until the next run, and is listed as dead"
                    );
                    Outcome::Stays
                });
                if arrivals
                    .send(Arrival::Moved(name, Box::new(outcome)))
                    .is_err()
                {
                    return;
                }
                wake(&waker);
            }
        };
        std::thread::Builder::new()
            .name("failed".into())
            .spawn(work)?;
        Ok(sender)
    }

    /// Moves one file, unless it has changed.
    fn bury(&self, row: FileRow) -> io::Result<Outcome> {
        let from = row.root.join(&row.path);
        let FileState::Dead { failure, attempts } = &row.state else {
            return Ok(Outcome::Stays);
        };
        fault::point("failed.begin")?;
        self.let_rest(row.identity);
        if look(&from)? != row.identity || row.identity.is_none() {
            return Ok(Outcome::Changed);
        }
        let (to, log) = self.place(&row.path, &self.log(&from, failure, *attempts))?;
        let moved = transfer(&from, &to, row.identity);
        if !matches!(moved, Ok(true)) {
            fs::remove_file(&log)?; // it speaks of a file that is not beside it
            return moved.map(|_| Outcome::Changed);
        }
        fault::point("failed.moved")?;
        sync_folder(&to)?;
        sync_folder(&from)?;
        fault::pass("failed.synced");
        tracing::warn!(path = %from.display(), to = %to.display(), reason = %failure.reason, "a dead file was moved away");
        let failure = Failure {
            advice: format!("it was moved to {}; {}", to.display(), failure.advice),
            ..failure.clone()
        };
        let attempts = *attempts;
        Ok(Outcome::Moved(Box::new(FileRow {
            identity: None,
            state: FileState::Dead { failure, attempts },
            retire: Vec::new(),
            ..row
        })))
    }

    /// Waits until the file has not changed for a while.
    fn let_rest(&self, identity: Option<Identity>) {
        let now = (self.clock)();
        let age = |identity: Identity| now.saturating_sub(identity.mtime_ns / 1_000_000);
        let rest = i64::try_from(self.rest.as_millis()).unwrap_or(i64::MAX);
        // A time stamp from the future says nothing.
        if let Some(age @ 0..) = identity.map(age)
            && age < rest
        {
            std::thread::sleep(Duration::from_millis((rest - age).unsigned_abs()));
        }
    }

    /// Takes a free name for the file, under the same sub-path, and writes its log beside it.
    fn place(&self, below: &Path, log: &str) -> io::Result<(PathBuf, PathBuf)> {
        let wanted = self.folder.join(below);
        if let Some(parent) = wanted.parent() {
            fs::create_dir_all(parent)?;
        }
        for number in 0u32.. {
            let mut to = wanted.clone().into_os_string();
            if number > 0 {
                to.push(format!(".{number}"));
            }
            let mut beside = to.clone();
            beside.push(".error.txt");
            let (to, beside) = (PathBuf::from(to), PathBuf::from(beside));
            if fs::symlink_metadata(&to).is_ok() {
                continue;
            }
            match File::create_new(&beside) {
                Ok(mut file) => {
                    fault::point("failed.log.write")?;
                    file.write_all(log.as_bytes())?;
                    fault::point("failed.log.sync")?;
                    file.sync_all()?;
                    return Ok((to, beside));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("there is no free name"))
    }

    fn log(&self, from: &Path, failure: &Failure, attempts: u32) -> String {
        let mut log = String::from("floodmark could not index this file and moved it here.\n\n");
        let mut line = |name: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(log, "{name:9} {value}");
        };
        line("file", &from.display().to_string());
        line("moved", &time((self.clock)()));
        line("reason", &failure.reason);
        line("message", &failure.message);
        if let Some(number) = failure.line {
            line("line", &number.to_string());
        }
        if let Some(record) = failure.record {
            line("record", &format!("{record} (counted from 0)"));
        }
        line("tries", &attempts.to_string());
        line("advice", &failure.advice);
        log
    }
}

fn look(path: &Path) -> io::Result<Option<Identity>> {
    // A link that was followed when it was read is followed here too: what it leads to is compared.
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Identity::of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Same file, same bytes. A move changes the time of the last change of the attributes.
fn same(a: Option<Identity>, b: Option<Identity>) -> bool {
    let still = |identity: Identity| Identity {
        ctime_ns: 0,
        ..identity
    };
    a.map(still) == b.map(still)
}

/// Whether it was moved; if not, it had changed.
fn transfer(from: &Path, to: &Path, identity: Option<Identity>) -> io::Result<bool> {
    fault::point("failed.move")?;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::XDEV) => return copy(from, to, identity),
        // The file system has no such call. The log holds the name against other movers.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::rename(from, to)?,
        Err(error) => return Err(error.into()),
    }
    if same(look(to)?, identity) {
        return Ok(true);
    }
    // Another version came to lie there between the look and the move: it is not dead, and goes back.
    renameat_with(CWD, to, CWD, from, RenameFlags::NOREPLACE)?;
    Ok(false)
}

/// To another file system: the copy is on the disk before the original goes.
fn copy(from: &Path, to: &Path, identity: Option<Identity>) -> io::Result<bool> {
    let mut source = File::open(from)?;
    let mut target = File::create_new(to)?;
    let copied = io::copy(&mut source, &mut target)
        .and_then(|_| target.set_permissions(source.metadata()?.permissions()))
        .and_then(|()| target.sync_all())
        .and_then(|()| sync_folder(to))
        .and_then(|()| Ok(look(from)? == identity));
    match copied {
        Ok(true) => fault::point("failed.copied")
            .and_then(|()| fs::remove_file(from))
            .map(|()| true),
        other => {
            fs::remove_file(to)?;
            other
        }
    }
}

/// A name is on the disk when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(root: &Path, path: &str) -> FileRow {
        let failure = Failure {
            reason: "invalid-json".into(),
            message: "a brace is missing".into(),
            advice: "mend it".into(),
            record: None,
            line: Some(3),
        };
        FileRow {
            key: crate::sources::key(root, Path::new(path)),
            root: root.to_owned(),
            path: path.into(),
            identity: look(&root.join(path)).unwrap(),
            state: FileState::Dead {
                failure,
                attempts: 1,
            },
            retire: vec![4],
        }
    }

    fn buried(mover: &Mover, root: &Path, path: &str) -> String {
        match mover.bury(row(root, path)).unwrap() {
            Outcome::Moved(row) => match row.state {
                FileState::Dead { failure, .. } => failure.advice,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_is_moved_with_its_log_and_overwrites_nothing() {
        let place = tempfile::tempdir().unwrap();
        let input = place.path().canonicalize().unwrap().join("in");
        fs::create_dir_all(input.join("sub")).unwrap();
        let failed = place.path().join("failed");
        let mover =
            Mover::new(&failed, std::slice::from_ref(&input), Duration::ZERO, || 0).unwrap();
        let failed = failed.canonicalize().unwrap();
        for (bytes, name) in [("1", "sub/a.json"), ("2", "sub/a.json.1")] {
            fs::write(input.join("sub/a.json"), bytes).unwrap();
            let advice = buried(&mover, &input, "sub/a.json");
            let to = failed.join(name);
            assert_eq!(advice, format!("it was moved to {}; mend it", to.display()));
            assert_eq!(fs::read_to_string(&to).unwrap(), bytes);
            assert!(!input.join("sub/a.json").exists());
        }
        let log = fs::read_to_string(failed.join("sub/a.json.error.txt")).unwrap();
        for part in [
            "sub/a.json",
            "invalid-json",
            "a brace is missing",
            "line      3",
            "1970-01-01T00:00:00Z",
        ] {
            assert!(log.contains(part), "{part} is not in {log}");
        }
    }

    #[test]
    fn a_file_that_changed_meanwhile_stays() {
        let place = tempfile::tempdir().unwrap();
        let input = place.path().canonicalize().unwrap().join("in");
        fs::create_dir_all(&input).unwrap();
        let mover = Mover::new(&place.path().join("failed"), &[], Duration::ZERO, || 0).unwrap();
        fs::write(input.join("a"), "bad").unwrap();
        let dead = row(&input, "a");
        fs::write(input.join("a"), "good now").unwrap();
        assert!(matches!(mover.bury(dead).unwrap(), Outcome::Changed));
        let dead = row(&input, "a");
        fs::remove_file(input.join("a")).unwrap();
        assert!(matches!(mover.bury(dead).unwrap(), Outcome::Changed));
        assert_eq!(
            fs::read_dir(place.path().join("failed")).unwrap().count(),
            0
        );
        fs::write(input.join("b"), "bad").unwrap();
        let before = row(&input, "b").identity;
        // What a rename would have brought away is brought back.
        fs::write(input.join("b"), "another length").unwrap();
        let to = place.path().join("failed/b");
        assert!(!transfer(&input.join("b"), &to, before).unwrap());
        assert_eq!(
            fs::read_to_string(input.join("b")).unwrap(),
            "another length"
        );
        assert!(!copy(&input.join("b"), &to, before).unwrap() && !to.exists());
        let now = row(&input, "b").identity;
        assert!(copy(&input.join("b"), &to, now).unwrap() && !input.join("b").exists());
        assert_eq!(fs::read_to_string(&to).unwrap(), "another length");
    }

    #[test]
    fn the_folder_lies_beside_the_inputs() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let nested = |folder: &str, input: &str| {
            matches!(
                Mover::new(
                    &root.join(folder),
                    &[root.join(input)],
                    Duration::ZERO,
                    || 0
                ),
                Err(FailedDirError::Nested { .. })
            )
        };
        assert!(nested("in/failed", "in") && nested("in", "in") && nested("x", "x/in"));
        assert!(!nested("in-failed", "in"));
    }
}
