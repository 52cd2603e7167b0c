//! From bytes to documents to chunks. Pure: no clock, no state, no path opened; the same bytes give the same chunks
//! everywhere.
//!
//! ```text
//! first bytes ─ detect ─▶ Format
//! reader ─ Segmenter ─▶ Segment (bytes, Piece) ─ parse ─▶ Parsed (documents, failures) ─ split ─▶ chunks
//! ```
//!
//! A segment is at most some 64 KiB or 50 records and needs nothing but itself to be read, so that a file of any size
//! takes constant memory and is resumed at any segment. Positions are bytes of the content, exact through escapes,
//! entities and encodings ([`SourceMap`]).

mod charset;
mod csv;
mod detect;
mod document;
mod encoding;
mod failure;
mod fields;
mod html;
mod json;
mod markdown;
mod options;
mod parse;
mod segment;
mod source_map;
mod split;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use charset::Charset;
pub use detect::detect;
pub use document::{Document, Kind, Parsed};
pub use options::{ChunkOptions, Options, Recipe};
pub use parse::parse;
pub use segment::{Segment, SegmentError, Segmenter};
pub use source_map::SourceMap;
pub use split::{Chunk, TokenOffsets, split};

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

/// What a content is of its file, as far as reading it depends on that. Lines of JSONL and rows of CSV (whose header
/// goes with every segment) read the same anywhere if they are UTF-8: then they are always `Whole`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// It reads as a file of its own.
    Whole,
    /// Some elements of a JSON array, with the commas between them and without its brackets.
    Elements,
    /// Rows of CSV that are no UTF-8, in the encoding that all such rows of their file are read in.
    Encoded(Charset),
    /// A later part of a text: what looks like front matter is none.
    Continued,
    /// Not bytes of the file but a note in place of a record that is too long to be read.
    TooLong,
}
