//! Taking files out of the index that are not there, and will not be: an input that is none any more, a disk that is dead.
//!
//! What is there is refused: the next look would bring it back. Beside a run the files leave through its dataflow, as if
//! they had been deleted; without one the store derives what follows. Either way it is one epoch, and all views follow it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use floodmark_operators::keys::Epoch;

use crate::ingest::hint::{Known, Standing};
use crate::ingest::queue::{Remembered, Standpoint};
use crate::sources::{Scope, Selection, scan};
use crate::store::{Clock, ModelKey, Reader, Snapshot, Store, StoreError, StoredFile};

/// A file at or below these absolute paths that is there and selected, if there is one.
pub fn still_there(selection: &Selection, paths: &[PathBuf]) -> Option<PathBuf> {
    let scopes = paths.iter().flat_map(|asked| {
        let inputs = selection.roots().iter().enumerate();
        inputs.filter_map(move |(root, input)| match asked.strip_prefix(&input.path) {
            Ok(below) => Some(Scope::Subtree {
                root,
                path: below.to_owned(),
            }),
            Err(_) => input.path.starts_with(asked).then_some(Scope::Root(root)),
        })
    });
    scopes.into_iter().find_map(|scope| {
        let mut there = None;
        scan(selection, None, &scope, &mut |found| {
            there = Some(selection.roots()[found.root].path.join(&found.path));
            ControlFlow::Break(())
        });
        there
    })
}

/// What to say to somebody who wants to forget a file that is there.
pub fn refusal(there: &Path) -> String {
    format!(
        "{} is there and would come back with the next look; leave it out first (setting exclude, or other inputs), or delete it",
        there.display()
    )
}

/// The files at or below these absolute paths that the index knows, wherever they stand.
///
/// # Errors
/// As the store says.
pub fn files(store: &Snapshot, paths: &[PathBuf]) -> Result<Vec<StoredFile>, StoreError> {
    let mut files = Vec::new();
    store.for_each_file(|file| {
        let path = file.root.join(&file.path);
        if paths.iter().any(|asked| path.starts_with(asked)) {
            files.push(file);
        }
        Ok::<_, StoreError>(())
    })?;
    Ok(files)
}

/// What a run is told of a file that is to go: what the index holds of it.
pub fn remembered(file: &StoredFile) -> Remembered {
    Remembered {
        root: file.root.clone(),
        path: file.path.clone(),
        known: Known {
            identity: None,
            standing: file.version.map(|version| Standing {
                generation: version.generation,
                segments: version.segments,
                content: None,
            }),
            filling: file.partial.as_ref().map(|partial| partial.resume.clone()),
        },
        last_seen: file.identity,
        standpoint: Standpoint::Settled,
    }
}

/// Takes the files at or below these absolute paths out of the index; for when no run is under way. How many they were,
/// and the epoch in which they went.
///
/// # Errors
/// As the store says: [`StoreError::Locked`] where a run has begun meanwhile.
pub fn forget(
    state: &Path,
    paths: &[PathBuf],
    clock: Clock,
) -> Result<(u64, Option<Epoch>), StoreError> {
    let key = {
        let store = Reader::open(state)?.snapshot()?;
        if files(&store, paths)?.is_empty() {
            return Ok((0, None));
        }
        let model = store.model();
        ModelKey {
            id: model.id.clone(),
            dimension: model.dimension,
        }
    };
    let mut store = Store::open(state, &key, clock)?;
    // Looked up anew: from here on nobody else writes.
    let leaving = files(&Reader::open(state)?.snapshot()?, paths)?;
    let epoch = store.retract(&leaving)?;
    store.close()?;
    Ok((leaving.len() as u64, Some(epoch)))
}
