//! Documents to chunks that a model takes, cut at sentences, headings and syntax.
//!
//! The splitter asks for the size of many overlapping slices. The text is tokenised once, and every size is two binary
//! searches over the ends of the tokens.

use std::ops::{ControlFlow, Range};

use text_splitter::{ChunkConfig, ChunkSizer, CodeSplitter, MarkdownSplitter, TextSplitter};
use tree_sitter::{ParseOptions, ParseState};

use super::{ChunkOptions, Document, Kind, Language};

/// A document is split in windows of this size, which bounds the splitter's time and memory for any document.
const WINDOW_BYTES: usize = 64 << 10;
/// The same for code: where it is none, the grammar looks for a way out again and again, and takes the square of the window or more.
const CODE_WINDOW_BYTES: usize = 16 << 10;
/// Code that is nested deeper is split as text: each level is a rank of places to cut at, and the splitter weighs all of them for
/// each chunk. What people write stays far below.
const CODE_DEPTH_MAX: usize = 100;
/// Bytes of code for a hundred steps of the parser, several times what real code needs. Where it is none, a grammar looks for a way
/// out for as long as it is let.
const BYTES_PER_ASK: usize = 64;
/// Code is looked through for [`is_mostly_signs`] in pieces of this size.
const SIGNS_BYTES: usize = 1 << 10;
/// Fewer signs in such a piece are no matter.
const SIGNS_MIN: usize = 64;
/// So many lines are in a window of Markdown at most. The splitter weighs every one that is left for each chunk, so their number
/// costs its square. Lines of the usual length reach the end of the window first.
const MARKDOWN_LINES: usize = 2 << 10;
/// So much of one line is in a window at most. The splitter looks for the end of line, sentence and word anew from each chunk
/// on: a line costs the square of its length.
const LINE_BYTES: usize = 8 << 10;
/// A first line of at most this part of a chunk is a title.
const TITLE_SHARE: usize = 4;
/// No token counts for more bytes than this: one word of a megabyte, a single unknown token, is no chunk.
const TOKEN_BYTES_MAX: usize = 64;

/// A tokenizer, as far as splitting needs one.
pub trait TokenOffsets: Send + Sync {
    /// One past the last byte of every token of `text`, in order. No special tokens, no truncation.
    fn token_ends(&self, text: &str) -> Vec<u32>;
    /// Tokens that the model takes, without special tokens.
    fn max_tokens(&self) -> usize;
}

/// A stretch of a document that is embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its text, trimmed.
    pub text: String,
    /// First byte in the content.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Its tokens, without special tokens.
    pub tokens: u32,
}

/// The document's chunks, in order; none if it is blank. A document that fits is one chunk.
pub fn split(
    document: &Document,
    options: &ChunkOptions,
    tokenizer: &dyn TokenOffsets,
) -> Vec<Chunk> {
    let max = options
        .max_tokens
        .unwrap_or(usize::MAX)
        .min(tokenizer.max_tokens())
        .max(1);
    let mut chunks = Vec::new();
    let mut push = |from: usize, text: &str, tokens: usize| {
        let Range { start, end } = document.map.range(from..from + text.len());
        chunks.push(Chunk {
            text: text.to_owned(),
            start,
            end,
            tokens: tokens as u32,
        });
    };
    for window in windows(&document.text, document.kind) {
        let text = &document.text[window.clone()];
        let mut tokens = Tokens::of(text, tokenizer);
        let joined = match (window.start, document.kind) {
            (0, Kind::Prose) => with_title_joined(&tokens, max),
            _ => None,
        };
        if let Some(joined) = &joined {
            tokens.text = joined;
        }
        let parts = parts(
            tokens.text,
            &tokens,
            document.kind,
            max,
            options.overlap_tokens,
        );
        for (at, part) in parts {
            let size = tokens.count(part);
            let part = &text[at..at + part.len()];
            let from = window.start + at;
            if is_inside_word(text, at) || is_inside_word(text, at + part.len()) {
                for (range, count) in fit(part, max, tokenizer) {
                    push(from + range.start, &part[range], count);
                }
            } else {
                push(from, part, size);
            }
        }
    }
    chunks
}

/// A title says what a text is about, and little on its own. Where it and the paragraph below it are too much for one chunk, the
/// splitter would leave it alone in one: so it gets the text in which they are one paragraph, byte for byte as long.
fn with_title_joined(tokens: &Tokens<'_>, max: usize) -> Option<String> {
    let text = tokens.text;
    let begin = text.len() - text.trim_start().len();
    let end = begin + text[begin..].find("\n\n")?;
    let title = &text[begin..end];
    let next = end + text[end..].len() - text[end..].trim_start().len();
    let paragraph = text[next..].find("\n\n").map_or(text.len(), |at| next + at);
    let is_title = !title.contains('\n') && tokens.size(title) <= max / TITLE_SHARE;
    if !is_title || tokens.size(text[begin..paragraph].trim_end()) <= max {
        return None;
    }
    let gap: String = text[end..next]
        .chars()
        .map(|space| if space == '\n' { ' ' } else { space })
        .collect();
    Some([&text[..end], &gap, &text[next..]].concat())
}

/// Trimmed, non-empty parts of `text` and where they begin.
fn parts<'t>(
    text: &'t str,
    tokens: &Tokens<'t>,
    kind: Kind,
    max: usize,
    overlap: usize,
) -> Vec<(usize, &'t str)> {
    let (at, whole) = trim(text, kind);
    if whole.is_empty() {
        return Vec::new();
    }
    if tokens.size(whole) <= max {
        return vec![(at, whole)];
    }
    let config = ChunkConfig::new(max)
        .with_sizer(tokens)
        .with_overlap(overlap.min(max / 2))
        .expect("half of the capacity is below it, and zero where the capacity is one");
    let mut parts: Vec<(usize, &str)> = match kind {
        Kind::Markdown => MarkdownSplitter::new(config).chunk_indices(text).collect(),
        Kind::Code(language) => code_parts(text, language, config),
        Kind::Prose => TextSplitter::new(config).chunk_indices(text).collect(),
    };
    parts.retain(|(_, part)| !part.trim().is_empty());
    parts
}

fn code_parts<'t>(
    text: &'t str,
    language: Language,
    config: ChunkConfig<&Tokens<'t>>,
) -> Vec<(usize, &'t str)> {
    let grammar = match language {
        Language::Rust => tree_sitter_rust::LANGUAGE,
        Language::Python => tree_sitter_python::LANGUAGE,
        Language::JavaScript => tree_sitter_javascript::LANGUAGE,
        Language::Go => tree_sitter_go::LANGUAGE,
        Language::Java => tree_sitter_java::LANGUAGE,
        Language::C => tree_sitter_c::LANGUAGE,
        Language::Other => return TextSplitter::new(config).chunk_indices(text).collect(),
    };
    if is_beyond_splitting(text, grammar) {
        return TextSplitter::new(config).chunk_indices(text).collect();
    }
    let splitter = CodeSplitter::new(grammar, config);
    splitter
        .expect("the grammars are built for this tree-sitter")
        .chunk_indices(text)
        .collect()
}

/// Whether some KiB is signs by two thirds. That is no code, and where a grammar finds an operator at every
/// turn and nothing that it could belong to, it tries again from each of them: 16 KiB of `|-` take Python's half a minute and more, within
/// the steps that it has. A sign that is repeated, as in a line of dashes, counts once.
fn is_mostly_signs(text: &str) -> bool {
    text.as_bytes().chunks(SIGNS_BYTES).any(|piece| {
        let (mut signs, mut others, mut last) = (0, 0, 0);
        for &byte in piece.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            if !byte.is_ascii_punctuation() {
                others += 1;
            } else if byte != last {
                signs += 1;
            }
            last = byte;
        }
        signs > (2 * others).max(SIGNS_MIN)
    })
}

/// Whether the grammar makes nothing of it in reasonable time, or it is nested deeper than [`CODE_DEPTH_MAX`].
fn is_beyond_splitting(text: &str, grammar: impl Into<tree_sitter::Language>) -> bool {
    if is_mostly_signs(text) {
        return true;
    }
    let mut parser = tree_sitter::Parser::new();
    // Asked once for every hundred steps. Steps are counted, not seconds: the same text is cut in the same way everywhere.
    let mut asks_left = 50 + text.len() / BYTES_PER_ASK;
    let mut go_on = |_: &ParseState| match asks_left.checked_sub(1) {
        Some(left) => {
            asks_left = left;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    };
    let known = parser.set_language(&grammar.into());
    let options = ParseOptions::new().progress_callback(&mut go_on);
    let mut rest = |at: usize, _| text.as_bytes().get(at..).unwrap_or_default();
    let parsed = known
        .ok()
        .and_then(|()| parser.parse_with_options(&mut rest, None, Some(options)));
    let Some(tree) = parsed else {
        return true;
    };
    let (mut cursor, mut depth) = (tree.walk(), 0);
    loop {
        if cursor.goto_first_child() {
            depth += 1;
            if depth > CODE_DEPTH_MAX {
                return true;
            }
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return false;
            }
            depth -= 1;
        }
    }
}

/// As the splitters trim: code keeps the indentation of its first line.
fn trim(text: &str, kind: Kind) -> (usize, &str) {
    let trimmed = text.trim();
    let mut at = text.len() - text.trim_start().len();
    if matches!(kind, Kind::Code(_)) && !trimmed.is_empty() {
        at = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    }
    (at, text[at..].trim_end())
}

/// Stretches of at most [`WINDOW_BYTES`] with at most [`LINE_BYTES`] of one line and [`MARKDOWN_LINES`] lines, cut after a line (in code after a block, if there
/// is one), else after a sentence, a word, or a character.
fn windows(text: &str, kind: Kind) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = window(&text[at..], kind);
        at += len;
        (len > 0).then_some(at - len..at)
    })
}

/// The length of the window that `rest` begins with.
fn window(rest: &str, kind: Kind) -> usize {
    let (bytes, ends): (_, &[&str]) = match kind {
        Kind::Code(_) => (CODE_WINDOW_BYTES, &["\n}\n", "\n\n", "\n", " "]),
        Kind::Prose | Kind::Markdown => (WINDOW_BYTES, &["\n", " "]),
    };
    let head = &rest[..rest.floor_char_boundary(bytes)];
    let lines = match kind {
        Kind::Markdown => MARKDOWN_LINES,
        Kind::Prose | Kind::Code(_) => usize::MAX,
    };
    let mut line = 0;
    for (number, next) in head.split_inclusive('\n').enumerate() {
        if number == lines {
            return line;
        }
        if next.len() > LINE_BYTES {
            let part = &next[..next.floor_char_boundary(LINE_BYTES)];
            return line + cut(part, &[". ", "? ", "! ", " "]);
        }
        line += next.len();
    }
    if head.len() == rest.len() {
        return head.len();
    }
    cut(head, ends)
}

/// One past the last of the first of `marks` that stands in the second half, or all.
fn cut(head: &str, marks: &[&str]) -> usize {
    let last = |mark: &&str| head.rfind(mark).map(|at| at + mark.len());
    let late = |at: &usize| *at >= head.len() / 2;
    marks
        .iter()
        .find_map(|mark| last(mark).filter(late))
        .unwrap_or(head.len())
}

/// There is no white space on either side: the tokens of the parts need not be those of the whole.
fn is_inside_word(text: &str, at: usize) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace());
    is_word(text[..at].chars().next_back()) && is_word(text[at..].chars().next())
}

/// Counts a part anew that was cut inside a word, and cuts it further if that made it too long.
fn fit(part: &str, max: usize, tokenizer: &dyn TokenOffsets) -> Vec<(Range<usize>, usize)> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut end = part.len();
    while at < part.len() {
        let tokens = Tokens::of(&part[at..end], tokenizer);
        let cut = tokens
            .ends
            .get(max - 1)
            .map_or(0, |cut| part[at..end].floor_char_boundary(*cut as usize));
        if tokens.ends.len() > max && cut > 0 && at + cut < end {
            end = at + cut;
            continue;
        }
        let piece = &part[at..end];
        let space = piece.len() - piece.trim_start().len();
        if space < piece.len() {
            pieces.push((at + space..at + piece.trim_end().len(), tokens.ends.len()));
        }
        (at, end) = (end, part.len());
    }
    pieces
}

/// A text and where its tokens end.
struct Tokens<'t> {
    text: &'t str,
    ends: Vec<u32>,
}

impl<'t> Tokens<'t> {
    fn of(text: &'t str, tokenizer: &dyn TokenOffsets) -> Self {
        let mut ends = tokenizer.token_ends(text);
        // The searches need order, whatever the tokenizer does.
        let mut last = 0;
        for end in &mut ends {
            last = last.max((*end).min(text.len() as u32));
            *end = last;
        }
        Self { text, ends }
    }

    /// Tokens that `part`, a slice of the text, has a share in.
    fn count(&self, part: &str) -> usize {
        let start = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr());
        let Some(start) = start.filter(|start| start + part.len() <= self.text.len()) else {
            return part.len();
        };
        let end = (start + part.len()) as u32;
        let before = self.ends.partition_point(|e| *e as usize <= start);
        let within = self.ends.partition_point(|e| *e <= end);
        let is_cut = within < self.ends.len() && (within == 0 || self.ends[within - 1] < end);
        (within + usize::from(is_cut)).saturating_sub(before)
    }
}

impl ChunkSizer for Tokens<'_> {
    fn size(&self, part: &str) -> usize {
        self.count(part).max(part.len().div_ceil(TOKEN_BYTES_MAX))
    }
}

#[cfg(test)]
mod tests;
