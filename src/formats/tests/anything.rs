//! Any bytes, and any file cut anyhow.

use super::*;

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
