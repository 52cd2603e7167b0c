//! What bytes from outside may not do: one function for each part that reads them, which panics if an invariant breaks.
//!
//! The corpus test runs them over seeds and mutations in every `cargo test`; `make fuzz` lets libFuzzer look for more.
//! Beside crashes they hold: positions lie in the source and between characters; what a chunk says stands there; no word is
//! lost between chunks or between segments; and time grows with the input, not with its square.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use floodmark::formats::{
    self, ChunkOptions, Document, Format, Language, Options, Parsed, Piece, Segment, SegmentError,
    Segmenter, TokenOffsets,
};
use floodmark::ingest::engine::Engine;
use floodmark::store::row::Resume;
use floodmark::store::{ModelKey, Reader};
use floodmark::worker;
use floodmark_operators::embed::{Embedder, Vector};

/// A part that reads bytes.
pub struct Target {
    /// Its name, and that of its folder of seeds.
    pub name: &'static str,
    /// Reads them.
    pub run: fn(&[u8]),
    /// What such bytes are made of, for mutations.
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

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u00e9",
    "\\ud83d",
    "\\ude00",
    "null",
    "true",
    "-1e999",
    "NaN",
    "{\"text\":\"",
    "\"id\":",
    "\u{feff}",
    "\n",
    "\r\n",
    "é",
    "[[[[",
    "{\"a\":",
];
const CSV: &[&str] = &[
    "\"",
    "\"\"",
    ",",
    ";",
    "\t",
    "|",
    "\n",
    "\r",
    "\r\n",
    "id,text\n",
    "\u{feff}",
    "é",
    "\"\n\"",
    "a",
];
const TEXT: &[&str] = &[
    "\n", "\n\n", "\r\n", " ", "é", "日本", "\u{feff}", "\u{2028}", "a. B", "\u{0301}", "\u{200d}",
];
const MARKDOWN: &[&str] = &[
    "# ",
    "> ",
    "- ",
    "* ",
    "*",
    "_",
    "`",
    "```\n",
    "~~~\n",
    "[",
    "](",
    "![",
    "]: ",
    "<",
    "&",
    "&amp;",
    "---\n",
    "+++\n",
    "===\n",
    "|",
    "|-|\n",
    "\n\n",
    "    ",
    "\t",
    "1. ",
    "\\",
    "title: x\n",
    "[^a]",
];
const HTML: &[&str] = &[
    "<",
    ">",
    "</",
    "/>",
    "<p>",
    "<pre>",
    "</pre>",
    "<title>",
    "</title>",
    "<script>",
    "</script>",
    "<svg>",
    "<h1>",
    "</h1>",
    "<td>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "&",
    "&amp",
    "&amp;",
    "&#x41;",
    "&#0;",
    "&nbsp;",
    "&hellip;",
    "<meta charset=",
    "<plaintext>",
    "=\"",
    "'",
    "\r\n",
    "é",
    "<!doctype html>",
];
const CODE: &[&str] = &[
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "fn a() {",
    "def a():\n",
    "    ",
    "\n\n",
    "/*",
    "*/",
    "//",
    "\"",
    "'",
    "`",
    "if",
    "else ",
    "=>",
    "<T>",
    "::",
    ";",
    "#",
    "é",
    "\\",
];
const DETECT: &[&str] = &[
    "%PDF",
    "/Encrypt",
    "#!",
    "python",
    "<html",
    "<!doctype html",
    ".json",
    ".jsonl",
    ".MD",
    "/",
    "Makefile",
    "\u{feff}",
    "PK\u{3}\u{4}",
];
const CONFIG: &[&str] = &[
    "[",
    "]",
    "=",
    "\"",
    "\n",
    "input = ",
    "state = ",
    "[chunks]\n",
    "max-tokens = ",
    "[dataflow]\n",
    "'''",
    "\"\"\"",
    "\\u00e9",
    "1_000",
    "0x",
    "true",
    "log = ",
    "info,",
    "{",
    "}",
    ".",
    "é",
    "64KiB",
    "9999999999GB",
];
const IGNORE: &[&str] = &[
    "*", "**", "/", "!", "\\", "[", "]", "[a-", "{", "}", ",", "?", "\n", "#", "a", "**/", "/**",
    " ", "é",
];
const CONTROL: &[&str] = &[
    "{\"floodmark\":1,",
    "\"ask\":",
    "\"status\"",
    "{\"search\":",
    "\"query\":",
    "\"hits\":",
    "{\"wait\":",
    "\"path\":",
    "\"timeout_ms\":",
    "{\"retry-dead\":",
    "[",
    "]",
    "}",
    "\"",
    "18446744073709551616",
    "-1",
    "1e9",
];
const EMBED: &[&str] = &[
    "\"id\":",
    "\"file_path\":",
    "\"language\":",
    "\"content\":",
    "\"metadata\":",
    "{",
    "}",
    "\"",
    ",",
    "null",
    "\\ud800",
    "1e999",
    "[[[[[[",
    "\"embedding\":",
];

/// Whole words of at most eight letters, as a model's tokenizer would see them.
struct Words(usize);

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

fn options() -> Options {
    Options {
        max_record_bytes: 1 << 20,
        ..Options::default()
    }
}

/// A file of this format, read whole and cut into chunks.
fn document(bytes: &[u8], format: Format) {
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
        if let Ok(source) = std::str::from_utf8(bytes) {
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
    // Zeros may make it UTF-16, also where it could be read as UTF-8.
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

const LANGUAGES: [Language; 7] = [
    Language::Rust,
    Language::Python,
    Language::JavaScript,
    Language::Go,
    Language::Java,
    Language::C,
    Language::Other,
];

/// The first byte chooses the language.
fn code(bytes: &[u8]) {
    if let Some((first, rest)) = bytes.split_first() {
        let language = LANGUAGES[usize::from(*first) % LANGUAGES.len()];
        document(rest, Format::Code(language));
    }
}

/// A name up to the first zero byte, then the beginning of a file.
fn detect(bytes: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let at = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let name = Path::new(std::ffi::OsStr::from_bytes(&bytes[..at]));
    let look = &bytes[at..];
    if let Err(failure) = formats::detect(name, look) {
        assert!(!failure.reason.is_empty() && !failure.advice.is_empty());
    }
}

const FORMATS: [Format; 8] = [
    Format::Json,
    Format::Jsonl,
    Format::Csv,
    Format::Text,
    Format::Markdown,
    Format::Html,
    Format::Code(Language::Rust),
    Format::Code(Language::Other),
];

fn segments(
    bytes: &[u8],
    format: Format,
    options: &Options,
    resumes: bool,
) -> Result<Vec<Segment>, SegmentError> {
    let size = bytes.len() as u64;
    let open = |at: &Resume| Segmenter::new(Cursor::new(bytes), format, size, options, at);
    let mut segmenter = open(&Resume::default());
    let mut found: Vec<Segment> = Vec::new();
    while let Some(segment) = segmenter.next_segment()? {
        assert!(found.len() <= bytes.len(), "more segments than bytes");
        if resumes {
            segmenter = open(&segment.next);
        }
        found.push(segment);
    }
    Ok(found)
}

/// What a file says of each record, wherever it was cut.
fn records(parsed: Parsed, segment: Option<&Segment>) -> Vec<(u64, String)> {
    let (bytes, record) = segment.map_or((0, 0), |s| (s.byte_base, s.record_base));
    let mut all: Vec<(u64, String)> = parsed
        .documents
        .iter()
        .map(|d| {
            let range = if d.text.is_empty() {
                d.range.clone()
            } else {
                d.map.range(0..d.text.len())
            };
            let (start, end) = (range.start as i64 + bytes, range.end as i64 + bytes);
            let what = format!("{:?} {:?} {start} {end} {}", d.id, d.text, d.metadata);
            (d.record + record, what)
        })
        .chain(
            parsed
                .failures
                .iter()
                .map(|f| (f.record.unwrap_or(0) + record, f.reason.clone())),
        )
        .collect();
    all.sort();
    all
}

/// Three bytes choose format and limits; the rest is a file, which reads the same however it is cut.
fn cuts(bytes: &[u8]) {
    let [format, documents, size, bytes @ ..] = bytes else {
        return;
    };
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    let options = Options {
        segment_documents: 1 + usize::from(*documents) % 8,
        segment_bytes: 1 + usize::from(*size),
        ..options()
    };
    let (through, resumed) = (
        segments(bytes, format, &options, false),
        segments(bytes, format, &options, true),
    );
    let pieces = match (through, resumed) {
        (Ok(through), Ok(resumed)) => {
            assert_eq!(
                through, resumed,
                "a reading that was broken off goes on elsewhere"
            );
            through
        }
        (Err(SegmentError::Failure(_)), Err(SegmentError::Failure(_))) => return,
        (through, resumed) => panic!("{through:?} or, resumed, {resumed:?}"),
    };
    assert!(!pieces.is_empty(), "a file has a segment");
    for (at, piece) in pieces.iter().enumerate() {
        assert_eq!(piece.last, at + 1 == pieces.len(), "one last segment");
    }
    if matches!(format, Format::Text | Format::Markdown | Format::Code(_)) {
        let joined: Vec<u8> = pieces.iter().flat_map(|p| p.bytes.clone()).collect();
        assert!(joined == bytes, "a text lost bytes where it was cut");
    }
    let Ok(whole) = formats::parse(bytes, format, &Piece::Whole, &options) else {
        return;
    };
    let is_cut = match format {
        Format::Json | Format::Jsonl => true,
        // In another encoding than UTF-8 each segment guesses for itself which one it is.
        Format::Csv => std::str::from_utf8(bytes).is_ok(),
        _ => false,
    };
    if !is_cut {
        return;
    }
    let mut found = Vec::new();
    for piece in &pieces {
        match formats::parse(&piece.bytes, format, &piece.piece, &options) {
            Ok(parsed) => found.extend(records(parsed, Some(piece))),
            // What no text has may all lie in one piece, and be too little to matter in the whole.
            Err(failure) if failure.reason == "binary" => return,
            Err(failure) => panic!("a piece of a good file is bad: {failure:?}"),
        }
    }
    found.sort();
    assert_eq!(
        found,
        records(whole, None),
        "cut up, a file reads differently"
    );
}

/// The first byte chooses the format; the rest is repeated to two sizes. Eight times as much may not take more than some
/// twenty times as long.
fn growth(bytes: &[u8]) {
    let Some((first, unit)) = bytes.split_first().filter(|(_, unit)| !unit.is_empty()) else {
        return;
    };
    let formats: Vec<Format> = FORMATS
        .into_iter()
        .chain(LANGUAGES.map(Format::Code))
        .collect();
    let format = formats[usize::from(*first) % formats.len()];
    grows(unit, format, 4 << 10);
}

/// Reads `unit`, repeated to `size` bytes and to eight times that.
pub fn grows(unit: &[u8], format: Format, size: usize) {
    let took = |size: usize| {
        let bytes: Vec<u8> = unit.iter().copied().cycle().take(size).collect();
        let before = cpu_ns();
        read(&bytes, format);
        cpu_ns().saturating_sub(before)
    };
    let (small, large) = (took(size), took(8 * size));
    let text = String::from_utf8_lossy(&unit[..unit.len().min(40)]);
    // Within a window of the splitter some things do grow faster. Less than a second is not worth a word.
    assert!(
        large < 1_000_000_000 || large / small.max(1) < 24,
        "{format:?}: {text:?} repeated to {size} bytes takes {} ms, eight times as much {} ms",
        small / 1_000_000,
        large / 1_000_000
    );
}

/// As a run reads a file: cut into segments, each parsed and split.
fn read(bytes: &[u8], format: Format) {
    let Ok(pieces) = segments(bytes, format, &options(), false) else {
        return;
    };
    for piece in pieces {
        let parsed = formats::parse(&piece.bytes, format, &piece.piece, &options());
        for document in parsed.iter().flat_map(|parsed| &parsed.documents) {
            let _ = formats::split(document, &ChunkOptions::default(), &Words(254));
        }
    }
}

/// Time that this thread has spent on the processor: another's work beside it does not count. Zero where nobody says.
fn cpu_ns() -> u64 {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .unwrap_or(0)
}

/// A folder for what must lie in a file to be read; one a thread.
fn scratch() -> PathBuf {
    thread_local! {
        static SCRATCH: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let made = || tempfile::tempdir().expect("a temporary folder");
        scratch.get_or_insert_with(made).path().to_owned()
    })
}

/// A configuration file up to the first zero byte, then NAME=VALUE for the environment.
fn config(bytes: &[u8]) {
    use std::os::unix::ffi::OsStringExt;
    let mut parts = bytes.split(|b| *b == 0);
    let file = scratch().join("floodmark.toml");
    fs::write(&file, parts.next().unwrap_or_default()).expect("a file to read");
    let pair = |part: &[u8]| {
        let at = part.iter().position(|b| *b == b'=')?;
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let name = [b"FLOODMARK_", &part[..at]].concat();
        Some((text(&name), text(&part[at + 1..])))
    };
    let layers = floodmark::config::Layers {
        config: Some(file),
        environment: parts.filter_map(pair).collect(),
        ..Default::default()
    };
    match layers.resolve() {
        Ok(config) => assert!(config.workers >= 1),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An ignore file, and a path that it may name.
fn ignore_file(bytes: &[u8]) {
    use floodmark::sources::{Roots, Selection, SourceOptions};
    let folder = scratch().join("ignored");
    fs::create_dir_all(folder.join("a/b")).expect("a folder");
    fs::write(folder.join("a/b/c.txt"), "x").expect("a file");
    fs::write(folder.join(".gitignore"), bytes).expect("an ignore file");
    let lines = || {
        bytes
            .split(|b| *b == b'\n')
            .map(|l| String::from_utf8_lossy(l).into_owned())
    };
    for include in [Vec::new(), lines().take(20).collect()] {
        let sources = SourceOptions {
            inputs: vec![folder.clone()],
            include,
            ..SourceOptions::default()
        };
        let state = scratch();
        let roots = Roots::resolve(&sources, &state.join("state")).expect("a root");
        if let Ok(selection) = Selection::new(&sources, roots, &state.join("state")) {
            let _ = selection.admits(0, Path::new("a/b/c.txt"));
            let _ = selection.look(0, Path::new("a/b/c.txt"));
        }
    }
}

struct Flat;

impl Embedder for Flat {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        texts
            .iter()
            .map(|_| Ok(Vector::from([0.6, -0.8])))
            .collect()
    }
}

/// A small, good store in one file, as bytes: an array, a page, and a file that can't be read.
fn good_store() -> &'static [u8] {
    static STORE: OnceLock<Vec<u8>> = OnceLock::new();
    STORE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (input, state) = (folder.path().join("in"), folder.path().join("state"));
        fs::create_dir(&input).expect("a folder");
        fs::write(
            input.join("a.json"),
            r#"[{"id":1,"text":"ebb and flood"},{"n":2}]"#,
        )
        .expect("a file");
        fs::write(input.join("b.md"), "# Tides\n\nAt noon it was high.").expect("a file");
        fs::write(input.join("c.json"), "{").expect("a file");
        let engine = Engine {
            embedders: vec![Box::new(Flat)],
            tokens: Arc::new(Words(40)),
            tokenizer: "words".into(),
            key: ModelKey {
                id: "flat".into(),
                dimension: 2,
            },
            ward: None,
        };
        let mut options = worker::Options::new(worker::Mode::Once, &state, vec![input]);
        options.clock = || 0;
        let stop = Arc::new(|why: String| panic!("{why}"));
        let run = worker::Run::start(options, engine, Vec::new(), stop).expect("a run");
        run.join().expect("its end");
        let copy = folder.path().join("copy");
        rusqlite::Connection::open(state.join("store.sqlite"))
            .and_then(|store| store.execute("VACUUM INTO ?1", [copy.to_string_lossy()]))
            .expect("a copy in one file");
        fs::read(copy).expect("its bytes")
    })
}

/// Three bytes of place and one of value are written over a good store, as often as they come; then all is asked of it.
fn store(bytes: &[u8]) {
    let folder = scratch().join("state");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let mut file = good_store().to_vec();
    for change in bytes.as_chunks::<4>().0 {
        let [high, middle, low, value] = *change;
        let at = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let at = at % file.len();
        file[at] = value;
    }
    fs::write(folder.join("store.sqlite"), file).expect("a store's file");
    let Ok(snapshot) = Reader::open(&folder).and_then(|reader| reader.snapshot()) else {
        return;
    };
    let _ = snapshot.status();
    let _ = snapshot.check();
    let _ = snapshot.recover(&|_| true);
    let _ = snapshot.changes(0);
    let _ = snapshot.dead();
    let _ = snapshot.files(None);
    let _ = snapshot.export(true, |_| Ok(()));
}

/// A line on the control socket.
fn control(bytes: &[u8]) {
    if let Ok(ask) = floodmark::control::read_ask(bytes) {
        assert!(!format!("{ask:?}").is_empty());
    }
}

/// A line of `floodmark embed`.
fn embed(bytes: &[u8]) {
    match floodmark::embed::text_of(1, bytes) {
        Ok(text) => assert!(text.len() <= bytes.len()),
        Err(error) => assert!(!error.reason.is_empty() && error.line == 1),
    }
}
