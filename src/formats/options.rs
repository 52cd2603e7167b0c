//! How contents are read, as values, and the key that says so.

use floodmark_operators::keys::{ContentHash, ContentKey};
use serde::{Deserialize, Serialize};

use super::{Format, Piece};

/// Raised whenever the same bytes give other documents than before.
const PARSER_VERSION: u32 = 3;
/// Raised whenever the same documents give other chunks than before.
const CHUNKER_VERSION: u32 = 4;

/// How bytes become documents and documents become chunks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Fields of a JSON object or columns of a CSV file that make up the text, in this order. Empty: the title and the
    /// first field of a usual name (`text`, `content`, `body`, …); if there is none, all strings but the id.
    pub text_fields: Vec<String>,
    /// Fields that may hold the title. Empty: `title`, `headline`, `subject`, `name`.
    pub title_fields: Vec<String>,
    /// Fields that may hold the record's id. Empty: `id`, `_id`, `uuid`, `doc_id`, `key`.
    pub id_fields: Vec<String>,
    /// Records that a segment holds at most.
    pub segment_documents: usize,
    /// Bytes after which a segment is closed.
    pub segment_bytes: usize,
    /// Largest file of a kind that is read whole: HTML, and text that is not UTF-8.
    pub max_file_bytes: u64,
    /// Largest record. A larger one is left out and reported.
    pub max_record_bytes: usize,
    /// Deepest nesting of a JSON value, at most 127.
    pub max_depth: usize,
    /// How documents are cut.
    pub chunk: ChunkOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            text_fields: Vec::new(),
            title_fields: Vec::new(),
            id_fields: Vec::new(),
            segment_documents: 50,
            segment_bytes: 64 << 10,
            max_file_bytes: 64 << 20,
            max_record_bytes: 16 << 20,
            max_depth: 127,
            chunk: ChunkOptions::default(),
        }
    }
}

/// How documents are cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChunkOptions {
    /// Tokens of a chunk at most, without the model's special tokens. `None`: what the model takes.
    pub max_tokens: Option<usize>,
    /// Tokens that a chunk repeats of the one before it, at most.
    pub overlap_tokens: usize,
}

/// Everything but the bytes that decides which chunks come out.
#[derive(Clone, Debug)]
pub struct Recipe(Vec<u8>);

impl Recipe {
    /// Of these options and a tokenizer. `tokenizer_id` must name what the tokenizer does *and* how many tokens the
    /// model takes: both decide where a chunk ends.
    pub fn new(options: &Options, tokenizer_id: &str) -> Self {
        // How a file is cut into segments is left out: it decides which contents there are, not how one is read.
        let reading = (
            (PARSER_VERSION, CHUNKER_VERSION),
            (
                &options.text_fields,
                &options.title_fields,
                &options.id_fields,
            ),
            (options.max_depth, &options.chunk),
            tokenizer_id,
        );
        Self(serde_json::to_vec(&reading).expect("plain values serialise"))
    }

    /// The key under which the reading of these bytes is remembered.
    pub fn content_key(&self, hash: ContentHash, format: Format, piece: &Piece) -> ContentKey {
        let how = serde_json::to_vec(&(format, piece)).expect("plain values serialise");
        ContentKey::of(&[&hash.to_bytes(), &how, &self.0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_its_bytes_and_its_recipe() {
        let hash = ContentHash::of(&[b"x"]);
        let base = Options::default();
        let key = |options: &Options, tokenizer: &str, format, piece| {
            Recipe::new(options, tokenizer).content_key(hash, format, &piece)
        };
        let first = key(&base, "a", Format::Json, Piece::Whole);
        assert_eq!(first, key(&base, "a", Format::Json, Piece::Whole));
        assert_ne!(first, key(&base, "b", Format::Json, Piece::Whole));
        assert_ne!(first, key(&base, "a", Format::Jsonl, Piece::Whole));
        assert_ne!(first, key(&base, "a", Format::Json, Piece::Elements));
        let other = Options {
            text_fields: vec!["note".into()],
            ..base.clone()
        };
        assert_ne!(first, key(&other, "a", Format::Json, Piece::Whole));
        let chunk = ChunkOptions {
            overlap_tokens: 3,
            ..ChunkOptions::default()
        };
        assert_ne!(
            first,
            key(
                &Options {
                    chunk,
                    ..base.clone()
                },
                "a",
                Format::Json,
                Piece::Whole
            )
        );
        let cut = Options {
            segment_documents: 7,
            ..base
        };
        assert_eq!(first, key(&cut, "a", Format::Json, Piece::Whole));
    }
}
