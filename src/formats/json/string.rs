//! JSON strings to text, and JSON values to metadata.

use std::borrow::Cow;

use super::scan::is_space;
use crate::formats::source_map::MappedText;

/// Appends the text of a valid JSON string. `inner` stands between the quotes and begins at `at` in the content.
/// Half of a surrogate pair, which JSON can write and text can't hold, becomes U+FFFD.
pub(crate) fn unescape(inner: &str, at: usize, to: &mut MappedText) {
    let mut done = 0;
    while let Some(plain) = inner[done..].find('\\') {
        to.copy(&inner[done..done + plain], at + done);
        done += plain;
        let (c, len) = escape(&inner.as_bytes()[done..]);
        to.decode(c.encode_utf8(&mut [0; 4]), at + done..at + done + len);
        done += len;
    }
    to.copy(&inner[done..], at + done);
}

/// The text of a valid JSON string, without positions.
pub(crate) fn plain(inner: &str) -> Cow<'_, str> {
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut text = MappedText::default();
    unescape(inner, 0, &mut text);
    Cow::Owned(text.text)
}

/// The character that an escape stands for, and its length in bytes.
fn escape(bytes: &[u8]) -> (char, usize) {
    let simple = match bytes.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(bytes),
        Some(other) => char::from(*other),
        None => return ('\\', 1),
    };
    (simple, 2)
}

fn unicode(bytes: &[u8]) -> (char, usize) {
    let Some(first) = unit(bytes) else {
        return (char::REPLACEMENT_CHARACTER, bytes.len().min(2));
    };
    if let Some(c) = char::from_u32(first) {
        return (c, 6);
    }
    let second = bytes
        .get(6..)
        .filter(|rest| rest.starts_with(b"\\u"))
        .and_then(unit);
    match second {
        Some(low @ 0xdc00..=0xdfff) if first < 0xdc00 => {
            let c = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00));
            (c.unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

fn unit(bytes: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(bytes.get(2..6)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// Appends a valid JSON value without the white space around its parts, so that every JSON reader takes it: half
/// surrogates become U+FFFD, and a number beyond the range of f64 a string of its digits.
pub(crate) fn compact(raw: &str, to: &mut String) {
    let bytes = raw.as_bytes();
    let (mut i, mut copied) = (0, 0);
    while i < bytes.len() {
        match bytes[i] {
            b'"' => {
                i += 1;
                while i < bytes.len() && bytes[i] != b'"' {
                    if bytes[i] != b'\\' {
                        i += 1;
                        continue;
                    }
                    let (c, len) = escape(&bytes[i..]);
                    if c == char::REPLACEMENT_CHARACTER {
                        to.push_str(&raw[copied..i]);
                        to.push(c);
                        copied = i + len;
                    }
                    i += len;
                }
                i += 1;
            }
            b'-' | b'0'..=b'9' => {
                let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
                let end = bytes[i..]
                    .iter()
                    .position(|b| !digit(b))
                    .map_or(bytes.len(), |len| i + len);
                if raw[i..end].parse::<f64>().is_ok_and(f64::is_infinite) {
                    to.push_str(&raw[copied..i]);
                    to.push('"');
                    to.push_str(&raw[i..end]);
                    to.push('"');
                    copied = end;
                }
                i = end;
            }
            byte if is_space(byte) => {
                to.push_str(&raw[copied..i]);
                i += 1;
                copied = i;
            }
            _ => i += 1,
        }
    }
    to.push_str(raw.get(copied..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(inner: &str) -> String {
        plain(inner).into_owned()
    }

    #[test]
    fn escapes() {
        assert_eq!(text(r#"a\n\"\/\u00e9"#), "a\n\"/é");
        assert_eq!(text(r"\ud83d\ude00!"), "😀!");
        assert_eq!(text(r"\ud83d!\ude00\ud83dA"), "\u{fffd}!\u{fffd}\u{fffd}A");
    }

    #[test]
    fn metadata_is_what_every_reader_takes() {
        let compacted = |raw: &str| {
            let mut to = String::new();
            compact(raw, &mut to);
            serde_json::from_str::<serde_json::Value>(&to).unwrap();
            to
        };
        assert_eq!(
            compacted("{ \"a b\" : [ 1 ,\n -2.50 ] }"),
            r#"{"a b":[1,-2.50]}"#
        );
        assert_eq!(
            compacted(r#"["\ud800", "\" \\"]"#),
            "[\"\u{fffd}\",\"\\\" \\\\\"]"
        );
        assert_eq!(compacted("[1e999, 1e9]"), r#"["1e999",1e9]"#);
    }
}
