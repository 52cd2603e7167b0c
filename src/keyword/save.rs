//! Making a commit durable, on a thread of its own: syncs take longer than everything else that a commit does.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use floodmark_operators::keys::Epoch;

use serde::Deserialize;
use tantivy::{Index, SegmentMeta};

use super::ground::{Current, Ground};
use super::schema::Payload;
use super::{KeywordError, Languages, analyse};
use crate::fault;

/// What a folder says of the save that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSave {
    /// The epoch of what was saved; later ones are made again from the store.
    pub epoch: Epoch,
    /// Texts in it.
    pub texts: u64,
    /// When it was saved, as the file system says. For people: nothing is decided by it.
    pub at: Option<SystemTime>,
    /// How its texts became words.
    pub analyser: String,
}

impl LastSave {
    /// Whether a view with these languages can go on from it, or is made anew.
    pub fn fits(&self, languages: Languages) -> bool {
        self.analyser == analyse::version(languages)
    }
}

/// What the keyword view in `dir` was saved as last; `None`: it was not yet. The segments are not looked at.
///
/// # Errors
/// The file that says so can't be read, or is not what was written.
pub fn last_save(dir: &Path) -> Result<Option<LastSave>, KeywordError> {
    /// The part of tantivy's list of segments that is ours.
    #[derive(Deserialize)]
    struct Meta {
        payload: Option<String>,
    }
    let Some(Current { meta, at }) = Ground::last_saved(dir)? else {
        return Ok(None);
    };
    let unusable = |error: serde_json::Error| KeywordError::unusable(dir, error.to_string());
    let meta: Meta = serde_json::from_slice(&meta).map_err(unusable)?;
    let payload: Payload =
        serde_json::from_str(&meta.payload.unwrap_or_default()).map_err(unusable)?;
    Ok(Some(LastSave {
        epoch: payload.epoch,
        texts: payload.live,
        at,
        analyser: payload.analyser,
    }))
}

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
    /// What was found in a folder: its segments are kept until the next save, or a process that dies before that one would
    /// leave a folder that names what is swept away.
    pub(super) fn found(segments: Vec<SegmentMeta>) -> Self {
        Self {
            synced: HashSet::new(),
            _pinned: segments,
        }
    }

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
