//! `floodmark eval DIR`

mod compared;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CliError, Exit, print, search, setup};
use crate::answers::{Evaluated, Evaluation, Mode, Query};
use crate::config::{Config, Origin};
use crate::evaluate::beir::Collection;
use crate::evaluate::measure::{Measured, measure};
use crate::evaluate::scratch::{self, Scratch};
use crate::search::Searcher;
use crate::telemetry::{self, Progress};
use crate::worker;
use crate::{dead, signals};

/// What to measure with.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The index goes to a temporary folder, unless --state names one on this command line: then it stays there, and a \
                        second time nothing is embedded again."
)]
pub struct Args {
    /// Folder with corpus.jsonl, queries.jsonl and qrels/*.tsv, as BEIR has them
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

const MODES: [(&str, Mode); 3] = [
    ("keyword", Mode::Keyword),
    ("vector", Mode::Vector),
    ("hybrid", Mode::Hybrid),
];

/// Indexes the collection, asks its queries in every mode, and writes how good the answers are.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if let Some(Origin::Flag(_)) = config.origin("hits") {
        // Recall is counted over 100, whatever a search would show.
        return Err(CliError::Unused { flag: "hits" });
    }
    let configurations = compared::configurations(config)?;
    let collection = Collection::open(&args.folder, config.qrels.as_deref()).map_err(could_not)?;
    if collection.absent > 0 {
        tracing::warn!(
            documents = collection.absent,
            qrels = %collection.qrels.display(),
            "judged, but not in corpus.jsonl: they can't be found, and count as missed"
        );
    }
    let scratch = match config.origin("state") {
        Some(Origin::Flag(_)) => Scratch::kept(config.state.clone()),
        _ => Scratch::temporary().map_err(failed)?,
    };
    let left = scratch.is_temporary().then(|| scratch.path().to_owned());
    let clean = left.clone();
    let _stop = signals::install(move || end(clean.as_deref(), 130), || {})
        .map_err(|error| CliError::Failed(format!("can't handle signals: {error}")))?;
    let mut evaluated = Vec::new();
    for configuration in &configurations {
        let state = configuration.state(scratch.path());
        evaluated.push(evaluate(
            &collection,
            &configuration.config,
            &state,
            left.clone(),
        )?);
    }
    let answer = Evaluation {
        collection: crate::answers::shown(&args.folder),
        qrels: crate::answers::shown(&collection.qrels),
        documents: collection.documents,
        queries: collection.queries.len(),
        results: (configurations.iter().zip(&evaluated))
            .map(|(configuration, results)| Evaluated {
                settings: configuration.settings.clone(),
                modes: (results.iter())
                    .map(|(mode, measured)| (mode.clone(), measured.figures()))
                    .collect(),
            })
            .collect(),
        comparisons: match &evaluated[..] {
            [first, second] => compared::comparisons(first, second),
            _ => Vec::new(),
        },
    };
    if config.json {
        print::json(out, &answer.to_json())?;
    } else {
        table::write(&answer, out)?;
    }
    Ok(Exit::Done)
}

/// The figures of one configuration: mode by mode.
fn evaluate(
    collection: &Collection,
    config: &Config,
    state: &Path,
    left: Option<PathBuf>,
) -> Result<Vec<(String, Measured)>, CliError> {
    let mut config = config.clone();
    config.state = state.to_owned();
    let config = &config;
    let model = setup::model(config)?;
    let mut options = setup::options(config, worker::Mode::Once)?;
    if options.formats.id_fields.is_empty() {
        // A record may have another id besides the one that the judgements go by.
        options.formats.id_fields = vec!["_id".into()];
    }
    let stop = Arc::new(move |reason: String| {
        telemetry::last_words(&reason);
        end(left.as_deref(), Exit::No as i32)
    });
    tracing::info!(documents = collection.documents, state = %state.display(), "indexing");
    let took = scratch::index(&collection.corpus, state, options, &model, stop).map_err(failed)?;
    let searcher = setup::searcher(config, &model, false)?;
    report_dead(&searcher)?;
    tracing::info!(seconds = took.as_secs_f64(), "indexed");
    // What a second look makes for one query is there for the next ones.
    let keeper = setup::keeper(config, &model)?;
    if let Some(keeper) = &keeper {
        searcher.keep_with(keeper.clone());
    }
    let bar = Progress::start("asking", "queries", None);
    let mut asked = 0;
    let mut results = Vec::new();
    for (name, query) in modes(config) {
        let so_far = asked;
        let search = |query: &Query| searcher.search(query);
        let measured = measure(&collection.queries, &query, &search, &|done| {
            bar.set(so_far + done);
        });
        results.push((name, measured.map_err(could_not)?));
        asked += collection.queries.len() as u64;
    }
    if let Some(keeper) = keeper {
        keeper.close();
    }
    Ok(results)
}

/// What is asked, by the names that the answer has: every mode, or the one that was named; and the second look, if one is wanted.
fn modes(config: &Config) -> Vec<(String, Query)> {
    let settings = search::settings(config, String::new());
    let named = matches!(config.origin("mode"), Some(Origin::Flag(_)));
    let plain = |(name, mode): &(&str, Mode)| {
        let query = Query {
            mode: *mode,
            rerank: None,
            ..settings.clone()
        };
        ((*name).to_owned(), query)
    };
    let mut modes: Vec<(String, Query)> = MODES
        .iter()
        .filter(|(_, mode)| !named || *mode == settings.mode)
        .map(plain)
        .collect();
    if settings.rerank.is_some() {
        modes.push(("rerank".to_owned(), settings));
    }
    modes
}

/// Says which documents could not be indexed; they count as missed where they are relevant.
fn report_dead(searcher: &Searcher) -> Result<(), CliError> {
    let store = searcher.reader().snapshot().map_err(failed)?;
    let letters = dead::letters(&store).map_err(failed)?;
    if let Some(first) = letters.first() {
        tracing::warn!(
            documents = letters.len(),
            first = first.message,
            "not in the index, and can't be found"
        );
    }
    if store.status().map_err(failed)?.documents == 0 {
        let why = letters
            .first()
            .map_or("it is empty", |letter| &letter.message);
        return Err(CliError::CouldNotLook(format!(
            "no document of the collection could be indexed: {why}"
        )));
    }
    Ok(())
}

/// Ends the process, and what was to go with it.
fn end(temporary: Option<&Path>, status: i32) -> ! {
    if let Some(folder) = temporary {
        // Threads may still write to it; what can't be removed is small and lies where such things are swept.
        let _ = std::fs::remove_dir_all(folder);
    }
    std::process::exit(status)
}

fn could_not(error: impl std::fmt::Display) -> CliError {
    CliError::CouldNotLook(error.to_string())
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}
