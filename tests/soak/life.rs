//! One life of the program: started, watched, killed.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::site::{Site, Told};

/// Nothing takes so long, on any machine.
const STUCK: Duration = Duration::from_secs(60);

/// A process that has not found the others is given up after so long, once one of them is gone.
const WAITING: Duration = Duration::from_millis(1500);

/// Who works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Threads(usize),
    Processes,
}

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with everything done.
    Done,
    /// By SIGKILL.
    Killed,
    /// With this status, and these last words.
    Failed(String),
}

/// The processes of one life.
pub struct Life {
    children: Vec<Child>,
    said: PathBuf,
    errors: PathBuf,
    seen: PathBuf,
}

impl Drop for Life {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Life {
    /// `faults`: what the process of each number does at the fail points.
    pub fn start(site: &Site, mode: &str, layout: Layout, faults: [&str; 2]) -> Self {
        let [said, errors, seen] = ["said", "errors", "seen"].map(|name| site.folder.join(name));
        let _ = fs::remove_file(&seen);
        let out = [&said, &errors].map(|path| File::create(path).expect("a file for what is said"));
        let (processes, threads) = match layout {
            Layout::Threads(threads) => (1, threads),
            Layout::Processes => (2, 1),
        };
        let hosts = site.folder.join("hosts");
        if processes == 2 {
            fs::write(&hosts, addresses()).expect("a file of addresses");
        }
        let start = |process: usize| {
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command
                .arg("child")
                .arg(&site.folder)
                .args([mode, &threads.to_string()]);
            if processes == 2 {
                command.arg(process.to_string()).arg(&hosts);
            }
            command
                .env("FAULT_POINTS", faults[process])
                .env("FAULT_POINTS_SEEN", &seen)
                .stdin(Stdio::null())
                .stdout(append(&out[0]))
                .stderr(append(&out[1]));
            command.spawn().expect("a child")
        };
        Self {
            children: (0..processes).map(start).collect(),
            said,
            errors,
            seen,
        }
    }

    /// Waits until all processes have ended. Those that outlive the death of another must end too.
    pub fn wait(mut self, deadline: Option<Instant>) -> (Ended, Told, Vec<String>) {
        let stuck = Instant::now() + STUCK;
        let mut statuses: Vec<Option<ExitStatus>> = vec![None; self.children.len()];
        let (mut by_us, mut died) = (false, None);
        let mut pause = Duration::from_micros(500);
        while statuses.iter().any(Option::is_none) {
            for (child, status) in self.children.iter_mut().zip(&mut statuses) {
                if status.is_none() {
                    *status = child.try_wait().expect("a child of ours");
                }
            }
            let now = Instant::now();
            if !by_us && deadline.is_some_and(|deadline| now >= deadline) {
                let _ = self.children[0].kill();
                by_us = true;
            }
            if died.is_none() && statuses.iter().any(Option::is_some) {
                died = Some(now);
            }
            // Before they have found each other, a process waits for the others as long as it takes.
            if died.is_some_and(|died| now >= died + WAITING) && !self.has_begun() {
                self.children
                    .iter_mut()
                    .for_each(|child| drop(child.kill()));
            }
            if now >= stuck {
                return self.ended(Ended::Failed(format!("it hangs: {statuses:?}")));
            }
            std::thread::sleep(pause);
            pause = (pause * 5 / 4).min(Duration::from_millis(10));
        }
        let statuses: Vec<ExitStatus> = statuses.into_iter().flatten().collect();
        let ended = if statuses.iter().any(|status| status.signal() == Some(9)) {
            Ended::Killed
        } else if statuses.iter().all(ExitStatus::success) {
            Ended::Done
        } else {
            let errors = fs::read_to_string(&self.errors).unwrap_or_default();
            Ended::Failed(format!("{statuses:?} {errors}"))
        };
        self.ended(ended)
    }

    /// Whether the workers of all processes have had something to do.
    fn has_begun(&self) -> bool {
        let seen = fs::read_to_string(&self.seen).unwrap_or_default();
        seen.lines()
            .any(|line| line.starts_with("ledger.") || line.starts_with("work."))
    }

    fn ended(&self, ended: Ended) -> (Ended, Told, Vec<String>) {
        let read =
            |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let seen = read(&self.seen).lines().map(str::to_owned).collect();
        (ended, Told::read(&read(&self.said)), seen)
    }

    /// Asks the process that owns the state to end.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.children[0]);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }

    /// Whether the owner of the state still lives.
    pub fn lives(&mut self) -> bool {
        self.children[0]
            .try_wait()
            .is_ok_and(|status| status.is_none())
    }
}

fn append(file: &File) -> Stdio {
    // The same open file: what two processes write to it does not overlap.
    file.try_clone().expect("a descriptor").into()
}

/// Two addresses that are free now.
fn addresses() -> String {
    let sockets: Vec<TcpListener> = (0..2)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    let address =
        |socket: &TcpListener| socket.local_addr().expect("an address").to_string() + "\n";
    sockets.iter().map(address).collect()
}
