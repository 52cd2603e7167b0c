//! What commands answer: the fields of `--json`, whose names are stable, and of the control socket.
//!
//! Fields may be added; a program that reads them passes over those it does not know. Times are RFC 3339 in UTC. A `null`
//! means "not known" or "there is none", never zero. A path that is no UTF-8 is shown with U+FFFD for what is not. Byte positions count from 0 in the file, the end is one past the last.

mod evaluation;
mod found;

use std::path::Path;

use serde::{Deserialize, Serialize};

use floodmark_operators::keys::{ChunkHash, ContentHash, Epoch};

use crate::formats::Format;

pub use evaluation::{Compared, Evaluated, Evaluation, Similarity};
pub use found::{
    Duplicate, Found, Fusion, Hit, Mark, Mode, Passage, Query, Scores, SecondLook, Snippet,
};

/// Keys as people read them. Between workers they travel as numbers.
mod hexadecimal {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<T: Display, S: Serializer>(key: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(key)
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    pub mod optional {
        use super::*;

        pub fn serialize<T: Display, S: Serializer>(
            key: &Option<T>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match key {
                Some(key) => to.collect_str(key),
                None => to.serialize_none(),
            }
        }

        pub fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
        where
            T: FromStr<Err: Display>,
            D: Deserializer<'de>,
        {
            let text = Option::<String>::deserialize(from)?;
            text.map(|text| text.parse().map_err(D::Error::custom))
                .transpose()
        }
    }
}

/// A path as answers show it.
pub fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// RFC 3339, from milliseconds since 1970.
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| "?".into(), |time| time.to_string())
}

/// How far the index has come: `floodmark status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether a run is under way on this state.
    pub running: bool,
    /// Its process.
    pub pid: Option<u32>,
    /// The last committed epoch: everything up to it is durable and searchable.
    pub epoch: Epoch,
    /// What was seen and is not committed yet.
    pub lag: Lag,
    /// Files by where they stand.
    pub files: FileCounts,
    /// Files that a run did not find and keeps all the same, by input: a disk may be away. Known while one is under way.
    #[serde(default)]
    pub kept: Vec<KeptFiles>,
    /// Live documents.
    pub documents: u64,
    /// Live chunks: places in files, so that a text in two files counts twice.
    pub chunks: u64,
    /// Chunks of those files that are not in the index, because the model has no vector for their texts: `floodmark dead
    /// list`.
    #[serde(default)]
    pub refused: u64,
    /// Distinct texts that are live and have a vector.
    pub embeddings: u64,
    /// What the model fails with at the moment, if it does: nothing is embedded until it answers again, and the files that
    /// wait for it count as retrying.
    #[serde(default)]
    pub model_trouble: Option<String>,
    /// When the last epoch was committed.
    pub last_commit: Option<String>,
    /// When the vector view was last built anew.
    pub last_build: Option<String>,
    /// The keyword view as it was last saved; what was committed since is in the answers all the same, and is made again
    /// from the store where need be.
    #[serde(default)]
    pub keywords: Option<SavedKeywords>,
    /// The model whose vectors these are.
    pub model: Option<String>,
    /// What the run holds; `null` where nothing is running, or the system does not say.
    #[serde(default)]
    pub memory: Option<Memory>,
}

/// The keyword view on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedKeywords {
    /// The epoch that was saved.
    pub saved_epoch: Epoch,
    /// Texts in it.
    pub texts: u64,
    /// When.
    pub saved_at: Option<String>,
}

/// Resident memory of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What it holds.
    pub rss_bytes: u64,
    /// The setting `memory-soft`.
    pub soft_bytes: u64,
    /// The setting `memory-hard`, if it is set.
    pub hard_bytes: Option<u64>,
    /// What follows from the three.
    pub admission: Admission,
}

/// How work is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admission {
    /// As fast as it is committed.
    Free,
    /// One small epoch at a time: `memory-soft` is exceeded.
    Slow,
    /// Not at all: `memory-hard` is exceeded.
    Stopped,
}

/// What was seen and is not committed yet; `null` where nothing is running that could know (`floodmark plan` looks).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// Files.
    pub files: Option<u64>,
    /// Chunks without a vector.
    pub chunks: Option<u64>,
}

/// Files by where they stand. Each file is in exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCounts {
    /// In the index, as they are on the disk.
    pub indexed: u64,
    /// Could not be read for a reason that may pass; tried again by itself.
    pub retrying: u64,
    /// Can't be indexed as they are: `floodmark dead list`.
    pub dead: u64,
    /// Of those that are retrying or dead: a previous good version is still found.
    pub stale: u64,
}

/// Why a file is, or is not, in the index: `floodmark explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The file.
    pub path: String,
    /// Where it stands.
    pub standing: Standing,
    /// Why, in a sentence, and what to do if something is to be done.
    pub why: String,
    /// The input it lies under.
    pub root: Option<String>,
    /// Bytes that were read.
    pub bytes: Option<u64>,
    /// Hash of those bytes, 32 hexadecimal digits.
    #[serde(with = "hexadecimal::optional")]
    pub content: Option<ContentHash>,
    /// How they were read.
    pub format: Option<Format>,
    /// The model whose vectors its chunks have.
    pub model: Option<String>,
    /// The epoch in which this version became searchable.
    pub epoch: Option<Epoch>,
    /// Documents of it that have chunks.
    pub documents: u64,
    /// Its chunks, in order.
    pub chunks: Vec<ExplainedChunk>,
    /// Its records that can't be indexed, and its chunks that the model refused.
    pub failures: Vec<ExplainedFailure>,
}

/// Why a record of a file, or a chunk of it, is not in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedFailure {
    /// The document, if it is about one chunk of it: its own id, or its number from 0.
    pub document: Option<String>,
    /// That chunk, from 0.
    pub chunk: Option<u64>,
    /// The record in the file, from 0.
    pub record: Option<u64>,
    /// The line in the file, from 1.
    pub line: Option<u64>,
    /// A stable name of the reason.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

/// Where a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// In the index, as it is on the disk.
    Indexed,
    /// The beginning is in the index, the rest follows.
    Partial,
    /// Changed on the disk since; the next run reads it.
    Changed,
    /// On the disk, not looked at yet.
    New,
    /// Could not be read for a reason that may pass.
    Retrying,
    /// Can't be indexed as it is.
    Dead,
    /// A setting leaves it out.
    Excluded,
    /// Was in the index, is no longer on the disk.
    Gone,
    /// Neither on the disk nor ever in the index.
    Unknown,
}

/// Why a chunk is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedChunk {
    /// The document: its own id, or its number from 0.
    pub document: String,
    /// Number in the document, from 0.
    pub chunk: u64,
    /// First byte in the file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Hash of its text, 32 hexadecimal digits: what its vector is filed under.
    #[serde(with = "hexadecimal")]
    pub text_hash: ChunkHash,
    /// Whether its vector is there. If not, the failures may say why.
    pub embedded: bool,
    /// Other files that hold the same text.
    pub other_paths: Vec<String>,
}

/// What a run would do: `floodmark plan`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Files by what would become of them.
    pub files: PlannedFiles,
    /// Bytes that would be read.
    pub bytes: u64,
    /// Distinct texts that have no vector yet.
    pub chunks_to_embed: u64,
    /// How long that would take on this machine.
    pub estimated_seconds: f64,
    /// The files that are not unchanged, sorted by path.
    pub changes: Vec<PlannedFile>,
}

/// Files by what would become of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFiles {
    /// Never seen.
    pub new: u64,
    /// With other bytes.
    pub changed: u64,
    /// Known bytes under a new name, the old name gone.
    pub moved: u64,
    /// No longer there.
    pub gone: u64,
    /// As they were.
    pub unchanged: u64,
}

/// What would become of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFile {
    /// The file.
    pub path: String,
    /// What would become of it.
    pub change: Change,
}

/// What would become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Never seen.
    New,
    /// Other bytes.
    Changed,
    /// Known bytes under a new name.
    Moved,
    /// No longer there.
    Gone,
}

/// Whether sources, store and views agree: `floodmark verify`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether nothing differs, after the repair if one was asked for.
    pub equal: bool,
    /// The epoch that was looked at.
    pub epoch: Epoch,
    /// Files that were compared.
    pub files: u64,
    /// Live chunks that were compared.
    pub chunks: u64,
    /// Vectors that were compared.
    pub embeddings: u64,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What could not be compared, as it changes or can't be read: neither equal nor different.
    pub not_looked: Vec<NotLooked>,
    /// How many more there are than these lists have room for.
    pub more: u64,
}

/// A file or folder that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotLooked {
    /// Its path.
    pub subject: String,
    /// Why not.
    pub why: String,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which two disagree: `sources-store`, `store`, `store-vectors`, `store-keywords`.
    pub between: String,
    /// The file, chunk or vector that it is about.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// Whether it was mended.
    pub repaired: bool,
}

/// One line of `floodmark export`, in this order of fields. Lines are sorted by path, document's place and chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exported {
    /// The file, relative to its input and with `/`. Where files of several inputs are in the index, the name of the
    /// input's folder stands before it, or its whole path if two have the same name.
    pub path: String,
    /// The document: its own id, or its number from 0.
    pub document: String,
    /// The chunk's number in the document, from 0.
    pub chunk: u64,
    /// First byte in the file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Hash of its text, 32 hexadecimal digits.
    #[serde(with = "hexadecimal")]
    pub text_hash: ChunkHash,
    /// BLAKE3 of its vector's little-endian f32, 32 hexadecimal digits.
    pub vector_hash: String,
    /// `[d]`, unit L2 norm; with `--vectors` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
}

/// A file, record or chunk that can't be indexed: a line of `floodmark dead list --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The file.
    pub path: String,
    /// The record in it, from 0; `null`: all of it.
    pub record: Option<u64>,
    /// The document, if it is about one chunk of it: its own id, or its number from 0.
    pub document: Option<String>,
    /// That chunk, from 0.
    pub chunk: Option<u64>,
    /// The line, from 1.
    pub line: Option<u64>,
    /// A stable name of the reason.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// Tries it took.
    pub attempts: u32,
    /// Since when.
    pub since: Option<String>,
    /// Whether a previous good version is still found.
    pub stale: bool,
}

/// What `floodmark dead retry` has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Files that will be looked at again.
    pub files: u64,
    /// Whether a run is under way that does so now; else the next one will.
    pub running: bool,
}

/// What `floodmark forget` has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Files that the index knew there.
    pub files: u64,
    /// The epoch without them; `null`: there were none, or the run has them still under way.
    pub epoch: Option<Epoch>,
    /// Whether a run is under way that has done it.
    pub running: bool,
}

/// Files that are not there and stay in the index, because nobody can tell whether they are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFiles {
    /// The input they lie under.
    pub input: String,
    /// How many.
    pub files: u64,
    /// Why.
    pub reason: KeptReason,
    /// Why in words, and what to do.
    pub advice: String,
}

/// Why nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptReason {
    /// The input is not there.
    Missing,
    /// The input held files and holds nothing now.
    Emptied,
    /// Another file system lies there than before.
    DiskAway,
    /// A folder can't be read.
    Unreadable,
}

/// What `floodmark doctor` has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// In the order in which they were looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// A stable name: `runtime`, `model`, `device`, `watches`, `disk`, `state`, `configuration`, …
    pub name: String,
    /// How it stands.
    pub verdict: Health,
    /// What was found.
    pub found: String,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// As it should be.
    Good,
    /// Works, and could be better.
    Warning,
    /// Does not work.
    Bad,
}
