//! What holds for every format: nothing panics, and a file cut up reads as the file.

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

#[test]
fn a_small_file_is_one_segment() {
    for format in FORMATS {
        for bytes in ["", "[\"a\", 1]\n", "\u{feff}\"a\"\n\n"] {
            let found = segments(bytes.as_bytes(), format, &Options::default(), false).unwrap();
            assert_eq!(found.len(), 1, "{format:?} {bytes:?}");
            assert_eq!(
                (found[0].bytes.as_slice(), found[0].piece),
                (bytes.as_bytes(), Piece::Whole)
            );
            assert!(found[0].last);
            assert_eq!(
                segments(b"x", format, &Options::default(), true)
                    .unwrap()
                    .len(),
                1
            );
        }
        for nothing in [&b""[..], b" \n\n "] {
            match read(nothing, format) {
                Err(failure) if format == Format::Json => {
                    assert_eq!(failure.reason, "invalid-json", "JSON is one value");
                }
                read => assert_eq!(read, Ok(Parsed::default()), "{format:?}"),
            }
        }
    }
}

#[test]
fn fields_become_text_title_id_and_metadata() {
    let check =
        |json: &str, options: &Options, expect: (Option<&str>, Option<&str>, &str, &str)| {
            let parsed = parse(json.as_bytes(), Format::Json, &Piece::Whole, options).unwrap();
            let d = &parsed.documents[0];
            assert_eq!(
                (d.id.as_deref(), d.title.as_deref(), &*d.text, &*d.metadata),
                expect,
                "{json}"
            );
        };
    let usual = Options::default();
    check(
        r#"{"_id": 7, "Title": " T ", "text": "B", "n": [1, 2]}"#,
        &usual,
        (Some("7"), Some("T"), " T \n\nB", r#"{"n":[1,2]}"#),
    );
    check(
        r#"{"title": "T", "text": ""}"#,
        &usual,
        (None, Some("T"), "T", "{}"),
    );
    check(
        r#"{"text": ["a", "b"], "text": "c"}"#,
        &usual,
        (None, None, "c", "{}"),
    );
    check(
        r#"{"text": ["a", "b\n"]}"#,
        &usual,
        (None, None, "a\nb\n", "{}"),
    );
    let text = (
        None,
        Some("Ann"),
        "Ann\nOslo",
        r#"{"name":"Ann","age":5,"city":"Oslo"}"#,
    );
    check(r#"{"name": "Ann", "age": 5, "city": "Oslo"}"#, &usual, text);
    check(r#""just \u00e9""#, &usual, (None, None, "just é", "{}"));
    let chosen = Options {
        text_fields: vec!["b".into(), "a".into()],
        ..usual
    };
    check(
        r#"{"a": "1", "b": "2", "text": "3"}"#,
        &chosen,
        (None, None, "2\n\n1", r#"{"text":"3"}"#),
    );
}

#[test]
fn bad_records_are_told_and_the_others_go_on() {
    let jsonl = b"{\"text\":\"a\"}\n\n{\"text\":\n[1]\n\xff\n{}\n\"b\"\r\n";
    let parsed = read(jsonl, Format::Jsonl).unwrap();
    let failures: Vec<_> = parsed
        .failures
        .iter()
        .map(|f| (&*f.reason, f.record.unwrap(), f.line.unwrap()))
        .collect();
    let expect = [
        ("invalid-json", 1, 3),
        ("no-text", 2, 4),
        ("encoding", 3, 5),
        ("no-text", 4, 6),
    ];
    assert_eq!(failures, expect);
    assert_eq!(
        parsed
            .documents
            .iter()
            .map(|d| d.record)
            .collect::<Vec<_>>(),
        [0, 5]
    );

    let parsed = read(b"[\"a\",\n null, {\"text\": \"b\"}]", Format::Json).unwrap();
    assert_eq!(parsed.documents.len(), 2);
    assert_eq!(
        (parsed.failures[0].record, parsed.failures[0].line),
        (Some(1), Some(2))
    );
}

#[test]
fn broken_files_are_told_with_their_line() {
    let check = |bytes: &[u8], reason: &str, line| {
        let failure = read(bytes, Format::Json).unwrap_err();
        assert_eq!(
            (&*failure.reason, failure.line),
            (reason, Some(line)),
            "{failure:?}"
        );
    };
    check(b"[1,\n2", "invalid-json", 2);
    check(b"\n\n{\"a\" 1}", "invalid-json", 3);
    check(b"{}\n{}", "invalid-json", 2);
    check(b"\"\xe9\"", "encoding", 1);
    check("[\n".repeat(100_000).as_bytes(), "too-deep", 128);
    let deep = format!("\"x\"\n{}\n", "{\"a\":".repeat(200));
    assert_eq!(
        read(deep.as_bytes(), Format::Jsonl).unwrap().failures[0].reason,
        "too-deep"
    );

    let options = small(2, 20);
    for (json, line) in [
        ("[1,\n2,\n3,\n tru]", 4),
        ("[1,\n2,3,4] x", 2),
        ("[1,2,3,}", 1),
        ("[1,2\n,3,]", 2),
    ] {
        let found = segments(json.as_bytes(), Format::Json, &options, false);
        let Err(SegmentError::Failure(failure)) = found else {
            panic!("{json}: {found:?}")
        };
        assert_eq!(
            (&*failure.reason, failure.line),
            ("invalid-json", Some(line)),
            "{json}"
        );
    }
}

#[test]
fn a_record_that_is_too_long_is_left_out() {
    let options = Options {
        max_record_bytes: 30,
        ..small(10, 25)
    };
    let long = "x".repeat(200_000);
    for (format, text, lines) in [
        (
            Format::Jsonl,
            format!("\"a\"\n\"{long}\"\n\"b\"\n"),
            [1, 2, 3],
        ),
        (
            Format::Csv,
            format!("text\na\n\"{long}\n{long}\"\nb\n"),
            [2, 3, 5],
        ),
        (
            Format::Json,
            format!("[\"a\",\n\"{long}\" ,\"b\"]"),
            [1, 2, 2],
        ),
    ] {
        for resumes in [false, true] {
            let found = segments(text.as_bytes(), format, &options, resumes).unwrap();
            let pieces: Vec<Piece> = found.iter().map(|s| s.piece).collect();
            assert_eq!(pieces[1], Piece::TooLong, "{format:?}");
            let parsed: Vec<Parsed> = found
                .iter()
                .map(|s| parse(&s.bytes, format, &s.piece, &options).unwrap())
                .collect();
            assert_eq!(parsed[0].documents[0].text, "a");
            assert_eq!(parsed[1].failures[0].reason, "too-large");
            let line = parsed[1].failures[0].line.unwrap() + found[1].line_base;
            assert_eq!((line, found[1].record_base), (lines[1], 1), "{format:?}");
            assert_eq!(parsed[2].documents[0].text, "b");
            assert_eq!(found[2].record_base, 2);
            assert!(found.iter().all(|s| s.bytes.len() < 200));
        }
    }
    let whole = Options {
        max_file_bytes: 10,
        ..small(10, 5)
    };
    for (format, bytes) in [
        (Format::Html, &[b'x'; 11][..]),
        (Format::Text, b"caf\xe9 caf\xe9 caf\xe9"),
    ] {
        let found = segments(bytes, format, &whole, false);
        assert!(
            matches!(found, Err(SegmentError::Failure(f)) if f.reason == "too-large"),
            "{format:?}"
        );
    }
}

/// Yields `repeat` copies of a line without holding them, and counts what is asked of it.
struct Endless {
    line: &'static [u8],
    size: u64,
    at: u64,
}

impl Read for Endless {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = to.len().min((self.size - self.at) as usize);
        for (i, byte) in to[..len].iter_mut().enumerate() {
            *byte = self.line[((self.at + i as u64) % self.line.len() as u64) as usize];
        }
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for Endless {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else {
            unimplemented!()
        };
        self.at = at;
        Ok(at)
    }
}

#[test]
fn a_huge_file_is_resumed_far_in_without_reading_up_to_there() {
    let line = b"{\"text\":\"the tide\"}\n";
    let size = 10 * (1 << 30) / 20 * 20;
    let resume = Resume {
        offset: size - 2000,
        segment: 7,
        record: 9,
        line: 9,
        ..Resume::default()
    };
    let mut segmenter = Segmenter::new(
        Endless { line, size, at: 0 },
        Format::Jsonl,
        size,
        &Options::default(),
        &resume,
    );
    let first = segmenter.next_segment().unwrap().unwrap();
    assert_eq!(
        (first.bytes.len(), first.byte_base as u64, first.record_base),
        (1000, size - 2000, 9)
    );
    let second = segmenter.next_segment().unwrap().unwrap();
    assert!(second.last);
    assert_eq!(
        (second.next.offset, second.next.record, second.next.segment),
        (size, 109, 9)
    );
    assert!(segmenter.next_segment().unwrap().is_none());
}

#[test]
fn an_io_error_passes_through() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }
    for format in FORMATS {
        let resume = Resume::default();
        let mut segmenter = Segmenter::new(Failing, format, 10, &Options::default(), &resume);
        assert!(
            matches!(segmenter.next_segment(), Err(SegmentError::Io(_))),
            "{format:?}"
        );
        assert!(matches!(segmenter.next_segment(), Ok(None)), "{format:?}");
    }
}

#[test]
fn text_in_another_encoding_maps_back() {
    let text = "Die Flut stieg. Größe und Höhe.";
    let wide: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(text.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    for (format, bytes, name) in [
        (Format::Text, wide.clone(), "UTF-16LE"),
        (
            Format::Markdown,
            encoding_rs::WINDOWS_1252.encode(text).0.into_owned(),
            "windows-1252",
        ),
        (Format::Code(Language::Other), wide, "UTF-16LE"),
    ] {
        let parsed = read(&bytes, format).unwrap();
        let document = &parsed.documents[0];
        assert_eq!(document.text, text);
        assert_eq!(document.metadata, format!("{{\"encoding\":\"{name}\"}}"));
        let encoding = encoding_rs::Encoding::for_label(name.as_bytes()).unwrap();
        let at = text.find("Größe").unwrap();
        let source = &bytes[document.map.range(at..at + "Größe".len())];
        assert_eq!(encoding.decode_without_bom_handling(source).0, "Größe");
    }
    let csv = encoding_rs::WINDOWS_1252
        .encode("text\nGröße und Höhe überall\n")
        .0
        .into_owned();
    let parsed = read(&csv, Format::Csv).unwrap();
    assert_eq!(parsed.documents[0].map.range(0..7), 5..10);
}

/// JSON values of every shape.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        "[a\"\\\\\n,\\[\\]{}é😀]{0,12}".prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let name = prop::sample::select(vec!["id", "title", "text", "a", "b\"", "é"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((name.prop_map(str::to_owned), inner), 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// JSON as others write it: everything beyond ASCII escaped.
fn escaped(value: &serde_json::Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units)
                .iter()
                .for_each(|u| out.push_str(&format!("\\u{u:04x}")));
        }
    }
    out
}

proptest! {
    #[test]
    fn nothing_panics(bytes: Vec<u8>, documents in 1usize..4, size in 1usize..50) {
        let options = Options { max_record_bytes: 40, ..small(documents, size) };
        for format in FORMATS {
            for piece in [Piece::Whole, Piece::Elements, Piece::Continued, Piece::TooLong] {
                let _ = parse(&bytes, format, &piece, &options);
            }
            let _ = segments(&bytes, format, &options, true);
        }
    }

    #[test]
    fn nothing_panics_on_what_looks_right(text in "([\\[\\]{}\",:\\\\u0-9a-f \n#<>&;/é|-]|true|---\n|```\n|<p>|\\\\ud800){0,60}", documents in 1usize..4, size in 1usize..50) {
        let bytes = text.as_bytes();
        for format in FORMATS {
            let parsed = read(bytes, format);
            for document in parsed.iter().flat_map(|p| &p.documents) {
                serde_json::from_str::<serde_json::Value>(&document.metadata).unwrap();
                let mut start = 0;
                for (at, c) in document.text.char_indices() {
                    let range = document.map.range(at..at + c.len_utf8());
                    prop_assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
                    prop_assert!(matches!(format, Format::Json | Format::Jsonl | Format::Csv) || range.start >= start);
                    start = range.start;
                }
            }
            let _ = segments(bytes, format, &small(documents, size), true);
        }
    }

    #[test]
    fn lines_cut_up_read_the_same(values in prop::collection::vec(prop_oneof![json().prop_map(|v| v.to_string()), json().prop_map(|v| escaped(&v)), "[{}\" a]{0,5}"], 0..12), end in "[\r\n ]{0,2}", documents in 1usize..5, size in 1usize..80) {
        let text = values.join("\n") + &end;
        check_cuts(text.as_bytes(), Format::Jsonl, &small(documents, size));
    }

    #[test]
    fn an_array_cut_up_reads_the_same(values in prop::collection::vec(json(), 0..12), between in "[ \n]{0,2},[ \n]{0,2}", documents in 1usize..5, size in 1usize..80, broken in prop::option::of((0usize..200, "[\\[\\]{}\",]"))) {
        let values: Vec<String> = values.iter().map(|v| v.to_string()).collect();
        let mut text = format!(" [{}]\n", values.join(&between));
        if let Some((at, insert)) = broken {
            let at = text.floor_char_boundary(at.min(text.len()));
            text.insert_str(at, &insert);
        }
        check_cuts(text.as_bytes(), Format::Json, &small(documents, size));
    }

    #[test]
    fn rows_cut_up_read_the_same(header in "id[,;]text[,;]x", text in "([ab,;\"é\r\n]|\r\n|\"a\n\"){0,60}", documents in 1usize..5, size in 1usize..40) {
        let text = format!("{header}\n{text}");
        check_cuts(text.as_bytes(), Format::Csv, &small(documents, size));
    }

    #[test]
    fn a_text_cut_up_is_all_there(text in "([a-z# é日]{0,9}\r?\n){0,40}[a-zé]{0,40}", size in 1usize..60, markdown: bool) {
        let format = if markdown { Format::Markdown } else { Format::Text };
        for resumes in [false, true] {
            let found = segments(text.as_bytes(), format, &small(1, size), resumes).unwrap();
            let mut joined = Vec::new();
            for segment in &found {
                prop_assert_eq!(segment.byte_base as usize, joined.len());
                prop_assert!(segment.bytes.len() <= size.max(4));
                prop_assert!(std::str::from_utf8(&segment.bytes).is_ok());
                joined.extend_from_slice(&segment.bytes);
            }
            prop_assert_eq!(&joined, text.as_bytes());
        }
    }

    #[test]
    fn a_strings_range_reads_as_the_text(words in "[ab\"\\\\\n\té😀]{1,30}", cut in (0usize..60, 0usize..60)) {
        let line = escaped(&serde_json::json!({ "n": 1, "text": words }));
        let parsed = read(line.as_bytes(), Format::Jsonl).unwrap();
        let document = &parsed.documents[0];
        prop_assert_eq!(&document.text, &words.clone());
        let (a, b) = (words.floor_char_boundary(cut.0.min(words.len())), words.floor_char_boundary(cut.1.min(words.len())));
        let (from, to) = (a.min(b), a.max(b));
        let source = &line[document.map.range(from..to)];
        let read_back: String = serde_json::from_str(&format!("\"{source}\"")).unwrap();
        prop_assert_eq!(&read_back, &words[from..to]);
    }
}
