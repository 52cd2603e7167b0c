//! Files of all formats, read whole and cut into chunks: positions, and no word lost.

use std::path::Path;

use floodmark::formats::{self, ChunkOptions, Document, Format, Language, Piece, TokenOffsets};

use super::options;

/// Whole words of at most eight letters, as a model's tokenizer would see them.
pub struct Words(pub usize);

impl TokenOffsets for Words {
    fn token_ends(&self, text: &str) -> Vec<u32> {
        let (mut ends, mut run) = (Vec::new(), 0);
        for (at, char) in text.char_indices() {
            let end = (at + char.len_utf8()) as u32;
            if char.is_whitespace() {
                run = 0;
            } else if char.is_alphanumeric() && run > 0 && run < 8 {
                run += 1;
                *ends.last_mut().expect("a run has begun") = end;
            } else {
                run = usize::from(char.is_alphanumeric());
                ends.push(end);
            }
        }
        ends
    }

    fn max_tokens(&self) -> usize {
        self.0
    }
}

/// A file of this format, read whole and cut into chunks.
pub fn document(bytes: &[u8], format: Format) {
    for piece in [Piece::Whole, Piece::Elements, Piece::Continued] {
        // A refusal is an answer. What is in it is for people and was tested where it is made.
        if let Ok(parsed) = formats::parse(bytes, format, &piece, &options()) {
            for document in &parsed.documents {
                sound(bytes, format, document);
            }
        }
    }
}

fn sound(bytes: &[u8], format: Format, document: &Document) {
    let inside = |range: &std::ops::Range<usize>| {
        assert!(
            range.start <= range.end && range.end <= bytes.len(),
            "{range:?} in {} bytes",
            bytes.len()
        );
        // Zeros may make it UTF-16, also where it could be read as UTF-8.
        if !bytes.contains(&0)
            && let Ok(source) = std::str::from_utf8(bytes)
        {
            assert!(
                source.is_char_boundary(range.start) && source.is_char_boundary(range.end),
                "{range:?} cuts a character"
            );
        }
    };
    inside(&document.range);
    let metadata: serde_json::Result<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&document.metadata);
    assert!(
        metadata.is_ok(),
        "metadata that is no object: {}",
        document.metadata
    );
    if !document.text.is_empty() {
        inside(&document.map.range(0..document.text.len()));
    }
    let is_as_written =
        matches!(format, Format::Text | Format::Markdown | Format::Code(_)) && !bytes.contains(&0);
    for max in [3, 40] {
        let mut said = String::new();
        for chunk in formats::split(document, &ChunkOptions::default(), &Words(max)) {
            let range = chunk.start..chunk.end;
            inside(&range);
            assert!(
                chunk.tokens as usize <= max,
                "{} tokens of {max}",
                chunk.tokens
            );
            assert!(!chunk.text.trim().is_empty(), "a blank chunk");
            if is_as_written && let Ok(source) = std::str::from_utf8(bytes) {
                assert_eq!(
                    &source[range], chunk.text,
                    "a chunk is not what stands there"
                );
            }
            said.extend(chunk.text.chars().filter(|char| !char.is_whitespace()));
        }
        let written: String = document
            .text
            .chars()
            .filter(|char| !char.is_whitespace())
            .collect();
        assert!(
            said == written,
            "{} bytes of words became {}",
            written.len(),
            said.len()
        );
    }
}

pub const LANGUAGES: [Language; 7] = [
    Language::Rust,
    Language::Python,
    Language::JavaScript,
    Language::Go,
    Language::Java,
    Language::C,
    Language::Other,
];

/// The first byte chooses the language.
pub fn code(bytes: &[u8]) {
    if let Some((first, rest)) = bytes.split_first() {
        let language = LANGUAGES[usize::from(*first) % LANGUAGES.len()];
        document(rest, Format::Code(language));
    }
}

/// A name up to the first zero byte, then the beginning of a file.
pub fn detect(bytes: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let at = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let name = Path::new(std::ffi::OsStr::from_bytes(&bytes[..at]));
    let look = &bytes[at..];
    if let Err(failure) = formats::detect(name, look) {
        assert!(!failure.reason.is_empty() && !failure.advice.is_empty());
    }
}
