//! Bytes that are no UTF-8.

use super::*;

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
    assert_eq!(
        parsed.documents[0].metadata,
        r#"{"encoding":"windows-1252"}"#
    );
    let named = encoding_rs::WINDOWS_1252
        .encode("text,encoding\nGröße und Höhe überall,ours\n")
        .0;
    let parsed = read(&named, Format::Csv).unwrap();
    assert_eq!(parsed.documents[0].metadata, r#"{"encoding":"ours"}"#);
}

/// ASCII first, then much text in an encoding, then single letters by which nobody could tell it.
#[test]
fn a_table_that_is_no_utf8_is_read_in_one_encoding() {
    let rows = |row: &str| format!("{row}\n").repeat(20);
    for (encoding, much, little) in [
        (
            encoding_rs::WINDOWS_1251,
            "Прилив поднимается дважды в день, и вода уходит",
            "№",
        ),
        (
            encoding_rs::SHIFT_JIS,
            "これは日本語の文章です。漢字とカタカナ",
            "ｱ",
        ),
    ] {
        let ascii = rows("the tide rises");
        let text = format!("text\n{ascii}{}{ascii}{}", rows(much), rows(little));
        let (bytes, _, lost) = encoding.encode(&text);
        assert!(!lost);
        let alone = format!("text\n{}", rows(little));
        let alone = Charset::guess(&encoding.encode(&alone).0);
        assert_ne!(alone, Charset(encoding));
        let options = small(20, 1 << 20);
        let pieces = segments(&bytes, Format::Csv, &options, false).unwrap();
        assert_eq!(
            pieces,
            segments(&bytes, Format::Csv, &options, true).unwrap()
        );
        let told: Vec<Piece> = pieces.iter().map(|segment| segment.piece).collect();
        let encoded = Piece::Encoded(Charset(encoding));
        assert_eq!(told, [Piece::Whole, encoded, Piece::Whole, encoded]);
        let last = parse(&pieces[3].bytes, Format::Csv, &pieces[3].piece, &options).unwrap();
        assert_eq!(last.documents.len(), 20);
        assert_eq!(last.documents[0].text, little);
        assert_eq!(
            last.documents[0].metadata,
            format!(r#"{{"encoding":"{}"}}"#, encoding.name())
        );
    }
}

#[test]
fn where_a_reading_goes_on_names_the_encoding_also_for_the_next_process() {
    let resume = Resume {
        offset: 7,
        encoding: Some(Charset(encoding_rs::SHIFT_JIS)),
        ..Resume::default()
    };
    let json = serde_json::to_string(&resume).unwrap();
    assert_eq!(serde_json::from_str::<Resume>(&json).unwrap(), resume);
    // Of a process that knew of none.
    let older = json.replace(r#","encoding":"Shift_JIS""#, "");
    assert_ne!(older, json);
    let read: Resume = serde_json::from_str(&older).unwrap();
    assert_eq!(read.encoding, None);
}
