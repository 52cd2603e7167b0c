//! What bytes from outside may not do: one function for each part that reads them, which panics if an invariant breaks.
//!
//! The corpus test runs them over seeds and mutations in every `cargo test`; `make fuzz` lets libFuzzer look for more.
//! Beside crashes they hold: positions lie in the source and between characters; what a chunk says stands there; no word is
//! lost between chunks or between segments; and time grows with the input, not with its square.

#[path = "targets/documents.rs"]
mod documents;
#[path = "targets/pieces.rs"]
mod pieces;
#[path = "targets/places.rs"]
mod places;
#[path = "targets/words.rs"]
mod words;

use floodmark::formats::{Format, Options};

use documents::{code, detect, document};
#[allow(unused_imports)] // the corpus test's
pub use pieces::grows;
use pieces::{cuts, growth};
use places::{config, control, embed, ignore_file, store};
use words::{CODE, CONFIG, CONTROL, CSV, DETECT, EMBED, HTML, IGNORE, JSON, MARKDOWN, TEXT};

/// A part that reads bytes.
pub struct Target {
    /// Its name, and that of its folder of seeds.
    pub name: &'static str,
    /// Reads them.
    pub run: fn(&[u8]),
    /// What such bytes are made of, for mutations.
    #[allow(dead_code)] // the corpus test's
    pub words: &'static [&'static str],
}

/// Every part that reads bytes which others wrote.
pub const TARGETS: &[Target] = &[
    Target {
        name: "json",
        run: |bytes| document(bytes, Format::Json),
        words: JSON,
    },
    Target {
        name: "jsonl",
        run: |bytes| document(bytes, Format::Jsonl),
        words: JSON,
    },
    Target {
        name: "csv",
        run: |bytes| document(bytes, Format::Csv),
        words: CSV,
    },
    Target {
        name: "text",
        run: |bytes| document(bytes, Format::Text),
        words: TEXT,
    },
    Target {
        name: "markdown",
        run: |bytes| document(bytes, Format::Markdown),
        words: MARKDOWN,
    },
    Target {
        name: "html",
        run: |bytes| document(bytes, Format::Html),
        words: HTML,
    },
    Target {
        name: "code",
        run: code,
        words: CODE,
    },
    Target {
        name: "detect",
        run: detect,
        words: DETECT,
    },
    Target {
        name: "segments",
        run: cuts,
        words: JSON,
    },
    Target {
        name: "growth",
        run: growth,
        words: MARKDOWN,
    },
    Target {
        name: "config",
        run: config,
        words: CONFIG,
    },
    Target {
        name: "ignore",
        run: ignore_file,
        words: IGNORE,
    },
    Target {
        name: "store",
        run: store,
        words: &[],
    },
    Target {
        name: "control",
        run: control,
        words: CONTROL,
    },
    Target {
        name: "embed",
        run: embed,
        words: EMBED,
    },
];

fn options() -> Options {
    Options {
        max_record_bytes: 1 << 20,
        ..Options::default()
    }
}
