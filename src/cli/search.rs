//! `floodmark search QUERY`

mod screen;
mod wait;

use std::io::{Read, Write};
use std::path::PathBuf;

use floodmark_operators::keys::Epoch;

use super::{CliError, Exit, print, setup};
use crate::answers::{Fusion, Mode, Query, SecondLook};
use crate::config::{self, Config};
use crate::control::Client;
use crate::rerank::MAXSIM;
use crate::search::filter::{Filter, quoted};
use crate::search::{Opened, QUERY_BYTES_MAX};

pub use screen::{Style, write};

/// What to find, and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to find, in words; `-` reads it from standard input
    #[arg(value_name = "QUERY", required = true)]
    pub query: Vec<String>,
    /// Find only what passes, such as 'year >= 2020 and lang = en', 'tag in (a, b)', 'exists doi'; several must all pass
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Vec<String>,
    /// Find only in files that match: '*.md', 'notes/**', 'notes/'; of several, one will do
    #[arg(long, value_name = "GLOB")]
    pub path: Vec<String>,
    /// Find only in files that were read so: markdown, code, code/rust, …; of several, one will do
    #[arg(long, value_name = "FORMAT")]
    pub format: Vec<String>,
    /// Find only in files that changed at this time or later: 2026-01-31, RFC 3339, or how long ago (2d)
    #[arg(long, value_name = "WHEN")]
    pub changed_since: Option<String>,
    /// Find only in files that changed before this time
    #[arg(long, value_name = "WHEN")]
    pub changed_before: Option<String>,
    /// Find only what lies in its place since this epoch or a later one
    #[arg(long, value_name = "EPOCH")]
    pub since_epoch: Option<Epoch>,
    /// Pass over so many hits: the pages before
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub offset: usize,
    /// Answer from the index as it was when this epoch was committed
    #[arg(long, value_name = "EPOCH")]
    pub as_of: Option<Epoch>,
    /// Answer when this file is searchable as it is on the disk now; may be given several times
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub wait: Vec<PathBuf>,
    /// Answer when this epoch is searchable
    #[arg(long, value_name = "EPOCH")]
    pub wait_epoch: Option<Epoch>,
}

impl Args {
    /// All filters as expressions.
    fn filters(&self) -> Vec<String> {
        let one_of = |field: &str, values: &[String]| {
            let tests: Vec<String> = values
                .iter()
                .map(|value| format!("{field} {}", quoted(value)))
                .collect();
            (!tests.is_empty()).then(|| tests.join(" or "))
        };
        let mut filters = self.filter.clone();
        filters.extend(one_of("path ~", &self.path));
        filters.extend(one_of("format =", &self.format));
        let when = |sign: &str, when: &Option<String>| {
            when.as_ref()
                .map(|when| format!("changed {sign} {}", quoted(when)))
        };
        filters.extend(when(">=", &self.changed_since));
        filters.extend(when("<", &self.changed_before));
        filters.extend(self.since_epoch.map(|epoch| format!("epoch >= {epoch}")));
        filters
    }
}

/// Asks the run that is under way, whose model is warm; or else opens the index itself.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    let query = Query {
        offset: args.offset,
        filter: args.filters(),
        as_of: args.as_of,
        ..settings(config, words(&args.query)?)
    };
    // A slip of the pen is told before anything is waited for.
    Filter::parse(&query.filter, 0).map_err(CliError::Filter)?;
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    let mut client = Client::connect(&config.state)?;
    wait::wait(args, config, client.as_mut())?;
    let asked = match &mut client {
        Some(client) => match client.search(&query) {
            // The run has just died: its socket is there for a moment longer than it is.
            Err(error) if error.is_silence() => None,
            answer => Some(answer?),
        },
        None => None,
    };
    let found = match asked {
        Some(found) => found,
        None => {
            // Side by side: each takes a third of a second, of which nothing can be left out.
            let (model, opened) = std::thread::scope(|scope| {
                let model = scope.spawn(|| match query.mode {
                    Mode::Keyword => setup::model_if_needed(config),
                    Mode::Hybrid | Mode::Vector => setup::model(config),
                });
                let opened = Opened::open(&config.state, setup::view_options(config, true));
                (model.join(), opened)
            });
            let model = model.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            let opened = opened.map_err(|error| CliError::CouldNotLook(error.to_string()))?;
            opened
                .with(&model)
                .search(&query)
                .map_err(|error| CliError::CouldNotLook(error.to_string()))?
        }
    };
    if found.rerank == Some(SecondLook::OutOfTime) {
        tracing::warn!(
            "the second look ran out of time: the order is that without it; --rerank-budget gives it more"
        );
    }
    if config.json {
        print::json(out, &found)?;
    } else {
        write(&found, args.offset, Style::of_stdout(), out)?;
    }
    Ok(if found.hits.is_empty() {
        Exit::No
    } else {
        Exit::Done
    })
}

/// A query by the settings of the configuration.
pub fn settings(config: &Config, text: String) -> Query {
    Query {
        mode: match config.mode {
            config::SearchMode::Hybrid => Mode::Hybrid,
            config::SearchMode::Vector => Mode::Vector,
            config::SearchMode::Keyword => Mode::Keyword,
        },
        fusion: match config.fusion {
            config::Fusion::Zscore => Fusion::Zscore,
            config::Fusion::Minmax => Fusion::Minmax,
            config::Fusion::Rrf => Fusion::Rrf,
        },
        dense_weight: config.dense_weight.given(),
        rrf_k: Some(config.rrf_k),
        group: !config.chunks,
        syntax: config.query_syntax,
        rerank: config.rerank.as_deref().map(reranker),
        rerank_budget_ms: u64::try_from(config.rerank_budget.as_millis()).ok(),
        ..Query::new(text, config.hits)
    }
}

/// A folder is meant from here, also where a run elsewhere answers.
fn reranker(name: &str) -> String {
    if name == MAXSIM {
        return name.to_owned();
    }
    let absolute = std::path::absolute(name).ok();
    let absolute = absolute.and_then(|path| path.into_os_string().into_string().ok());
    absolute.unwrap_or_else(|| name.to_owned())
}

/// The words of the command line, or what stands on standard input.
fn words(given: &[String]) -> Result<String, CliError> {
    if given != ["-"] {
        return Ok(given.join(" "));
    }
    let mut bytes = Vec::new();
    // One byte more shows that it is too long.
    std::io::stdin()
        .take(QUERY_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| {
            CliError::CouldNotLook(format!("can't read the query from standard input: {error}"))
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
