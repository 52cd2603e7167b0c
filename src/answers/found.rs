//! What is asked of a search, and what it answers.

use floodmark_operators::keys::Epoch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What to find. [`Query::new`] gives the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// In words.
    pub query: String,
    /// How many hits are wanted.
    pub hits: usize,
    /// How many are passed over first: the pages before.
    pub offset: usize,
    /// What is looked at.
    pub mode: Mode,
    /// How two lists become one; for [`Mode::Hybrid`] only.
    pub fusion: Fusion,
    /// What the vectors weigh against the words, from 0 to 1; for `zscore` and `minmax`. `None`: as
    /// [`weight`](crate::search::weight) says, for each query.
    pub dense_weight: Option<f64>,
    /// The constant of `rrf`. `None`: [`RRF_K`](crate::search::fusion::RRF_K).
    pub rrf_k: Option<f64>,
    /// Expressions that all must hold; see [`crate::search::filter`].
    pub filter: Vec<String>,
    /// A hit is a document with its best chunks. Else each chunk is a hit of its own.
    pub group: bool,
    /// Answer from the index as it was when this epoch was committed.
    pub as_of: Option<Epoch>,
    /// The query is written in the query language of the keyword index, and not in plain words.
    pub syntax: bool,
    /// Look at the best candidates again: `maxsim`, or the folder of a cross-encoder; see [`crate::rerank`].
    pub rerank: Option<String>,
    /// How long that may take, in milliseconds; `None`: [`BUDGET_MS`](crate::rerank::BUDGET_MS).
    pub rerank_budget_ms: Option<u64>,
}

impl Query {
    /// These words, so many hits, and for the rest the defaults of docs/configuration.md.
    pub fn new(query: impl Into<String>, hits: usize) -> Self {
        Self {
            query: query.into(),
            hits,
            offset: 0,
            mode: Mode::Hybrid,
            fusion: Fusion::Zscore,
            dense_weight: None,
            rrf_k: None,
            filter: Vec::new(),
            group: true,
            as_of: None,
            syntax: false,
            rerank: None,
            rerank_budget_ms: None,
        }
    }
}

impl Default for Query {
    fn default() -> Self {
        Self::new("", 10)
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Meaning and words.
    #[default]
    Hybrid,
    /// Meaning alone.
    Vector,
    /// Words alone.
    Keyword,
}

/// How two lists become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fusion {
    /// Each score by how many standard deviations it lies above its list's mean.
    #[default]
    Zscore,
    /// Each score by where it lies between its list's worst and best.
    Minmax,
    /// Reciprocal ranks.
    Rrf,
}

/// What became of the second look that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecondLook {
    /// The first hits are in its order.
    Done,
    /// Its budget was spent before: all hits are in the order that they had without it.
    OutOfTime,
}

/// What was found: `floodmark search`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The epoch of the snapshot that answered, for both views.
    pub epoch: Epoch,
    /// Best first.
    pub hits: Vec<Hit>,
    /// `offset` of the next page; `null`: this was the last.
    #[serde(default)]
    pub next: Option<usize>,
    /// What the vectors weighed against the words, from 0 to 1; `null`: nothing was weighed (one arm alone, or ranks).
    #[serde(default)]
    pub dense_weight: Option<f64>,
    /// What became of the second look; `null`: none was asked for.
    #[serde(default)]
    pub rerank: Option<SecondLook>,
}

/// A document with its best chunks, or a chunk, that was found. What stands in it of a chunk is of the best one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The file.
    pub path: String,
    /// The document in it: its own id, or its number from 0.
    pub document: String,
    /// The chunk's number in the document, from 0.
    pub chunk: u64,
    /// First byte in the file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// How good, higher is better. Comparable within one answer only.
    pub score: f64,
    /// What the score was made from.
    #[serde(default)]
    pub scores: Scores,
    /// The document's title.
    pub title: Option<String>,
    /// The chunk's text, whole.
    pub text: String,
    /// What to show of it.
    #[serde(default)]
    pub snippet: Snippet,
    /// The document's other good chunks, best first; none if chunks were asked for.
    #[serde(default)]
    pub more: Vec<Passage>,
    /// The other fields of the document.
    pub metadata: Map<String, Value>,
    /// How the file was read: `markdown`, `code/rust`, ….
    #[serde(default)]
    pub format: String,
    /// Last change of the bytes that were indexed.
    #[serde(default)]
    pub changed: Option<String>,
    /// The epoch from which on the chunk lies here.
    #[serde(default)]
    pub since: Epoch,
    /// Whether the file has a newer version that can't be indexed.
    pub stale: bool,
    /// Other files that hold the same text.
    pub other_paths: Vec<String>,
    /// Every other document with the same found chunks, also in this file.
    #[serde(default)]
    pub duplicates: Vec<Duplicate>,
}

/// What a hit's score was made from; `null`: not looked at in this mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Cosine of query and best chunk.
    pub vector: Option<f64>,
    /// BM25 of the chunk that has the most; 0: no word of the query.
    pub keyword: Option<f64>,
    /// The two in one.
    pub fused: Option<f64>,
    /// What the second look says.
    #[serde(default)]
    pub rerank: Option<f64>,
}

/// A stretch of a chunk, with the words that were looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippet {
    /// On one line.
    pub text: String,
    /// Where in [`Self::text`] they stand, in bytes of its UTF-8, in order.
    pub marks: Vec<Mark>,
}

/// First byte, and one past the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// First byte.
    pub start: usize,
    /// One past the last.
    pub end: usize,
}

/// Another chunk of a document that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Its number in the document, from 0.
    pub chunk: u64,
    /// First byte in the file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// What its score was made from.
    pub scores: Scores,
    /// What to show of it.
    pub snippet: Snippet,
}

/// A document in which the same was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Duplicate {
    /// The file.
    pub path: String,
    /// The document in it: its own id, or its number from 0.
    pub document: String,
    /// First byte of the chunk in the file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}
