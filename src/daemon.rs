//! Which process runs on a state folder, starting one in the background, and stopping it.
//!
//! A pid file alone lies: its process may be dead, and its number may be another's. Here the run holds a lock on the file
//! for its life, which the kernel takes back however it ends; whoever reads the file tests the lock first. A second lock
//! is held for the moment between taking the first and writing the number, and by whoever tests, so that nobody reads the
//! number of the previous run.

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::fault;

/// Locked by the run for its life; its first line is the process's number.
pub const PID_FILE: &str = "run.pid";
/// Where a run in the background logs.
pub const LOG_FILE: &str = "floodmark.log";

const GUARD_FILE: &str = "run.lock";
/// What a run in the background says on standard output once it is ready.
const READY: &str = "ready";
/// How often a process that can't be waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How much of the log is shown when a run dies at its start.
const LAST_LINES: usize = 12;
const LAST_BYTES: u64 = 16 * 1024;

/// What can go wrong between a state folder and its run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another run has it.
    #[error("process {} already runs on {}: `floodmark stop` ends it, --state names another folder", running.pid, state.display())]
    Running {
        /// The folder.
        state: PathBuf,
        /// Who has it.
        running: Running,
    },
    /// The lock is held and the file does not say by whom.
    #[error("{} is locked, but does not name a process: something other than floodmark holds it", .0.display())]
    Nameless(PathBuf),
    /// A file of the state folder can't be used.
    #[error("can't {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A process can't be started or signalled.
    #[error("can't {what}: {source}")]
    Process {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::File {
        what,
        path: path.to_owned(),
        source,
    }
}

/// A run that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its process.
    pub pid: u32,
}

/// The right to write to a state folder, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    state: PathBuf,
    file: File,
}

impl RunLock {
    /// Makes the folder if it is missing and takes its lock. [`DaemonError::Running`]: someone else has it.
    pub fn acquire(state: &Path) -> Result<Self, DaemonError> {
        crate::store::create_folder(state).map_err(file_error("make the state folder", state))?;
        let _guard = guard(state)?;
        let path = state.join(PID_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(file_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DaemonError::Running {
                    state: state.to_owned(),
                    running: read(&mut file, &path)?,
                });
            }
            Err(TryLockError::Error(source)) => return Err(file_error("lock", &path)(source)),
        }
        fault::point("pid.locked").map_err(file_error("write", &path))?;
        let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION"));
        file.set_len(0)
            .and_then(|()| fault::point("pid.write"))
            .and_then(|()| file.write_all(format!("{pid}\nfloodmark {version}\n").as_bytes()))
            .map_err(file_error("write", &path))?;
        fault::point("pid.written").map_err(file_error("write", &path))?;
        Ok(Self {
            state: state.to_owned(),
            file,
        })
    }

    /// The folder.
    pub fn state(&self) -> &Path {
        &self.state
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        fault::pass("pid.release");
        // For people who look into the file. Nothing depends on it: a killed process can't do it either.
        let _ = self.file.set_len(0);
    }
}

fn guard(state: &Path) -> Result<File, DaemonError> {
    let path = state.join(GUARD_FILE);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(file_error("open", &path))?;
    file.lock().map_err(file_error("lock", &path))?;
    Ok(file)
}

/// The process that runs on `state`, if one does. Changes nothing, and needs no right to write.
pub fn probe(state: &Path) -> Result<Option<Running>, DaemonError> {
    let path = state.join(GUARD_FILE);
    let guard = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error("open", &path)(error)),
    };
    guard.lock_shared().map_err(file_error("lock", &path))?;
    probe_guarded(state)
}

fn probe_guarded(state: &Path) -> Result<Option<Running>, DaemonError> {
    let path = state.join(PID_FILE);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error("open", &path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => match read(&mut file, &path) {
            // It empties the file in its last moment; by then it has ended for all who ask.
            Err(DaemonError::Nameless(_))
                if file.metadata().is_ok_and(|metadata| metadata.len() == 0) =>
            {
                Ok(None)
            }
            found => found.map(Some),
        },
        Err(TryLockError::Error(source)) => Err(file_error("lock", &path)(source)),
    }
}

fn read(file: &mut File, path: &Path) -> Result<Running, DaemonError> {
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(file_error("read", path))?;
    let pid = text.lines().next().and_then(|line| line.parse().ok());
    pid.map(|pid| Running { pid })
        .ok_or_else(|| DaemonError::Nameless(path.to_owned()))
}

/// What became of a run that was started in the background.
#[derive(Debug)]
pub enum Launched {
    /// It has said that it is ready.
    Ready {
        /// Its process.
        pid: u32,
    },
    /// It is alive and has not said so in time. It goes on.
    Starting {
        /// Its process.
        pid: u32,
    },
    /// It has ended.
    Died {
        /// How.
        status: ExitStatus,
        /// The last lines that it logged.
        why: String,
    },
}

/// Starts `command` with its log in the state folder, and waits until it says that it is ready, ends, or `timeout` is over.
pub fn launch(
    mut command: Command,
    state: &Path,
    timeout: Duration,
) -> Result<Launched, DaemonError> {
    crate::store::create_folder(state).map_err(file_error("make the state folder", state))?;
    let path = state.join(LOG_FILE);
    fault::point("start.log").map_err(file_error("open the log", &path))?;
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(&path)
        .map_err(file_error("open the log", &path))?;
    let logged_before = log
        .seek(SeekFrom::End(0))
        .map_err(file_error("read the log", &path))?;
    let stderr = log.try_clone().map_err(file_error("open the log", &path))?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr);
    let mut child = command.spawn().map_err(|source| DaemonError::Process {
        what: format!("start {}", command.get_program().to_string_lossy()),
        source,
    })?;
    let deadline = Instant::now() + timeout;
    let pid = child.id();
    if said_ready(&mut child, timeout) {
        return Ok(Launched::Ready { pid });
    }
    // It has closed its output or is late. In the first case it is about to end.
    loop {
        let ended = child.try_wait().map_err(|source| DaemonError::Process {
            what: format!("wait for process {pid}"),
            source,
        })?;
        if let Some(status) = ended {
            let why =
                last_lines(&mut log, logged_before).map_err(file_error("read the log", &path))?;
            return Ok(Launched::Died { status, why });
        }
        if Instant::now() >= deadline {
            return Ok(Launched::Starting { pid });
        }
        std::thread::sleep(LOOK);
    }
}

fn said_ready(child: &mut Child, timeout: Duration) -> bool {
    let Some(stdout) = child.stdout.take() else {
        return false;
    };
    let (sender, receiver) = mpsc::channel();
    // The thread outlives a late child's patience; it ends with this process.
    std::thread::spawn(move || {
        let ready = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .any(|line| line == READY);
        let _ = sender.send(ready);
    });
    receiver.recv_timeout(timeout).unwrap_or(false)
}

fn last_lines(log: &mut File, from: u64) -> io::Result<String> {
    let end = log.seek(SeekFrom::End(0))?;
    log.seek(SeekFrom::Start(from.max(end.saturating_sub(LAST_BYTES))))?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"))
}

/// Leaves the terminal and the shell's session: closing them ends the run no more. For the process that `start` has started.
pub fn detach() -> Result<(), DaemonError> {
    match rustix::process::setsid() {
        // Whoever leads a group already has been detached by someone else.
        Ok(_) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(DaemonError::Process {
            what: "leave the terminal".into(),
            source: error.into(),
        }),
    }
}

/// Tells `start` that the run is ready. It is the last thing to say on standard output: nobody reads it afterwards.
pub fn announce_ready(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{READY}")?;
    out.flush()
}

/// What became of a run that was to stop.
#[derive(Debug, PartialEq, Eq)]
pub enum Stopped {
    /// There was none.
    NotRunning,
    /// It has ended.
    Ended {
        /// The process that it was.
        pid: u32,
    },
    /// It has been told and has not ended in time.
    StillRunning {
        /// Its process.
        pid: u32,
    },
}

/// Asks the run on `state` to end (SIGTERM), and waits for that until `timeout` is over.
pub fn stop(state: &Path, timeout: Duration) -> Result<Stopped, DaemonError> {
    let Some(running) = probe(state)? else {
        return Ok(Stopped::NotRunning);
    };
    let pid = running.pid;
    let target = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(DaemonError::Nameless(state.join(PID_FILE)))?;
    match rustix::process::kill_process(target, Signal::TERM) {
        // It ended by itself between the two lines above.
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => {
            return Err(DaemonError::Process {
                what: format!("signal process {pid}"),
                source: error.into(),
            });
        }
    }
    let deadline = Instant::now() + timeout;
    while probe(state)?.as_ref() == Some(&running) {
        if Instant::now() >= deadline {
            return Ok(Stopped::StillRunning { pid });
        }
        std::thread::sleep(LOOK);
    }
    Ok(Stopped::Ended { pid })
}
