//! Where things lie in JSON. serde_json decides what is valid; this only finds positions.

use std::ops::Range;

use crate::formats::failure::{At, count_lines, failure};
use crate::store::row::Failure;

/// The first byte of the value nested deeper than `max`. A straight line over the bytes: no stack to overflow.
pub(crate) fn too_deep(bytes: &[u8], max: usize) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        if quoted {
            (quoted, escaped) = match byte {
                _ if escaped => (true, false),
                b'\\' => (true, true),
                b'"' => (false, false),
                _ => (true, false),
            };
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max {
            return Some(at);
        }
    }
    None
}

pub(crate) fn too_deep_failure(max: usize) -> Failure {
    failure(
        "too-deep",
        format!("the JSON is nested more than {max} levels deep"),
        "flatten it, or raise max_depth (up to 127)",
    )
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The position of the first byte from `at` on that is no white space.
pub(crate) fn skip_space(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    at + rest
        .iter()
        .position(|b| !is_space(*b))
        .unwrap_or(rest.len())
}

/// One past the end of the value at `at`, in valid JSON.
pub(crate) fn skip_value(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut i, mut depth) = (at, 0usize);
    while i < bytes.len() {
        match bytes[i] {
            b'"' => i = skip_string(bytes, i),
            b'[' | b'{' => {
                depth += 1;
                i += 1;
                continue;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                i += 1;
            }
            b',' | b':' => {
                i += 1;
                continue;
            }
            byte if is_space(byte) => {
                i += 1;
                continue;
            }
            _ => {
                let inner = |b: &u8| matches!(b, b',' | b':' | b']' | b'}') || is_space(*b);
                i += bytes[i..].iter().position(inner).unwrap_or(bytes.len() - i);
            }
        }
        if depth == 0 {
            return i;
        }
    }
    i
}

fn skip_string(bytes: &[u8], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => return i + 1,
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// The values of an array's inside (what stands between its brackets), in valid JSON.
pub(crate) fn elements(
    text: &str,
    inside: Range<usize>,
) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = skip_space(text, inside.start);
    std::iter::from_fn(move || {
        if at >= inside.end {
            return None;
        }
        let value = at..skip_value(text, at);
        at = skip_space(text, value.end);
        if text.as_bytes().get(at) == Some(&b',') {
            at = skip_space(text, at + 1);
        }
        Some(value)
    })
}

/// The members of the object at `at`, in valid JSON: the ranges of key and value.
pub(crate) fn members(
    text: &str,
    at: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + '_ {
    let mut at = skip_space(text, at + 1);
    std::iter::from_fn(move || {
        if text.as_bytes().get(at) != Some(&b'"') {
            return None;
        }
        let key = at..skip_value(text, at);
        let colon = skip_space(text, key.end);
        let start = skip_space(text, colon + 1);
        let value = start..skip_value(text, start);
        at = skip_space(text, value.end);
        if text.as_bytes().get(at) == Some(&b',') {
            at = skip_space(text, at + 1);
        }
        Some((key, value))
    })
}

/// Finds the end of one array element in bytes that arrive piece by piece.
#[derive(Debug)]
pub(crate) struct ElementEnd {
    open: Vec<u8>,
    quoted: bool,
    escaped: bool,
    max_depth: usize,
}

impl ElementEnd {
    /// Within an array, which is a level itself.
    pub(crate) fn new(max_depth: usize) -> Self {
        Self {
            open: Vec::new(),
            quoted: false,
            escaped: false,
            max_depth: max_depth.saturating_sub(1),
        }
    }

    /// The position of the `,` or `]` after the element, if these bytes hold it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.quoted {
                (self.quoted, self.escaped) = match byte {
                    _ if self.escaped => (true, false),
                    b'\\' => (true, true),
                    b'"' => (false, false),
                    _ => (true, false),
                };
                continue;
            }
            match byte {
                b'"' => self.quoted = true,
                b'[' | b'{' => {
                    self.open.push(*byte);
                    if self.open.len() > self.max_depth {
                        let line = 1 + count_lines(&bytes[..at]);
                        return Err(too_deep_failure(self.max_depth + 1).line(line));
                    }
                }
                b',' | b']' if self.open.is_empty() => return Ok(Some(at)),
                b']' | b'}' => {
                    let opened = if *byte == b']' { b'[' } else { b'{' };
                    if self.open.pop() != Some(opened) {
                        let line = 1 + count_lines(&bytes[..at]);
                        let message = format!("`{}` closes nothing", char::from(*byte));
                        return Err(super::invalid(message, false).line(line));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}
