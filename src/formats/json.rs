//! JSON and JSONL.
//!
//! What is valid is decided by serde_json; what lies where by a scan over valid JSON. A byte order mark is skipped,
//! the last of two equal keys counts.

pub(crate) mod scan;
mod string;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use serde::de::IgnoredAny;

use self::scan::{elements, members, skip_space, too_deep, too_deep_failure};
use super::failure::{At, count_lines, failure};
use super::fields::{Assembled, Field, Value, assemble};
use super::source_map::MappedText;
use super::{Document, Kind, Options, Parsed};
use crate::store::row::Failure;

/// What SQLite's and serde_json's readers of metadata take.
const MAX_DEPTH: usize = 127;

pub(crate) fn max_depth(options: &Options) -> usize {
    options.max_depth.min(MAX_DEPTH)
}

pub(crate) fn invalid(message: String, many_values: bool) -> Failure {
    let advice = if many_values {
        "correct the file; if it has one value a line, give it the extension .jsonl"
    } else {
        "correct the file; what was indexed of it before stays"
    };
    failure("invalid-json", message, advice)
}

/// A file that is one JSON value.
pub(crate) fn parse_json(bytes: &[u8], options: &Options) -> Result<Parsed, Failure> {
    let text = utf8(bytes)?;
    let at = skip_space(text, start(text));
    let mut parsed = Parsed::default();
    if at == text.len() {
        let message = "the file is empty: there is no JSON value in it";
        return Err(invalid(message.into(), false));
    }
    check(&text[at..], options).map_err(|f| shift(f, bytes, at))?;
    let end = scan::skip_value(text, at);
    if text.as_bytes()[at] == b'[' {
        take_elements(text, at + 1..end - 1, options, &mut parsed);
    } else {
        take(text, at..end, 0, options, &mut parsed);
    }
    Ok(parsed)
}

/// Some elements of an array, without its brackets.
pub(crate) fn parse_elements(bytes: &[u8], options: &Options) -> Result<Parsed, Failure> {
    let text = utf8(bytes)?;
    check_elements(text, options)?;
    let mut parsed = Parsed::default();
    take_elements(text, 0..text.len(), options, &mut parsed);
    Ok(parsed)
}

/// Whether `text` in brackets is an array.
pub(crate) fn check_elements(text: &str, options: &Options) -> Result<(), Failure> {
    check(&format!("[{text}]"), options)
}

/// One value a line. Bad lines become failures; the others go on.
pub(crate) fn parse_jsonl(bytes: &[u8], options: &Options) -> Parsed {
    let mut parsed = Parsed::default();
    let (mut at, mut record) = (0, 0);
    for (index, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let place = at;
        at += line.len();
        if is_blank(line) {
            continue;
        }
        let failed = utf8(line).and_then(|text| {
            let from = skip_space(text, start(text));
            let value = text[from..].trim_end_matches([' ', '\t', '\r', '\n']);
            check(value, options)?;
            document(value, place + from, record, options)
        });
        match failed {
            Ok(document) => parsed.documents.push(document),
            Err(why) => parsed
                .failures
                .push(why.record(record).line(index as u64 + 1)),
        }
        record += 1;
    }
    parsed
}

/// A line without a record.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    line.iter().all(|b| scan::is_space(*b))
}

fn start(text: &str) -> usize {
    if text.starts_with('\u{feff}') { 3 } else { 0 }
}

fn utf8(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + count_lines(&bytes[..error.valid_up_to()]);
        failure(
            "encoding",
            format!("the JSON is not UTF-8 at byte {}", error.valid_up_to()),
            "save it as UTF-8: JSON has no other encoding (RFC 8259)",
        )
        .line(line)
    })
}

/// Valid, and not too deep.
fn check(text: &str, options: &Options) -> Result<(), Failure> {
    let max = max_depth(options);
    if let Some(at) = too_deep(text.as_bytes(), max) {
        return Err(too_deep_failure(max).line(1 + count_lines(&text.as_bytes()[..at])));
    }
    serde_json::from_str::<IgnoredAny>(text)
        .map(|_| ())
        .map_err(|error| {
            let told = error.to_string();
            let what = told.split(" at line ").next().unwrap_or(&told);
            let message = format!("not valid JSON: {what} (column {})", error.column());
            invalid(message, what == "trailing characters").line(error.line() as u64)
        })
}

/// A failure of what begins at `at`, told of the whole.
fn shift(failure: Failure, bytes: &[u8], at: usize) -> Failure {
    let line = failure.line.unwrap_or(1) + count_lines(&bytes[..at]);
    failure.line(line)
}

fn take_elements(text: &str, inside: Range<usize>, options: &Options, parsed: &mut Parsed) {
    for (record, range) in elements(text, inside).enumerate() {
        take(text, range, record as u64, options, parsed);
    }
}

fn take(text: &str, range: Range<usize>, record: u64, options: &Options, parsed: &mut Parsed) {
    match document(&text[range.clone()], range.start, record, options) {
        Ok(document) => parsed.documents.push(document),
        Err(why) => {
            let line = 1 + count_lines(&text.as_bytes()[..range.start]);
            parsed.failures.push(why.record(record).line(line));
        }
    }
}

/// The document that a valid value is: an object's fields, or a string itself.
fn document(raw: &str, at: usize, record: u64, options: &Options) -> Result<Document, Failure> {
    let assembled = match raw.as_bytes().first() {
        Some(b'{') => assemble(&fields(raw, at), options)?,
        Some(b'"') => {
            let mut text = MappedText::default();
            Json { raw, at }.write(&mut text);
            Assembled {
                id: None,
                title: None,
                text,
                metadata: "{}".into(),
            }
        }
        other => return Err(wrong_shape(other.copied())),
    };
    let (text, map) = assembled.text.finish();
    Ok(Document {
        id: assembled.id,
        record,
        title: assembled.title,
        text,
        map,
        range: at..at + raw.len(),
        metadata: assembled.metadata,
        kind: Kind::Prose,
    })
}

fn wrong_shape(first: Option<u8>) -> Failure {
    let shape = match first {
        Some(b'[') => "an array",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a truth value",
        _ => "a number",
    };
    failure(
        "no-text",
        format!("the record is {shape}, which has no text"),
        "make it an object with a text field, or a string",
    )
}

fn fields(raw: &str, at: usize) -> Vec<Field<'_, Json<'_>>> {
    let mut fields: Vec<Field<'_, Json<'_>>> = Vec::new();
    let mut seen: HashMap<Cow<'_, str>, usize> = HashMap::new();
    for (key, value) in members(raw, 0) {
        let name = string::plain(&raw[key.start + 1..key.end - 1]);
        let value = Json {
            raw: &raw[value.clone()],
            at: at + value.start,
        };
        match seen.get(&name) {
            Some(index) => fields[*index].value = value,
            None => {
                seen.insert(name.clone(), fields.len());
                fields.push(Field { name, value });
            }
        }
    }
    fields
}

/// A valid JSON value and where it begins in the content.
#[derive(Clone, Copy, Debug)]
struct Json<'a> {
    raw: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    fn elements(self) -> impl Iterator<Item = Json<'a>> {
        let inside = 1..self.raw.len().max(2) - 1;
        elements(self.raw, inside).map(move |range| Json {
            raw: &self.raw[range.clone()],
            at: self.at + range.start,
        })
    }
}

impl Value for Json<'_> {
    fn is_string(&self) -> bool {
        self.raw.starts_with('"')
    }

    fn is_text(&self) -> bool {
        let is_list = || self.raw.starts_with('[') && self.elements().all(|e| e.is_string());
        self.is_string() || is_list()
    }

    fn is_blank(&self) -> bool {
        let is_blank = |json: &Json<'_>| json.raw[1..json.raw.len() - 1].trim().is_empty();
        if self.is_string() {
            is_blank(self)
        } else {
            self.elements().all(|e| is_blank(&e))
        }
    }

    fn write(&self, to: &mut MappedText) {
        if self.is_string() {
            return string::unescape(&self.raw[1..self.raw.len() - 1], self.at + 1, to);
        }
        for (index, element) in self.elements().enumerate() {
            if index > 0 {
                to.insert("\n");
            }
            element.write(to);
        }
    }

    fn id(&self) -> Option<String> {
        match self.raw.as_bytes().first() {
            Some(b'"') => Some(string::plain(&self.raw[1..self.raw.len() - 1]).into_owned()),
            Some(b'-' | b'0'..=b'9') => Some(self.raw.to_owned()),
            _ => None,
        }
    }

    fn write_json(&self, to: &mut String) {
        string::compact(self.raw, to);
    }
}
