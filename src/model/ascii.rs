//! Where the tokens of a text end, for tokenizers of BERT's kind: words of plain ASCII are told here, and the tokenizer is asked for
//! the others alone.
//!
//! Cutting a document asks for nothing else, and most words of many languages are ASCII. The tokenizer itself keeps a record of each
//! character's place through every step and makes some three hundred allocations for a short text: without the model it was three
//! fifths of a run's processor time (docs/decisions/0015-embed-loop.md). What this module says is exactly what the tokenizer would say
//! of the whole: no step of it looks across a space. Where it isn't sure it says nothing.

use std::ops::Range;

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

    /// One past the last byte of each token, in order; `None` where only the tokenizer knows. `slow` is the tokenizer.
    pub(super) fn ends(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        slow: impl Fn(&str) -> Vec<u32>,
    ) -> Option<Vec<u32>> {
        let model = word_piece(tokenizer)?;
        if u32::try_from(text.len()).is_err() {
            return None;
        }
        if self.added.iter().any(|token| text.contains(token.as_str())) {
            return None;
        }
        let lowered = self.lowercase.then(|| text.to_ascii_lowercase());
        let lowered = lowered.as_deref().unwrap_or(text);
        let mut ends = Vec::with_capacity(text.len() / 4 + 1);
        let mut piece = String::new();
        let mut start = 0;
        while let Some(stretch) = stretch(text.as_bytes(), start) {
            start = stretch.range.end;
            if stretch.plain {
                words(model, lowered, stretch.range, &mut piece, &mut ends);
            } else {
                let before = stretch.range.start as u32;
                ends.extend(slow(&text[stretch.range]).iter().map(|end| before + end));
            }
        }
        Some(ends)
    }
}

/// Words between spaces.
struct Stretch {
    range: Range<usize>,
    /// One word of plain ASCII. Else as many as follow each other that are not.
    plain: bool,
}

/// The first stretch that begins at `from` or later.
fn stretch(bytes: &[u8], from: usize) -> Option<Stretch> {
    let word = |from: usize| {
        let start = from + bytes[from..].iter().position(|byte| !is_space(*byte))?;
        let length = bytes[start..].iter().position(|byte| is_space(*byte));
        let range = start..length.map_or(bytes.len(), |length| start + length);
        let plain = bytes[range.clone()].iter().all(u8::is_ascii_graphic);
        Some(Stretch { range, plain })
    };
    let mut stretch = word(from)?;
    // One call for a sentence in another script, and not one a word.
    while !stretch.plain
        && let Some(next) = word(stretch.range.end).filter(|next| !next.plain)
    {
        stretch.range.end = next.range.end;
    }
    Some(stretch)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The ends of the tokens of a stretch of letters and signs; each sign is a word of its own.
fn words(
    model: &WordPiece,
    text: &str,
    stretch: Range<usize>,
    piece: &mut String,
    ends: &mut Vec<u32>,
) {
    let mut start = stretch.start;
    while start < stretch.end {
        let rest = &text.as_bytes()[start..stretch.end];
        let letters = rest.iter().position(u8::is_ascii_punctuation);
        let length = letters.unwrap_or(rest.len()).max(1);
        pieces(model, text, start..start + length, piece, ends);
        start += length;
    }
}

/// The ends of a word's tokens: the longest piece that the vocabulary has, and again behind it. A word that is not made of pieces
/// is one token, and so is one that is too long.
fn pieces(
    model: &WordPiece,
    text: &str,
    word: Range<usize>,
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

    /// What the tokenizer says of the whole text, and what is said here.
    fn both(text: &str) -> (Vec<u32>, Option<Vec<u32>>) {
        let tokens = &builtin().0.recipe.tokens;
        (tokens.slow_ends(text), tokens.fast_ends(text))
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
            "The na\u{ef}ve caf\u{e9} \u{2014} \u{201c}closed\u{201d} \u{2014} isn\u{2019}t far.",
            "Der Flu\u{df} f\u{fc}hrt Hochwasser; die Br\u{fc}cke bei K\u{f6}ln ist zu.",
            "\u{432}\u{43e}\u{434}\u{430} \u{43f}\u{43e}\u{434}\u{43d}\u{44f}\u{43b}\u{430}\u{441}\u{44c} over night",
            "\u{6f6e}\u{4f4d} rises \u{6f6e}\u{4f4d}\u{8a08} falls",
            "a\u{0}b del\u{7f} a\u{b}b \u{feff}mark non\u{a0}breaking e\u{301} \u{301}alone \u{fffd}",
            "\u{1f468}\u{200d}\u{1f469} family \u{1f1e9}\u{1f1ea}",
        ];
        for text in texts {
            let (slow, fast) = both(text);
            assert_eq!(fast.as_ref(), Some(&slow), "{text:?}");
        }
    }

    #[test]
    fn what_it_can_not_know_is_left_to_the_tokenizer() {
        for text in ["x [SEP] y", "[PAD]", "na\u{ef}ve [MASK]"] {
            let (slow, fast) = both(text);
            assert_eq!(fast, None, "{text:?}");
            assert_eq!(builtin().token_ends(text), slow);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_ends_where_the_tokenizer_says(
            text in "([ -~]{0,30}|[a-zA-Z]{1,20}|##[a-z]{0,4}|[\\t\\n\\r ]{1,3}|(\\[MASK\\])|[a-z]{95,105}|\\PC{0,6}|[\u{0}-\u{24f}]{0,8}|[\u{300}-\u{30f}a ]{0,4}|[\u{2000}-\u{206f}]{0,3}|[\u{4e00}-\u{4e20}\u{ac00}-\u{ac10}]{0,5}){0,8}"
        ) {
            let (slow, fast) = both(&text);
            if let Some(fast) = fast {
                prop_assert_eq!(fast, slow);
            } else {
                prop_assert!(["[MASK]", "[CLS]", "[UNK]", "[SEP]", "[PAD]"].iter().any(|token| text.contains(token)));
            }
        }
    }
}
