//! `floodmark replay DIR`

use std::io::Write;
use std::path::PathBuf;

use super::{CliError, Exit, run, setup};
use crate::config::Config;
use crate::worker::Mode;

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
    let mut options = setup::options(config, Mode::Replay)?;
    options.sources.inputs = vec![args.folder.clone()];
    run::run_with(options, config, None)
}
