//! `floodmark verify`

use std::io::Write;

use super::{CliError, Exit, print};
use crate::answers::Verdict;
use crate::config::Config;

/// Compares sources, store and views; mends what differs if asked to.
pub fn run(config: &Config, _out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    Err(CliError::CouldNotLook("verify is not built yet".into()))
}

/// Writes it for people or for programs.
pub fn write(verdict: &Verdict, json: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
    let exit = if verdict.equal { Exit::Done } else { Exit::No };
    if json {
        print::json(out, verdict)?;
        return Ok(exit);
    }
    for difference in &verdict.differences {
        let repaired = if difference.repaired { " (mended)" } else { "" };
        let subject = print::plain(&difference.subject);
        writeln!(
            out,
            "{}: {subject}: {}{repaired}",
            difference.between,
            print::plain(&difference.message)
        )?;
    }
    let answer = if verdict.equal { "equal" } else { "different" };
    writeln!(
        out,
        "{answer} at epoch {}: {}, {}, {}",
        verdict.epoch,
        print::count(verdict.files, "file"),
        print::count(verdict.chunks, "chunk"),
        print::count(verdict.embeddings, "vector")
    )?;
    Ok(exit)
}
