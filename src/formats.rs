//! From bytes to documents to chunks. Pure: no I/O, no clock, no state; the same bytes give the same chunks everywhere.

use serde::{Deserialize, Serialize};

/// How a file's bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON value: an object is a document, an array is a document an element.
    Json,
    /// One JSON value a line.
    Jsonl,
    /// A header and a document a row.
    Csv,
    /// Plain text.
    Text,
    /// CommonMark with optional front matter.
    Markdown,
    /// HTML.
    Html,
    /// Source code.
    Code(Language),
}

/// A programming language whose boundaries are known; the others are split as text at blank lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// Rust.
    Rust,
    /// Python.
    Python,
    /// JavaScript (and JSX).
    JavaScript,
    /// Go.
    Go,
    /// Java.
    Java,
    /// C (and headers).
    C,
    /// Any other.
    Other,
}
