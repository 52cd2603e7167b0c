//! Files cut into segments: the same however they are cut, and in time that grows with the file.

use std::fs;
use std::io::Cursor;

use floodmark::formats::{
    self, ChunkOptions, Format, Language, Options, Parsed, Piece, Segment, SegmentError, Segmenter,
};
use floodmark::store::row::Resume;

use super::documents::{LANGUAGES, Words};
use super::options;

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
pub fn cuts(bytes: &[u8]) {
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
pub fn growth(bytes: &[u8]) {
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
