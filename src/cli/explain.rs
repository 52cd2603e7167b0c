//! `floodmark explain PATH`

use std::io::Write;
use std::path::PathBuf;

use super::{CliError, Exit, print, setup};
use crate::answers::{Explanation, Standing};
use crate::config::Config;
use crate::explain::{ExplainError, explain};
use crate::store::Reader;

/// Which file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to explain
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// Looks the file up in the store, and holds what is on the disk against it.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    let could_not = |error: ExplainError| CliError::CouldNotLook(error.to_string());
    let store = Reader::open(&config.state)
        .and_then(|reader| reader.snapshot())
        .map_err(|error| could_not(error.into()))?;
    let sources = setup::sources(config);
    let explanation = explain(&store, &config.state, &sources, &args.path).map_err(could_not)?;
    write(&explanation, config.json, out)
}

/// Writes it for people or for programs; yes means that the file is in the index as it is on the disk.
pub fn write(explanation: &Explanation, json: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
    let exit = if explanation.standing == Standing::Indexed {
        Exit::Done
    } else {
        Exit::No
    };
    if json {
        print::json(out, explanation)?;
        return Ok(exit);
    }
    writeln!(out, "{}", print::plain(&explanation.path))?;
    writeln!(out, "{}", print::plain(&explanation.why))?;
    let mut pairs = Vec::new();
    let mut pair = |name, value: Option<String>| pairs.extend(value.map(|value| (name, value)));
    pair("input", explanation.root.clone());
    pair("bytes", explanation.bytes.map(|bytes| bytes.to_string()));
    pair("content", explanation.content.map(|hash| hash.to_string()));
    pair(
        "format",
        explanation
            .format
            .map(|format| format!("{format:?}").to_lowercase()),
    );
    pair("model", explanation.model.clone());
    pair("epoch", explanation.epoch.map(|epoch| epoch.to_string()));
    let documents = explanation.documents;
    pair("documents", (documents > 0).then(|| documents.to_string()));
    print::pairs(out, &pairs)?;
    for chunk in &explanation.chunks {
        let vector = if chunk.embedded { "" } else { ", no vector" };
        let shared = match chunk.other_paths.len() {
            0 => String::new(),
            files => format!(", also in {}", print::count(files as u64, "other file")),
        };
        let document = print::plain(&chunk.document);
        writeln!(
            out,
            "  document {document}, chunk {}: bytes {}-{}, text {}{vector}{shared}",
            chunk.chunk, chunk.start, chunk.end, chunk.text_hash
        )?;
    }
    for failure in &explanation.failures {
        let document = failure.document.as_ref();
        let document = document.map(|document| format!("document {}", print::plain(document)));
        let chunk = failure.chunk.map(|chunk| format!("chunk {chunk}"));
        let record = failure.record.map(|record| format!("record {record}"));
        let record = record.filter(|_| chunk.is_none());
        let line = failure.line.map(|line| format!("line {line}"));
        let place: Vec<String> = (document.into_iter())
            .chain(chunk)
            .chain(record)
            .chain(line)
            .collect();
        writeln!(
            out,
            "  {}: {}: {}",
            place.join(", "),
            failure.reason,
            print::plain(&failure.message)
        )?;
        writeln!(out, "      {}", print::plain(&failure.advice))?;
    }
    Ok(exit)
}
