//! `floodmark replay DIR`

use std::io::Write;
use std::path::PathBuf;

use super::{CliError, Exit};
use crate::config::Config;
use crate::daemon::RunLock;
use crate::signals;

/// What to replay.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder whose files are indexed in the order of their modification
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// Indexes the folder, oldest modification first, and exits.
pub fn run(args: &Args, config: &Config, _out: &mut dyn Write) -> Result<Exit, CliError> {
    if !args.folder.is_dir() {
        return Err(CliError::Failed(format!(
            "{} is no folder that can be read",
            args.folder.display()
        )));
    }
    let _lock = RunLock::acquire(&config.state)?;
    let _stop = signals::install(|| {}, || {})
        .map_err(|error| CliError::Failed(format!("can't handle signals: {error}")))?;
    Err(CliError::NotBuilt("replay"))
}
