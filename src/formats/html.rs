//! HTML to the text that a reader sees.
//!
//! The tokenizer follows the WHATWG standard; there is no tree, and none is needed to know what is text and where
//! blocks end. Markup is dropped, white space is collapsed outside `<pre>`, entities are decoded, and every character
//! keeps the position it was written at.

mod emitter;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use encoding_rs::Encoding;
use html5gum::Tokenizer;
use serde_json::{Map, Value};

use self::emitter::Positions;
use super::source_map::MappedText;
use super::{Document, Kind, SourceMap};

/// Elements that hold no text for readers.
const HIDDEN: [&str; 9] = [
    "script", "style", "noscript", "template", "iframe", "noembed", "noframes", "svg", "math",
];
/// Elements with an empty line before and after.
const BLOCKS: [&str; 26] = [
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "dl",
    "table",
    "pre",
    "blockquote",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "nav",
    "aside",
    "figure",
    "hr",
    "form",
    "fieldset",
    "details",
    "body",
];
/// Elements on a line of their own.
const LINES: [&str; 17] = [
    "div",
    "li",
    "dt",
    "dd",
    "tr",
    "br",
    "option",
    "figcaption",
    "caption",
    "thead",
    "tbody",
    "tfoot",
    "summary",
    "address",
    "center",
    "legend",
    "textarea",
];
/// `<meta name=…>` kept as metadata.
const META: [&str; 3] = ["description", "author", "keywords"];

/// The encoding that `<meta charset>` names within the first kibibyte, as the standard has it.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let look = bytes[..bytes.len().min(1024)].to_ascii_lowercase();
    let at = look.windows(8).position(|w| w == b"charset=")? + 8;
    let label = look[at..]
        .iter()
        .skip_while(|b| matches!(b, b'"' | b'\'' | b' '));
    let label: Vec<u8> = label
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        .copied()
        .collect();
    Encoding::for_label(&label)
}

/// The page as one document, or none if there is nothing to read.
pub(crate) fn parse_html(
    text: &str,
    outer: Option<Arc<SourceMap>>,
    bytes: usize,
) -> Option<Document> {
    let mut emitter = Positions::new(text);
    let Ok(()) = Tokenizer::new_with_emitter(text, &mut emitter).finish();
    let page = emitter.finish();
    let title = squeeze(&page.title.text).or_else(|| page.heading.as_deref().and_then(squeeze));
    let written = if page.body.text.trim().is_empty() {
        page.title
    } else {
        page.body
    };
    let (text, map) = written.finish();
    (!text.trim().is_empty()).then(|| Document {
        id: None,
        record: 0,
        title,
        text,
        map: map.through(outer),
        range: 0..bytes,
        metadata: Value::Object(page.metadata).to_string(),
        kind: Kind::Prose,
    })
}

fn squeeze(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// A start tag's attributes, as far as they are asked for.
type Attributes = [(Vec<u8>, Vec<u8>)];

fn attribute<'a>(attributes: &'a Attributes, name: &str) -> Option<Cow<'a, str>> {
    let found = attributes
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(String::from_utf8_lossy(&found.1))
}

/// What is read off a page, tag by tag.
#[derive(Debug, Default)]
struct Page {
    body: MappedText,
    title: MappedText,
    heading: Option<String>,
    heading_at: Option<usize>,
    metadata: Map<String, Value>,
    in_title: bool,
    /// The hidden element that is open, and how many of its name are.
    hidden: Option<(&'static str, usize)>,
    pre: usize,
    /// Line ends due before the next text.
    breaks: usize,
    /// White space due before the next text.
    space: Option<Range<usize>>,
}

impl Page {
    fn start(&mut self, name: &str, attributes: &Attributes, is_closed: bool, at: usize) {
        if let Some((open, count)) = &mut self.hidden {
            *count += usize::from(name == *open && !is_closed);
            return;
        }
        if let Some(hidden) = HIDDEN.into_iter().find(|hidden| *hidden == name) {
            if !is_closed {
                self.hidden = Some((hidden, 1));
            }
            return;
        }
        match name {
            "title" => self.in_title = !is_closed && self.title.text.is_empty(),
            "pre" => self.pre += 1,
            "h1" if self.heading.is_none() => self.heading_at = Some(self.body.text.len()),
            "html" => self.keep("lang", attribute(attributes, "lang")),
            "meta" => {
                let name = attribute(attributes, "name").map(|name| name.to_ascii_lowercase());
                if let Some(name) = name.filter(|name| META.contains(&name.as_str())) {
                    self.keep(&name, attribute(attributes, "content"));
                }
            }
            _ => {}
        }
        self.separate(name, at);
    }

    fn end(&mut self, name: &str, at: usize) {
        if let Some((open, count)) = &mut self.hidden {
            *count -= usize::from(name == *open);
            if *count == 0 {
                self.hidden = None;
            }
            return;
        }
        match name {
            "title" => self.in_title = false,
            "pre" => self.pre = self.pre.saturating_sub(1),
            "h1" if self.heading.is_none() => {
                let from = self.heading_at.take();
                self.heading = from.map(|from| self.body.text[from..].to_owned());
            }
            _ => {}
        }
        self.separate(name, at);
    }

    fn keep(&mut self, name: &str, value: Option<Cow<'_, str>>) {
        if let Some(value) = value.as_deref().and_then(squeeze) {
            self.metadata.entry(name).or_insert(Value::String(value));
        }
    }

    fn separate(&mut self, name: &str, at: usize) {
        if BLOCKS.contains(&name) {
            self.breaks = 2;
        } else if LINES.contains(&name) {
            self.breaks = self.breaks.max(1);
        } else if matches!(name, "td" | "th") && self.space.is_none() {
            self.space = Some(at..at);
        }
    }

    /// Text as it is written; `source` is where each of its bytes stands, or all of it if the lengths differ.
    fn text(&mut self, text: &str, source: Range<usize>) {
        if self.hidden.is_some() {
            return;
        }
        let is_plain = text.len() == source.len();
        if self.in_title {
            return self.title.decode(text, source);
        }
        if !is_plain {
            // A decoded entity: written white space collapses, `&nbsp;` and `&#32;` do not.
            self.due();
            return self.body.decode(text, source);
        }
        let mut at = source.start;
        let collapses = self.pre == 0;
        for part in text.split_inclusive(|c: char| collapses && c.is_ascii_whitespace()) {
            let is_spaced = collapses && part.ends_with(|c: char| c.is_ascii_whitespace());
            let word = if is_spaced {
                &part[..part.len() - 1]
            } else {
                part
            };
            if !word.is_empty() {
                self.due();
                self.body.copy(word, at);
            }
            at += part.len();
            if is_spaced {
                let from = self.space.as_ref().map_or(at - 1, |space| space.start);
                self.space = Some(from..at);
            }
        }
    }

    /// Writes the separation that is due, now that text follows.
    fn due(&mut self) {
        let space = self.space.take();
        let breaks = std::mem::take(&mut self.breaks);
        let is_first = self.body.text.is_empty();
        if !is_first && breaks > 0 {
            self.body.insert(if breaks > 1 { "\n\n" } else { "\n" });
        } else if let Some(space) = space.filter(|_| !is_first) {
            match space.is_empty() {
                true => self.body.insert(" "),
                false => self.body.decode(" ", space),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(html: &str, expect: &str) -> Document {
        let document = parse_html(html, None, html.len()).unwrap();
        assert_eq!(document.text, expect);
        document
    }

    #[test]
    fn a_page() {
        let html = "<!doctype html><html lang=en><head><title>Tides &amp; \n floods</title>\
            <meta name=Description content='On water'><style>p{}</style></head><body>\
            <h1>High  water</h1><p>It <b>rose</b>\n fast&hellip;</p><script>x<y</script><ul><li>one<li>two</ul>\
            <pre>a\n  b</pre><table><tr><td>1<td>2</table></body>";
        let document = check(
            html,
            "High water\n\nIt rose fast…\n\none\ntwo\n\na\n  b\n\n1 2",
        );
        assert_eq!(document.title.as_deref(), Some("Tides & floods"));
        assert_eq!(
            document.metadata,
            r#"{"lang":"en","description":"On water"}"#
        );
        let at = document.text.find("fast…").unwrap();
        assert_eq!(
            &html[document.map.range(at..at + "fast…".len())],
            "fast&hellip;"
        );
        let at = document.text.find("rose").unwrap();
        assert_eq!(&html[document.map.range(at..at + 4)], "rose");
    }

    #[test]
    fn odd_markup() {
        check("a &amp b &unknown; &é &#x41;&#66", "a & b &unknown; &é AB");
        check("a\r\n&lt;b\r\nc", "a <b c");
        check("<h1>Only</h1>", "Only");
        check("x<svg><title>no</title></svg>y<!-- z -->w", "xyw");
        check("<title>Alone</title>", "Alone");
        assert_eq!(
            check("<h1>A <i>b</i></h1>c", "A b\n\nc").title.as_deref(),
            Some("A b")
        );
        assert!(parse_html("<script>x</script><p> ", None, 0).is_none());
    }

    #[test]
    fn the_declared_encoding() {
        let declared = |html: &str| declared_encoding(html.as_bytes()).map(Encoding::name);
        assert_eq!(declared("<meta charset=\"Shift_JIS\">"), Some("Shift_JIS"));
        assert_eq!(
            declared("<meta content='text/html; CHARSET=euc-kr'>"),
            Some("EUC-KR")
        );
        assert_eq!(declared("<p>"), None);
    }

    proptest! {
        #[test]
        fn words_stand_where_the_map_says(html in "(<p>|</p>|<b>|<pre>|</pre>|<!--|-->|&amp;|&|é|&#233;|\r\n|[ a;<>/!])*") {
            let Some(document) = parse_html(&html, None, html.len()) else { return Ok(()) };
            let mut end = 0;
            for (at, c) in document.text.char_indices() {
                let range = document.map.range(at..at + c.len_utf8());
                if range.is_empty() {
                    continue;
                }
                prop_assert!(range.start >= end, "{c:?} at {range:?} in {:?}", document.text);
                end = range.end;
                let source = &html[range];
                let expected = match c {
                    '&' => source == "&amp;" || source == "&",
                    'é' => source == "é" || source == "&#233;" || source == "&#233",
                    c if c.is_whitespace() => true,
                    c => source == c.to_string(),
                };
                prop_assert!(expected, "{c:?} from {source:?}");
            }
        }
    }
}
