//! Why a file is, or is not, in the index: what the store holds of it against what is on the disk now.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::answers::{ExplainedChunk, ExplainedFailure, Explanation, Standing, shown};
use crate::sources::{
    Doubt, Fate, Identity, Looked, Roots, RootsError, Scope, Selection, SelectionError,
    SourceOptions, resolved, scan,
};
use crate::store::{self, ChunkDetail, FileDetail, Snapshot, StoreError, StoredFile};

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The inputs.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The globs.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// Not a file.
    #[error("{} is a folder: explain a file", .0.display())]
    Folder(PathBuf),
    /// The path can't be found out.
    #[error("can't tell where {} is: {error}", path.display())]
    Unresolvable {
        /// As given.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Explains the file at `path`, given what a run with these options would select.
///
/// # Errors
/// See [`ExplainError`].
pub fn explain(
    store: &Snapshot,
    state: &Path,
    options: &SourceOptions,
    path: &Path,
) -> Result<Explanation, ExplainError> {
    let absolute = resolved(path).map_err(|error| ExplainError::Unresolvable {
        path: path.to_owned(),
        error,
    })?;
    let mut explanation = Explanation {
        path: shown(&absolute),
        standing: Standing::Unknown,
        why: String::new(),
        root: None,
        bytes: None,
        content: None,
        format: None,
        model: None,
        epoch: None,
        documents: 0,
        chunks: Vec::new(),
        failures: Vec::new(),
    };
    let Some((roots, root, below)) = home(store, state, options, &absolute)? else {
        let inputs: Vec<String> = options.inputs.iter().map(|input| shown(input)).collect();
        let inputs = inputs.join(", ");
        (explanation.standing, explanation.why) = match std::fs::symlink_metadata(&absolute) {
            Ok(metadata) if metadata.is_dir() => return Err(ExplainError::Folder(absolute)),
            Ok(_) => (
                Standing::Excluded,
                format!("It lies below no input ({inputs}). Name its folder with --input."),
            ),
            Err(_) => (
                Standing::Unknown,
                format!("There is no such file, and it would lie below no input ({inputs})."),
            ),
        };
        return Ok(explanation);
    };
    let root_path = roots[root].path.clone();
    let detail = store.file(&root_path, &below)?;
    let selection = Selection::new(options, roots, state)?;
    let looked = selection.look(root, &below);
    if matches!(looked, Looked::Folder) {
        return Err(ExplainError::Folder(absolute));
    }
    explanation.root = Some(shown(&root_path));
    let file = detail.as_ref().and_then(|detail| detail.file.as_ref());
    (explanation.standing, explanation.why) = match (&looked, file) {
        (Looked::Gone, Some(file)) if !(file.identity.is_none() && is_dead(file)) => {
            missing(&selection, root, &below, file)
        }
        _ => judge(&looked, file, detail.as_ref()),
    };
    if let Some(file) = file {
        let version = file.version.as_ref();
        explanation.bytes = file.identity.map(|identity| identity.size);
        explanation.content = version.map(|version| version.content);
        explanation.format = version
            .map(|version| version.format)
            .or(file.partial.as_ref().map(|partial| partial.format));
    }
    if let Some(detail) = &detail {
        contents(store, &absolute, detail, &mut explanation)?;
        let refused = explanation
            .failures
            .iter()
            .filter(|failure| failure.chunk.is_some())
            .count();
        if refused > 0 {
            explanation.why += &format!(
                " Not in the index: {refused} of its {} chunks, whose texts the model refused.",
                explanation.chunks.len()
            );
        }
    }
    Ok(explanation)
}

/// The input that the path lies under: one of those given, or else one that the index knows.
fn home(
    store: &Snapshot,
    state: &Path,
    options: &SourceOptions,
    path: &Path,
) -> Result<Option<(Roots, usize, PathBuf)>, ExplainError> {
    let roots = Roots::resolve(options, state)?;
    if let Some((root, below)) = roots.locate(path) {
        return Ok(Some((roots, root, below)));
    }
    let known = store.roots()?;
    let Some(root) = known.into_iter().find(|root| path.starts_with(root)) else {
        return Ok(None);
    };
    let known = SourceOptions {
        inputs: vec![root],
        ..options.clone()
    };
    let roots = Roots::resolve(&known, state)?;
    let place = roots.locate(path);
    Ok(place.map(|(root, below)| (roots, root, below)))
}

/// Where it stands, and why.
fn judge(
    looked: &Looked,
    file: Option<&StoredFile>,
    detail: Option<&FileDetail>,
) -> (Standing, String) {
    match (looked, file) {
        (Looked::File(found), Some(file)) => on_disk(file, found.identity),
        (Looked::File(_) | Looked::Folder, _) => (
            Standing::New,
            "It is on the disk and was not looked at yet: a run that is under way is about to, or else the next one."
                .into(),
        ),
        (Looked::Skipped { at, reason }, file) => (
            Standing::Excluded,
            format!(
                "{} is left out: {reason}.{}",
                at.display(),
                file.map_or("", goes)
            ),
        ),
        // Moved away as a dead letter.
        (Looked::Gone, Some(file)) if file.identity.is_none() && is_dead(file) => failing(file),
        (Looked::Gone, Some(file)) => gone(file),
        (Looked::Gone, None) => match detail.and_then(|detail| detail.history.last()) {
            Some(last) => (
                Standing::Gone,
                format!(
                    "It is no longer on the disk, and no longer in the index since epoch {}.",
                    last.removed.unwrap_or(last.added)
                ),
            ),
            None => (
                Standing::Unknown,
                "There is no such file, and there never was one in the index.".into(),
            ),
        },
        (Looked::Unknown { at, error }, file) => {
            let (standing, known) = match file {
                Some(file) => on_disk(file, file.identity.unwrap_or(NOWHERE)),
                None => (Standing::Unknown, "It was never in the index.".into()),
            };
            let at = at.display();
            (
                standing,
                format!("{known} Now it can't be looked at ({at}: {error}); what is known of it stays."),
            )
        }
    }
}

/// What becomes of what the index holds of a file that is not there for it.
fn goes(file: &StoredFile) -> &'static str {
    match file.version {
        Some(_) => " What the index holds of it goes with the next look of a run.",
        None => "",
    }
}

fn gone(file: &StoredFile) -> (Standing, String) {
    let why = format!("It is no longer on the disk.{}", goes(file));
    (Standing::Gone, why)
}

/// Of a file that is in the index and not on the disk: gone, unless its whole input is empty or its disk away.
fn missing(
    selection: &Selection,
    root: usize,
    path: &Path,
    file: &StoredFile,
) -> (Standing, String) {
    // A first file is enough to know that the input holds something.
    let mut devices = false;
    let report = scan(selection, None, &Scope::Root(root), &mut |found| {
        devices |= Some(found.identity.dev) == file.identity.map(|identity| identity.dev);
        if devices {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let fate = match file.identity {
        _ if devices => Fate::Gone,
        Some(identity) => report.fates()(root, path, &identity),
        None if report.roots_empty.contains(&root) => Fate::Unknown(Doubt::Emptied),
        None => Fate::Gone,
    };
    let Fate::Unknown(doubt) = fate else {
        return gone(file);
    };
    let (standing, known) = on_disk(file, file.identity.unwrap_or(NOWHERE));
    let why = format!(
        "{known} Now it is not there, and stays in the index: {}.",
        doubt.advice()
    );
    (standing, why)
}

/// No file has it.
const NOWHERE: Identity = Identity {
    dev: 0,
    ino: 0,
    size: 0,
    mtime_ns: 0,
    ctime_ns: 0,
};

fn is_dead(file: &StoredFile) -> bool {
    matches!(file.standing, store::Standing::Dead { .. })
}

/// Of a file that is there.
fn on_disk(file: &StoredFile, identity: Identity) -> (Standing, String) {
    let retrying = matches!(file.standing, store::Standing::Retrying { .. });
    if file.identity != Some(identity) && !retrying && file.identity.is_some() {
        let older = match file.version {
            Some(_) => " Until then its previous version is found.",
            None => "",
        };
        return (
            Standing::Changed,
            format!(
                "It has changed since it was last looked at; the next look of a run reads it.{older}"
            ),
        );
    }
    match &file.standing {
        store::Standing::Indexed => (
            Standing::Indexed,
            "It is in the index as it is on the disk.".into(),
        ),
        store::Standing::Partial => {
            let read = file
                .partial
                .as_ref()
                .map_or(0, |partial| partial.resume.offset);
            (
                Standing::Partial,
                format!(
                    "Its first {read} of {} bytes are in the index; the rest follows.",
                    identity.size
                ),
            )
        }
        store::Standing::Retrying { .. } | store::Standing::Dead { .. } => failing(file),
    }
}

/// Of a file that could not be read.
fn failing(file: &StoredFile) -> (Standing, String) {
    let standing = match file.standing {
        store::Standing::Dead { .. } => Standing::Dead,
        _ => Standing::Retrying,
    };
    let why = file.standing.failure().map_or_else(String::new, |failure| {
        let line = failure
            .line
            .map(|line| format!(", line {line}"))
            .unwrap_or_default();
        let (reason, message, advice) = (&failure.reason, &failure.message, &failure.advice);
        format!("{reason}{line}: {message}. To do: {advice}.")
    });
    let older = if file.stale() {
        " Its previous version is still found."
    } else {
        ""
    };
    (standing, why + older)
}

/// What of it is in the index.
fn contents(
    store: &Snapshot,
    path: &Path,
    detail: &FileDetail,
    explanation: &mut Explanation,
) -> Result<(), StoreError> {
    let segments = &detail.segments;
    if segments.is_empty() {
        return Ok(());
    }
    explanation.bytes = Some(segments.iter().map(|segment| segment.bytes).sum());
    explanation.model = Some(store.model().id.clone());
    explanation.epoch = segments.iter().map(|segment| segment.added).max();
    let mut last = None;
    for segment in segments {
        for chunk in &segment.chunks {
            explanation.documents += u64::from(last != Some(chunk.record));
            last = Some(chunk.record);
            explanation.chunks.push(explained(store, path, chunk)?);
        }
        let failures = segment.failures.iter().map(|failure| (None, None, failure));
        let refused = segment.chunks.iter().filter_map(|chunk| {
            let (document, number) = (chunk.document.clone(), u64::from(chunk.chunk));
            Some((Some(document), Some(number), chunk.refused.as_ref()?))
        });
        let failures = failures.chain(refused);
        let failures = failures.map(|(document, chunk, failure)| ExplainedFailure {
            document,
            chunk,
            record: failure.record,
            line: failure.line,
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            advice: failure.advice.clone(),
        });
        explanation.failures.extend(failures);
    }
    Ok(())
}

fn explained(
    store: &Snapshot,
    path: &Path,
    chunk: &ChunkDetail,
) -> Result<ExplainedChunk, StoreError> {
    let mut other_paths: Vec<String> = store
        .occurrences(chunk.label)?
        .iter()
        .map(|place| place.root.join(&place.path))
        .filter(|other| other != path)
        .map(|other| shown(&other))
        .collect();
    other_paths.dedup();
    Ok(ExplainedChunk {
        document: chunk.document.clone(),
        chunk: u64::from(chunk.chunk),
        start: chunk.start,
        end: chunk.end,
        text_hash: chunk.hash,
        embedded: chunk.embedded,
        other_paths,
    })
}

#[cfg(test)]
mod tests;
