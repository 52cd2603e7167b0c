//! Who gave a setting its value, and why a configuration can't be used.

use std::fmt;
use std::path::PathBuf;

use super::Key;

/// Who gave a setting its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A line of the configuration file, from 1.
    File(PathBuf, usize),
    /// This variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The configuration can't be used as it is. The program exits with status 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that its key does not allow.
    #[error("{origin}: {key} can't be {value:?}; allowed is {allowed}")]
    Value {
        /// Who gave it.
        origin: Origin,
        /// The key, as it is called in the file.
        key: String,
        /// The value.
        value: String,
        /// What would do.
        allowed: String,
    },
    /// Several values for a key that takes one.
    #[error("{origin}: {key} takes one value, not {count}")]
    Several {
        /// Who gave them.
        origin: Origin,
        /// The key.
        key: String,
        /// How many they are.
        count: usize,
    },
    /// A key or variable that means nothing.
    #[error("{origin}: there is no setting {name:?}{hint}")]
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// The name.
        name: String,
        /// What may have been meant, and what there is.
        hint: String,
    },
    /// Two settings that contradict each other.
    #[error("{origin}: {message}")]
    Conflict {
        /// Who gave the one that is named first.
        origin: Origin,
        /// How they contradict each other.
        message: String,
    },
    /// The file is no TOML.
    #[error("{}:{line}: not TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// The file can't be read.
    #[error("can't read the configuration file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ConfigError {
    pub(super) fn value(key: &Key, value: &str, origin: Origin) -> Self {
        Self::Value {
            origin,
            key: key.in_file(),
            value: value.to_owned(),
            allowed: key.rule.allowed(),
        }
    }
}
