//! Which configurations are measured, and how two of them differ.

use std::path::{Path, PathBuf};

use crate::answers::Compared;
use crate::cli::CliError;
use crate::config::{Config, ConfigError, GROUPS, Key, Origin};
use crate::evaluate::measure::Measured;
use crate::evaluate::significance::compare;

/// Settings that may differ: those that decide what is found.
const DECIDE: &[&str] = &["formats", "chunks", "model", "index", "search"];
/// Of those, the ones that only a query goes by: two such configurations share a state.
const OF_A_QUERY: &[&str] = &["search"];
/// And a setting whose view is made anew from the same state, without embedding anything again.
const OF_A_VIEW: &str = "language";

/// One configuration.
pub(super) struct Configuration {
    /// What it has of its own, as it was given; empty for the one that all other settings make.
    pub(super) settings: String,
    pub(super) config: Config,
    /// The part of the scratch folder that is its own.
    folder: Option<&'static str>,
}

impl Configuration {
    /// Its state folder.
    pub(super) fn state(&self, scratch: &Path) -> PathBuf {
        self.folder
            .map_or_else(|| scratch.to_owned(), |folder| scratch.join(folder))
    }
}

/// One if nothing is to be compared; else two: with one SPEC, that one against the settings as they are.
pub(super) fn configurations(config: &Config) -> Result<Vec<Configuration>, CliError> {
    let specs: Vec<&str> = match &config.compare[..] {
        [] => vec![""],
        [one] => vec!["", one],
        [one, other] => vec![one, other],
        more => {
            return Err(wrong(
                config,
                format!("{} configurations: compare takes one or two", more.len()),
            ));
        }
    };
    let mut configurations = specs
        .iter()
        .map(|spec| {
            Ok(Configuration {
                settings: (*spec).to_owned(),
                config: apply(config, spec)?,
                folder: None,
            })
        })
        .collect::<Result<Vec<_>, CliError>>()?;
    if let [first, second] = &mut configurations[..] {
        let changed = first.config.changed(&second.config);
        if changed.is_empty() {
            return Err(wrong(
                config,
                "the two configurations are the same".to_owned(),
            ));
        }
        let shared = |key: &&Key| is_in(key, OF_A_QUERY) || key.name == OF_A_VIEW;
        if !changed.iter().all(shared) {
            (first.folder, second.folder) = (Some("a"), Some("b"));
        }
    }
    Ok(configurations)
}

fn wrong(config: &Config, message: String) -> CliError {
    let origin = config.origin("compare").cloned();
    CliError::Config(ConfigError::Conflict {
        origin: origin.unwrap_or(Origin::Default),
        message,
    })
}

fn is_in(key: &Key, groups: &[&str]) -> bool {
    GROUPS
        .iter()
        .any(|group| groups.contains(&group.name) && group.keys.iter().any(|k| k.name == key.name))
}

/// `name=value,name=value` over the settings as they are.
fn apply(config: &Config, spec: &str) -> Result<Config, CliError> {
    let mut settings = Vec::new();
    for part in spec.split(',').filter(|part| !part.trim().is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, "true"));
        let name = name.trim();
        let key = crate::config::keys().find(|key| key.name == name && is_in(key, DECIDE));
        let Some(key) = key else {
            let known: Vec<&str> = crate::config::keys()
                .filter(|key| is_in(key, DECIDE))
                .map(|key| key.name)
                .collect();
            return Err(CliError::Config(ConfigError::Unknown {
                origin: config.origin("compare").cloned().unwrap_or(Origin::Default),
                name: name.to_owned(),
                hint: format!(
                    " that decides what is found; those are {}",
                    known.join(", ")
                ),
            }));
        };
        settings.push((key, value.trim().to_owned()));
    }
    Ok(config.with(settings)?)
}

/// The figures of both configurations, mode by mode; where each has one mode, the one against the other.
pub(super) fn comparisons(
    first: &[(String, Measured)],
    second: &[(String, Measured)],
) -> Vec<Compared> {
    let pairs: Vec<(String, &Measured, &Measured)> = match (first, second) {
        ([(a, one)], [(b, other)]) if a != b => vec![(format!("{a} → {b}"), one, other)],
        _ => first
            .iter()
            .filter_map(|(mode, one)| {
                let (_, other) = second.iter().find(|(name, _)| name == mode)?;
                Some((mode.clone(), one, other))
            })
            .collect(),
    };
    pairs
        .into_iter()
        .flat_map(|(mode, one, other)| {
            let figures = one.merits().into_iter().zip(other.merits());
            figures
                .map(|((figure, a), (_, b))| {
                    let found = compare(a, b);
                    Compared {
                        mode: mode.clone(),
                        figure: figure.to_owned(),
                        first: found.first,
                        second: found.second,
                        difference: found.difference,
                        low: found.interval.0,
                        high: found.interval.1,
                        p: found.p,
                    }
                })
                .collect::<Vec<_>>()
        })
        .collect()
}
