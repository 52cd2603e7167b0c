//! Which scripts a model reads, told from its vocabulary.
//!
//! A model that was trained on a language has pieces of its words. Of the scripts it was not trained on, a vocabulary has the single
//! letters at most, or nothing: such a text becomes a row of letters and unknowns, and its vector says next to nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tokenizers::Tokenizer;

/// Different pieces that a vocabulary has at least of a script that the model reads. More than any alphabet has letters, with and
/// without accents, and fewer than the characters that a reader of Chinese needs. English BERT has 244 of Chinese, 47 of Cyrillic.
const PIECES_MIN: usize = 500;

/// A script, by the first letter of it.
type Script = u32;

/// Scripts whose letters lie in several places, or in more than 128.
const SCRIPTS: &[&[(u32, u32)]] = &[
    &[
        (0x41, 0x24f), // Latin
        (0x250, 0x2af),
        (0x1e00, 0x1eff),
        (0x2c60, 0x2c7f),
        (0xa720, 0xa7ff),
        (0xff21, 0xff5a),
    ],
    &[(0x370, 0x3ff), (0x1f00, 0x1fff)], // Greek
    &[
        (0x400, 0x52f), // Cyrillic
        (0x1c80, 0x1c8f),
        (0x2de0, 0x2dff),
        (0xa640, 0xa69f),
    ],
    &[(0x590, 0x5ff), (0xfb1d, 0xfb4f)], // Hebrew
    &[
        (0x600, 0x6ff), // Arabic
        (0x750, 0x77f),
        (0x8a0, 0x8ff),
        (0xfb50, 0xfdff),
        (0xfe70, 0xfeff),
    ],
    &[(0xf00, 0xfff)],   // Tibetan
    &[(0x1200, 0x139f)], // Ethiopic
    &[
        (0x1100, 0x11ff), // Hangul
        (0x3130, 0x318f),
        (0xa960, 0xa97f),
        (0xac00, 0xd7ff),
    ],
    &[(0x3040, 0x30ff), (0x31f0, 0x31ff), (0xff66, 0xff9d)], // Kana
    &[
        (0x2e80, 0x2fdf), // Han
        (0x3005, 0x3007),
        (0x3400, 0x4dbf),
        (0x4e00, 0x9fff),
        (0xf900, 0xfaff),
        (0x20000, 0x3ffff),
    ],
];

/// Letters that belong to no script: of phonetics, of formulas.
const NO_SCRIPT: &[(u32, u32)] = &[(0x2b0, 0x2ff), (0x2100, 0x214f), (0x1d400, 0x1d7ff)];

/// The script of a letter. All scripts that are not in the table have a place of 128 characters to themselves.
fn script_of(c: char) -> Option<Script> {
    let c = u32::from(c);
    let lies_in = |ranges: &[(u32, u32)]| {
        ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&c))
    };
    if lies_in(NO_SCRIPT) {
        return None;
    }
    let known = SCRIPTS.iter().find(|ranges| lies_in(ranges));
    Some(known.map_or(c & !0x7f, |ranges| ranges[0].0))
}

/// What is known of a vocabulary by now.
#[derive(Debug, Default)]
pub(super) struct Scripts(Mutex<HashMap<Script, bool>>);

impl Scripts {
    /// The share of a text's letters that are of scripts which the vocabulary has words of, 0 to 1; 1 where there is no letter.
    pub(super) fn read(&self, tokenizer: &Tokenizer, text: &str) -> f64 {
        let (mut letters, mut read) = (0usize, 0usize);
        for c in text.chars().filter(|c| c.is_alphabetic()) {
            // Every vocabulary has these.
            let is_read = c.is_ascii()
                || match script_of(c) {
                    Some(script) => self.has(tokenizer, script),
                    None => continue,
                };
            letters += 1;
            read += usize::from(is_read);
        }
        if letters == 0 {
            return 1.0;
        }
        read as f64 / letters as f64
    }

    /// Whether the vocabulary has words of that script. It is looked through once for each script, and not for plain English.
    fn has(&self, tokenizer: &Tokenizer, script: Script) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known
            .entry(script)
            .or_insert_with(|| has_pieces(tokenizer, script))
    }
}

fn has_pieces(tokenizer: &Tokenizer, script: Script) -> bool {
    let of_script = |c: char| c.is_alphabetic() && script_of(c) == Some(script);
    let mut pieces = HashSet::new();
    for id in 0..tokenizer.get_vocab_size(true) as u32 {
        // Decoded, since some vocabularies spell bytes. What can't be decoded alone is no piece of a word.
        let piece = tokenizer.decode(&[id], false).unwrap_or_default();
        let letters: String = piece.chars().filter(|c| of_script(*c)).collect();
        if !letters.is_empty() && pieces.insert(letters) && pieces.len() == PIECES_MIN {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Tokenizer {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/assets/all-MiniLM-L6-v2/tokenizer.json"
        );
        Tokenizer::from_file(path).unwrap()
    }

    #[test]
    fn the_built_in_model_reads_latin_letters_and_no_others() {
        let (tokenizer, scripts) = (built_in(), Scripts::default());
        let read = |text: &str| scripts.read(&tokenizer, text);
        for all in [
            "how long is the river",
            "Où est la crème brûlée ?",
            "2 + 2 = 4",
            "",
            "naïve Ａ",
        ] {
            assert_eq!(read(all), 1.0, "{all}");
        }
        for nothing in [
            "黑豹队的防守失去了多少分",
            "台所の水漏れを止めるには",
            "주방 누수를 막는 방법",
            "наводнение в городе",
            "كيف أوقف تسرب المياه",
            "กรุงเทพมหานคร",
            "πλημμύρα",
            "שיטפון",
        ] {
            assert_eq!(read(nothing), 0.0, "{nothing}");
        }
        let mixed = read("Docker 容器启动失败");
        assert!((mixed - 6.0 / 12.0).abs() < 1e-12, "{mixed}");
        assert!(read("the role of TGFβ in fibrosis") > 0.9);
    }

    #[test]
    fn a_vocabulary_with_words_of_a_script_reads_it() {
        let han = |count: u32| {
            let vocabulary: serde_json::Map<String, serde_json::Value> = (0..count)
                .filter_map(|n| char::from_u32(0x4e00 + n))
                .zip(0u32..)
                .map(|(c, id)| (c.to_string(), id.into()))
                .collect();
            let json = serde_json::json!({
                "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
                "pre_tokenizer": null, "post_processor": null, "decoder": null,
                "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "\u{4e00}"},
            });
            Tokenizer::from_bytes(json.to_string()).unwrap()
        };
        let read = |tokenizer: &Tokenizer| Scripts::default().read(tokenizer, "防守");
        assert_eq!(read(&han(PIECES_MIN as u32)), 1.0);
        assert_eq!(read(&han(PIECES_MIN as u32 - 1)), 0.0);
    }
}
