//! Bytes in any encoding to text, with the way back.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use encoding_rs::{DecoderResult, Encoding, UTF_8};

use super::source_map::MappedText;
use super::{Charset, SourceMap};

/// How many bytes look like text or not.
const LOOK_BYTES: usize = 64 << 10;
const REPLACEMENT: &str = "\u{fffd}";

/// A text and, unless it is the bytes themselves, where its characters stood.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    pub(crate) text: Cow<'a, str>,
    /// `None`: offsets in the text are offsets in the bytes.
    pub(crate) map: Option<Arc<SourceMap>>,
    /// The encoding's name, `None` for UTF-8.
    pub(crate) name: Option<&'static str>,
}

/// A character set of two-byte units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Utf16 {
    Little,
    Big,
}

/// UTF-16 by its byte order mark, or by the zero bytes that Latin letters leave in one half of it.
pub(crate) fn utf16(bytes: &[u8]) -> Option<Utf16> {
    match bytes {
        [0xff, 0xfe, ..] => return Some(Utf16::Little),
        [0xfe, 0xff, ..] => return Some(Utf16::Big),
        _ => {}
    }
    let look = &bytes[..bytes.len().min(1024) & !1];
    let zeros = |parity: usize| {
        look.iter()
            .skip(parity)
            .step_by(2)
            .filter(|b| **b == 0)
            .count()
    };
    let (even, odd, half) = (zeros(0), zeros(1), look.len() / 2);
    if look.len() < 8 {
        None
    } else if odd * 10 >= half * 7 && even * 20 <= half {
        Some(Utf16::Little)
    } else if even * 10 >= half * 7 && odd * 20 <= half {
        Some(Utf16::Big)
    } else {
        None
    }
}

/// Control characters that no text has make up more than a hundredth of the beginning.
pub(crate) fn is_binary(bytes: &[u8]) -> bool {
    let look = &bytes[..bytes.len().min(LOOK_BYTES)];
    let strange = |b: &&u8| matches!(b, 0..=7 | 11 | 14..=26 | 28..=31);
    utf16(look).is_none() && look.iter().filter(strange).count() * 100 > look.len()
}

/// Whether the bytes read as UTF-8, broken characters here and there included.
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    if utf16(bytes).is_some() {
        return false;
    }
    let (mut good, mut bad) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        // Four characters beyond ASCII for every broken one: chance does not do that.
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    bad == 0 || good >= 4 * bad
}

/// The bytes as text. `declared` is the encoding that the content itself names, if it does.
pub(crate) fn decode<'a>(bytes: &'a [u8], declared: Option<&'static Encoding>) -> Decoded<'a> {
    if let Some(order) = utf16(bytes) {
        return decode_utf16(bytes, order);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Decoded {
            text: Cow::Borrowed(text),
            map: None,
            name: None,
        };
    }
    if is_utf8(bytes) {
        return decode_broken_utf8(bytes);
    }
    let declared = declared.filter(|encoding| *encoding != UTF_8);
    decode_as(
        bytes,
        declared.map_or_else(|| Charset::guess(bytes), Charset),
    )
}

fn decoded(text: MappedText, name: Option<&'static str>) -> Decoded<'static> {
    let (text, map) = text.finish();
    Decoded {
        text: Cow::Owned(text),
        map: Some(Arc::new(map)),
        name,
    }
}

fn decode_broken_utf8(bytes: &[u8]) -> Decoded<'static> {
    let mut text = MappedText::default();
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        text.copy(chunk.valid(), at);
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            text.decode(REPLACEMENT, at..at + chunk.invalid().len());
            at += chunk.invalid().len();
        }
    }
    decoded(text, None)
}

fn decode_utf16(bytes: &[u8], order: Utf16) -> Decoded<'static> {
    let (unit, name): (fn([u8; 2]) -> u16, _) = match order {
        Utf16::Little => (u16::from_le_bytes, "UTF-16LE"),
        Utf16::Big => (u16::from_be_bytes, "UTF-16BE"),
    };
    let mut text = MappedText::default();
    let mut at = 0;
    let mut buffer = [0; 4];
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    for (index, item) in char::decode_utf16(units).enumerate() {
        let (c, len) = match item {
            Ok(c) => (c, 2 * c.len_utf16()),
            Err(_) => (char::REPLACEMENT_CHARACTER, 2),
        };
        let is_mark = index == 0 && c == '\u{feff}';
        if !is_mark {
            text.decode(c.encode_utf8(&mut buffer), at..at + len);
        }
        at += len;
    }
    if at < bytes.len() {
        text.decode(REPLACEMENT, at..bytes.len());
    }
    decoded(text, Some(name))
}

/// Feeds the decoder a byte at a time, which tells which bytes each character came from.
pub(crate) fn decode_as(bytes: &[u8], Charset(encoding): Charset) -> Decoded<'static> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = MappedText::default();
    let mut out = String::with_capacity(16);
    let mut pending = 0..0;
    // ISO-2022-JP changes the meaning of ASCII bytes; the others leave them alone outside a character.
    let ascii_is_plain = encoding.is_ascii_compatible();
    while pending.end < bytes.len() {
        if ascii_is_plain && pending.is_empty() {
            let plain = Encoding::ascii_valid_up_to(&bytes[pending.end..]);
            if plain > 0 {
                let end = pending.end + plain;
                let piece = std::str::from_utf8(&bytes[pending.end..end]).unwrap_or_default();
                text.copy(piece, pending.end);
                pending = end..end;
                continue;
            }
        }
        let next = &bytes[pending.end..=pending.end];
        let (result, read) = decoder.decode_to_string_without_replacement(next, &mut out, false);
        pending.end += read;
        take(&mut text, &mut out, &mut pending, result);
    }
    loop {
        let (result, _) = decoder.decode_to_string_without_replacement(b"", &mut out, true);
        let done = result == DecoderResult::InputEmpty;
        take(&mut text, &mut out, &mut pending, result);
        if done {
            break;
        }
    }
    decoded(text, Some(encoding.name()))
}

fn take(
    text: &mut MappedText,
    out: &mut String,
    pending: &mut Range<usize>,
    result: DecoderResult,
) {
    if !out.is_empty() {
        text.decode(out, pending.clone());
        out.clear();
        pending.start = pending.end;
    }
    if let DecoderResult::Malformed(_, after) = result {
        let end = (pending.end - usize::from(after)).max(pending.start);
        text.decode(REPLACEMENT, pending.start..end);
        pending.start = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(bytes: &[u8], name: Option<&str>, expect: &str) {
        let decoded = decode(bytes, None);
        assert_eq!((decoded.name, &*decoded.text), (name, expect));
    }

    #[test]
    fn the_usual_encodings() {
        check("naïve".as_bytes(), None, "naïve");
        check(b"\xff\xfeh\0i\0", Some("UTF-16LE"), "hi");
        check(b"\xfe\xff\0h\0i", Some("UTF-16BE"), "hi");
        check(b"h\0e\0l\0l\0o\0", Some("UTF-16LE"), "hello");
        let french = b"Le caf\xe9 \xe9tait ferm\xe9, d\xe9j\xe0 vu.";
        check(
            french,
            Some("windows-1252"),
            "Le café était fermé, déjà vu.",
        );
    }

    #[test]
    fn one_broken_byte_does_not_make_it_latin() {
        check("日本語\u{fffd}".as_bytes(), None, "日本語\u{fffd}");
        let mut bytes = "日本語のテキスト".as_bytes().to_vec();
        bytes.push(0xff);
        check(&bytes, None, "日本語のテキスト\u{fffd}");
    }

    #[test]
    fn japanese_maps_back() {
        let words = "これは日本語の文章です。 plain ASCII too. 漢字とカタカナ";
        let (bytes, encoding, _) = encoding_rs::SHIFT_JIS.encode(words);
        let decoded = decode(&bytes, None);
        assert_eq!((decoded.name, &*decoded.text), (Some("Shift_JIS"), words));
        let map = decoded.map.unwrap();
        for (at, c) in words.char_indices() {
            let range = map.range(at..at + c.len_utf8());
            assert_eq!(encoding.decode(&bytes[range]).0, c.to_string());
        }
    }

    fn encodings() -> impl Strategy<Value = &'static Encoding> {
        use encoding_rs::*;
        prop::sample::select(vec![
            WINDOWS_1252,
            KOI8_U,
            SHIFT_JIS,
            EUC_KR,
            BIG5,
            GB18030,
            ISO_2022_JP,
            EUC_JP,
            ISO_8859_2,
        ])
    }

    proptest! {
        #[test]
        fn any_bytes_decode_as_the_library_does(bytes: Vec<u8>, encoding in encodings()) {
            let (expect, _) = encoding.decode_without_bom_handling(&bytes);
            let decoded = decode_as(&bytes, Charset(encoding));
            prop_assert_eq!(&*decoded.text, &*expect);
            let map = decoded.map.unwrap();
            let mut end = 0;
            for (at, c) in decoded.text.char_indices() {
                let range = map.range(at..at + c.len_utf8());
                prop_assert!(range.start >= end || range.end == end, "{range:?} overlaps {end}");
                end = range.end;
                prop_assert!(end <= bytes.len());
            }
        }
    }
}
