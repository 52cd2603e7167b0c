//! A content to its documents, whatever the format.

use super::encoding::{decode, decode_as, is_binary};
use super::failure::{At, failure};
use super::{
    Document, Format, Kind, Language, Options, Parsed, Piece, SourceMap, csv, html, json, markdown,
};
use crate::store::row::Failure;

/// The documents of a content, and its records that can't be indexed. Empty bytes are no documents and no
/// failure, except where they are no value (JSON).
///
/// # Errors
///
/// When nothing of the content can be read: JSON that is invalid, too deep or not UTF-8; a text that is none.
pub fn parse(
    bytes: &[u8],
    format: Format,
    piece: &Piece,
    options: &Options,
) -> Result<Parsed, Failure> {
    if *piece == Piece::TooLong {
        return Ok(Parsed {
            documents: Vec::new(),
            failures: vec![too_long(bytes)],
        });
    }
    match format {
        Format::Json if *piece == Piece::Elements => return json::parse_elements(bytes, options),
        Format::Json => return json::parse_json(bytes, options),
        Format::Jsonl => return Ok(json::parse_jsonl(bytes, options)),
        _ => {}
    }
    if is_binary(bytes) {
        return Err(binary());
    }
    let declared = if format == Format::Html {
        html::declared_encoding(bytes)
    } else {
        None
    };
    let decoded = match piece {
        Piece::Encoded(charset) => decode_as(bytes, *charset),
        _ => decode(bytes, declared),
    };
    if format == Format::Csv {
        let mut parsed = csv::parse_csv(&decoded.text, options);
        if let Some(outer) = &decoded.map {
            for document in &mut parsed.documents {
                document.range = outer.range(document.range.clone());
                document.map = std::mem::take(&mut document.map).through(Some(outer.clone()));
                name_encoding(document, decoded.name);
            }
        }
        return Ok(parsed);
    }
    let mut document = match format {
        Format::Html => html::parse_html(&decoded.text, decoded.map, bytes.len()),
        _ => whole(&decoded.text, decoded.map, format, piece, bytes.len()),
    };
    if let Some(document) = &mut document {
        name_encoding(document, decoded.name);
    }
    Ok(Parsed {
        documents: document.into_iter().collect(),
        failures: Vec::new(),
    })
}

/// Text, Markdown or code: the whole text is one document.
fn whole(
    text: &str,
    outer: Option<std::sync::Arc<SourceMap>>,
    format: Format,
    piece: &Piece,
    bytes: usize,
) -> Option<Document> {
    let mark = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut from = mark;
    let mut title = None;
    let mut metadata = serde_json::Map::new();
    let kind = match format {
        Format::Markdown => {
            let outline = markdown::outline(&text[mark..], *piece == Piece::Continued);
            from += outline.body;
            (title, metadata) = (outline.title, outline.metadata);
            Kind::Markdown
        }
        Format::Code(language) => {
            if language != Language::Other {
                let name = serde_json::to_value(language).unwrap_or_default();
                metadata.insert("language".into(), name);
            }
            Kind::Code(language)
        }
        _ => Kind::Prose,
    };
    let body = &text[from..];
    (!body.trim().is_empty()).then(|| Document {
        id: None,
        record: 0,
        title,
        text: body.to_owned(),
        map: SourceMap::linear(body.len(), from).through(outer),
        range: 0..bytes,
        metadata: serde_json::Value::Object(metadata).to_string(),
        kind,
    })
}

/// A text that is not UTF-8 says what it was taken for: a wrong guess can be seen. One that has something of that name keeps it.
fn name_encoding(document: &mut Document, name: Option<&str>) {
    if let Some(name) = name
        && !document.metadata.contains("\"encoding\":")
    {
        let rest = &document.metadata[1..];
        let comma = if rest == "}" { "" } else { "," };
        document.metadata = format!("{{\"encoding\":\"{name}\"{comma}{rest}");
    }
}

pub(crate) fn binary() -> Failure {
    failure(
        "binary",
        "the file is not text",
        "exclude it, or convert it to text if it has any",
    )
}

/// The note that stands in for a record that was not read: its size and limit, and a hash, so that a changed record is
/// another content.
pub(crate) fn too_long_note(bytes: u64, limit: usize, hash: &str) -> Vec<u8> {
    format!("{bytes} {limit} {hash}").into_bytes()
}

fn too_long(note: &[u8]) -> Failure {
    let note = String::from_utf8_lossy(note);
    let mut parts = note.split(' ');
    let (bytes, limit) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    failure(
        "too-large",
        format!("the record has {bytes} bytes, the limit is {limit}"),
        "raise max_record_bytes, or look for a quote or bracket that is never closed",
    )
    .record(0)
    .line(1)
}
