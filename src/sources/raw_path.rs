//! Paths between processes, byte for byte: serde's own form of a path refuses names that are not UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serializer};

/// For `#[serde(with = "raw_path")]`.
///
/// # Errors
/// The serialiser's own.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(path.as_os_str().as_bytes())
}

/// The inverse of [`serialize`].
///
/// # Errors
/// The deserialiser's own.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let bytes = Vec::<u8>::deserialize(deserializer)?;
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] PathBuf);

    #[test]
    fn a_name_that_is_not_utf_8_arrives_as_it_was() {
        let name = PathBuf::from(OsString::from_vec(vec![b'a', 0xff, b'/', 0xc3]));
        let sent = serde_json::to_vec(&Holder(name.clone())).unwrap();
        assert_eq!(serde_json::from_slice::<Holder>(&sent).unwrap().0, name);
    }
}
