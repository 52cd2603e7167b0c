//! Settings as flags: from the table to clap, and from what clap has read back to the table.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{CliError, groups};
use crate::config::{FILE_NAME, Flags, GROUPS, Group, Key, Rule, keys};

/// Groups that `-h` shows; `--help` shows all.
const FIRST: &[&str] = &[
    "state", "input", "once", "workers", "search", "output", "verify", "export", "embed", "eval",
    "sts",
];

/// Gives every command the flags that it uses. Before the command stand those of `run`, which is the default.
pub fn add(root: Command) -> Command {
    let root = with_settings(root, groups("run"));
    root.mut_subcommands(add_below)
}

fn add_below(command: Command) -> Command {
    if command.has_subcommands() {
        return command.mut_subcommands(add_below);
    }
    let names = groups(command.get_name());
    with_settings(command, names)
}

fn with_settings(command: Command, names: &[&str]) -> Command {
    if names.is_empty() {
        return command;
    }
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help(format!(
            "Configuration file [env: FLOODMARK_CONFIG] [default: {FILE_NAME}, if it is there]"
        ));
    GROUPS
        .iter()
        .filter(|group| names.contains(&group.name))
        .flat_map(|group| group.keys.iter().map(move |key| argument(group, key)))
        .fold(command.arg(config), Command::arg)
}

fn argument(group: &Group, key: &'static Key) -> Arg {
    let default = match key.default {
        [] => String::new(),
        values => format!(" [default: {}]", values.join(", ")),
    };
    let mut argument = Arg::new(key.name)
        .long(key.name)
        .value_name(key.rule.placeholder())
        .help(format!(
            "{} [env: {}]{default}",
            key.help.trim_end_matches('.'),
            key.env
        ))
        .hide_short_help(!FIRST.contains(&group.name))
        .action(if key.many {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
        .allow_hyphen_values(matches!(
            key.rule,
            Rule::Count(..) | Rule::Number(..) | Rule::AutoOr(..)
        ));
    if let Some(letter) = key.short {
        argument = argument.short(letter);
    }
    if !FIRST.contains(&group.name) {
        argument = argument.help_heading(group.about.trim_end_matches('.'));
    }
    match key.rule {
        // The rule checks the words; naming them here too lets shells complete them.
        Rule::OneOf(words) => {
            argument.value_parser(clap::builder::PossibleValuesParser::new(words))
        }
        Rule::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Rule::Path(_) => argument.value_hint(clap::ValueHint::AnyPath),
        _ => argument,
    }
}

/// The settings given before and after the command, and the configuration file that was named.
pub fn read(matches: &ArgMatches) -> Result<(Option<PathBuf>, Flags), CliError> {
    let mut levels = vec![(None, matches)];
    while let Some((name, below)) = levels.last().and_then(|(_, matches)| matches.subcommand()) {
        levels.push((Some(name), below));
    }
    let used = groups(levels.last().and_then(|(name, _)| *name).unwrap_or("run"));
    let (mut config, mut flags) = (None, Flags::default());
    for (_, matches) in levels {
        if let Ok(Some(file)) = matches.try_get_one::<PathBuf>("config") {
            config = Some(file.clone());
        }
        for key in keys() {
            let given = matches.try_contains_id(key.name).is_ok()
                && matches.value_source(key.name) == Some(ValueSource::CommandLine);
            if !given {
                continue;
            }
            if !GROUPS.iter().any(|group| {
                used.contains(&group.name) && group.keys.iter().any(|k| k.name == key.name)
            }) {
                return Err(CliError::Unused { flag: key.name });
            }
            for value in matches.get_many::<String>(key.name).into_iter().flatten() {
                flags.push(key, value.clone());
            }
        }
    }
    Ok((config, flags))
}
