//! The command line: one command a file, and the settings of `config` as flags of the commands that use them.
//!
//! What a command asks for by words of its own (QUERY, PATH, DIR), and what belongs to one question alone (`--filter`,
//! `--wait`), is in its `Args`; every other flag is a setting, so that it has a twin in the environment and in the file.

pub mod completions;
pub mod dead;
pub mod doctor;
pub mod embed;
pub mod eval;
pub mod explain;
pub mod export;
pub mod forget;
pub mod man;
pub mod plan;
pub mod replay;
pub mod run;
pub mod search;
pub mod start;
pub mod status;
pub mod stop;
pub mod sts;
pub mod verify;

mod error;
mod flags;
mod print;
mod setup;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use error::{CliError, Exit};

use crate::config::{self, Layers};
use crate::{cpu, telemetry};

/// A search index over files that is exactly as fresh as it says.
///
/// Without a command, `run` is meant.
#[derive(Debug, Parser)]
#[command(name = "floodmark", version, disable_help_subcommand = true, after_long_help = error::EXIT_STATUS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Index the inputs, then watch them (the default)
    Run(run::Args),
    /// Index a historical folder, oldest modification first, then exit
    Replay(replay::Args),
    /// Find by meaning and by words
    Search(search::Args),
    /// Say how far the index has come
    Status,
    /// Run in the background
    Start,
    /// End the run in the background, gracefully
    Stop,
    /// Say why each chunk of a file is here, or why the file is not
    Explain(explain::Args),
    /// Say what a run would do, and how long it would take
    Plan,
    /// Compare sources, store and views
    Verify,
    /// Write the live index as sorted JSON lines
    Export,
    /// Take out of the index what is not there any more: a former input, a dead disk, an input that was emptied
    Forget(forget::Args),
    /// The files and records that failed
    Dead(dead::Args),
    /// Turn JSON lines into JSON lines with vectors
    Embed(embed::Args),
    /// Measure how well a collection's judged queries are answered
    Eval(eval::Args),
    /// Measure how well cosines agree with people on pairs of sentences
    Sts(sts::Args),
    /// Check runtime, model, limits, disk and state, and say what to mend
    Doctor,
    /// Write a script that completes commands and flags in a shell
    Completions(completions::Args),
    /// Write the manual page
    Man(man::Args),
    /// Write docs/configuration.md
    #[command(hide = true)]
    Reference,
}

impl Command {
    /// Whether it comes to the instructions of the vector index, which not every processor has.
    fn indexes(&self) -> bool {
        matches!(
            self,
            Self::Run(_)
                | Self::Replay(_)
                | Self::Start
                | Self::Search(_)
                | Self::Verify
                | Self::Eval(_)
        )
    }
}

/// The settings that each command uses, by the names of their groups. A flag of another group is refused: nothing that
/// was asked for is silently without effect.
fn groups(command: &str) -> &'static [&'static str] {
    const STORE: &[&str] = &["state", "output", "logs"];
    const WORK: &[&str] = &[
        "state",
        "input",
        "once",
        "workers",
        "sources",
        "formats",
        "chunks",
        "model",
        "dataflow",
        "index",
        "bad-input",
        "logs",
    ];
    match command {
        "run" => WORK,
        "start" => &[
            "state",
            "input",
            "once",
            "workers",
            "sources",
            "formats",
            "chunks",
            "model",
            "dataflow",
            "index",
            "bad-input",
            "start",
            "logs",
        ],
        "replay" => &[
            "state",
            "workers",
            "sources",
            "formats",
            "chunks",
            "model",
            "dataflow",
            "index",
            "bad-input",
            "logs",
        ],
        "search" => &["state", "search", "output", "model", "index", "logs"],
        "status" | "list" | "retry" => STORE,
        "stop" => &["state", "stop", "logs"],
        "explain" | "plan" | "doctor" => &[
            "state",
            "input",
            "workers",
            "sources",
            "formats",
            "chunks",
            "model",
            "bad-input",
            "index",
            "output",
            "logs",
        ],
        "verify" => &[
            "state",
            "input",
            "workers",
            "verify",
            "sources",
            "formats",
            "chunks",
            "model",
            "bad-input",
            "index",
            "output",
            "logs",
        ],
        "forget" => &["state", "input", "sources", "output", "logs"],
        "export" => &["state", "export", "logs"],
        "embed" => &["embed", "model", "logs"],
        "eval" => &[
            "state", "eval", "workers", "formats", "chunks", "model", "dataflow", "index",
            "search", "output", "logs",
        ],
        "sts" => &["sts", "model", "output", "logs"],
        _ => &[],
    }
}

/// The whole command line, settings included.
pub fn command() -> clap::Command {
    flags::add(Cli::command())
}

/// Reads the command line, resolves the configuration, runs the command.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(CliError::Usage(error)),
        Err(help) => {
            let text = help.render();
            match std::io::stdout().is_terminal() {
                true => write!(out, "{}", text.ansi())?,
                false => write!(out, "{text}")?,
            }
            return Ok(Exit::Done);
        }
    };
    let cli = Cli::from_arg_matches(&matches).map_err(CliError::Usage)?;
    match &cli.command {
        Some(Command::Completions(args)) => return completions::run(args, out),
        Some(Command::Man(args)) => return man::run(args, out),
        Some(Command::Reference) => {
            out.write_all(config::reference().as_bytes())?;
            return Ok(Exit::Done);
        }
        _ => {}
    }
    let (config_file, flags) = flags::read(&matches)?;
    let layers = Layers {
        config: config_file,
        environment: environment.into_iter().collect(),
        flags,
    };
    let config = layers.resolve()?;
    telemetry::init(&config);
    let command = cli.command.unwrap_or(Command::Run(run::Args::default()));
    if command.indexes()
        && let Some(complaint) = cpu::complaint(&cpu::lacking())
    {
        return Err(CliError::Failed(complaint));
    }
    match command {
        Command::Run(args) => run::run(&args, &config, out),
        Command::Replay(args) => replay::run(&args, &config, out),
        Command::Search(args) => search::run(&args, &config, out),
        Command::Status => status::run(&config, out),
        Command::Start => start::run(&config, out),
        Command::Stop => stop::run(&config, out),
        Command::Explain(args) => explain::run(&args, &config, out),
        Command::Plan => plan::run(&config, out),
        Command::Verify => verify::run(&config, out),
        Command::Export => export::run(&config, out),
        Command::Forget(args) => forget::run(&args, &config, out),
        Command::Dead(args) => dead::run(&args, &config, out),
        Command::Embed(args) => embed::run(&args, &config, out),
        Command::Eval(args) => eval::run(&args, &config, out),
        Command::Sts(args) => sts::run(&args, &config, out),
        Command::Doctor => doctor::run(&config, out),
        Command::Completions(args) => completions::run(&args, out),
        Command::Man(args) => man::run(&args, out),
        Command::Reference => Ok(Exit::Done),
    }
}
