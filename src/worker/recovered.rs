//! What the store holds, as a run begins with it: some goes through the dataflow, some is for the queue to know.

use std::collections::HashSet;
use std::path::PathBuf;

use floodmark_operators::keys::{ChunkHash, ContentKey};

use crate::formats::{Piece, Recipe};
use crate::ingest::hint::{Known, Standing};
use crate::ingest::queue::{Remembered, Standpoint};
use crate::store::{self, RecoveredFile};

const PIECES: [Piece; 4] = [
    Piece::Whole,
    Piece::Elements,
    Piece::Continued,
    Piece::TooLong,
];

/// Finds the contents that today's recipe would read in the same way.
pub(crate) struct CurrentContents<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) keys: HashSet<ContentKey>,
}

impl CurrentContents<'_> {
    pub(crate) fn judge(&mut self, content: &store::StoredContent) {
        let key = |piece: &Piece| self.recipe.content_key(content.hash, content.format, piece);
        if PIECES.iter().any(|piece| key(piece) == content.key) {
            self.keys.insert(content.key);
        }
    }
}

pub(crate) struct Recovered {
    pub(super) slots: Vec<(floodmark_operators::upsert::Slot, ContentKey)>,
    pub(crate) files: Vec<Remembered>,
}

/// Divides what the store holds into what epoch 0 replays and what the queue knows.
///
/// A file whose contents are known goes through the dataflow as it stands, also when an older recipe made it: it stays in
/// the index until the new reading replaces it. One whose contents are not known whole (another model, a repair) is read
/// again; until then it is not in the index, because there is no vector for it.
///
/// `contents` are those that are known whole.
pub(crate) fn recovered(
    stored: Vec<RecoveredFile>,
    contents: &[(ContentKey, Box<[ChunkHash]>)],
    current: &HashSet<ContentKey>,
    roots: &[PathBuf],
) -> Recovered {
    let whole: HashSet<ContentKey> = contents.iter().map(|(key, _)| *key).collect();
    let mut slots = Vec::with_capacity(stored.len());
    let mut files = Vec::with_capacity(stored.len());
    let mut elsewhere = 0;
    for RecoveredFile { file, segments } in stored {
        let all_whole = segments.iter().all(|(_, content)| whole.contains(content));
        let all_current = segments
            .iter()
            .all(|(_, content)| current.contains(content));
        slots.extend(
            segments
                .iter()
                .filter(|(_, content)| whole.contains(content))
                .map(|(slot, content)| ((file.key, *slot), *content)),
        );
        // As bytes: paths are compared part by part, and there is one for each file.
        if !(roots.iter()).any(|root| root.as_os_str() == file.root.as_os_str()) {
            elsewhere += 1;
            continue;
        }
        let trusted = all_whole && all_current;
        let standpoint = match &file.standing {
            store::Standing::Indexed | store::Standing::Partial => Standpoint::Settled,
            store::Standing::Retrying { .. } => Standpoint::Retrying,
            store::Standing::Dead { .. } if file.identity.is_none() => Standpoint::Moved,
            store::Standing::Dead { .. } => Standpoint::Dead,
        };
        let standing = file.version.map(|version| Standing {
            generation: version.generation,
            segments: version.segments,
            content: (trusted && standpoint == Standpoint::Settled).then_some(version.content),
        });
        let filling = file.partial.map(|partial| partial.resume);
        let known = Known {
            identity: file.identity.filter(|_| trusted),
            standing,
            filling,
        };
        files.push(Remembered {
            root: file.root,
            path: file.path,
            known,
            last_seen: file.identity,
            standpoint,
        });
    }
    if elsewhere > 0 {
        tracing::warn!(
            files = elsewhere,
            "files under folders that are no longer inputs stay in the index as they are; `floodmark forget` takes them out"
        );
    }
    Recovered { slots, files }
}
