//! What holds for every format: nothing panics, and a file cut up reads as the file.

mod anything;
mod cuts;
mod encodings;
mod records;

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use proptest::prelude::*;

use super::*;
use crate::store::row::{Failure, Resume};

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

fn read(bytes: &[u8], format: Format) -> Result<Parsed, Failure> {
    parse(bytes, format, &Piece::Whole, &Options::default())
}

/// Segments until the end; each from a segmenter of its own if `resumes`.
fn segments(
    bytes: &[u8],
    format: Format,
    options: &Options,
    resumes: bool,
) -> Result<Vec<Segment>, SegmentError> {
    let open = |resume: &Resume| {
        Segmenter::new(
            Cursor::new(bytes),
            format,
            bytes.len() as u64,
            options,
            resume,
        )
    };
    let mut segmenter = open(&Resume::default());
    let mut found: Vec<Segment> = Vec::new();
    while let Some(segment) = segmenter.next_segment()? {
        if resumes {
            segmenter = open(&segment.next);
        }
        found.push(segment);
        assert!(found.len() <= bytes.len() + 1, "more segments than bytes");
    }
    Ok(found)
}

/// A document as it stands in the file: id, text, range of the text, metadata.
type Found = (Option<String>, String, i64, i64, String);

/// A document, or the reason and line of a failure, of one record of the file.
#[derive(Debug, PartialEq)]
struct Told {
    record: u64,
    what: Result<Found, (String, Option<u64>)>,
}

fn told(parsed: Parsed, byte_base: i64, record_base: u64, line_base: u64) -> Vec<Told> {
    let documents = parsed.documents.into_iter().map(|d| {
        let range = if d.text.is_empty() {
            d.range
        } else {
            d.map.range(0..d.text.len())
        };
        let (start, end) = (range.start as i64 + byte_base, range.end as i64 + byte_base);
        Told {
            record: d.record + record_base,
            what: Ok((d.id, d.text, start, end, d.metadata)),
        }
    });
    let failures = parsed.failures.into_iter().map(|f| Told {
        record: f.record.unwrap() + record_base,
        what: Err((f.reason, f.line.map(|line| line + line_base))),
    });
    let mut told: Vec<Told> = documents.chain(failures).collect();
    told.sort_by_key(|told| told.record);
    told
}

fn small(segment_documents: usize, segment_bytes: usize) -> Options {
    Options {
        segment_documents,
        segment_bytes,
        ..Options::default()
    }
}

/// The file read whole and the file read in pieces tell the same.
fn check_cuts(bytes: &[u8], format: Format, options: &Options) {
    let whole = read(bytes, format).map(|parsed| told(parsed, 0, 0, 0));
    for resumes in [false, true] {
        let pieces = segments(bytes, format, options, resumes);
        let expect = match &whole {
            Ok(expect) => expect,
            // A broken file may be told by the segmenter or by the parser; but it is told.
            Err(_) => match pieces {
                Err(SegmentError::Failure(_)) => continue,
                Err(SegmentError::Io(error)) => panic!("{error}"),
                Ok(pieces) => {
                    let bad = |s: &Segment| parse(&s.bytes, format, &s.piece, options).is_err();
                    assert!(pieces.iter().any(bad), "a broken file went unnoticed");
                    continue;
                }
            },
        };
        let pieces = pieces.unwrap();
        let mut found = Vec::new();
        for segment in &pieces {
            let parsed = parse(&segment.bytes, format, &segment.piece, options).unwrap();
            found.extend(told(
                parsed,
                segment.byte_base,
                segment.record_base,
                segment.line_base,
            ));
        }
        assert_eq!(&found, expect, "resumes: {resumes}");
        let last: Vec<bool> = pieces.iter().map(|s| s.last).collect();
        assert_eq!(
            last.iter().position(|l| *l),
            Some(last.len() - 1),
            "one last segment"
        );
        for (number, segment) in pieces.iter().enumerate() {
            assert_eq!(segment.next.segment as usize, number + 1);
        }
    }
}
