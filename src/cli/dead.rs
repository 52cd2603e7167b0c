//! `floodmark dead list` and `floodmark dead retry`

use std::io::Write;
use std::path::PathBuf;

use super::{CliError, Exit, print, setup};
use crate::answers::{DeadLetter, Retried};
use crate::config::Config;
use crate::control::Client;
use crate::store::Reader;
use crate::{daemon, dead, sources};

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
    /// Look at them again, now or in the next run
    Retry {
        /// Only at these files, or at those below these folders
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
}

/// Lists or retries what failed.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    match &args.action {
        Action::List => list(config, out),
        Action::Retry { paths } => retry(paths, config, out),
    }
}

fn list(config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    let letters = Reader::open(&config.state)
        .and_then(|reader| dead::letters(&reader.snapshot()?))
        .map_err(|error| CliError::CouldNotLook(error.to_string()))?;
    for letter in &letters {
        write_letter(letter, config.json, out)?;
    }
    Ok(Exit::Done)
}

fn retry(paths: &[PathBuf], config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    let resolve = |path: &PathBuf| {
        sources::resolved(path).map_err(|error| {
            CliError::Failed(format!("can't tell where {} is: {error}", path.display()))
        })
    };
    let paths: Vec<PathBuf> = paths.iter().map(resolve).collect::<Result<_, _>>()?;
    let retried = match Client::connect(&config.state)? {
        Some(mut client) => client.retry_dead(&paths)?,
        None => {
            if let Some(running) = daemon::probe(&config.state)? {
                return Err(CliError::Failed(format!(
                    "process {} is starting or ending and can't be asked; ask again in a moment",
                    running.pid
                )));
            }
            let files = dead::retry_later(&config.state, &paths, setup::clock);
            Retried {
                files: files.map_err(CliError::of_store)?,
                running: false,
            }
        }
    };
    write_retried(&retried, config.json, out)?;
    // Whoever names a file wants to hear that nothing is to be retried there.
    Ok(if retried.files == 0 && !paths.is_empty() {
        Exit::No
    } else {
        Exit::Done
    })
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
        place += &match (&letter.document, letter.chunk) {
            (Some(document), Some(chunk)) => {
                format!(" (document {}, chunk {chunk})", print::plain(document))
            }
            _ => format!(" (record {record})"),
        };
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
