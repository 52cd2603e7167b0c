//! Dead letters: what failed, why, since when, and how it is looked at again.

use std::path::{Path, PathBuf};

use crate::answers::{DeadLetter, shown};
use crate::ingest::hint::Again;
use crate::service::time;
use crate::sources::Identity;
use crate::store::row::{FileRow, FileState, Row};
use crate::store::{Clock, ModelKey, Reader, Snapshot, Standing, Store, StoreError, StoredFile};

/// The files and records that failed, by path; of a file its own failure first, then its records in order.
///
/// # Errors
/// As the store says.
pub fn letters(store: &Snapshot) -> Result<Vec<DeadLetter>, StoreError> {
    let mut letters = Vec::new();
    for row in store.dead()? {
        // Tried again by itself: `status` counts it, and nobody need do anything.
        if row.state == "retrying" {
            continue;
        }
        letters.push(DeadLetter {
            path: shown(&row.root.join(&row.path)),
            record: row.failure.record,
            document: row.document,
            chunk: row.chunk.map(u64::from),
            line: row.failure.line,
            reason: row.failure.reason,
            message: row.failure.message,
            advice: row.failure.advice,
            attempts: row.attempts.max(1),
            since: store.committed_ms(row.since)?.map(time),
            stale: row.stale,
        });
    }
    Ok(letters)
}

/// The files that are dead, or have records or chunks that are: at or below `paths`, all of them if there are none.
///
/// # Errors
/// As the store says.
pub fn files(store: &Snapshot, paths: &[PathBuf]) -> Result<Vec<Again>, StoreError> {
    let mut files: Vec<_> = store
        .dead()?
        .into_iter()
        .filter(|row| row.state != "retrying")
        .filter(|row| {
            let path = row.root.join(&row.path);
            paths.is_empty() || paths.iter().any(|asked| path.starts_with(asked))
        })
        .map(|row| (row.root, row.path))
        .collect();
    files.dedup(); // sorted by path and root
    files
        .into_iter()
        .map(|(root, path)| {
            let texts = store.refused_texts(&root, &path)?;
            Ok(Again { root, path, texts })
        })
        .collect()
}

/// Makes the next run look again at those files; for when no run is under way. How many they are.
///
/// # Errors
/// As the store says: [`StoreError::Locked`] where a run has begun meanwhile.
pub fn retry_later(state: &Path, paths: &[PathBuf], clock: Clock) -> Result<u64, StoreError> {
    let (key, rows, count) = {
        let store = Reader::open(state)?.snapshot()?;
        let model = store.model();
        let key = ModelKey {
            id: model.id.clone(),
            dimension: model.dimension,
        };
        let mut rows = Vec::new();
        let again = files(&store, paths)?;
        for Again { root, path, texts } in &again {
            rows.extend(texts.iter().map(|(hash, _)| Row::Again(*hash)));
            let file = store.file(root, path)?.and_then(|detail| detail.file);
            rows.extend(file.map(to_look_at).map(Row::File));
        }
        (key, rows, again.len() as u64)
    };
    if count > 0 {
        let mut store = Store::open(state, &key, clock)?;
        let epoch = store.upper();
        let rows = rows.into_iter().map(|row| (epoch, row)).collect();
        store.commit(epoch + 1, rows)?;
        store.close()?;
    }
    Ok(count)
}

/// The file as it stands, but for its identity: one that no file has, so that it counts as changed.
fn to_look_at(file: StoredFile) -> FileRow {
    let identity = file.identity.map(|identity| Identity {
        ctime_ns: 0,
        ..identity
    });
    let state = match file.standing {
        Standing::Indexed | Standing::Partial => FileState::Touched,
        Standing::Dead { attempts, failure } if identity.is_some() => FileState::Dead {
            failure: *failure,
            attempts,
        },
        // Nothing was there when it was last looked at: a scan would not miss it.
        Standing::Dead { failure, .. } | Standing::Retrying { failure, .. } => {
            FileState::Retrying {
                attempt: 0,
                after_ms: 0,
                failure: *failure,
            }
        }
    };
    FileRow {
        key: file.key,
        root: file.root.to_path_buf(),
        path: file.path,
        identity,
        state,
        retire: Vec::new(),
    }
}
