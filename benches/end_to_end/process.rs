//! The program itself, as a process: how long it ran, and what it held.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is looked at while it runs.
const LOOK: Duration = Duration::from_millis(20);

/// What was seen of a process.
#[derive(Default)]
pub struct Seen {
    /// From its start to its end.
    pub seconds: f64,
    /// Most that it held resident, in MB.
    pub peak_mb: f64,
    /// Resident MB, a look after the other.
    pub resident_mb: Vec<f64>,
}

/// `floodmark COMMAND… --state STATE FLAGS…`, quiet.
pub fn start(command: &[&str], state: &Path, flags: &[String]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_floodmark"))
        .args(command)
        .args(["--log", "error", "--state"])
        .arg(state)
        .args(flags)
        .env("ORT_DISABLE_TELEMETRY", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program")
}

/// One `run --once`.
pub fn once(input: &Path, state: &Path, flags: &[String]) -> Seen {
    let mut all = vec!["--input".to_owned(), input.display().to_string()];
    all.extend_from_slice(flags);
    let child = start(&["run", "--once"], state, &all);
    watch(child)
}

/// Until it has ended well.
pub fn watch(mut child: Child) -> Seen {
    let started = Instant::now();
    let mut seen = Seen::default();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        seen.peak_mb = seen.peak_mb.max(memory_mb(child.id(), "VmHWM:"));
        seen.resident_mb.push(memory_mb(child.id(), "VmRSS:"));
        std::thread::sleep(LOOK);
    };
    assert!(status.success(), "the program ended with {status}");
    seen.seconds = started.elapsed().as_secs_f64();
    seen
}

/// A line of a process's status, in MB; 0 where there is none.
pub fn memory_mb(process: u32, name: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1024.0
}
