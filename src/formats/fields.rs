//! Which of a record's fields is the text, which the title, which the id.

use std::borrow::Cow;

use super::Options;
use super::failure::failure;
use super::source_map::MappedText;
use crate::store::row::Failure;

const TITLE_NAMES: [&str; 4] = ["title", "headline", "subject", "name"];
const ID_NAMES: [&str; 5] = ["id", "_id", "uuid", "doc_id", "key"];
const BODY_NAMES: [&str; 18] = [
    "text",
    "content",
    "contents",
    "body",
    "abstract",
    "passage",
    "message",
    "description",
    "summary",
    "review",
    "review_text",
    "reviewText",
    "comment",
    "document",
    "sentence",
    "article",
    "answer",
    "code",
];

/// A field's value, whatever the format.
pub(crate) trait Value {
    /// It is a string.
    fn is_string(&self) -> bool;
    /// It can be read as text: a string, or a list of strings.
    fn is_text(&self) -> bool;
    /// It has nothing but white space.
    fn is_blank(&self) -> bool;
    /// Appends its text.
    fn write(&self, to: &mut MappedText);
    /// Its text, if it can name a record: a string or a number.
    fn id(&self) -> Option<String>;
    /// Appends it as JSON.
    fn write_json(&self, to: &mut String);
}

/// A field of a record.
#[derive(Debug)]
pub(crate) struct Field<'a, V> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: V,
}

/// A record taken apart.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) id: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) text: MappedText,
    pub(crate) metadata: String,
}

/// Takes a record apart, or says that it has no text.
pub(crate) fn assemble<V: Value>(
    fields: &[Field<'_, V>],
    options: &Options,
) -> Result<Assembled, Failure> {
    let id = first(fields, &options.id_fields, &ID_NAMES, |v| v.id().is_some());
    let title = first(fields, &options.title_fields, &TITLE_NAMES, |v| {
        v.is_string() && !v.is_blank()
    });
    let named = |name: &str| find(fields, name, V::is_text);
    let (parts, between, keep) = if !options.text_fields.is_empty() {
        let parts: Vec<usize> = options
            .text_fields
            .iter()
            .filter_map(|name| named(name))
            .collect();
        (parts, "\n\n", false)
    } else if let Some(body) = first(fields, &[], &BODY_NAMES, |v| v.is_text() && !v.is_blank())
        .or_else(|| first(fields, &[], &BODY_NAMES, V::is_text))
    {
        let title = title.filter(|title| *title != body);
        (title.into_iter().chain([body]).collect(), "\n\n", false)
    } else {
        let strings = (0..fields.len()).filter(|i| fields[*i].value.is_string() && Some(*i) != id);
        (strings.collect(), "\n", true)
    };
    if parts.is_empty() {
        return Err(no_text(fields, options));
    }
    let mut text = MappedText::default();
    for part in parts
        .iter()
        .map(|i| &fields[*i].value)
        .filter(|value| !value.is_blank())
    {
        if !text.text.is_empty() {
            text.insert(between);
        }
        part.write(&mut text);
    }
    // Strings that became text only because nothing else did are worth filtering by, too.
    let used = |i: usize| Some(i) == id || (!keep && (Some(i) == title || parts.contains(&i)));
    let mut metadata = String::from("{");
    for (_, field) in fields.iter().enumerate().filter(|(i, _)| !used(*i)) {
        if metadata.len() > 1 {
            metadata.push(',');
        }
        metadata.push_str(&serde_json::Value::from(&*field.name).to_string());
        metadata.push(':');
        field.value.write_json(&mut metadata);
    }
    metadata.push('}');
    Ok(Assembled {
        id: id
            .and_then(|i| fields[i].value.id())
            .filter(|id| !id.is_empty()),
        title: title.map(|i| plain(&fields[i].value)),
        text,
        metadata,
    })
}

/// A value's text alone, trimmed.
fn plain(value: &impl Value) -> String {
    let mut text = MappedText::default();
    value.write(&mut text);
    text.text.trim().to_owned()
}

fn find<V>(fields: &[Field<'_, V>], name: &str, fits: impl Fn(&V) -> bool) -> Option<usize> {
    fields
        .iter()
        .position(|f| f.name.trim().eq_ignore_ascii_case(name) && fits(&f.value))
}

/// The first name, of those configured or else of the usual ones, that a fitting field has.
fn first<V>(
    fields: &[Field<'_, V>],
    configured: &[String],
    usual: &[&str],
    fits: impl Fn(&V) -> bool,
) -> Option<usize> {
    if configured.is_empty() {
        usual.iter().find_map(|name| find(fields, name, &fits))
    } else {
        configured.iter().find_map(|name| find(fields, name, &fits))
    }
}

fn no_text<V>(fields: &[Field<'_, V>], options: &Options) -> Failure {
    let names: Vec<&str> = fields.iter().take(12).map(|f| &*f.name).collect();
    let message = if options.text_fields.is_empty() {
        "the record has no string at its top level".to_owned()
    } else {
        format!(
            "the record has none of the text fields {}",
            options.text_fields.join(", ")
        )
    };
    let advice = match names.is_empty() {
        true => "remove the record, or leave it: nothing else depends on it".to_owned(),
        false => format!(
            "set text_fields to a field that holds text; it has {}",
            names.join(", ")
        ),
    };
    failure("no-text", message, advice)
}
