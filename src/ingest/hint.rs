//! A file to look at, and what is known of it.

use std::path::PathBuf;
use std::sync::Arc;

use floodmark_operators::embed::Text;
use floodmark_operators::keys::{ChunkHash, ContentHash, PathKey};
use serde::{Deserialize, Serialize};

use crate::sources::Identity;
use crate::store::row::{FileRow, Resume};

/// A file to look at. Everything that the reader needs to know travels with it, so that any worker can be the reader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hint {
    /// Its key.
    pub key: PathKey,
    /// The root it lies under.
    #[serde(with = "crate::sources::raw_path")]
    pub root: PathBuf,
    /// Its path below the root.
    #[serde(with = "crate::sources::raw_path")]
    pub path: PathBuf,
    /// What the index holds of it.
    pub known: Known,
    /// It is not there, or no longer selected: nothing to look at.
    pub gone: bool,
    /// It was moved away as a dead letter: nothing to look at, and this to say of it.
    pub moved: Option<Box<FileRow>>,
    /// Tries that failed before this one.
    pub failures: u32,
    /// Texts of it that the model refused, and is to be asked for again.
    pub again: Vec<(ChunkHash, Text)>,
    /// Read at most about this much now; the rest in a later epoch.
    pub budget_bytes: usize,
}

/// What the index holds of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// `stat` of the bytes that were read last; `None`: look in any case.
    pub identity: Option<Identity>,
    /// The complete version, if there is one.
    pub standing: Option<Standing>,
    /// A version that is being read, slice by slice.
    pub filling: Option<Resume>,
}

/// A version of a file that is complete in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which half of the slots it uses.
    pub generation: u8,
    /// How many.
    pub segments: u32,
    /// Its bytes, if they were read by today's recipe.
    pub content: Option<ContentHash>,
}

/// The slot of a segment.
pub fn slot(generation: u8, segment: u32) -> u32 {
    debug_assert!(segment < 1 << 31, "2³¹ segments of 64 KiB are 128 TiB");
    u32::from(generation & 1) << 31 | segment
}

/// A file to look at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// The root it lies under.
    pub root: PathBuf,
    /// Its path below the root.
    pub path: PathBuf,
    /// Texts of it that the model refused, and is to be asked for again.
    pub texts: Vec<(ChunkHash, Arc<str>)>,
}

/// A text that was refused, to be tried again.
pub fn once_more(text: Arc<str>) -> Text {
    // Some four bytes are a token. A wrong guess costs a little padding.
    let tokens = u32::try_from(text.len() / 4 + 1).unwrap_or(u32::MAX);
    Text {
        text,
        tokens,
        again: true,
    }
}

impl Known {
    /// The generation that a new version fills.
    pub fn next_generation(&self) -> u8 {
        self.standing.map_or(0, |standing| standing.generation ^ 1)
    }

    /// The slots of the complete version.
    pub fn standing_slots(&self) -> impl Iterator<Item = u32> + use<> {
        let (generation, segments) = self
            .standing
            .map_or((0, 0), |standing| (standing.generation, standing.segments));
        (0..segments).map(move |segment| slot(generation, segment))
    }

    /// The slots that an unfinished version has filled, from its segment `first` on.
    pub fn filled_slots(&self, first: u32) -> impl Iterator<Item = u32> + use<> {
        let (generation, segments) = self
            .filling
            .as_ref()
            .map_or((0, 0), |resume| (resume.generation, resume.segment));
        (first..segments).map(move |segment| slot(generation, segment))
    }
}
