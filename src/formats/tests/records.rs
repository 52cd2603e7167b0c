//! Records: their fields, and those that are bad.

use super::*;

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
