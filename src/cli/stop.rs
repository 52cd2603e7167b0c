//! `floodmark stop`

use std::io::Write;

use super::{CliError, Exit};
use crate::config::Config;
use crate::daemon::{self, Stopped};

/// Asks the run to end, and waits until it has.
pub fn run(config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    match daemon::stop(&config.state, config.stop_timeout)? {
        Stopped::NotRunning => writeln!(out, "not running")?,
        Stopped::Ended { pid } => writeln!(out, "stopped: process {pid}")?,
        Stopped::StillRunning { pid } => {
            return Err(CliError::Failed(format!(
                "process {pid} has been told to stop and still runs after {} s; what it has committed is safe, \
                 also if you `kill -9 {pid}`",
                config.stop_timeout.as_secs()
            )));
        }
    }
    Ok(Exit::Done)
}
