//! `floodmark run`, and `floodmark` alone

use std::io::Write;

use super::{CliError, Exit};
use crate::config::Config;
use crate::daemon::{self, RunLock};
use crate::signals;

/// How it was called.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Called by `start`: leave the terminal, and say on standard output when ready
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Indexes the inputs, then watches them until it is told to stop.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if args.detached {
        daemon::detach()?;
    }
    // Only the process with worker 0 owns the state.
    let _lock = (config.process == 0)
        .then(|| RunLock::acquire(&config.state))
        .transpose()?;
    let _stop = signals::install(|| {}, || {})
        .map_err(|error| CliError::Failed(format!("can't handle signals: {error}")))?;
    // Here the workers run; once they have recovered, `start` may go:
    let ready = false;
    if args.detached && ready {
        daemon::announce_ready(out)?;
    }
    Err(CliError::NotBuilt("run"))
}
