//! From the configuration to what the modules go by: the one place where the two vocabularies meet.

use std::sync::Arc;
use std::time::Duration;

use super::CliError;
use crate::config::{self, Config};
use crate::formats::{self, ChunkOptions};
use crate::index::{policy::Policy, view};
use crate::ingest::engine::Endurance;
use crate::ingest::memory::Limits;
use crate::ingest::reader::Patience;
use crate::ingest::reading::Reading;
use crate::ingest::verdict::OnBad;
use crate::keyword::{self, Languages};
use crate::model::{Device, Model, ModelOptions};
use crate::search::{Searcher, ViewOptions};
use crate::sources::{PollPolicy, SourceOptions, SymlinkPolicy};
use crate::store::Reader;
use crate::token_store::Keeper;
use crate::worker::{Layout, Mode, Options};

/// Milliseconds since 1970, for time stamps that people read.
pub fn clock() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// How a run goes about it.
///
/// # Errors
/// When the file of hosts can't be used.
pub fn options(config: &Config, mode: Mode) -> Result<Options, CliError> {
    Ok(Options {
        mode,
        state: config.state.clone(),
        sources: sources(config),
        formats: formats(config),
        batch_tokens: config.batch_tokens,
        epochs_in_flight: usize::try_from(config.epochs_in_flight).unwrap_or(usize::MAX),
        epoch_target_ms: config.epoch_target_ms,
        patience: Patience {
            tries: config.retries,
            base_ms: config.retry_base_ms,
        },
        on_bad: match config.on_bad {
            config::OnBad::Keep => OnBad::Keep,
            config::OnBad::Drop => OnBad::Drop,
        },
        failed_dir: config.failed_dir.clone(),
        memory: Limits {
            soft_bytes: config.memory_soft,
            hard_bytes: config.memory_hard,
        },
        layout: layout(config)?,
        cluster_timeout: config.cluster_timeout,
        clock,
    })
}

/// Which files.
pub fn sources(config: &Config) -> SourceOptions {
    SourceOptions {
        inputs: config.input.clone(),
        include: config.include.clone(),
        exclude: config.exclude.clone(),
        gitignore: config.gitignore,
        hidden: config.hidden,
        symlinks: match config.symlinks {
            config::Symlinks::Skip => SymlinkPolicy::Skip,
            config::Symlinks::Files => SymlinkPolicy::Files,
            config::Symlinks::Follow => SymlinkPolicy::Follow,
        },
        max_file_bytes: config.max_file_size,
        rescan_secs: config.rescan.as_secs().max(1),
        settle_ms: u64::try_from(config.settle.as_millis()).unwrap_or(u64::MAX),
        confirm_empty: config.confirm_empty,
        poll: match config.poll {
            config::Poll::Auto => PollPolicy::Auto,
            config::Poll::Always => PollPolicy::Always,
            config::Poll::Never => PollPolicy::Never,
        },
        poll_secs: config.poll_interval.as_secs().max(1),
    }
}

/// How files become chunks.
pub fn formats(config: &Config) -> formats::Options {
    formats::Options {
        text_fields: config.text_fields.clone(),
        title_fields: config.title_fields.clone(),
        id_fields: config.id_fields.clone(),
        segment_documents: config.segment_documents,
        segment_bytes: config.segment_bytes,
        max_file_bytes: config.max_whole_size,
        max_record_bytes: config.max_record_size,
        max_depth: config.max_depth,
        chunk: ChunkOptions {
            max_tokens: (config.max_tokens > 0).then_some(config.max_tokens),
            overlap_tokens: config.overlap_tokens,
        },
    }
}

/// Which model, and where it runs.
pub fn model_options(config: &Config) -> ModelOptions {
    ModelOptions {
        dir: config.model.clone(),
        device: match config.device {
            config::Device::Auto => Device::Auto,
            config::Device::Cuda => Device::Cuda,
            config::Device::Coreml => Device::CoreMl,
            config::Device::Cpu => Device::Cpu,
        },
        sessions: config.sessions,
        runtime: config.runtime.clone(),
        max_tokens: None,
    }
}

/// Opens the model.
///
/// # Errors
/// What the model said.
pub fn model(config: &Config) -> Result<Model, CliError> {
    Model::open(&model_options(config)).map_err(|error| CliError::Failed(error.to_string()))
}

/// Opens the model for whoever may find nothing to embed. If it is the one whose vectors are in the state already, its first session
/// is made when there is something to embed.
///
/// # Errors
/// What the model said.
pub fn model_if_needed(config: &Config) -> Result<Model, CliError> {
    // What keeps a store from being read, if anything does, is said by whoever opens it for more.
    let Ok(store) = Reader::open(&config.state).and_then(|reader| reader.snapshot()) else {
        return model(config);
    };
    let known = store.model().clone();
    drop(store);
    Model::open_sparingly(&model_options(config), |key| {
        (known.id == key).then_some(known.dimension)
    })
    .map_err(|error| CliError::Failed(error.to_string()))
}

/// How much is put up with from the model.
pub fn endurance(config: &Config) -> Endurance {
    Endurance {
        batch: config.model_timeout,
        tries: config.retries,
        pause: Duration::from_millis(config.retry_base_ms),
        ..Endurance::default()
    }
}

/// Who keeps the token vectors of a run, if it is set that they are kept. The state folder must be the caller's.
///
/// # Errors
/// When the system refuses a thread.
pub fn keeper(config: &Config, model: &Model) -> Result<Option<Arc<Keeper>>, CliError> {
    let start = || Keeper::start(&config.state, model.key());
    config
        .token_vectors
        .then(start)
        .transpose()
        .map_err(|error| CliError::Failed(format!("the system refuses a thread: {error}")))
}

/// How files become texts, for those who only look.
pub fn reading(config: &Config, model: &Model) -> Reading {
    Reading::new(
        &formats(config),
        Arc::new(model.clone()),
        model.tokenizer_id(),
    )
}

/// How the views are opened.
pub fn view_options(config: &Config, read_only: bool) -> ViewOptions {
    ViewOptions {
        vectors: vectors(config, read_only),
        keywords: keyword::Options {
            languages: Languages::of_name(config.language.word()).unwrap_or_default(),
            read_only,
            ..keyword::Options::default()
        },
    }
}

fn vectors(config: &Config, read_only: bool) -> view::Options {
    let defaults = view::Options::default();
    view::Options {
        policy: Policy {
            threshold: config.threshold,
            changes_min: config.changes_min,
            flat_max: config.flat_max,
            hnsw_max: config.hnsw_max,
        },
        read_only,
        build_threads: match config.build_threads {
            0 => defaults.build_threads,
            threads => threads,
        },
        ..defaults
    }
}

/// What answers questions about a state that no run serves.
///
/// # Errors
/// As [`CliError::CouldNotLook`].
pub fn searcher(
    config: &Config,
    model: &Model,
    read_only: bool,
) -> Result<Arc<Searcher>, CliError> {
    Searcher::open(&config.state, model, view_options(config, read_only))
        .map(Arc::new)
        .map_err(|error| CliError::CouldNotLook(error.to_string()))
}

fn layout(config: &Config) -> Result<Layout, CliError> {
    if config.processes <= 1 {
        return Ok(Layout::Threads(config.workers));
    }
    let Some(file) = &config.hosts else {
        return Err(CliError::Failed(
            "a cluster needs --hosts FILE: one HOST:PORT a line".into(),
        ));
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        CliError::Failed(format!(
            "can't read the hosts in {}: {error}",
            file.display()
        ))
    })?;
    let addresses: Vec<String> = text
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if addresses.len() != config.processes {
        return Err(CliError::Failed(format!(
            "{} names {} hosts for processes = {}: one HOST:PORT a line, a line a process",
            file.display(),
            addresses.len(),
            config.processes
        )));
    }
    Ok(Layout::Cluster {
        threads: config.workers,
        process: config.process,
        addresses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_of_the_configuration_is_one_of_the_analyser() {
        for word in config::Language::WORDS {
            assert!(Languages::of_name(word).is_some(), "{word}");
        }
        assert_eq!(
            config::Language::WORDS.len(),
            keyword::analyse::LANGUAGES.len() + 2
        );
    }
}
