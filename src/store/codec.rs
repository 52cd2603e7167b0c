//! How values lie in the database: lossless, and legible in `sqlite3` wherever that is possible.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use floodmark_operators::keys::{ChunkHash, ContentHash, ContentKey, PathKey};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde_json::Value;

use crate::formats::Format;

/// A `u64` as SQLite's signed integer, bit for bit. Epochs and positions stay below 2⁶³ and keep their order.
pub(super) fn signed(value: u64) -> i64 {
    value.cast_signed()
}

/// The inverse of [`signed`].
pub(super) fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}

/// A value that knows how it lies in the database.
pub(super) struct Sql<T>(pub(super) T);

macro_rules! key_blob {
    ($($key:ident),*) => {$(
        impl ToSql for Sql<$key> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.0.to_bytes().to_vec()))
            }
        }
        impl FromSql for Sql<$key> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let bytes = value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
                Ok(Self($key::from_bytes(bytes)))
            }
        }
    )*};
}
key_blob!(PathKey, ContentHash, ContentKey, ChunkHash);

/// `json`, `markdown`, …; a language follows a slash: `code/rust`.
impl ToSql for Sql<Format> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let name = match serde_json::to_value(self.0) {
            Ok(Value::String(name)) => name,
            Ok(Value::Object(map)) => map
                .iter()
                .next()
                .map(|(name, inner)| format!("{name}/{}", inner.as_str().unwrap_or_default()))
                .unwrap_or_default(),
            _ => String::new(),
        };
        Ok(ToSqlOutput::from(name))
    }
}

impl FromSql for Sql<Format> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        let value = match name.split_once('/') {
            None => Value::from(name),
            Some((name, inner)) => Value::Object(
                [(name.to_owned(), Value::from(inner))]
                    .into_iter()
                    .collect(),
            ),
        };
        serde_json::from_value(value)
            .map(Self)
            .map_err(|error| FromSqlError::Other(error.into()))
    }
}

/// A path as text: what is not UTF-8 becomes `\xNN`, and a backslash two.
///
/// ```
/// use floodmark::store::{escape_path, unescape_path};
/// use std::path::Path;
/// assert_eq!(escape_path(Path::new("notes/tide.md")), "notes/tide.md");
/// assert_eq!(unescape_path(r"a\\b"), Path::new(r"a\b"));
/// ```
pub fn escape_path(path: &Path) -> String {
    let mut text = String::with_capacity(path.as_os_str().len());
    for part in path.as_os_str().as_bytes().utf8_chunks() {
        for character in part.valid().chars() {
            match character {
                '\\' => text.push_str(r"\\"),
                other => text.push(other),
            }
        }
        for byte in part.invalid() {
            let _ = write!(text, r"\x{byte:02x}");
        }
    }
    text
}

/// The inverse of [`escape_path`].
pub fn unescape_path(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                rest = after;
            }
            (b'\\', [b'x', high, low, after @ ..]) if hex(&[*high, *low]).is_some() => {
                bytes.extend(hex(&[*high, *low]));
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// `[d]` f32 as `4 d` bytes, little-endian, into `bytes`.
pub(super) fn encode_vector(vector: &[f32], bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend(vector.iter().flat_map(|number| number.to_le_bytes()));
}

/// What `embeddings.sum` must be. Model and text belong to it: a vector that a damaged row gives to another text is as wrong.
pub(super) fn vector_sum(model: i64, text: i64, vector: &[u8]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&model.to_le_bytes());
    hasher.update(&text.to_le_bytes());
    hasher.update(vector);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(sum)
}

/// The inverse of [`encode_vector`]; false when the length is not `4 d`.
pub(super) fn decode_vector(bytes: &[u8], vector: &mut [f32]) -> bool {
    if bytes.len() != vector.len() * 4 {
        return false;
    }
    for (number, four) in vector.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *number = f32::from_le_bytes(*four);
    }
    true
}

/// Why a vector may not be in the index, if so. A NaN hangs HNSW, and inner product is a cosine of unit vectors only.
pub(crate) fn vector_fault(vector: &[f32], dimension: usize) -> Option<String> {
    if vector.len() != dimension {
        return Some(format!("it has {} numbers, not {dimension}", vector.len()));
    }
    let norm = vector
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        .sqrt();
    if !norm.is_finite() {
        return Some("it has a number that is not finite".to_owned());
    }
    ((norm - 1.0).abs() > 1e-3).then(|| format!("its norm is {norm}, not 1"))
}
