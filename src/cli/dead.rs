//! `floodmark dead list` and `floodmark dead retry`

use std::io::Write;

use super::{CliError, Exit, print};
use crate::answers::{DeadLetter, Retried};
use crate::config::Config;

/// What to do with them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do with them.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with dead letters.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Name them, with the reason and what to do
    List,
    /// Look at all of them again, now or in the next run
    Retry,
}

/// Lists or retries what failed.
pub fn run(args: &Args, config: &Config, _out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    match args.action {
        Action::List => Err(CliError::NotBuilt("dead list")),
        Action::Retry => Err(CliError::NotBuilt("dead retry")),
    }
}

/// Writes one for people, or a JSON line for programs.
pub fn write_letter(letter: &DeadLetter, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    if json {
        return print::json(out, letter);
    }
    let mut place = print::plain(&letter.path);
    if let Some(line) = letter.line {
        place += &format!(":{line}");
    }
    if let Some(record) = letter.record {
        place += &format!(" (record {record})");
    }
    let stale = if letter.stale {
        " Its previous version is still found."
    } else {
        ""
    };
    writeln!(
        out,
        "{place}: {}: {}{stale}",
        letter.reason,
        print::plain(&letter.message)
    )?;
    writeln!(out, "    {}", print::plain(&letter.advice))?;
    Ok(())
}

/// Writes what a retry has done.
pub fn write_retried(retried: &Retried, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    if json {
        return print::json(out, retried);
    }
    let when = if retried.running {
        "now"
    } else {
        "in the next run"
    };
    writeln!(
        out,
        "{} will be looked at again {when}",
        print::count(retried.files, "file")
    )?;
    Ok(())
}
