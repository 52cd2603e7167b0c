//! `floodmark embed [IN.jsonl] [-o OUT.jsonl]`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{CliError, Exit, setup};
use crate::config::{self, Config};
use crate::embed::{EmbedJobError, EmbedOptions, OnError, Summary, files};
use crate::telemetry::Progress;

/// What to embed. Where it goes and what becomes of bad lines are settings: `output`, `on-error`, `errors-to`.
#[derive(Debug, clap::Args)]
pub struct Args {
    // Not `input`, which is the name of a setting.
    /// JSON lines with `id`, `file_path`, `language` and `content`; standard input if none is named, or for `-`
    #[arg(value_name = "IN.jsonl")]
    pub records: Option<PathBuf>,
}

/// Adds `embedding`, `model` and `normalized` to each line.
pub fn run(args: &Args, config: &Config, _out: &mut dyn Write) -> Result<Exit, CliError> {
    let named = |path: &Option<PathBuf>| path.clone().filter(|path| path != Path::new("-"));
    let (input, output) = (named(&args.records), named(&config.output));
    let on_error = match config.on_error {
        config::OnError::Stop => OnError::Stop,
        config::OnError::Skip => OnError::Skip(side_file(config, output.as_deref())?),
    };
    let skipped_to = match &on_error {
        OnError::Stop => PathBuf::new(),
        OnError::Skip(side) => side.clone(),
    };
    let model = setup::model(config)?;
    let options = EmbedOptions {
        batch_tokens_max: config.batch_tokens,
        ..EmbedOptions::default()
    };
    let bar = Progress::start("embedding", "records", None);
    let progress = |summary: &Summary| bar.set(summary.records + summary.skipped);
    let (from, to) = (input.as_deref(), output.as_deref());
    let done = files::run(from, to, on_error, &model, &options, &progress);
    drop(bar);
    let summary = done.map_err(failed)?;
    if summary.truncated > 0 {
        tracing::warn!(
            records = summary.truncated,
            "longer than the model reads: their vectors are of their beginning"
        );
    }
    if summary.skipped > 0 {
        tracing::warn!(records = summary.skipped, file = %skipped_to.display(), "skipped; that file says why");
    }
    tracing::info!(
        records = summary.records,
        tokens = summary.tokens,
        "embedded"
    );
    Ok(Exit::Done)
}

/// Where bad lines go.
fn side_file(config: &Config, output: Option<&Path>) -> Result<PathBuf, CliError> {
    let side = match (&config.errors_to, output) {
        (Some(named), _) => named.clone(),
        (None, None) => PathBuf::from("embed.errors.jsonl"),
        (None, Some(output)) => {
            let mut name = output.as_os_str().to_owned();
            name.push(".errors.jsonl");
            name.into()
        }
    };
    if output == Some(side.as_path()) {
        return Err(CliError::Failed(format!(
            "output and errors-to are both {}: name two files",
            side.display()
        )));
    }
    Ok(side)
}

fn failed(error: EmbedJobError) -> CliError {
    match error {
        // The reader of the results has gone.
        EmbedJobError::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
            CliError::Output(source)
        }
        error => CliError::Failed(error.to_string()),
    }
}
