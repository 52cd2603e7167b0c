//! What the dataflow commits: one enum, one variant a table.
//!
//! Rows arrive in any order within an epoch and are applied all or none. Applying an epoch twice is the same as once.

use std::path::PathBuf;
use std::sync::Arc;

use floodmark_operators::keys::{ChunkHash, ContentHash, ContentKey, PathKey};
use serde::{Deserialize, Serialize};

use crate::formats::{Charset, Format};
use crate::sources::Identity;

/// One thing to make durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Row {
    /// What became of a file: at most one per path and epoch.
    File(FileRow),
    /// A piece of a file's bytes took its place: replaces what `(path, slot)` held.
    Segment(SegmentRow),
    /// A content was read for the first time: its documents, their chunks, and the records that are bad.
    Content(Arc<ContentRow>),
    /// A text was embedded for the first time by the model of this run.
    Embedding(EmbeddingRow),
    /// The model of this run has no vector for a text: it stays out of the index.
    Refusal(RefusalRow),
    /// A text that was refused is to be tried again by the next run.
    Again(ChunkHash),
    /// A chunk text joined (+1) or left (−1) the live index. The net sum of one chunk within an epoch is −1, 0 or +1.
    Live(ChunkHash, i8),
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRow {
    /// Its key: root and relative path.
    pub key: PathKey,
    /// The root it lies under, as an absolute path.
    #[serde(with = "crate::sources::raw_path")]
    pub root: PathBuf,
    /// Its path below the root.
    #[serde(with = "crate::sources::raw_path")]
    pub path: PathBuf,
    /// What `stat` said of the bytes that were read; `None` when the file is gone or could not be looked at.
    pub identity: Option<Identity>,
    /// What was decided.
    pub state: FileState,
    /// Slots that this row retires: those of the version that it replaces, or all when the file is gone.
    pub retire: Vec<u32>,
}

/// Where a file stands. Every file that was ever seen is in exactly one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FileState {
    /// All of it is in the index.
    Indexed {
        /// How it was read.
        format: Format,
        /// Hash over the hashes of its segments' bytes; for a file of one segment that segment's.
        content: ContentHash,
        /// Slots in use: `generation << 31 | 0 .. generation << 31 | segments`.
        generation: u8,
        /// Number of segments.
        segments: u32,
    },
    /// Some of it is in the index; the rest follows from `resume` on, also after a crash.
    Partial {
        /// How it is read.
        format: Format,
        /// Where to go on.
        resume: Resume,
    },
    /// Only the `stat` changed: same bytes, nothing else to do. Segments stay.
    Touched,
    /// It is no longer there (or no longer selected); all its segments go.
    Gone,
    /// It could not be read for a reason that may pass; tried again after `after_ms`. Its previous version stays.
    Retrying {
        /// Tries so far, from 1.
        attempt: u32,
        /// Wait this long before the next.
        after_ms: u64,
        /// Why.
        failure: Failure,
    },
    /// It can't be indexed as it is. Its previous good version, if any, stays live and is marked stale.
    Dead {
        /// Why, and what to do.
        failure: Failure,
        /// Tries it took.
        attempts: u32,
    },
    /// It changed while it was read: looked at again at once. Nothing is committed for it.
    Moving,
}

/// Where the reading of a large file goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// Byte offset of the first byte that was not read.
    pub offset: u64,
    /// The next segment's number.
    pub segment: u32,
    /// Records before it.
    pub record: u64,
    /// Lines before it.
    pub line: u64,
    /// Generation of the slots being filled.
    pub generation: u8,
    /// State of the running hash over segments' content hashes.
    pub content: Option<ContentHash>,
    /// What its rows that are no UTF-8 are read in, once there was one.
    #[serde(default)]
    pub encoding: Option<Charset>,
}

/// Why something failed, in words for its owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// A stable name: `invalid-json`, `too-deep`, `too-large`, `encrypted`, `binary`, `io`, `permission`, `encoding`, …
    pub reason: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// The record, from 0 in the file, if it is about one.
    pub record: Option<u64>,
    /// The line, from 1 in the file, if known.
    pub line: Option<u64>,
}

/// A piece of a file took its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// The file.
    pub key: PathKey,
    /// The place: `generation << 31 | number`.
    pub slot: u32,
    /// What lies there.
    pub content: ContentKey,
    /// Add to a byte position in the content to get the position in the file (negative where a CSV header is prefixed).
    pub byte_base: i64,
    /// Records of the file before this segment.
    pub record_base: u64,
    /// Lines of the file before this segment.
    pub line_base: u64,
}

/// A content that was read for the first time. All positions are relative to the content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContentRow {
    /// Its key.
    pub key: ContentKey,
    /// Hash of its bytes alone.
    pub hash: ContentHash,
    /// Bytes.
    pub bytes: u64,
    /// How it was read.
    pub format: Format,
    /// Its documents, in order.
    pub documents: Vec<DocumentRow>,
    /// Records of it that can't be indexed, in order.
    pub failures: Vec<Failure>,
}

/// A document: a record of a JSON, JSONL or CSV file, or a whole text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DocumentRow {
    /// The record's own id, where it has one. Else its number in the file is its name.
    pub id: Option<String>,
    /// Record number in the content, from 0.
    pub record: u64,
    /// Title, if it has one.
    pub title: Option<String>,
    /// Everything that is neither text nor id: a JSON object, keys in the order of the source. Empty: `{}`.
    pub metadata: String,
    /// First byte in the content.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkRow>,
}

/// Where a chunk lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// Its text's hash.
    pub hash: ChunkHash,
    /// First byte in the content.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// A text and its vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingRow {
    /// The text's hash.
    pub hash: ChunkHash,
    /// The text.
    pub text: Arc<str>,
    /// `[d]` f32, unit L2 norm.
    pub vector: Arc<[f32]>,
}

/// A text that the model has no vector for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalRow {
    /// The text's hash.
    pub hash: ChunkHash,
    /// The text.
    pub text: Arc<str>,
    /// Why, and what to do. Of no record and no line: the text may lie at many places.
    pub failure: Failure,
}
