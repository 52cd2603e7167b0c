//! From the four layers to one value a key. Every layer is checked, also where a stronger one covers it: a wrong line in
//! the file is named today, not on the day that the flag is left away.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, GROUPS, Key, Origin, Rule, keys};

/// What every variable of floodmark's begins with.
pub const PREFIX: &str = "FLOODMARK_";

/// The configuration file that is read from the current folder where none is named.
pub const FILE_NAME: &str = "floodmark.toml";

/// The one variable that is no key: which file to read.
const CONFIG_VARIABLE: &str = "FLOODMARK_CONFIG";

/// What separates the values of a list in one variable, as in `PATH`.
const SEPARATOR: char = ':';

/// Values by key, as they were given on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(BTreeMap<&'static str, Vec<String>>);

impl Flags {
    /// Adds a value to a key: to a list it is appended, else the last one counts.
    pub fn push(&mut self, key: &'static Key, value: String) {
        let values = self.0.entry(key.name).or_default();
        if !key.many {
            values.clear();
        }
        values.push(value);
    }

    /// The same again as arguments of a command line.
    pub fn to_arguments(&self) -> Vec<String> {
        let flag = |(name, values): (&&str, &Vec<String>)| {
            values
                .iter()
                .map(|value| format!("--{name}={value}"))
                .collect::<Vec<_>>()
        };
        self.0.iter().flat_map(flag).collect()
    }
}

/// What a configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file that `--config` names.
    pub config: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags.
    pub flags: Flags,
}

/// One layer's values, with where each stands.
type Layer = BTreeMap<&'static str, (Vec<String>, Origin)>;

impl Layers {
    /// Reads the file and lays the layers over each other.
    pub fn resolve(&self) -> Result<Config, ConfigError> {
        let environment = self.environment()?;
        let named = self
            .config
            .clone()
            .or_else(|| self.variable(CONFIG_VARIABLE).map(PathBuf::from));
        let (path, named) = match named {
            Some(path) => (path, true),
            None => (PathBuf::from(FILE_NAME), false),
        };
        let (file, read) = match std::fs::read_to_string(&path) {
            Ok(text) => (parse_file(&path, &text)?, Some(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
                (Layer::new(), None)
            }
            Err(source) => return Err(ConfigError::File { path, source }),
        };
        let flag = |name: &str| Origin::Flag(format!("--{name}"));
        let flags = self
            .flags
            .0
            .iter()
            .map(|(name, values)| (*name, (values.clone(), flag(name))))
            .collect();

        let layers: [Layer; 3] = [file, environment, flags];
        let config = Config::build(self.clone(), read, |key| {
            let default = key
                .default
                .iter()
                .map(|value| (*value).to_owned())
                .collect();
            let mut resolved = normal(key, default, Origin::Default)?;
            for layer in &layers {
                if let Some((values, origin)) = layer.get(key.name) {
                    resolved = normal(key, values.clone(), origin.clone())?;
                }
            }
            Ok(resolved)
        })?;
        config.check()
    }

    fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    fn environment(&self) -> Result<Layer, ConfigError> {
        let mut layer = Layer::new();
        for (name, value) in &self.environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            if name == CONFIG_VARIABLE || is_injected(name) {
                continue;
            }
            let origin = Origin::Environment(name.to_owned());
            let Some(key) = keys().find(|key| key.env == name) else {
                let hint = hint(
                    name,
                    keys().map(|key| key.env),
                    "unset it, or see `floodmark --help` for the names",
                );
                return Err(ConfigError::Unknown {
                    origin,
                    name: name.to_owned(),
                    hint,
                });
            };
            let Some(value) = value.to_str() else {
                return Err(ConfigError::Value {
                    origin,
                    key: key.in_file(),
                    value: value.to_string_lossy().into_owned(),
                    allowed: "text in UTF-8".into(),
                });
            };
            let values = match key.many {
                true => value
                    .split(SEPARATOR)
                    .filter(|value| !value.is_empty())
                    .map(str::to_owned)
                    .collect(),
                false => vec![value.to_owned()],
            };
            layer.insert(key.name, (values, origin));
        }
        Ok(layer)
    }
}

/// Kubernetes gives every container such variables for each service, also for one that is called floodmark.
fn is_injected(name: &str) -> bool {
    let rest = &name[PREFIX.len()..];
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

/// Checks the values and brings them into their one spelling.
fn normal(
    key: &Key,
    values: Vec<String>,
    origin: Origin,
) -> Result<(Vec<String>, Origin), ConfigError> {
    if !key.many && values.len() > 1 {
        return Err(ConfigError::Several {
            origin,
            key: key.in_file(),
            count: values.len(),
        });
    }
    let check = |value: &String| {
        key.rule
            .normal(value)
            .ok_or_else(|| ConfigError::value(key, value, origin.clone()))
    };
    let values = values.iter().map(check).collect::<Result<_, _>>()?;
    Ok((values, origin))
}

/// The values of a file, with their lines. Relative paths are relative to the folder of the file.
fn parse_file(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let line = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let root = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: line(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut layer = Layer::new();
    let mut take = |table: &str, entries: &DeTable<'_>| {
        for (name, value) in entries {
            let origin = Origin::File(path.to_owned(), line(name.span().start));
            if table.is_empty() && value.get_ref().is_table() && is_table(name.get_ref()) {
                continue;
            }
            let Some(key) = keys().find(|key| key.table == table && key.name == name.get_ref())
            else {
                return Err(unknown_key(table, name.get_ref(), origin));
            };
            let origin = Origin::File(path.to_owned(), line(value.span().start));
            let mut values = Vec::new();
            for value in items(value.get_ref()) {
                let Some(text) = scalar(value) else {
                    return Err(ConfigError::value(key, value.type_str(), origin));
                };
                values.push(if matches!(key.rule, Rule::Path(_)) && !text.is_empty() {
                    beside(path, &text)
                } else {
                    text
                });
            }
            layer.insert(key.name, (values, origin));
        }
        Ok(())
    };
    take("", root.get_ref())?;
    for (name, value) in root.get_ref() {
        if let DeValue::Table(entries) = value.get_ref() {
            take(name.get_ref(), entries)?;
        }
    }
    Ok(layer)
}

fn is_table(name: &str) -> bool {
    GROUPS.iter().any(|group| group.table == name)
}

fn items<'a, 'i>(value: &'a DeValue<'i>) -> Vec<&'a DeValue<'i>> {
    match value.as_array() {
        Some(values) => values.iter().map(|value| value.get_ref()).collect(),
        None => vec![value],
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// A path as the file means it. Both were UTF-8 before they were joined.
fn beside(file: &Path, text: &str) -> String {
    match file.parent().and_then(Path::to_str) {
        Some(folder) if !folder.is_empty() => {
            Path::new(folder).join(text).to_string_lossy().into_owned()
        }
        _ => text.to_owned(),
    }
}

fn unknown_key(table: &str, name: &str, origin: Origin) -> ConfigError {
    // The most common mistake is the right key in the wrong table.
    let elsewhere = keys().find(|key| key.name == name);
    let hint = match elsewhere {
        Some(key) if key.table.is_empty() => format!("; {name} stands above the first table"),
        Some(key) => format!("; {name} belongs into [{}]", key.table),
        None => {
            let here: Vec<&str> = keys()
                .filter(|key| key.table == table)
                .map(|key| key.name)
                .collect();
            let tables = GROUPS
                .iter()
                .map(|group| group.table)
                .filter(|name| table.is_empty() && !name.is_empty());
            let mut known: Vec<&str> = here.iter().copied().chain(tables).collect();
            known.dedup(); // groups of one table are neighbours
            let place = if table.is_empty() {
                "here".to_owned()
            } else {
                format!("in [{table}]")
            };
            hint(
                name,
                known.iter().copied(),
                &format!("there are {place}: {}", known.join(", ")),
            )
        }
    };
    let name = if table.is_empty() {
        name.to_owned()
    } else {
        format!("[{table}] {name}")
    };
    ConfigError::Unknown { origin, name, hint }
}

/// Names what may have been meant; else what to do.
fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>, otherwise: &str) -> String {
    let nearest = known.map(|known| (distance(name, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 1 + name.len() / 6 => {
            format!("; did you mean {known}?")
        }
        _ => format!("; {otherwise}"),
    }
}

/// Letters to insert, delete or replace (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
