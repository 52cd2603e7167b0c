//! `floodmark export`: one [`crate::answers::Exported`] a line.

use std::io::Write;

use super::{CliError, Exit};
use crate::config::Config;

/// Streams the live index, sorted: the same index gives the same bytes, whoever made it.
pub fn run(config: &Config, _out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    Err(CliError::NotBuilt("export"))
}
