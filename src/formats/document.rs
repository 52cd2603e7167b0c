//! A document: what is searched, and where it came from.

use std::ops::Range;

use super::{Language, SourceMap};
use crate::store::row::Failure;

/// What a content holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// In the order of the content.
    pub documents: Vec<Document>,
    /// Records that can't be indexed, in order; record and line are relative to the content.
    pub failures: Vec<Failure>,
}

/// A record of a JSON, JSONL or CSV file, or a whole text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The record's own id, where it has one.
    pub id: Option<String>,
    /// Its number in the content, from 0; records that failed count too.
    pub record: u64,
    /// Its title, where it has one.
    pub title: Option<String>,
    /// What is searched.
    pub text: String,
    /// From the text back to the content's bytes.
    pub map: SourceMap,
    /// Where the whole record lies in the content.
    pub range: Range<usize>,
    /// What is neither text nor id nor title: a JSON object as text.
    pub metadata: String,
    /// Where it may be cut.
    pub kind: Kind,
}

/// Which boundaries a text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Paragraphs and sentences.
    Prose,
    /// Headings, blocks, paragraphs and sentences.
    Markdown,
    /// Syntax.
    Code(Language),
}
