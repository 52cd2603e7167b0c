//! Files that are not there and stay in the index, because nobody can tell whether they are gone.

use std::path::{Path, PathBuf};

use crate::sources::Doubt;

/// How many of them an input has, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The input, absolute.
    pub input: PathBuf,
    /// Files.
    pub files: u64,
    /// Why nobody can tell, of one of them.
    pub doubt: Doubt,
}

impl Kept {
    /// Counts one more file of `input` among those that are kept.
    pub fn count(all: &mut Vec<Self>, input: &Path, doubt: &Doubt) {
        let same = std::mem::discriminant(doubt);
        let known = all
            .iter_mut()
            .find(|kept| kept.input == input && std::mem::discriminant(&kept.doubt) == same);
        match known {
            Some(kept) => kept.files += 1,
            None => all.push(Self {
                input: input.to_owned(),
                files: 1,
                doubt: doubt.clone(),
            }),
        }
    }
}
