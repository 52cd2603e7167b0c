//! Where the tokens of plain ASCII end, for tokenizers of BERT's kind.
//!
//! Cutting a document asks for nothing else, and of English text nearly all is ASCII. The tokenizer itself keeps a record of each
//! character's place through every step and makes some three hundred allocations for a short text: without the model it was three
//! fifths of a run's processor time (docs/decisions/0015-embed-loop.md). What this module says is exactly what the tokenizer would say;
//! where it isn't sure it says nothing, and the tokenizer is asked.

use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{Model, Tokenizer};

/// What is known of such a tokenizer.
#[derive(Debug)]
pub(super) struct Ascii {
    lowercase: bool,
    /// Looked for in a text before it is cut into words: a text that has one is left to the tokenizer.
    added: Vec<String>,
}

impl Ascii {
    /// `None` for a tokenizer of another kind. `lowercase`: the text is lowered before the tokenizer sees it.
    pub(super) fn of(tokenizer: &Tokenizer, lowercase: bool) -> Option<Self> {
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        word_piece(tokenizer).filter(|model| model.token_to_id(&model.unk_token).is_some())?;
        let added: Vec<_> = tokenizer.get_added_tokens_decoder().into_values().collect();
        // One that is looked for in the lowered text, or in parts of words, is more than a search can tell.
        if added
            .iter()
            .any(|token| token.normalized || token.content.is_empty())
        {
            return None;
        }
        Some(Self {
            lowercase: lowercase || normalizer.lowercase,
            added: added.into_iter().map(|token| token.content).collect(),
        })
    }

    /// One past the last byte of each token, in order; `None` where only the tokenizer knows.
    pub(super) fn ends(&self, tokenizer: &Tokenizer, text: &str) -> Option<Vec<u32>> {
        let model = word_piece(tokenizer)?;
        let plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r');
        if u32::try_from(text.len()).is_err() || !text.bytes().all(plain) {
            return None;
        }
        if self.added.iter().any(|token| text.contains(token.as_str())) {
            return None;
        }
        let lowered = self.lowercase.then(|| text.to_ascii_lowercase());
        let text = lowered.as_deref().unwrap_or(text);
        let mut ends = Vec::with_capacity(text.len() / 4 + 1);
        let mut piece = String::new();
        let mut start = 0;
        while let Some(&first) = text.as_bytes().get(start) {
            let rest = &text.as_bytes()[start..];
            let length = match first {
                _ if first.is_ascii_whitespace() => {
                    start += 1;
                    continue;
                }
                _ if first.is_ascii_punctuation() => 1,
                _ => rest
                    .iter()
                    .position(|byte| byte.is_ascii_whitespace() || byte.is_ascii_punctuation())
                    .unwrap_or(rest.len()),
            };
            pieces(model, text, start..start + length, &mut piece, &mut ends);
            start += length;
        }
        Some(ends)
    }
}

/// The ends of a word's tokens: the longest piece that the vocabulary has, and again behind it. A word that is not made of pieces
/// is one token, and so is one that is too long.
fn pieces(
    model: &WordPiece,
    text: &str,
    word: std::ops::Range<usize>,
    piece: &mut String,
    ends: &mut Vec<u32>,
) {
    let before = ends.len();
    let mut start = word.start;
    let short = word.len() <= model.max_input_chars_per_word;
    while short && start < word.end {
        piece.clear();
        if start > word.start {
            piece.push_str(&model.continuing_subword_prefix);
        }
        let prefix = piece.len();
        piece.push_str(&text[start..word.end]);
        while piece.len() > prefix && model.token_to_id(piece).is_none() {
            piece.pop();
        }
        if piece.len() == prefix {
            break;
        }
        start += piece.len() - prefix;
        ends.push(start as u32);
    }
    if start < word.end {
        ends.truncate(before);
        ends.push(word.end as u32);
    }
}

fn word_piece(tokenizer: &Tokenizer) -> Option<&WordPiece> {
    match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => Some(model),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::model::tests::builtin;

    /// What the tokenizer says, asked itself; what is said here; whether anything is said.
    fn both(text: &str) -> (Vec<u32>, Option<Vec<u32>>) {
        let tokens = &builtin().0.recipe.tokens;
        (tokens.slow_ends(text), tokens.ascii_ends(text))
    }

    #[test]
    fn texts_that_people_write_end_where_the_tokenizer_says() {
        let long = format!("{} {} end", "a".repeat(100), "b".repeat(101));
        let texts = [
            "",
            " \t\r\n ",
            "The harbour keeps a ledger near the copper, doesn't it?",
            "fn main() { println!(\"{:?}\", a_b::<C>(1e-9)); } // [UN K]",
            "antidisestablishmentarianism zzzzqqqqxxxx 3.14159e+10 C:\\dir\\x.TXT",
            "multi\nline\r\n\ttext  with   spaces ",
            "#hash ##hash ###ing ## # [mask] [Cls]",
            &long,
        ];
        for text in texts {
            let (slow, fast) = both(text);
            assert_eq!(fast.as_ref(), Some(&slow), "{text:?}");
        }
    }

    #[test]
    fn what_it_can_not_know_is_left_to_the_tokenizer() {
        for text in [
            "na\u{ef}ve",
            "a\u{0}b",
            "a\u{b}b",
            "del\u{7f}",
            "x [SEP] y",
            "[PAD]",
        ] {
            let (slow, fast) = both(text);
            assert_eq!(fast, None, "{text:?}");
            assert_eq!(builtin().token_ends(text), slow);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_ascii_ends_where_the_tokenizer_says(
            text in "([ -~]{0,30}|[a-zA-Z]{1,20}|##[a-z]{0,4}|[\\t\\n\\r ]{1,3}|(\\[MASK\\])|[a-z]{95,105}){0,8}"
        ) {
            let (slow, fast) = both(&text);
            if let Some(fast) = fast {
                prop_assert_eq!(fast, slow);
            } else {
                prop_assert!(text.contains("[MASK]") || text.contains("[CLS]") || text.contains("[UNK]"));
            }
        }
    }
}
