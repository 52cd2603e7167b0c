//! Making a commit durable, on a thread of its own: syncs take longer than everything else that a commit does.

use std::collections::HashSet;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use tantivy::{Index, SegmentMeta};

use super::KeywordError;
use super::ground::Ground;
use crate::fault;

/// What the folder stands for. tantivy keeps the files of a segment as long as somebody holds its meta: so what is saved stays
/// complete while merges go on.
#[derive(Default)]
pub(super) struct Saved {
    synced: HashSet<PathBuf>,
    _pinned: Vec<SegmentMeta>,
}

/// A save under way.
pub(super) struct Saving {
    thread: JoinHandle<Result<Saved, KeywordError>>,
    /// Changes that will be saved.
    pub changes: u64,
}

impl Saving {
    /// Starts to save the last commit, of `changes` changes since the save before.
    pub(super) fn start(
        ground: Ground,
        index: Index,
        synced: HashSet<PathBuf>,
        changes: u64,
    ) -> std::io::Result<Self> {
        let thread = thread::Builder::new()
            .name("save-keywords".into())
            .spawn(move || save(&ground, &index, &synced))?;
        Ok(Self { thread, changes })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of it.
    pub(super) fn finish(self) -> Result<Saved, KeywordError> {
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Saved {
    /// Files that are durable already.
    pub(super) fn synced(&self) -> HashSet<PathBuf> {
        self.synced.clone()
    }
}

/// Makes the folder stand for the last commit.
pub(super) fn save(
    ground: &Ground,
    index: &Index,
    synced: &HashSet<PathBuf>,
) -> Result<Saved, KeywordError> {
    fault::pass("words.save.begin");
    // The segments that are listed must be those that are held: a merge may replace the list between two looks.
    let (meta, listed) = loop {
        let before = ground.meta()?;
        let listed = (index.load_metas()).map_err(KeywordError::tantivy("list its segments"))?;
        if ground.meta()? == before {
            break (before, listed);
        }
    };
    let mut durable = HashSet::new();
    // Some of these names are of files that a segment does without.
    for file in listed.list_segment_files() {
        if synced.contains(&file) || ground.sync(&file)? {
            durable.insert(file);
        }
    }
    ground.point_to(&meta)?;
    Ok(Saved {
        synced: durable,
        _pinned: listed.segments,
    })
}
