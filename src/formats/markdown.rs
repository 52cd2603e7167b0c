//! Markdown: the text stays as it is written; title and metadata come from the front matter and the first heading.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use serde_json::{Map, Value};

/// What is told about a text beside the text.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) title: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    /// Where the text begins, after the front matter.
    pub(crate) body: usize,
}

/// Front matter (`---` YAML or `+++` TOML) is read only where a file begins.
pub(crate) fn outline(text: &str, is_continued: bool) -> Outline {
    let mut outline = Outline::default();
    if !is_continued && let Some((marks, inside, body)) = front_matter(text) {
        outline.body = body;
        outline.metadata = if marks == "---" {
            flat_yaml(inside)
        } else {
            toml_table(inside)
        };
    }
    let told = outline
        .metadata
        .get("title")
        .and_then(Value::as_str)
        .map(str::to_owned);
    if told.is_some() {
        outline.metadata.shift_remove("title");
    }
    outline.title = told
        .or_else(|| heading(&text[outline.body..]))
        .filter(|title| !title.is_empty());
    outline
}

/// The marks, what stands between them, and where the rest begins.
fn front_matter(text: &str) -> Option<(&str, &str, usize)> {
    let marks = ["---", "+++"]
        .into_iter()
        .find(|marks| text.starts_with(marks))?;
    let open = text.split_inclusive('\n').next()?;
    if open.trim_end() != marks {
        return None;
    }
    let mut at = open.len();
    for line in text[at..].split_inclusive('\n') {
        if line.trim_end() == marks {
            return Some((marks, &text[open.len()..at], at + line.len()));
        }
        at += line.len();
    }
    None
}

/// The keys of a flat YAML document, which front matter nearly always is: scalars, `[a, b]`, and lists of `- a` lines.
/// What is nested deeper is kept as the text it is.
fn flat_yaml(text: &str) -> Map<String, Value> {
    let mut map = Map::new();
    let mut key: Option<String> = None;
    for line in text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    {
        let is_inner = line.starts_with([' ', '\t', '-']);
        if !is_inner && let Some((name, value)) = line.split_once(':') {
            let name = unquote(name).to_owned();
            map.insert(name.clone(), scalar(value));
            key = Some(name);
        } else if let Some(value) = key.as_ref().and_then(|key| map.get_mut(key)) {
            append(value, line.trim());
        }
    }
    map
}

fn scalar(value: &str) -> Value {
    let value = value.trim();
    match value.strip_prefix('[').and_then(|v| v.strip_suffix(']')) {
        Some(list) => {
            let items = list.split(',').map(unquote).filter(|item| !item.is_empty());
            Value::Array(items.map(Value::from).collect())
        }
        None if matches!(value, "" | "|" | ">" | "|-" | ">-" | "~" | "null") => Value::Null,
        None => Value::from(unquote(value)),
    }
}

/// A line that belongs to the key before it.
fn append(value: &mut Value, line: &str) {
    match (&mut *value, line.strip_prefix("- ")) {
        (Value::Array(items), Some(item)) => items.push(Value::from(unquote(item))),
        (Value::Null, Some(item)) => *value = Value::Array(vec![Value::from(unquote(item))]),
        (Value::Null, None) => *value = Value::from(line),
        (Value::String(text), _) => {
            text.push('\n');
            text.push_str(line);
        }
        _ => {}
    }
}

fn unquote(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote| {
        text.strip_prefix(quote)
            .and_then(|t: &str| t.strip_suffix(quote))
    };
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

fn toml_table(text: &str) -> Map<String, Value> {
    let Ok(table) = text.parse::<toml::Table>() else {
        return Map::new();
    };
    table
        .into_iter()
        .map(|(key, value)| (key, toml_value(value)))
        .collect()
}

fn toml_value(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(truth) => Value::from(truth),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(toml_value).collect(),
        toml::Value::Table(table) => Value::Object(
            table
                .into_iter()
                .map(|(key, value)| (key, toml_value(value)))
                .collect(),
        ),
    }
}

/// The first heading's text.
fn heading(text: &str) -> Option<String> {
    let mut heading: Option<String> = None;
    for event in Parser::new(text) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
            (Event::End(TagEnd::Heading(_)), _) => break,
            (Event::Text(part) | Event::Code(part), Some(heading)) => heading.push_str(&part),
            (Event::SoftBreak | Event::HardBreak, Some(heading)) => heading.push(' '),
            _ => {}
        }
    }
    heading.map(|heading| heading.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, title: Option<&str>, metadata: &str, body: &str) {
        let outline = outline(text, false);
        assert_eq!(outline.title.as_deref(), title);
        assert_eq!(Value::Object(outline.metadata).to_string(), metadata);
        assert_eq!(&text[outline.body..], body);
    }

    #[test]
    fn front_matter_and_headings() {
        check(
            "# One *two* `three`\nx",
            Some("One two three"),
            "{}",
            "# One *two* `three`\nx",
        );
        check(
            "```\n# no\n```\nyes\n===\n",
            Some("yes"),
            "{}",
            "```\n# no\n```\nyes\n===\n",
        );
        let yaml =
            "---\r\ntitle: \"A: b\"\r\ntags: [x, 'y z']\r\nby:\r\n  - me\r\n  - you\r\n---\r\nText";
        check(
            yaml,
            Some("A: b"),
            r#"{"tags":["x","y z"],"by":["me","you"]}"#,
            "Text",
        );
        check(
            "+++\ndate = 2024-01-02\n+++\n# T",
            Some("T"),
            r#"{"date":"2024-01-02"}"#,
            "# T",
        );
        check("---\nnever closed", None, "{}", "---\nnever closed");
        check("--- \n---\n", None, "{}", "");
    }

    #[test]
    fn a_rule_later_on_is_no_front_matter() {
        let outline = outline("---\na: b\n---\n", true);
        assert_eq!((outline.body, outline.metadata.len()), (0, 0));
    }
}
