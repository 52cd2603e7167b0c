//! `floodmark search QUERY`

use std::io::Write;

use super::{CliError, Exit, print, setup};
use crate::answers::{Found, Query};
use crate::config::Config;
use crate::control::Client;

/// What to find.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to find, in words
    #[arg(value_name = "QUERY", required = true)]
    pub query: Vec<String>,
}

/// Width of a snippet: two lines of a terminal.
const SNIPPET_CHARACTERS: usize = 150;

/// Asks the run that is under way, whose model is warm; or else opens the index itself.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    let query = Query {
        query: args.query.join(" "),
        hits: config.hits,
    };
    let asked = match Client::connect(&config.state)? {
        Some(mut client) => match client.search(&query) {
            // The run has just died: its socket is there for a moment longer than it is.
            Err(error) if error.is_silence() => None,
            answer => Some(answer?),
        },
        None => None,
    };
    let found = match asked {
        Some(found) => found,
        None => {
            let model = setup::model(config)?;
            let searcher = setup::searcher(config, &model, true)?;
            searcher
                .search(&query)
                .map_err(|error| CliError::CouldNotLook(error.to_string()))?
        }
    };
    write(&found, config.json, out)?;
    Ok(if found.hits.is_empty() {
        Exit::No
    } else {
        Exit::Done
    })
}

/// Writes it for people or for programs.
pub fn write(found: &Found, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    if json {
        return print::json(out, found);
    }
    for (rank, hit) in found.hits.iter().enumerate() {
        let path = print::plain(&hit.path);
        let stale = if hit.stale { ", an older version" } else { "" };
        writeln!(
            out,
            "{:2}. {path}:{}-{}  ({:.3}{stale})",
            rank + 1,
            hit.start,
            hit.end,
            hit.score
        )?;
        if let Some(title) = &hit.title {
            writeln!(out, "    {}", print::snippet(title, SNIPPET_CHARACTERS))?;
        }
        writeln!(out, "    {}", print::snippet(&hit.text, SNIPPET_CHARACTERS))?;
        match hit.other_paths.as_slice() {
            [] => {}
            [other] => writeln!(out, "    also in {}", print::plain(other))?,
            [other, rest @ ..] => {
                let rest = print::count(rest.len() as u64, "other file");
                writeln!(out, "    also in {} and {rest}", print::plain(other))?;
            }
        }
    }
    Ok(())
}
