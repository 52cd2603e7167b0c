//! One writer a state folder: an advisory lock that the kernel releases when its holder dies, however it dies.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{Context, StoreError};
use crate::fault;

/// Who holds a state folder, by its own word in the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// When it took the lock, milliseconds since 1970.
    pub started_ms: i64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        match jiff::Timestamp::from_millisecond(self.started_ms) {
            Ok(since) => write!(f, " since {since}"),
            Err(_) => Ok(()),
        }
    }
}

/// The lock, held as long as this lives. The file stays: to remove it would let two processes lock two files of one name.
#[derive(Debug)]
pub(super) struct Lock(File);

/// Someone who only looks holds the lock for an instant; whoever runs holds it for good. Five tries tell them apart.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(40);

impl Lock {
    pub(super) fn take(dir: &Path, started_ms: i64) -> Result<Self, StoreError> {
        let path = dir.join("lock");
        fault::point("store.lock.open").context("open the lock file", &path)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context("open the lock file", &path)?;
        for attempt in 1.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if attempt < TRIES => std::thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    let holder = read_holder(&mut file);
                    return Err(StoreError::Locked {
                        dir: dir.to_owned(),
                        holder,
                    });
                }
                Err(errno) => return Err(io::Error::from(errno)).context("lock", &path),
            }
        }
        fault::point("store.lock.taken").context("write", &path)?;
        file.set_len(0).context("write", &path)?;
        fault::point("store.lock.write").context("write", &path)?;
        write!(
            file,
            "pid {}\nstarted_ms {started_ms}\n",
            std::process::id()
        )
        .context("write", &path)?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // So that nobody reads the name of a process that is gone. Failing is harmless: the lock decides.
        let _ = self.0.set_len(0);
    }
}

/// Who writes to `dir` now: `None` when nobody does. For `status`, `start` and `stop`.
///
/// # Errors
/// The lock file is there and can't be opened.
pub fn holder(dir: &Path) -> io::Result<Option<Holder>> {
    let mut file = match File::open(dir.join("lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => Ok(read_holder(&mut file)),
        Err(errno) => Err(errno.into()),
    }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(200).read_to_string(&mut text).ok()?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .map(str::to_owned)
    };
    Some(Holder {
        pid: field("pid ")?.parse().ok()?,
        started_ms: field("started_ms ")?.parse().ok()?,
    })
}
