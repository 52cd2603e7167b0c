//! What there is to know of a setting beside its value.

use super::Rule;

/// Settings that commands use together.
#[derive(Debug)]
pub struct Group {
    /// Its name, by which a command asks for it.
    pub name: &'static str,
    /// The table of `floodmark.toml` in which its keys stand; empty for those above the first table.
    pub table: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file, and as a flag after `--`.
    pub name: &'static str,
    /// Its name in the environment.
    pub env: &'static str,
    /// The table of `floodmark.toml` in which it stands.
    pub table: &'static str,
    /// Its one-letter flag, if any.
    pub short: Option<char>,
    /// What it does.
    pub help: &'static str,
    /// Its values where nobody says otherwise; none: unset.
    pub default: &'static [&'static str],
    /// What is allowed.
    pub rule: Rule,
    /// Whether it takes several values.
    pub many: bool,
}

impl Key {
    /// `[chunks] max-tokens`, as a reader of the file looks for it.
    pub fn in_file(&self) -> String {
        if self.table.is_empty() {
            self.name.to_owned()
        } else {
            format!("[{}] {}", self.table, self.name)
        }
    }
}
