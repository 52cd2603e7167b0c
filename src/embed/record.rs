//! One record: checked, kept as it was written, and written again with its vector.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Its line, from 1.
    pub line: u64,
    /// The field, if it is one.
    pub field: Option<&'static str>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(field) = self.field {
            write!(f, ", field {field}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl RecordError {
    pub(super) fn content(line: u64, reason: String) -> Self {
        Self {
            line,
            field: Some("content"),
            reason,
        }
    }

    /// As a line of the side file.
    pub(super) fn write(&self, to: &mut impl Write, file: &str, record: &[u8]) -> io::Result<()> {
        #[derive(Serialize)]
        struct Skipped<'a> {
            file: &'a str,
            line: u64,
            field: Option<&'a str>,
            reason: &'a str,
            record: &'a str,
        }
        let record = &String::from_utf8_lossy(record);
        serde_json::to_writer(
            &mut *to,
            &Skipped {
                file,
                line: self.line,
                field: self.field,
                reason: &self.reason,
                record,
            },
        )?;
        to.write_all(b"\n")
    }
}

/// Fields that are known: name, whether it must be there, and the JSON that it may be.
const KNOWN: [(&str, bool, &[Kind]); 9] = [
    ("id", true, &[Kind::String, Kind::Number]),
    ("file_path", true, &[Kind::String]),
    ("language", true, &[Kind::String]),
    ("content", true, &[Kind::String]),
    ("version", false, &[Kind::String, Kind::Number, Kind::Null]),
    ("git_hash", false, &[Kind::String, Kind::Null]),
    ("chunk_name", false, &[Kind::String, Kind::Null]),
    ("chunk_type", false, &[Kind::String, Kind::Null]),
    ("metadata", false, &[Kind::Object, Kind::Null]),
];

/// Fields that this program writes, and that replace those of the same name.
const OURS: [&str; 3] = ["embedding", "model", "normalized"];

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    fn of(value: &RawValue) -> Self {
        match value.get().as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'"') => Self::String,
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            _ => Self::Number,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// A checked record.
pub(super) struct Record {
    line: u64,
    text: Box<str>,
}

impl Record {
    /// The record, and the text to embed.
    pub(super) fn parse(line: u64, bytes: &[u8]) -> Result<(Self, String), RecordError> {
        let wrong = |field, reason| RecordError {
            line,
            field,
            reason,
        };
        let text = str::from_utf8(bytes).map_err(|e| {
            wrong(
                None,
                format!("not UTF-8 from byte {} of the line on", e.valid_up_to() + 1),
            )
        })?;
        let fields: Fields<'_> = serde_json::from_str(text)
            .map_err(|e| wrong(None, format!("not a JSON object: {e}")))?;
        let mut content = None;
        for (name, required, kinds) in KNOWN {
            let mut values = fields
                .0
                .iter()
                .filter(|(key, _)| key == name)
                .map(|(_, value)| *value);
            match (values.next(), values.next()) {
                (None, _) if required => return Err(wrong(Some(name), "missing".to_owned())),
                (None, _) => {}
                (Some(_), Some(_)) => return Err(wrong(Some(name), "there twice".to_owned())),
                (Some(value), None) => {
                    let kind = Kind::of(value);
                    if !kinds.contains(&kind) {
                        let allowed = kinds
                            .iter()
                            .map(|kind| kind.name())
                            .collect::<Vec<_>>()
                            .join(" or ");
                        return Err(wrong(
                            Some(name),
                            format!("must be {allowed}, and is {}", kind.name()),
                        ));
                    }
                    if name == "content" {
                        let text = serde_json::from_str(value.get());
                        content = Some(
                            text.map_err(|e| wrong(Some(name), format!("not a string: {e}")))?,
                        );
                    }
                }
            }
        }
        let content = content.ok_or_else(|| wrong(Some("content"), "missing".to_owned()))?;
        Ok((
            Self {
                line,
                text: text.into(),
            },
            content,
        ))
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The same fields, byte for byte, and the vector.
    pub(super) fn write(&self, to: &mut impl Write, vector: &[f32], model: &str) -> io::Result<()> {
        let fields: Fields<'_> = serde_json::from_str(&self.text)?;
        to.write_all(b"{")?;
        for (key, value) in fields
            .0
            .iter()
            .filter(|(key, _)| !OURS.contains(&key.as_str()))
        {
            serde_json::to_writer(&mut *to, key)?;
            write!(to, ":{},", value.get())?;
        }
        to.write_all(b"\"embedding\":")?;
        serde_json::to_writer(&mut *to, vector)?;
        to.write_all(b",\"model\":")?;
        serde_json::to_writer(&mut *to, model)?;
        to.write_all(b",\"normalized\":true}\n")
    }
}

/// An object's fields in their order, the values as they were written: no number is rounded, no escape rewritten.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let found = Record::parse(7, line.as_bytes())
            .err()
            .expect("a bad record")
            .to_string();
        assert!(found.contains(expected), "{line}: {found}");
    }

    #[test]
    fn every_field_is_kept_as_it_was_written_and_in_its_order() {
        let line = r#"{"x":1.50e3,"id":"a","content":"caf\u00e9 \"q\"","language":"rust","file_path":"a.rs","big":123456789012345678901234567890,"model":"old","metadata":{"b":1,"a":[ ]}}"#;
        let (record, content) = Record::parse(1, line.as_bytes()).unwrap();
        assert_eq!(content, "café \"q\"");
        let mut written = Vec::new();
        record.write(&mut written, &[0.6, -0.8], "m@1").unwrap();
        let expected = line.replace(r#""model":"old","#, "");
        let expected = format!(
            "{},\"embedding\":[0.6,-0.8],\"model\":\"m@1\",\"normalized\":true}}\n",
            expected.strip_suffix('}').unwrap()
        );
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn a_bad_record_names_its_line_its_field_and_what_is_wrong() {
        check("{", "line 7: not a JSON object: EOF");
        check(
            "[1]",
            "line 7: not a JSON object: invalid type: sequence, expected an object",
        );
        check(
            r#"{"id":1,"file_path":"a","language":"c"}"#,
            "line 7, field content: missing",
        );
        check(
            r#"{"id":1,"file_path":2,"language":"c","content":""}"#,
            "field file_path: must be a string, and is a number",
        );
        check(
            r#"{"id":[],"file_path":"a","language":"c","content":""}"#,
            "field id: must be a string or a number, and is an array",
        );
        check(
            r#"{"id":1,"id":2,"file_path":"a","language":"c","content":""}"#,
            "field id: there twice",
        );
        check(
            r#"{"id":1,"file_path":"a","language":"c","content":"","metadata":"x"}"#,
            "field metadata: must be an object or null",
        );
        check(
            r#"{"id":1,"file_path":"a","language":"c","content":"\ud800"}"#,
            "field content: not a string",
        );
        let not_utf8 = Record::parse(3, b"{\"id\":\"\xff\"}")
            .err()
            .unwrap()
            .to_string();
        assert_eq!(not_utf8, "line 3: not UTF-8 from byte 8 of the line on");
    }
}
