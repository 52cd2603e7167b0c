//! `floodmark status`

use std::io::Write;
use std::time::Duration;

use super::{CliError, Exit, print};
use crate::answers::{Admission, Status};
use crate::config::Config;
use crate::control::Client;
use crate::daemon;
use crate::service::stored_status;
use crate::store::{Reader, StoreError};

/// How long a process that no longer answers may take to be gone.
const DYING_TRIES: u32 = 40;
const DYING_PAUSE: Duration = Duration::from_millis(25);

/// Asks the run that is under way, or else the store.
pub fn run(config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    let probe =
        || daemon::probe(&config.state).map_err(|error| CliError::CouldNotLook(error.to_string()));
    let mut running = probe()?;
    let asked = match (&running, Client::connect(&config.state)?) {
        (Some(_), Some(mut client)) => match client.status() {
            Ok(status) => Some(status),
            // It may be dying: the kernel closes its socket a moment before it frees its lock. Then the store answers.
            Err(error) => {
                for _ in 0..DYING_TRIES {
                    running = probe()?;
                    if running.is_none() {
                        break;
                    }
                    std::thread::sleep(DYING_PAUSE);
                }
                if running.is_some() {
                    return Err(error.into());
                }
                None
            }
        },
        // A run that has not opened its socket yet, or none.
        _ => None,
    };
    let status = match asked {
        Some(status) => status,
        // What is committed is in the store.
        None => {
            let could_not_look = |error: StoreError| CliError::CouldNotLook(error.to_string());
            let reader = Reader::open(&config.state).map_err(could_not_look)?;
            let stored = stored_status(&reader, &config.state).map_err(could_not_look)?;
            Status {
                running: running.is_some(),
                pid: running.map(|run| run.pid),
                ..stored
            }
        }
    };
    write(&status, config.json, out)?;
    Ok(Exit::Done)
}

/// What the run holds, of how much.
fn memory(status: &Status) -> String {
    let Some(memory) = &status.memory else {
        return "not known".into();
    };
    let mb = |bytes: u64| format!("{} MB", bytes / 1_000_000);
    let (held, soft) = (mb(memory.rss_bytes), mb(memory.soft_bytes));
    match memory.admission {
        Admission::Free => format!("{held} of {soft}"),
        Admission::Slow => {
            format!("{held}, more than memory-soft ({soft}): work is admitted slowly")
        }
        Admission::Stopped => format!(
            "{held}, more than memory-hard ({}): nothing is admitted",
            memory.hard_bytes.map_or_else(|| "?".into(), mb)
        ),
    }
}

/// What of the keyword view is on the disk.
fn keywords(status: &Status) -> String {
    match &status.keywords {
        None => "never saved".into(),
        Some(saved) => format!(
            "{} saved in epoch {}{}",
            print::count(saved.texts, "text"),
            saved.saved_epoch,
            (saved.saved_at.as_ref()).map_or_else(String::new, |at| format!(", {at}")),
        ),
    }
}

/// Writes it for people or for programs.
pub fn write(status: &Status, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    if json {
        return print::json(out, status);
    }
    let or_never = |time: &Option<String>| time.clone().unwrap_or_else(|| "never".into());
    let lag = match (status.lag.files, status.lag.chunks) {
        (Some(0), Some(0)) => "none: what is on the disk is what is found".into(),
        (Some(files), Some(chunks)) => {
            format!(
                "{} and {} behind",
                print::count(files, "file"),
                print::count(chunks, "chunk")
            )
        }
        _ => "not known while nothing is running (floodmark plan looks)".into(),
    };
    let files = &status.files;
    let stale = if files.stale > 0 {
        format!(" ({} still found in a previous version)", files.stale)
    } else {
        String::new()
    };
    let refused = if status.refused > 0 {
        format!(
            " ({} more were refused by the model: floodmark dead list)",
            status.refused
        )
    } else {
        String::new()
    };
    let trouble = match &status.model_trouble {
        Some(trouble) => format!(" (does not work: {})", print::plain(trouble)),
        None => String::new(),
    };
    let running = match status.pid {
        Some(pid) if status.running => format!("yes, process {pid}"),
        _ => "no".into(),
    };
    let kept: u64 = status.kept.iter().map(|kept| kept.files).sum();
    let kept = if kept > 0 {
        format!("; {kept} of them are not there and stay (see below)")
    } else {
        String::new()
    };
    print::pairs(
        out,
        &[
            ("running", running),
            ("epoch", status.epoch.to_string()),
            ("lag", lag),
            (
                "files",
                format!(
                    "{} indexed, {} retrying, {} dead{stale}{kept}",
                    files.indexed, files.retrying, files.dead
                ),
            ),
            ("documents", status.documents.to_string()),
            ("chunks", format!("{}{refused}", status.chunks)),
            ("embeddings", status.embeddings.to_string()),
            ("last commit", or_never(&status.last_commit)),
            ("last build", or_never(&status.last_build)),
            ("keywords", keywords(status)),
            (
                "model",
                status.model.clone().unwrap_or_else(|| "none yet".into()) + &trouble,
            ),
            ("memory", memory(status)),
        ],
    )?;
    for kept in &status.kept {
        writeln!(
            out,
            "\n{}: {} not there, kept: {}",
            print::plain(&kept.input),
            print::count(kept.files, "file"),
            kept.advice
        )?;
    }
    Ok(())
}
