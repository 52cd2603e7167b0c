//! `floodmark embed [IN.jsonl] [-o OUT.jsonl]`

use std::io::Write;
use std::path::PathBuf;

use super::{CliError, Exit};
use crate::config::Config;

/// What to embed. Where it goes and what becomes of bad lines are settings: `output`, `on-error`, `errors-to`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON lines with `id`, `file_path`, `language` and `content`; standard input if none is named, or for `-`
    #[arg(value_name = "IN.jsonl")]
    pub input: Option<PathBuf>,
}

/// Adds `embedding`, `model` and `normalized` to each line.
pub fn run(_args: &Args, _config: &Config, _out: &mut dyn Write) -> Result<Exit, CliError> {
    Err(CliError::NotBuilt("embed"))
}
