//! Files of lines, and what is wrong with them: file, line, field.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Why a file of judgements, queries or pairs can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, beginning with the field if it is one field.
        reason: String,
    },
    /// The file or folder as a whole.
    #[error("{}: {reason}", path.display())]
    Whole {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl InputError {
    pub(super) fn line(path: &Path, line: usize, reason: impl Into<String>) -> Self {
        Self::Line {
            path: path.to_owned(),
            line,
            reason: reason.into(),
        }
    }

    pub(super) fn whole(path: &Path, reason: impl Into<String>) -> Self {
        Self::Whole {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Hands over each line that is not blank, with its number from 1.
pub(super) fn each_line(
    path: &Path,
    mut each: impl FnMut(usize, &str) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let failed = |source| InputError::Read {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            return Ok(());
        }
        number += 1;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let at = error.valid_up_to();
            InputError::line(path, number, format!("byte {at} of the line is not UTF-8"))
        })?;
        let text = match number {
            1 => text.trim_start_matches('\u{feff}'),
            _ => text,
        };
        if !text.trim().is_empty() {
            each(number, text.trim_end_matches(['\r', '\n']))?;
        }
    }
}

/// Hands over each line as a JSON object.
pub(super) fn each_object(
    path: &Path,
    mut each: impl FnMut(usize, Map<String, Value>) -> Result<(), InputError>,
) -> Result<(), InputError> {
    each_line(path, |line, text| match serde_json::from_str(text) {
        Ok(Value::Object(object)) => each(line, object),
        Ok(_) => Err(InputError::line(path, line, "is no JSON object")),
        Err(error) => Err(InputError::line(path, line, format!("is no JSON: {error}"))),
    })
}

/// A field that must hold a text which is not blank; an id may also be a number.
pub(super) fn text(object: &Map<String, Value>, field: &str) -> Result<String, String> {
    match object.get(field) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
        Some(Value::String(_)) => Err(format!("{field} is empty")),
        Some(Value::Number(number)) if field == "_id" => Ok(number.to_string()),
        Some(other) => Err(format!("{field} must be a text, and is {}", kind(other))),
        None => Err(format!("{field} is missing")),
    }
}

/// What a JSON value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
