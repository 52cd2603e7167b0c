//! The model's own tokenizer, with this program's idea of truncation and padding.
//!
//! A `tokenizer.json` often carries the truncation and the padding of the day it was exported; both are switched off
//! here. Texts are cut at the model's limit, and batches are padded where they are made.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tokenizers::normalizers::{NormalizerWrapper, Sequence, utils::Lowercase};
use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationDirection};

use super::ascii::Ascii;
use super::scripts::Scripts;

/// Tokens that must follow the cut before a prefix is trusted to begin as the whole text does.
const PREFIX_MARGIN_TOKENS: usize = 64;

/// First guess of how many bytes of text a token covers; texts longer than the guess are tokenised piecewise.
const PREFIX_BYTES_PER_TOKEN: usize = 32;

/// A tokenised text: one row of a batch, special tokens included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIds {
    ids: Box<[u32]>,
    types: Box<[u32]>,
    truncated: bool,
}

impl TokenIds {
    /// How many, special tokens included: what the row costs in a batch.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// No tokens at all: only a tokenizer without special tokens can do that.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether the end of the text did not fit into the model's limit.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub(crate) fn types(&self) -> &[u32] {
        &self.types
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
    id: String,
    pad_id: Option<i64>,
    special_ids: HashSet<u32>,
    special_tokens: usize,
    input_tokens_max: usize,
    scripts: Scripts,
    ascii: Option<Ascii>,
}

impl Tokens {
    /// From the bytes of a `tokenizer.json`. `lowercase` is sentence-transformers' `do_lower_case`.
    pub(crate) fn new(
        json: &[u8],
        lowercase: bool,
        input_tokens_max: usize,
    ) -> Result<Self, String> {
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|e| format!("is not a tokenizer: {e}"))?;
        let refused = |e| format!("is not usable: {e}");
        let pad_id = tokenizer
            .get_padding()
            .map(|padding| padding.pad_id)
            .or_else(|| {
                ["[PAD]", "<pad>"]
                    .iter()
                    .find_map(|name| tokenizer.token_to_id(name))
            })
            .map(i64::from);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(refused)?;
        let ascii = Ascii::of(&tokenizer, lowercase);
        if lowercase {
            let own = tokenizer.get_normalizer().cloned();
            let lowered = [Some(NormalizerWrapper::from(Lowercase)), own]
                .into_iter()
                .flatten()
                .collect();
            tokenizer
                .with_normalizer(Some(Sequence::new(lowered)))
                .map_err(refused)?;
        }
        let special_tokens = tokenizer
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(false));
        if input_tokens_max <= special_tokens {
            return Err(format!(
                "adds {special_tokens} special tokens to a text, and the model reads {input_tokens_max} in all: nothing is left"
            ));
        }
        let special_ids = tokenizer
            .get_added_tokens_decoder()
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(id, _)| *id)
            .collect();
        let hash = blake3::Hasher::new_derive_key("floodmark 2026 tokenizer")
            .update(&[u8::from(lowercase)])
            .update(json)
            .finalize();
        let id = hash.to_hex()[..32].to_owned();
        Ok(Self {
            tokenizer,
            id,
            pad_id,
            special_ids,
            special_tokens,
            input_tokens_max,
            scripts: Scripts::default(),
            ascii,
        })
    }

    /// See [`Scripts::read`].
    pub(crate) fn reads(&self, text: &str) -> f64 {
        self.scripts.read(&self.tokenizer, text)
    }

    pub(crate) fn with_input_tokens_max(mut self, input_tokens_max: usize) -> Self {
        self.input_tokens_max = input_tokens_max;
        self
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn pad_id(&self) -> Option<i64> {
        self.pad_id
    }

    pub(crate) fn special_tokens(&self) -> usize {
        self.special_tokens
    }

    pub(crate) fn input_tokens_max(&self) -> usize {
        self.input_tokens_max
    }

    pub(crate) fn own_tokens_max(&self) -> usize {
        self.input_tokens_max.saturating_sub(self.special_tokens)
    }

    /// The text as the model reads it.
    pub(crate) fn encode(&self, text: &str) -> Result<TokenIds, String> {
        let own_tokens_max = self.own_tokens_max();
        let mut own = self.beginning(text, own_tokens_max)?;
        let truncated = own.len() > own_tokens_max;
        if truncated {
            own.truncate(own_tokens_max, 0, TruncationDirection::Right);
        }
        let row = self
            .tokenizer
            .post_process(own, None, true)
            .map_err(|e| e.to_string())?;
        Ok(TokenIds {
            ids: row.get_ids().into(),
            types: row.get_type_ids().into(),
            truncated,
        })
    }

    /// The tokens of a text, at least up to `tokens`: whoever needs no more cuts them there.
    fn beginning(&self, text: &str, tokens: usize) -> Result<Encoding, String> {
        // Tokenising costs some hundred bytes of memory for a byte of text: of a text much longer than the limit
        // only as much is looked at as decides its first tokens.
        let mut bytes = self.input_tokens_max.saturating_mul(PREFIX_BYTES_PER_TOKEN);
        loop {
            let prefix = &text[..text.floor_char_boundary(bytes)];
            let own = self
                .tokenizer
                .encode_fast(prefix, false)
                .map_err(|e| e.to_string())?;
            if prefix.len() == text.len() || own.len() >= tokens + PREFIX_MARGIN_TOKENS {
                return Ok(own);
            }
            bytes = bytes.saturating_mul(4);
        }
    }

    /// Two texts as one row, with the types of each, as a cross-encoder reads them. What does not fit is cut from the end of the
    /// longer one, as sentence-transformers does.
    pub(crate) fn encode_pair(&self, first: &str, second: &str) -> Result<TokenIds, String> {
        let special = (self.tokenizer.get_post_processor())
            .map_or(0, |processor| processor.added_tokens(true));
        let room = self.input_tokens_max.saturating_sub(special);
        let (mut first, mut second) = (self.beginning(first, room)?, self.beginning(second, room)?);
        let truncated = first.len() + second.len() > room;
        if truncated {
            let half = room / 2;
            let of_first = match (first.len() > half, second.len() > room - half) {
                (true, true) => half,
                (true, false) => room - second.len(),
                (false, _) => first.len(),
            };
            first.truncate(of_first, 0, TruncationDirection::Right);
            second.truncate(room - of_first, 0, TruncationDirection::Right);
        }
        let row = self
            .tokenizer
            .post_process(first, Some(second), true)
            .map_err(|e| e.to_string())?;
        Ok(TokenIds {
            ids: row.get_ids().into(),
            types: row.get_type_ids().into(),
            truncated,
        })
    }

    /// Which tokens of a row are the text's own, and not the tokenizer's marks.
    pub(crate) fn own(&self, row: &TokenIds) -> Vec<bool> {
        row.ids
            .iter()
            .map(|id| !self.special_ids.contains(id))
            .collect()
    }

    /// For each own token of [`Self::encode`]'s row, in order: the bytes of the word that it is of.
    pub(crate) fn words(&self, text: &str) -> Result<Vec<Range<usize>>, String> {
        let mut tokens = self
            .tokenizer
            .encode(text, false)
            .map_err(|e| e.to_string())?;
        tokens.truncate(self.own_tokens_max(), 0, TruncationDirection::Right);
        let spans = || tokens.get_word_ids().iter().zip(tokens.get_offsets());
        let mut words: HashMap<u32, Range<usize>> = HashMap::new();
        for (word, &(start, end)) in spans() {
            let Some(word) = word else { continue };
            let span = words.entry(*word).or_insert(start..end);
            *span = span.start.min(start)..span.end.max(end);
        }
        let whole = |(word, &(start, end)): (&Option<u32>, &(usize, usize))| {
            let span = word.and_then(|word| words.get(&word).cloned());
            let span = span.unwrap_or(start..end);
            text.floor_char_boundary(span.start)..text.ceil_char_boundary(span.end)
        };
        Ok(spans().map(whole).collect())
    }

    /// The byte behind every token: see [`super::Model::token_ends`].
    pub(crate) fn ends(&self, text: &str) -> Vec<u32> {
        self.fast_ends(text).unwrap_or_else(|| self.slow_ends(text))
    }

    /// The same, with the tokenizer for those words alone that need it.
    pub(super) fn fast_ends(&self, text: &str) -> Option<Vec<u32>> {
        let ascii = self.ascii.as_ref()?;
        ascii.ends(&self.tokenizer, text, |words| self.slow_ends(words))
    }

    /// The same, by the tokenizer.
    pub(super) fn slow_ends(&self, text: &str) -> Vec<u32> {
        let to_u32 = |end: usize| u32::try_from(end).unwrap_or(u32::MAX);
        match self.tokenizer.encode(text, false) {
            Ok(tokens) => {
                let mut furthest = 0;
                let ends = tokens.get_offsets().iter().map(|&(_, end)| {
                    // a byte-level token may end inside a character, and a normaliser may reorder
                    furthest = furthest.max(text.ceil_char_boundary(end));
                    to_u32(furthest)
                });
                ends.collect()
            }
            Err(e) => {
                // Counting characters errs on the safe side; embedding the text will say what is wrong with it.
                tracing::debug!(error = %e, bytes = text.len(), "tokenizer failed, counting characters");
                text.char_indices()
                    .map(|(start, c)| to_u32(start + c.len_utf8()))
                    .collect()
            }
        }
    }
}
