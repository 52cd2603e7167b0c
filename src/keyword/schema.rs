//! What tantivy is told to keep of a text, and what a commit says of itself.

use serde::{Deserialize, Serialize};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};

use super::analyse;

/// Name under which [`super::analyse::Terms`] is registered.
pub(super) const TOKENIZER: &str = "terms";

/// The fields of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// Its label: to delete by, to answer with.
    pub label: Field,
    /// The first 8 bytes of the BLAKE3 of the text: tells whether it is still that text.
    pub print: Field,
    /// Length and language, see [`super::held::Text`].
    pub text: Field,
    /// Its terms with their positions. No field norms: the length is kept exactly.
    pub body: Field,
}

pub(super) fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let fast = NumericOptions::default() | FAST;
    let fields = Fields {
        label: builder.add_u64_field("label", fast.clone() | INDEXED),
        print: builder.add_u64_field("print", fast.clone()),
        text: builder.add_u64_field("text", fast),
        body: builder.add_text_field(
            "body",
            TextOptions::default().set_indexing_options(
                TextFieldIndexing::default()
                    .set_tokenizer(TOKENIZER)
                    .set_index_option(IndexRecordOption::WithFreqsAndPositions)
                    .set_fieldnorms(false),
            ),
        ),
    };
    (builder.build(), fields)
}

pub(super) fn print(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let (eight, _) = hash
        .as_bytes()
        .split_first_chunk()
        .expect("a hash has 32 bytes");
    u64::from_le_bytes(*eight)
}

/// What a commit says of itself: its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    /// The source's epoch that it holds.
    pub epoch: u64,
    /// Its live texts.
    pub live: u64,
    /// How texts became terms.
    pub analyser: String,
}

impl Payload {
    pub(super) fn new(epoch: u64, live: u64, languages: analyse::Languages) -> Self {
        Self {
            epoch,
            live,
            analyser: analyse::version(languages),
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a payload holds only text and integers")
    }
}
