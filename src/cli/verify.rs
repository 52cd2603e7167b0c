//! `floodmark verify`

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{CliError, Exit, print, setup};
use crate::answers::{Difference, NotLooked, Verdict};
use crate::config::Config;
use crate::control::Client;
use crate::daemon::{self, RunLock};
use crate::model::Model;
use crate::store::{ModelKey, Store, StoreError};
use crate::verify::{self, Outcome, Verifier};
use crate::worker::Mode;

/// How long the run is given for one file that is on its way, and for all of them.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_IN_ALL: Duration = Duration::from_secs(30);

/// Compares sources, store and views; mends what differs if asked to.
pub fn run(config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    let model = setup::model(config).map_err(could_not_look)?;
    let reading = setup::reading(config, &model);
    let selection =
        verify::selection(&setup::sources(config), &config.state).map_err(could_not_look)?;
    let verifier = Verifier {
        state: &config.state,
        selection: &selection,
        reading: &reading,
        model: model.key(),
        views: setup::view_options(config, true),
    };
    let running = daemon::probe(&config.state).map_err(could_not_look)?;
    let Some(running) = running else {
        let found = verifier.verify(None).map_err(could_not_look)?;
        if !config.repair || found.verdict.differences.is_empty() {
            return write(&found.verdict, config.json, out);
        }
        mend(config, &model, &found)?;
        let after = verifier.verify(None).map_err(could_not_look)?;
        return write(&mended(found.verdict, after.verdict), config.json, out);
    };
    if config.repair {
        return Err(CliError::Failed(format!(
            "process {} runs on {}: stop it first, as only one process may change an index (`floodmark verify` alone \
             looks beside it)",
            running.pid,
            config.state.display()
        )));
    }
    let started = Instant::now();
    let mut settle = |path: &Path| {
        let left = PATIENCE_IN_ALL
            .saturating_sub(started.elapsed())
            .min(PATIENCE);
        let client = Client::connect(&config.state).ok().flatten();
        client.is_some_and(|mut client| client.wait(path, left).is_ok())
    };
    let found = verifier.verify(Some(&mut settle)).map_err(could_not_look)?;
    write(&found.verdict, config.json, out)
}

fn could_not_look(error: impl std::fmt::Display) -> CliError {
    CliError::CouldNotLook(error.to_string())
}

/// Forgets what differs and runs once, which reads it again.
fn mend(config: &Config, model: &Model, found: &Outcome) -> Result<(), CliError> {
    let failed = |error: StoreError| CliError::Failed(error.to_string());
    {
        let lock = RunLock::acquire(&config.state)?;
        if found.view {
            verify::forget_views(&config.state).map_err(|(dir, error)| {
                CliError::Failed(format!(
                    "can't remove the view in {}: {error}",
                    dir.display()
                ))
            })?;
        }
        let key = ModelKey {
            id: model.key().to_owned(),
            dimension: model.dimension(),
        };
        let mut store = Store::open(&config.state, &key, setup::clock).map_err(failed)?;
        store.forget(&found.doubts).map_err(failed)?;
        store.close().map_err(failed)?;
        drop(lock);
    }
    tracing::info!(
        files = found.doubts.files.len(),
        texts = found.doubts.texts.len(),
        view = found.view,
        "forgotten; a run reads and embeds what is missing"
    );
    let options = setup::options(config, Mode::Once)?;
    super::run::run_with(options, config, None).map(drop)
}

/// The verdict after a repair: what differed before and no longer does is named as mended.
fn mended(before: Verdict, after: Verdict) -> Verdict {
    let same =
        |a: &Difference, b: &Difference| (&a.between, &a.subject) == (&b.between, &b.subject);
    let mut differences: Vec<Difference> = before
        .differences
        .into_iter()
        .filter(|old| !after.differences.iter().any(|new| same(new, old)))
        .map(|old| Difference {
            repaired: true,
            ..old
        })
        .collect();
    differences.extend(after.differences);
    Verdict {
        differences,
        ..after
    }
}

/// Writes it for people or for programs.
pub fn write(verdict: &Verdict, json: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
    let differs = verdict
        .differences
        .iter()
        .any(|difference| !difference.repaired);
    let exit = match (verdict.equal, differs) {
        (true, _) => Exit::Done,
        (false, true) => Exit::No,
        (false, false) => Exit::CouldNotLook,
    };
    if json {
        print::json(out, verdict)?;
        return Ok(exit);
    }
    for difference in &verdict.differences {
        let repaired = if difference.repaired { " (mended)" } else { "" };
        let subject = print::plain(&difference.subject);
        writeln!(
            out,
            "{}: {subject}: {}{repaired}",
            difference.between,
            print::plain(&difference.message)
        )?;
    }
    for NotLooked { subject, why } in &verdict.not_looked {
        writeln!(
            out,
            "not compared: {}: {}",
            print::plain(subject),
            print::plain(why)
        )?;
    }
    if verdict.more > 0 {
        writeln!(out, "and {} more", verdict.more)?;
    }
    let answer = match exit {
        Exit::Done => "equal",
        Exit::No => "different",
        _ => "no difference seen, but not everything could be compared,",
    };
    writeln!(
        out,
        "{answer} at epoch {}: {}, {}, {}",
        verdict.epoch,
        print::count(verdict.files, "file"),
        print::count(verdict.chunks, "chunk"),
        print::count(verdict.embeddings, "vector")
    )?;
    Ok(exit)
}
