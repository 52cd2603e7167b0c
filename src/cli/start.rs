//! `floodmark start`

use std::io::Write;

use super::{CliError, Exit};
use crate::config::Config;
use crate::daemon::{self, LOG_FILE, Launched};

/// Runs this same program in the background, with the same settings, and waits until it is ready.
pub fn run(config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if let Some(running) = daemon::probe(&config.state)? {
        writeln!(
            out,
            "already running: process {}; stop it first to change its settings",
            running.pid
        )?;
        return Ok(Exit::Done);
    }
    let program = std::env::current_exe()
        .map_err(|error| CliError::Failed(format!("can't find this program: {error}")))?;
    let mut command = std::process::Command::new(program);
    command
        .args(["run", "--detached"])
        .args(config.flags().to_arguments().iter().filter(|flag| {
            // The only setting of `start` that `run` does not have.
            !flag.starts_with("--start-timeout=")
        }));
    if let Some(file) = &config.file {
        command.arg("--config").arg(file);
    }
    let log = config.state.join(LOG_FILE);
    match daemon::launch(command, &config.state, config.start_timeout)? {
        Launched::Ready { pid } => {
            writeln!(out, "running: process {pid}, log {}", log.display())?;
            Ok(Exit::Done)
        }
        Launched::Starting { pid } => Err(CliError::Failed(format!(
            "process {pid} runs but is not ready after {} s; `floodmark status` and {} say how far it has come",
            config.start_timeout.as_secs(),
            log.display()
        ))),
        Launched::Died { status, why } => Err(CliError::Failed(format!(
            "the run ended before it was ready ({status}); the end of {}:\n{why}",
            log.display()
        ))),
    }
}
