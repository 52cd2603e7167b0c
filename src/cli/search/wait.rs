//! `--wait` and `--wait-epoch`: a script finds what it has just written.

use std::path::Path;
use std::time::Instant;

use super::super::CliError;
use super::Args;
use crate::config::Config;
use crate::control::{Client, ControlError};
use crate::sources::{Identity, key, resolved};
use crate::store::{Reader, Standing, StoreError};

/// Returns when everything that was asked for is searchable.
pub fn wait(args: &Args, config: &Config, mut client: Option<&mut Client>) -> Result<(), CliError> {
    if args.wait.is_empty() && args.wait_epoch.is_none() {
        return Ok(());
    }
    let started = Instant::now();
    for given in &args.wait {
        // The run may have another current folder.
        let path = resolved(given)
            .map_err(|error| could_not(given, format!("can't be looked for: {error}")))?;
        if path.is_dir() {
            let why = "is a folder; name the files to wait for";
            return Err(could_not(given, why));
        }
        if let Some(client) = client.as_deref_mut() {
            let left = config.wait_timeout.saturating_sub(started.elapsed());
            client.wait(&path, left).map_err(told)?;
        }
        stands(&config.state, &path)
            .map_err(|error| CliError::CouldNotLook(error.to_string()))?
            .map_err(|why| could_not(given, why))?;
    }
    let Some(epoch) = args.wait_epoch else {
        return Ok(());
    };
    if let Some(client) = client {
        let left = config.wait_timeout.saturating_sub(started.elapsed());
        client.wait_epoch(epoch, left).map_err(told)?;
        return Ok(());
    }
    let last = Reader::open(&config.state)
        .and_then(|reader| reader.snapshot())
        .map_err(|error| CliError::CouldNotLook(error.to_string()))?
        .epoch();
    if last >= epoch {
        return Ok(());
    }
    Err(CliError::CouldNotLook(format!(
        "epoch {epoch} is not committed, the last one is {last}, and no run is under way that could bring it: `floodmark run` does"
    )))
}

fn could_not(path: &Path, why: impl std::fmt::Display) -> CliError {
    CliError::CouldNotLook(format!("{} {why}", path.display()))
}

/// What a run refuses to wait for is told in its own words.
fn told(error: ControlError) -> CliError {
    match error {
        ControlError::Refused(refusal) => CliError::CouldNotLook(refusal.message),
        other => CliError::Control(other),
    }
}

/// Whether the index has the file as it is on the disk, absent ones included; else why not.
fn stands(state: &Path, path: &Path) -> Result<Result<(), String>, StoreError> {
    let identity = std::fs::metadata(path)
        .ok()
        .map(|metadata| Identity::of(&metadata));
    let store = Reader::open(state)?.snapshot()?;
    let roots = store.roots()?;
    // Of folders that lay inside each other at different times, the one that has the file.
    let mut known = None;
    for root in &roots {
        let Ok(below) = path.strip_prefix(root) else {
            continue;
        };
        let key = key(root, below);
        if store.was_seen(key)? {
            known = Some(store.file_of(key)?);
            if known.as_ref().is_some_and(Option::is_some) {
                break;
            }
        }
    }
    Ok(match (known, identity) {
        (None, None) => Err("is neither on the disk nor was it ever in the index".into()),
        (Some(None), None) => Ok(()),
        (None | Some(None), Some(_)) => {
            Err("is not in the index, and no run is under way that could index it: `floodmark run` does".into())
        }
        (Some(Some(file)), identity) => match &file.standing {
            Standing::Dead { failure, .. } | Standing::Retrying { failure, .. } => {
                Err(format!("is not in the index as it is: {}; {}", failure.message, failure.advice))
            }
            Standing::Indexed if file.identity == identity && file.partial.is_none() => Ok(()),
            Standing::Indexed | Standing::Partial => Err(
                "is in the index in an older version, and no run is under way that could index this one: `floodmark run` does"
                    .into(),
            ),
        },
    })
}
