//! Are the index and the files the same? Sources, store and view are compared, each with the next, to the last byte.
//!
//! ```text
//!  files ── read, hashed, parsed, cut as a run does ──▶ every row of the file in the store     sources-store
//!  store ── every file it holds ──▶ is it still there?                                         sources-store
//!  store ── with itself: index, changelog, vectors, references, pages                          store
//!  views ── labels and numbers of the current build, a sample that must find itself            store-vectors
//!        ── labels and prints of the texts that were saved, a sample that must find itself      store-keywords
//! ```
//!
//! Files are compared one by one and forgotten: memory does not depend on how many there are. (The views are loaded whole,
//! as any search does.) Beside a run, a file that differs may merely be on its way: the run is asked to settle it, and
//! then it is compared again. What is still on its way then is named, and is neither equal nor different.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use floodmark_operators::keys::{ChunkHash, PathKey};

use crate::answers::{Difference, NotLooked, Verdict, shown};
use crate::index::{self, IndexError, Inspection};
use crate::ingest::hint::slot;
use crate::ingest::reading::{Cut, OpenFile, Reading, Trouble};
use crate::keyword::{self, KeywordError};
use crate::search::{KEYWORDS, StoreTexts, StoreVectors, VIEW, ViewOptions};
use crate::sources::{Doubt, Fate, Found, Looked, Roots, Scope, Selection, key, scan};
use crate::store::row::{Resume, SegmentRow};
use crate::store::{Doubts, Reader, Snapshot, Standing, StoreError, StoredFile, Version};

/// Differences that a verdict names; the rest is counted.
pub const NAMED_MAX: usize = 10_000;
/// Files compared on one snapshot: the store's log grows while one is held.
const FILES_A_SNAPSHOT: u64 = 256;

/// It could not look.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// At the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// At the vector view.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// At the keyword view.
    #[error(transparent)]
    Keyword(#[from] KeywordError),
}

/// Asks the run that is under way to settle a file; false when it did not in time.
pub type Settle<'a> = &'a mut dyn FnMut(&Path) -> bool;

/// What is compared, and by which rules it should have come about.
pub struct Verifier<'a> {
    /// The state folder.
    pub state: &'a Path,
    /// Which files should be in the index.
    pub selection: &'a Selection,
    /// How they should have been read.
    pub reading: &'a Reading,
    /// Whose vectors should be there.
    pub model: &'a str,
    /// How the views are opened.
    pub views: ViewOptions,
}

/// The verdict, and what a repair must have read or embedded again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What `verify` answers.
    pub verdict: Verdict,
    /// What the store should forget.
    pub doubts: Doubts,
    /// Whether the views should be made anew.
    pub view: bool,
}

/// What became of the comparison of one file.
enum Judged {
    Equal,
    Differs(String),
    /// It could not be compared: it changes, or can't be read.
    Unseen(String),
}

impl Verifier<'_> {
    /// Compares everything. `settle`: how to speak to the run that is under way; `None` where none is.
    ///
    /// # Errors
    /// It could not look at the store at all. A file or folder that it could not look at is in the verdict.
    pub fn verify(&self, settle: Option<Settle<'_>>) -> Result<Outcome, VerifyError> {
        let mut pass = Pass {
            verifier: self,
            reader: Reader::open(self.state)?,
            settle,
            outcome: Outcome::default(),
        };
        pass.files()?;
        pass.store()?;
        pass.vectors()?;
        pass.keywords()?;
        let verdict = &mut pass.outcome.verdict;
        verdict.equal = verdict.differences.is_empty() && verdict.not_looked.is_empty();
        Ok(pass.outcome)
    }

    /// Compares one file with what the store has of it.
    fn judge(&self, root: usize, path: &Path, store: &Snapshot) -> Result<Judged, StoreError> {
        let root = &self.selection.roots()[root].path;
        let stored = store.file_of(key(root, path))?;
        let compared = OpenFile::open(root, path)
            .map_err(Stop::from)
            .and_then(|mut file| {
                let stored = stored
                    .as_ref()
                    .ok_or_else(|| differs("it is on the disk and not in the store"))?;
                let told = self.contents(stored, &mut file, store);
                // A file that changed meanwhile says nothing, whatever it seemed to say.
                file.held_still()?;
                told
            });
        Ok(match (compared, &stored) {
            (Ok(()), _) => Judged::Equal,
            (Err(Stop::Store(error)), _) => return Err(error),
            (Err(Stop::Differs(what)), _) => Judged::Differs(what),
            (Err(Stop::Trouble(trouble)), stored) => without_bytes(trouble, stored.as_ref()),
        })
    }

    /// Reads the file as a run would, and compares each content with the one in the store.
    fn contents(
        &self,
        stored: &StoredFile,
        file: &mut OpenFile,
        store: &Snapshot,
    ) -> Result<(), Stop> {
        let version = match (&stored.standing, stored.version) {
            (Standing::Indexed, Some(version)) => Some(version),
            (Standing::Indexed, None) => {
                return Err(differs("it is in the store without a content"));
            }
            (Standing::Partial, _) => {
                return Err(differs(
                    "only a part of it is in the index; the next run reads the rest",
                ));
            }
            (Standing::Retrying { .. } | Standing::Dead { .. }, _) => None,
        };
        let start = Resume {
            generation: version.map_or(0, |version| version.generation),
            ..Resume::default()
        };
        let mut contents = file.contents(&self.reading.options, &self.reading.recipe, start);
        while let Some(cut) = contents.next_content()? {
            match version {
                Some(version) => self.content(stored.key, version, cut, store)?,
                None => drop(self.reading.chunks(cut).map_err(bad)?),
            }
        }
        let reached = contents.reached();
        match version {
            None => Err(differs(format!(
                "it can be read, and the store says that it can't: {}",
                stored
                    .standing
                    .failure()
                    .map_or("", |failure| &failure.message)
            ))),
            Some(version) if version.segments != reached.segment => Err(differs(format!(
                "it has {} segments, in the store {}",
                reached.segment, version.segments
            ))),
            Some(version) if Some(version.content) != reached.content => {
                Err(differs("its bytes are not those that the store names"))
            }
            Some(_) => Ok(()),
        }
    }

    fn content(
        &self,
        file: PathKey,
        version: Version,
        cut: Cut,
        store: &Snapshot,
    ) -> Result<(), Stop> {
        let number = cut.number;
        let slot = slot(version.generation, number);
        let expected = SegmentRow {
            key: file,
            slot,
            content: cut.key,
            byte_base: cut.byte_base,
            record_base: cut.record_base,
            line_base: cut.line_base,
        };
        let Some(found) = store.segment(file, slot)? else {
            return Err(if number < version.segments {
                differs(format!("segment {number} is missing in the store"))
            } else {
                differs("it is longer than what the store has of it")
            });
        };
        if found.content != expected.content {
            let same_bytes = store
                .content(found.content)?
                .is_some_and(|content| content.hash == cut.bytes.hash);
            return Err(differs(if same_bytes {
                format!("segment {number} was read in another way than these settings would")
            } else {
                format!("segment {number} has other bytes on the disk than in the store")
            }));
        }
        if found != expected {
            return Err(differs(format!(
                "segment {number} lies at another place in the file than the store says"
            )));
        }
        let read = self.reading.chunks(cut).map_err(bad)?.row;
        match store.content(found.content)? {
            Some(kept) if kept == *read => Ok(()),
            Some(_) => Err(differs(format!(
                "the documents or chunks of segment {number} are not those that its bytes give"
            ))),
            None => Err(differs(format!(
                "the content of segment {number} is missing"
            ))),
        }
    }
}

/// Why the comparison of a file ended early.
enum Stop {
    Differs(String),
    Trouble(Trouble),
    Store(StoreError),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn differs(what: impl Into<String>) -> Stop {
    Stop::Differs(what.into())
}

fn bad(failure: crate::store::row::Failure) -> Stop {
    Stop::Trouble(Trouble::Bad(failure.into(), None))
}

/// The judgement on a file that has no bytes to compare.
fn without_bytes(trouble: Trouble, stored: Option<&StoredFile>) -> Judged {
    let known = stored.and_then(|stored| stored.standing.failure());
    match (trouble, stored) {
        (Trouble::Gone, None) => Judged::Equal,
        (Trouble::Gone, Some(_)) => Judged::Differs("it is gone from the disk".into()),
        (Trouble::Away(error), _) => Judged::Unseen(error.to_string()),
        (Trouble::Moving, _) => Judged::Unseen("it is being written".into()),
        (Trouble::Io(error, _), _) if known.is_none() => {
            Judged::Unseen(format!("it could not be read: {error}"))
        }
        (Trouble::Io(..), _) => Judged::Equal,
        (Trouble::Bad(failure, _), _) => match known {
            Some(known) if known.reason == failure.reason => Judged::Equal,
            _ => Judged::Differs(format!(
                "it can't be indexed, and the store does not say so: {}",
                failure.message
            )),
        },
    }
}

/// One comparison of everything.
struct Pass<'a, 'b> {
    verifier: &'a Verifier<'a>,
    reader: Reader,
    settle: Option<Settle<'b>>,
    outcome: Outcome,
}

impl Pass<'_, '_> {
    fn files(&mut self) -> Result<(), VerifyError> {
        let selection = self.verifier.selection;
        let mut snapshot = self.reader.snapshot()?;
        let mut outcome = Ok(());
        let report = scan(selection, None, &Scope::All, &mut |found: Found| {
            self.outcome.verdict.files += 1;
            let compared = self
                .file(found.root, &found.path, &snapshot)
                .and_then(|()| {
                    if self.outcome.verdict.files.is_multiple_of(FILES_A_SNAPSHOT) {
                        snapshot = self.reader.snapshot()?;
                    }
                    Ok(())
                });
            match compared {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    outcome = Err(error);
                    ControlFlow::Break(())
                }
            }
        });
        outcome?;
        drop(snapshot);
        for root in &report.roots_missing {
            let path = &selection.roots()[*root].path;
            self.unseen(
                path,
                "this input is not there; its files stay in the index".into(),
            );
        }
        for error in &report.errors {
            self.unseen(&error.path, error.error.to_string());
        }
        let (fates, roots) = (report.fates(), selection.roots());
        let mut elsewhere = 0u64;
        let held = self.reader.snapshot()?;
        held.for_each_file(|file| {
            let Some(root) = roots.iter().position(|root| *root.path == *file.root) else {
                elsewhere += 1;
                return Ok(());
            };
            match selection.look(root, &file.path) {
                Looked::File(_) | Looked::Unknown { .. } => return Ok(()), // compared, or named by the scan
                Looked::Gone | Looked::Folder | Looked::Skipped { .. } => {}
            }
            // A dead file that was moved to the failed ones: its letter stays, and says where it is.
            if file.identity.is_none() && matches!(file.standing, Standing::Dead { .. }) {
                return Ok(());
            }
            let full = file.root.join(&file.path);
            let fate = match file.identity {
                Some(identity) => fates(root, &file.path, &identity),
                None if report.roots_empty.contains(&root) => Fate::Unknown(Doubt::Emptied),
                None => Fate::Gone,
            };
            if let Fate::Unknown(doubt) = fate {
                self.unseen(&full, format!("not there, and kept: {}", doubt.advice()));
            } else if self.is_settled(&full) {
                let after = self.reader.snapshot()?.file_of(file.key)?;
                let there = matches!(selection.look(root, &file.path), Looked::File(_));
                if after.is_some() && !there {
                    let what = "it is in the store, and not (or no longer selected) on the disk";
                    self.differs(&full, file.key, what.into());
                }
            } else {
                self.unseen(&full, IN_FLIGHT.into());
            }
            Ok::<_, VerifyError>(())
        })?;
        if elsewhere > 0 {
            tracing::warn!(
                files = elsewhere,
                "files under folders that are no longer inputs are compared within the store only"
            );
        }
        Ok(())
    }

    fn file(&mut self, root: usize, path: &Path, snapshot: &Snapshot) -> Result<(), VerifyError> {
        let verifier = self.verifier;
        let base = &verifier.selection.roots()[root].path;
        let full = base.join(path);
        let mut judged = verifier.judge(root, path, snapshot)?;
        if !matches!(judged, Judged::Equal) && self.settle.is_some() {
            if !self.is_settled(&full) {
                self.unseen(&full, IN_FLIGHT.into());
                return Ok(());
            }
            judged = verifier.judge(root, path, &self.reader.snapshot()?)?;
        }
        match judged {
            Judged::Equal => {}
            Judged::Differs(what) => self.differs(&full, key(base, path), what),
            Judged::Unseen(why) => self.unseen(&full, why),
        }
        Ok(())
    }

    fn store(&mut self) -> Result<(), VerifyError> {
        let snapshot = self.reader.snapshot()?;
        let counts = snapshot.status()?;
        let verdict = &mut self.outcome.verdict;
        (verdict.epoch, verdict.chunks) = (snapshot.epoch(), counts.chunks);
        let found = snapshot.check()?;
        let made_by = &snapshot.model().id;
        if snapshot.epoch() > 0 && made_by != self.verifier.model {
            let what = format!(
                "its vectors are by this model, not by {}",
                self.verifier.model
            );
            self.add("store", made_by.clone(), what);
        }
        for difference in found {
            let of_text = matches!(
                difference.name,
                "vector-unfit" | "text-missing" | "text-differs"
            );
            if of_text && let Some(hash) = text_hash(&difference.what) {
                self.outcome.doubts.texts.push(hash);
                // A label never gets another vector, but for a repair: no view can follow that.
                self.outcome.view = true;
            }
            self.add("store", difference.name.to_owned(), difference.what);
        }
        Ok(())
    }

    fn vectors(&mut self) -> Result<(), VerifyError> {
        let snapshot = self.reader.snapshot()?;
        let dir = self.verifier.state.join(VIEW);
        let inspect = || {
            index::inspect(
                &dir,
                &StoreVectors(&snapshot),
                self.verifier.views.vectors.clone(),
            )
        };
        let mut found = inspect();
        // A run may have put another build in the place of the one that was being read.
        if self.settle.is_some() && found.as_ref().is_ok_and(|found| !found.problems.is_empty()) {
            found = inspect();
        }
        let found = match found {
            Ok(found) => found,
            // The store has named the vectors that are missing or unfit.
            Err(IndexError::Source(error)) if !self.outcome.doubts.texts.is_empty() => {
                tracing::warn!(%error, "the view can't be compared with a store that is damaged");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.outcome.verdict.embeddings = found.vectors;
        self.add_found("store-vectors", found);
        Ok(())
    }

    fn keywords(&mut self) -> Result<(), VerifyError> {
        let snapshot = self.reader.snapshot()?;
        let dir = self.verifier.state.join(KEYWORDS);
        let options = &self.verifier.views.keywords;
        let inspect = || keyword::inspect(&dir, &StoreTexts(&snapshot), options.clone());
        let mut found = inspect();
        // A run may have merged away what was being read.
        if self.settle.is_some() && found.as_ref().is_ok_and(|found| !found.problems.is_empty()) {
            found = inspect();
        }
        match found {
            Ok(found) => self.add_found("store-keywords", found),
            // The store has named the texts that are missing.
            Err(KeywordError::Source(error)) if !self.outcome.doubts.texts.is_empty() => {
                tracing::warn!(%error, "the keyword view can't be compared with a store that is damaged");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn add_found(&mut self, between: &str, found: Inspection) {
        for (subject, what) in found.problems {
            self.outcome.view = true;
            self.add(between, subject, what);
        }
    }

    fn is_settled(&mut self, path: &Path) -> bool {
        self.settle.as_mut().is_none_or(|settle| settle(path))
    }

    fn differs(&mut self, path: &Path, file: PathKey, what: String) {
        if self.outcome.verdict.differences.len() < NAMED_MAX {
            self.outcome.doubts.files.push(file);
        }
        self.add("sources-store", shown(path), what);
    }

    fn add(&mut self, between: &str, subject: String, message: String) {
        let verdict = &mut self.outcome.verdict;
        if verdict.differences.len() < NAMED_MAX {
            verdict.differences.push(Difference {
                between: between.to_owned(),
                subject,
                message,
                repaired: false,
            });
        } else {
            verdict.more += 1;
        }
    }

    fn unseen(&mut self, path: &Path, why: String) {
        let verdict = &mut self.outcome.verdict;
        if verdict.not_looked.len() < NAMED_MAX {
            let subject = shown(path);
            verdict.not_looked.push(NotLooked { subject, why });
        } else {
            verdict.more += 1;
        }
    }
}

const IN_FLIGHT: &str = "in flight: the run has not settled it yet";

/// The text that a line of the store's own check is about: its first 32 hexadecimal digits.
fn text_hash(what: &str) -> Option<ChunkHash> {
    let digits = what.get(..32)?;
    let mut bytes = [0; 16];
    for (byte, two) in bytes.iter_mut().zip(digits.as_bytes().as_chunks::<2>().0) {
        *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
    }
    Some(ChunkHash::from_bytes(bytes))
}

/// The selection of a state's inputs, for those who have no run.
///
/// # Errors
/// As the roots and the globs say.
pub fn selection(
    options: &crate::sources::SourceOptions,
    state: &Path,
) -> Result<Selection, String> {
    let roots = Roots::resolve(options, state).map_err(|error| error.to_string())?;
    Selection::new(options, roots, state).map_err(|error| error.to_string())
}

/// Takes the views away; the next opening makes them anew.
///
/// # Errors
/// A folder can't be removed.
pub fn forget_views(state: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    for dir in [state.join(VIEW), state.join(KEYWORDS)] {
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err((dir, error)),
            _ => {}
        }
    }
    Ok(())
}
