//! What a setting may be: one rule checks it, describes it, and brings it into the one spelling that its type reads.

use std::path::PathBuf;
use std::time::Duration;

/// What is allowed as the value of a key.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// A path; the word is its name in the help.
    Path(&'static str),
    /// Any text that is not empty; the word is its name in the help.
    Text(&'static str),
    /// On or off.
    Switch,
    /// A whole number within these bounds, both included.
    Count(u64, u64),
    /// A number within these bounds, both included.
    Number(f64, f64),
    /// The word `auto`, or a number within these bounds.
    AutoOr(f64, f64),
    /// An amount of memory or disk.
    Bytes,
    /// A length of time.
    Time,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A level, or levels by module.
    Log,
}

/// The word that leaves a number to the program.
const AUTO: &str = "auto";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Rule {
    /// The spelling that [`Setting::read`] understands, or `None` where `text` is not allowed.
    pub fn normal(&self, text: &str) -> Option<String> {
        match *self {
            Rule::Path(_) | Rule::Text(_) => (!text.is_empty()).then(|| text.to_owned()),
            Rule::Switch => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some("true".into()),
                "false" | "no" | "off" | "0" => Some("false".into()),
                _ => None,
            },
            Rule::Count(least, most) => {
                let count: u64 = text.replace('_', "").parse().ok()?;
                (least..=most).contains(&count).then(|| count.to_string())
            }
            Rule::Number(least, most) => {
                let number: f64 = text.parse().ok()?;
                (least..=most).contains(&number).then(|| number.to_string())
            }
            Rule::AutoOr(_, _) if text == AUTO => Some(AUTO.into()),
            Rule::AutoOr(least, most) => Rule::Number(least, most).normal(text),
            Rule::Bytes => scaled(text, &BYTES).map(|bytes| bytes.to_string()),
            Rule::Time => scaled(text, &TIMES_MS).map(|ms| ms.to_string()),
            Rule::OneOf(words) => words.contains(&text).then(|| text.to_owned()),
            Rule::Log => text.split(',').all(is_directive).then(|| text.to_owned()),
        }
    }

    /// What is allowed, in words that end the sentence "allowed is …".
    pub fn allowed(&self) -> String {
        match *self {
            Rule::Path(_) => "a path".into(),
            Rule::Text(_) => "a text that is not empty".into(),
            Rule::Switch => "true or false".into(),
            Rule::Count(least, u64::MAX) => format!("a whole number from {least}"),
            Rule::Count(least, most) => format!("a whole number from {least} to {most}"),
            Rule::Number(least, most) => format!("a number from {least} to {most}"),
            Rule::AutoOr(least, most) => format!("{AUTO}, or a number from {least} to {most}"),
            Rule::Bytes => {
                "a number of bytes, or one with B, KiB, MiB, GiB, kB, MB or GB, such as 64KiB"
                    .into()
            }
            Rule::Time => "a time with its unit (ms, s, m or h), such as 500ms or 5m".into(),
            Rule::OneOf(words) => words.join(", "),
            Rule::Log => {
                format!(
                    "a level ({}), or levels by module such as info,floodmark::sources=debug",
                    LEVELS.join(", ")
                )
            }
        }
    }

    /// What stands for the value in the help.
    pub fn placeholder(&self) -> &'static str {
        match *self {
            Rule::Path(name) | Rule::Text(name) => name,
            Rule::Switch => "BOOL",
            Rule::Count(..) => "N",
            Rule::Number(..) => "X",
            Rule::AutoOr(..) => "auto|X",
            Rule::Bytes => "BYTES",
            Rule::Time => "TIME",
            Rule::OneOf(_) => "WORD",
            Rule::Log => "LEVEL",
        }
    }
}

/// A misspelt level would be a module's name to the filter and silence everything; so what stands alone is a level.
fn is_directive(text: &str) -> bool {
    match text.trim().split_once('=') {
        None => LEVELS.contains(&text.trim()),
        Some((module, level)) => !module.is_empty() && LEVELS.contains(&level),
    }
}

const BYTES: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const TIMES_MS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// A whole number and a unit; `None` for no number, an unknown unit, or more than fits.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let count: u64 = text[..digits].replace('_', "").parse().ok()?;
    let (_, scale) = units
        .iter()
        .find(|(unit, _)| *unit == text[digits..].trim())?;
    count.checked_mul(*scale)
}

/// A type that a setting can have.
pub trait Setting: Sized {
    /// Whether the key may be given several times.
    const MANY: bool = false;

    /// Reads values that [`Rule::normal`] has let through; `None` where rule and type don't fit each other.
    fn read(values: &[String]) -> Option<Self>;
}

macro_rules! parsed {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn read(values: &[String]) -> Option<Self> {
                values.last()?.parse().ok()
            }
        }
    )*};
}

parsed!(bool, u32, u64, usize, f64, String, PathBuf);

impl Setting for Duration {
    fn read(values: &[String]) -> Option<Self> {
        values.last()?.parse().ok().map(Duration::from_millis)
    }
}

/// A number, or that the program is to find one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AutoOr<T> {
    /// As the program sees fit.
    Auto,
    /// This one.
    Given(T),
}

impl<T> AutoOr<T> {
    /// The number, if one was given.
    pub fn given(self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Given(given) => Some(given),
        }
    }
}

impl<T: Setting> Setting for AutoOr<T> {
    fn read(values: &[String]) -> Option<Self> {
        if values.last()? == AUTO {
            return Some(Self::Auto);
        }
        T::read(values).map(Self::Given)
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read(values: &[String]) -> Option<Self> {
        if values.is_empty() {
            Some(None)
        } else {
            T::read(values).map(Some)
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    const MANY: bool = true;

    fn read(values: &[String]) -> Option<Self> {
        values
            .iter()
            .map(|value| T::read(std::slice::from_ref(value)))
            .collect()
    }
}

/// An enum whose variants are the words of a [`Rule::OneOf`].
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// The words, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word for it.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl crate::config::rule::Setting for $name {
            fn read(values: &[String]) -> Option<Self> {
                match values.last()?.as_str() { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    )*};
}

pub(super) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_lets_through_what_it_describes_and_nothing_else() {
        type Spellings = &'static [(&'static str, Option<&'static str>)];
        let cases: [(Rule, Spellings); 8] = [
            (
                Rule::Switch,
                &[
                    ("yes", Some("true")),
                    ("OFF", Some("false")),
                    ("2", None),
                    ("", None),
                ],
            ),
            (
                Rule::Count(1, 8),
                &[
                    ("8", Some("8")),
                    ("0", None),
                    ("9", None),
                    ("-1", None),
                    ("1.5", None),
                    ("two", None),
                ],
            ),
            (
                Rule::Number(0.0, 1.0),
                &[
                    ("0.2", Some("0.2")),
                    ("1", Some("1")),
                    ("1.1", None),
                    ("NaN", None),
                ],
            ),
            (
                Rule::AutoOr(0.0, 1.0),
                &[
                    ("auto", Some("auto")),
                    ("0.2", Some("0.2")),
                    ("1.1", None),
                    ("Auto", None),
                ],
            ),
            (
                Rule::Bytes,
                &[
                    ("64KiB", Some("65536")),
                    ("10 MB", Some("10000000")),
                    ("1_000", Some("1000")),
                    ("64Kib", None),
                    ("KiB", None),
                    ("99999999999TiB", None),
                ],
            ),
            (
                Rule::Time,
                &[
                    ("500ms", Some("500")),
                    ("5m", Some("300000")),
                    ("300", None),
                    ("-1s", None),
                    ("1.5s", None),
                ],
            ),
            (
                Rule::OneOf(&["a", "b"]),
                &[("a", Some("a")), ("A", None), ("", None)],
            ),
            (
                Rule::Log,
                &[
                    ("info", Some("info")),
                    (
                        "warn,floodmark::sources=debug",
                        Some("warn,floodmark::sources=debug"),
                    ),
                    ("inof", None),
                    ("floodmark=loud", None),
                    ("", None),
                ],
            ),
        ];
        for (rule, texts) in cases {
            for (text, expect) in texts {
                assert_eq!(
                    rule.normal(text).as_deref(),
                    *expect,
                    "{rule:?} of {text:?}"
                );
            }
            assert!(!rule.allowed().is_empty());
        }
    }
}
