//! `floodmark forget PATH...`

use std::io::Write;
use std::path::PathBuf;

use super::{CliError, Exit, print, setup};
use crate::answers::Forgotten;
use crate::config::Config;
use crate::control::{Client, ControlError, RefusalKind};
use crate::sources::{Roots, Selection, resolved};
use crate::{daemon, forget};

/// What to forget.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, or folders with all below them, that are not there any more
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
}

/// Takes what is not there any more out of the index, also while a run is under way.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    let resolve = |path: &PathBuf| {
        resolved(path).map_err(|error| {
            CliError::Failed(format!("can't tell where {} is: {error}", path.display()))
        })
    };
    let paths: Vec<PathBuf> = args.paths.iter().map(resolve).collect::<Result<_, _>>()?;
    let sources = setup::sources(config);
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let roots = Roots::resolve(&sources, &config.state).map_err(|error| failed(&error))?;
    let selection =
        Selection::new(&sources, roots, &config.state).map_err(|error| failed(&error))?;
    if let Some(there) = forget::still_there(&selection, &paths) {
        return Err(CliError::Failed(forget::refusal(&there)));
    }
    let forgotten = match Client::connect(&config.state)? {
        // The run may have other inputs than are named here.
        Some(mut client) => client.forget(&paths).map_err(|error| match error {
            ControlError::Refused(refusal) if refusal.kind == RefusalKind::Invalid => {
                CliError::Failed(refusal.message)
            }
            error => error.into(),
        })?,
        None => {
            if let Some(running) = daemon::probe(&config.state)? {
                return Err(CliError::Failed(format!(
                    "process {} is starting or ending and can't be asked; ask again in a moment",
                    running.pid
                )));
            }
            let (files, epoch) =
                forget::forget(&config.state, &paths, setup::clock).map_err(CliError::of_store)?;
            Forgotten {
                files,
                epoch,
                running: false,
            }
        }
    };
    write(&forgotten, config.json, out)?;
    Ok(if forgotten.files == 0 {
        Exit::No
    } else {
        Exit::Done
    })
}

/// Writes what was forgotten, for people or for programs.
pub fn write(forgotten: &Forgotten, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    if json {
        return print::json(out, forgotten);
    }
    let files = print::count(forgotten.files, "file");
    match (forgotten.files, forgotten.epoch) {
        (0, _) => writeln!(out, "the index knows no file there")?,
        (_, Some(epoch)) => writeln!(out, "{files} left the index in epoch {epoch}")?,
        (_, None) => writeln!(
            out,
            "{files} will leave the index as soon as the run has done what it is at"
        )?,
    }
    Ok(())
}
