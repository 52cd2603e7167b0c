use proptest::prelude::*;

use super::*;
use crate::formats::SourceMap;

/// A token is a run of at most `0` letters, or one other character that is no white space.
struct Words(usize, usize);

impl TokenOffsets for Words {
    fn token_ends(&self, text: &str) -> Vec<u32> {
        let mut ends: Vec<u32> = Vec::new();
        let mut run = 0;
        for (at, c) in text.char_indices() {
            let end = (at + c.len_utf8()) as u32;
            if c.is_whitespace() {
                run = 0;
            } else if c.is_alphanumeric() && run > 0 && run < self.0 {
                run += 1;
                *ends.last_mut().unwrap() = end;
            } else {
                run = usize::from(c.is_alphanumeric());
                ends.push(end);
            }
        }
        ends
    }

    fn max_tokens(&self) -> usize {
        self.1
    }
}

/// Answers nonsense.
struct Broken(Vec<u32>);

impl TokenOffsets for Broken {
    fn token_ends(&self, _: &str) -> Vec<u32> {
        self.0.clone()
    }

    fn max_tokens(&self) -> usize {
        2
    }
}

fn document(text: &str, kind: Kind) -> Document {
    Document {
        id: None,
        record: 0,
        title: None,
        text: text.to_owned(),
        map: SourceMap::linear(text.len(), 100),
        range: 0..text.len(),
        metadata: "{}".into(),
        kind,
    }
}

fn check(text: &str, kind: Kind, max: usize, expect: &[&str]) {
    let chunks = split(
        &document(text, kind),
        &ChunkOptions::default(),
        &Words(99, max),
    );
    let texts: Vec<&str> = chunks.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(texts, expect);
    for chunk in chunks {
        assert_eq!(text[chunk.start - 100..chunk.end - 100], chunk.text);
        assert_eq!(
            chunk.tokens as usize,
            Words(99, max).token_ends(&chunk.text).len()
        );
    }
}

#[test]
fn prose_is_cut_at_sentences_and_paragraphs() {
    check(
        "  It rose. It fell.  ",
        Kind::Prose,
        9,
        &["It rose. It fell."],
    );
    check(
        "It rose. It fell.",
        Kind::Prose,
        4,
        &["It rose.", "It fell."],
    );
    check(
        "One two.\n\nThree four five. Six.",
        Kind::Prose,
        7,
        &["One two.", "Three four five. Six."],
    );
    check(" \n\t", Kind::Prose, 7, &[]);
    check("", Kind::Prose, 7, &[]);
}

#[test]
fn a_title_stays_with_what_it_is_the_title_of() {
    let long = "Ebb\n\nThe tide goes out at noon. The mud lies bare till six. Then it comes back.";
    let expect = [
        "Ebb\n\nThe tide goes out at noon.",
        "The mud lies bare till six.",
        "Then it comes back.",
    ];
    check(long, Kind::Prose, 9, &expect);
    // Where the paragraph below fits too, there is nothing to do; nor where the first line is no title.
    let short = "Ebb\n\nThe tide goes out.\n\nThe mud lies bare till six. Then it comes back.";
    let expect = [
        "Ebb\n\nThe tide goes out.",
        "The mud lies bare till six.",
        "Then it comes back.",
    ];
    check(short, Kind::Prose, 9, &expect);
    let two = "Ebb and flood and ebb\n\nThe tide goes out at noon. The mud lies bare.";
    let expect = [
        "Ebb and flood and ebb",
        "The tide goes out at noon.",
        "The mud lies bare.",
    ];
    check(two, Kind::Prose, 9, &expect);
}

#[test]
fn markdown_is_cut_at_headings() {
    check(
        "# A\n\nb c\n\n# D\n\ne f",
        Kind::Markdown,
        5,
        &["# A\n\nb c", "# D\n\ne f"],
    );
}

#[test]
fn code_is_cut_at_its_items_in_every_language() {
    let rust = "fn a() { 1 }\n\nfn b() { 2 }\n";
    check(
        rust,
        Kind::Code(Language::Rust),
        8,
        &["fn a() { 1 }", "fn b() { 2 }"],
    );
    check(
        "    x = 1\n    y",
        Kind::Code(Language::Python),
        9,
        &["    x = 1\n    y"],
    );
    use Language::{C, Go, Java, JavaScript, Other, Python};
    for language in [C, Go, Java, JavaScript, Other, Python] {
        assert!(
            split(
                &document(rust, Kind::Code(language)),
                &ChunkOptions::default(),
                &Words(9, 8)
            )
            .len()
                > 1
        );
    }
}

#[test]
fn overlap_repeats_words() {
    let options = ChunkOptions {
        overlap_tokens: 1,
        ..Default::default()
    };
    let chunks = split(&document("a b c d e", Kind::Prose), &options, &Words(9, 3));
    let texts: Vec<&str> = chunks.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(texts, ["a b c", "c d e"]);
}

#[test]
fn a_word_without_end_is_cut() {
    let text = "x".repeat(3 * WINDOW_BYTES);
    let chunks = split(
        &document(&text, Kind::Prose),
        &ChunkOptions::default(),
        &Words(usize::MAX, 100),
    );
    assert!(chunks.iter().all(|c| c.text.len() <= 100 * TOKEN_BYTES_MAX));
    assert_eq!(
        chunks.iter().map(|c| c.text.len()).sum::<usize>(),
        text.len()
    );
}

#[test]
fn a_line_without_end_is_cut_after_a_sentence() {
    let text = format!("title\n\n{}", "The tide rose. ".repeat(3 * LINE_BYTES / 15));
    let cuts: Vec<usize> = windows(&text, Kind::Prose)
        .map(|window| window.end)
        .collect();
    assert_eq!(cuts.len(), 3);
    for end in &cuts {
        assert!(text[..*end].ends_with("rose. "), "{end}");
    }
    assert_eq!(cuts.last(), Some(&text.len()));
    // Lines of the usual length are not in the way of a large window.
    let text = "The tide rose.\n".repeat(WINDOW_BYTES / 15);
    assert_eq!(windows(&text, Kind::Prose).count(), 1);
    let long = "The tide rose.\n".repeat(3 * WINDOW_BYTES / 15);
    assert!(windows(&long, Kind::Prose).all(|window| long[window].ends_with('\n')));
}

#[test]
fn code_is_cut_between_its_blocks() {
    let item = format!("fn a() {{\n{}}}\n\nlet b;\n", "    c();\n".repeat(200));
    let text = item.repeat(4 * CODE_WINDOW_BYTES / item.len());
    let rust = Kind::Code(Language::Rust);
    let cuts: Vec<usize> = windows(&text, rust).map(|window| window.end).collect();
    assert!(cuts.len() >= 4);
    for end in &cuts[..cuts.len() - 1] {
        assert!(text[..*end].ends_with("\n}\n"), "{end}");
    }
}

#[test]
fn what_a_grammar_nests_without_end_is_split_as_text() {
    let python = tree_sitter_python::LANGUAGE;
    // The last star makes it an error, and what stands before it a tree as deep as it is long.
    let text = &"**a".repeat(1366)[..4096];
    assert!(is_beyond_splitting(text, python));
    let chunks = split(
        &document(text, Kind::Code(Language::Python)),
        &ChunkOptions::default(),
        &Words(9, 100),
    );
    assert_eq!(
        chunks.iter().map(|chunk| chunk.text.len()).sum::<usize>(),
        text.len()
    );
    // What people write is not: this crate's own source, window by window.
    let own = [
        include_str!("../split.rs"),
        include_str!("../../ingest/queue.rs"),
        include_str!("../../worker.rs"),
    ];
    for source in own {
        for window in windows(source, Kind::Code(Language::Rust)) {
            let text = &source[window.clone()];
            assert!(
                !is_beyond_splitting(text, tree_sitter_rust::LANGUAGE),
                "{window:?}"
            );
        }
    }
}

/// Signs that a grammar would try for half a minute to make something of. What counts is that it is not asked.
#[test]
fn what_is_mostly_signs_is_split_as_text() {
    for unit in [
        "|-", "<!--", "- |-\n", "->", "<-", "[a]: ", "|-    ", "a|-<",
    ] {
        let hostile: String = unit.chars().cycle().take(CODE_WINDOW_BYTES).collect();
        assert!(is_mostly_signs(&hostile), "{unit}");
        // Also where the rest of the window is what people write.
        let hidden = [include_str!("../split.rs"), &hostile[..2 * SIGNS_BYTES]].concat();
        assert!(is_mostly_signs(&hidden), "{unit}");
        let chunks = split(
            &document(&hostile, Kind::Code(Language::Python)),
            &ChunkOptions::default(),
            &Words(9, 100),
        );
        let said: usize = chunks.iter().map(|chunk| chunk.text.len()).sum();
        assert!(said * 2 > hostile.trim().len(), "{unit}: {said} bytes");
    }
    for code in [
        include_str!("../split.rs"),
        include_str!("../../dataflow.rs"),
        &"// ---------------------------------------------------------------\n".repeat(99),
        &"    /* ************************** */\n".repeat(99),
        &"{ 0x12, 0x34, 0x56, 0x78 },\n".repeat(99),
        &"#include <a/b.h>\n".repeat(99),
        &"var n=e.x;return n?t(n[0]):(e={},t(e,n));".repeat(99),
    ] {
        assert!(!is_mostly_signs(code), "{code}");
    }
}

#[test]
fn a_window_of_markdown_has_so_many_lines_at_most() {
    let text = "|-\n".repeat(WINDOW_BYTES / 3);
    let mut end = 0;
    for window in windows(&text, Kind::Markdown) {
        assert_eq!(window.start, end);
        assert!(text[window.clone()].lines().count() <= MARKDOWN_LINES);
        end = window.end;
    }
    assert_eq!(end, text.len());
    assert_eq!(windows(&text, Kind::Prose).count(), 1);
    let usual = "A line as people write them in lists.\n".repeat(WINDOW_BYTES / 38);
    assert_eq!(windows(&usual, Kind::Markdown).count(), 1);
}

#[test]
fn a_word_that_is_more_tokens_in_parts_is_counted_anew() {
    let text = "abcdefghi".repeat(5);
    let chunks = split(
        &document(&text, Kind::Prose),
        &ChunkOptions::default(),
        &Words(4, 3),
    );
    for chunk in &chunks {
        assert!(chunk.tokens <= 3);
        assert_eq!(
            chunk.tokens as usize,
            Words(4, 3).token_ends(&chunk.text).len()
        );
    }
    assert_eq!(
        chunks.iter().map(|c| c.text.as_str()).collect::<String>(),
        text
    );
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Prose,
        Kind::Markdown,
        Kind::Code(Language::Rust),
        Kind::Code(Language::Python),
    ])
}

proptest! {
    #[test]
    fn chunks_hold_every_word_in_order_and_fit(text in "([a-zé日]{1,9}|[ \n.#`(){}]){0,80}", kind in kinds(), max in 1usize..9) {
        let chunks = split(&document(&text, kind), &ChunkOptions::default(), &Words(3, max));
        let mut end = 0;
        for chunk in &chunks {
            let (from, to) = (chunk.start - 100, chunk.end - 100);
            prop_assert_eq!(&text[from..to], &chunk.text);
            prop_assert!(from >= end && text[end..from].trim().is_empty());
            prop_assert!(chunk.tokens as usize <= max);
            prop_assert!(!chunk.text.trim().is_empty() && chunk.text.trim_end() == chunk.text);
            end = to;
        }
        prop_assert!(text[end..].trim().is_empty());
    }

    #[test]
    fn overlap_ends(text in "([a-z]{1,9}|[ \n.]){0,80}", max in 1usize..9, overlap_tokens in 0usize..12) {
        let options = ChunkOptions { overlap_tokens, ..Default::default() };
        let chunks = split(&document(&text, Kind::Prose), &options, &Words(3, max));
        prop_assert!(chunks.iter().all(|c| c.tokens as usize <= max));
    }

    #[test]
    fn a_broken_tokenizer_does_no_harm(text in "\\PC{0,60}", ends: Vec<u32>, kind in kinds()) {
        let chunks = split(&document(&text, kind), &ChunkOptions::default(), &Broken(ends));
        for chunk in chunks {
            prop_assert_eq!(&text[chunk.start - 100..chunk.end - 100], chunk.text);
        }
    }
}
