//! Content addresses: what a thing is called is what it contains.
//!
//! Every key is the first 16 bytes of a BLAKE3 hash over a domain tag and length-prefixed parts, so that two kinds of
//! key never collide and `("ab", "c")` differs from `("a", "bc")`. Sixteen bytes make an accidental collision among
//! 10¹² keys less likely than 10⁻¹⁴.
//!
//! ```
//! use floodmark_operators::keys::{ChunkHash, PathKey};
//! let a = ChunkHash::of(&[b"the tide came in"]);
//! assert_eq!(a, ChunkHash::of(&[b"the tide came in"]));
//! assert_ne!(a.to_string(), PathKey::of(&[b"the tide came in"]).to_string());
//! assert_eq!(a.to_string().parse(), Ok(a));
//! ```

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point on the one axis of progress. Epoch 0 is what the store already held; later ones are minted by the source.
pub type Epoch = u64;

/// The text was not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAKey;

impl fmt::Display for NotAKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is 32 hexadecimal digits")
    }
}

impl std::error::Error for NotAKey {}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $domain:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(u64, u64);

        impl $name {
            /// The address of `parts`, in their order.
            pub fn of(parts: &[&[u8]]) -> Self {
                let mut hasher = blake3::Hasher::new_derive_key($domain);
                for part in parts {
                    hasher.update(&(part.len() as u64).to_le_bytes());
                    hasher.update(part);
                }
                let mut bytes = [0; 16];
                hasher.finalize_xof().fill(&mut bytes);
                Self::from_bytes(bytes)
            }

            /// The sixteen bytes, most significant first: byte order is key order.
            pub fn to_bytes(self) -> [u8; 16] {
                ((u128::from(self.0) << 64) | u128::from(self.1)).to_be_bytes()
            }

            /// The inverse of [`Self::to_bytes`].
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                let wide = u128::from_be_bytes(bytes);
                Self((wide >> 64) as u64, wide as u64)
            }

            /// Where this key lives: records of one key meet on worker `route() % peers`.
            pub fn route(&self) -> u64 {
                self.0
            }
        }

        // One write: differential's hashing is then a single multiplication.
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write_u64(self.0);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}{:016x}", self.0, self.1)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x}…)"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAKey;

            fn from_str(text: &str) -> Result<Self, NotAKey> {
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(NotAKey);
                }
                let wide = u128::from_str_radix(text, 16).map_err(|_| NotAKey)?;
                Ok(Self::from_bytes(wide.to_be_bytes()))
            }
        }
    };
}

key!(
    /// A file, by its root and its path below it.
    PathKey,
    "floodmark 1 path"
);
key!(
    /// Bytes, as they lie on the disk.
    ContentHash,
    "floodmark 1 content"
);
key!(
    /// Bytes together with everything that decides how they are read: format, parser, chunker, tokenizer.
    /// Two files of one `ContentKey` have the same documents and the same chunks.
    ContentKey,
    "floodmark 1 reading"
);
key!(
    /// The text of a chunk. Its vector is addressed by this and by the model.
    ChunkHash,
    "floodmark 1 chunk"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_delimited() {
        assert_ne!(
            ContentKey::of(&[b"ab", b"c"]),
            ContentKey::of(&[b"a", b"bc"])
        );
    }

    #[test]
    fn byte_order_is_key_order() {
        let mut keys: Vec<ChunkHash> = (0..100u8).map(|i| ChunkHash::of(&[&[i]])).collect();
        keys.sort();
        let mut bytes: Vec<[u8; 16]> = keys.iter().map(|k| k.to_bytes()).collect();
        bytes.sort();
        assert_eq!(
            keys,
            bytes
                .into_iter()
                .map(ChunkHash::from_bytes)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_key_is_read_back_from_its_text_and_nothing_else_is() {
        let key = PathKey::of(&[b"notes/a.md"]);
        assert_eq!(key.to_string().parse(), Ok(key));
        for text in [
            "",
            "xyz",
            "+0000000000000000000000000000000",
            &"0".repeat(33),
        ] {
            assert_eq!(text.parse::<PathKey>(), Err(NotAKey), "{text}");
        }
    }
}
