//! Looks at a file: what is there now, read once, hashed as it is read, and checked to have held still meanwhile.
//!
//! ```text
//!  open ─ stat ─ known already? ─ read a slice ─ hash ─ stat again ─ same? ─▶ segments and a verdict on the file
//!                     └─▶ touched                          └─▶ moving: look again
//! ```
//!
//! A file that is larger than a slice is read over several epochs: the reader says where to go on, and the complete old
//! version stays in the index until the last slice of the new one has joined it.

use std::io;
use std::sync::Arc;

use floodmark_operators::fingerprint::{Finding, Fingerprint};
use floodmark_operators::keys::{ContentHash, PathKey};
use serde::{Deserialize, Serialize};

use crate::formats::{self, Format, Piece, Recipe};
use crate::ingest::hint::{Hint, Known, slot};
use crate::ingest::reading::{OpenFile, Trouble};
use crate::ingest::verdict::OnBad;
use crate::sources::Identity;
use crate::store::row::{Failure, FileRow, FileState, Resume, SegmentRow};

/// Bytes on their way to the parser.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bytes {
    /// The bytes of the segment.
    pub bytes: Arc<[u8]>,
    /// Hash of the bytes alone.
    pub hash: ContentHash,
    /// How to read them.
    pub format: Format,
    /// What they are of their file.
    pub piece: Piece,
    /// They are all of it: if they can't be used, the file can't.
    pub alone: bool,
}

/// Where a segment was found. The last one of a slice brings the verdict on the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The segment's row.
    pub segment: SegmentRow,
    /// The file's row.
    pub file: Option<FileRow>,
    /// The slots that the file gives up instead, if its bytes turn out to be of no use.
    pub if_bad: Vec<u32>,
}

/// What to do about a file that can't be read.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries before a failure that may pass becomes a dead letter.
    pub tries: u32,
    /// Wait before the second try, in milliseconds; doubled for each further one.
    pub base_ms: u64,
}

/// Looks at files, with the formats and limits of this run.
pub struct Reader {
    /// Formats and limits.
    pub options: formats::Options,
    /// What a content key depends on beside the bytes.
    pub recipe: Recipe,
    /// What to do about failures.
    pub patience: Patience,
    /// What happens to the good version of a file that turned bad.
    pub on_bad: OnBad,
    /// Who hears of a slice that is not the last as soon as it is read, where the queue is in the same process.
    pub slices: Option<Slices>,
}

/// Told what will be said of a file when the slice is durable.
pub type Slices = Arc<dyn Fn(&FileRow) + Send + Sync>;

impl Fingerprint for Reader {
    type Hint = Hint;
    type Bytes = Bytes;
    type Place = Place;
    type Note = FileRow;

    fn path(hint: &Hint) -> PathKey {
        hint.key
    }

    fn look(&self, hint: Hint) -> Vec<Finding<Bytes, Place, FileRow>> {
        if let Some(row) = hint.moved {
            return vec![Finding::Note(*row)];
        }
        let read = if hint.gone {
            Err(Trouble::Gone)
        } else {
            self.read(&hint)
        };
        match read {
            Ok(findings) => findings,
            Err(trouble) => vec![Finding::Note(self.trouble(&hint, trouble))],
        }
    }
}

impl Reader {
    fn read(&self, hint: &Hint) -> Result<Vec<Finding<Bytes, Place, FileRow>>, Trouble> {
        let mut file = OpenFile::open(&hint.root, &hint.path)?;
        let (identity, format) = (file.identity, file.format);
        let known = &hint.known;

        // Go on where the last slice ended, if it is still the same file; else from the beginning.
        let resume = known
            .filling
            .clone()
            .filter(|_| known.identity == Some(identity));
        let start = resume.unwrap_or_else(|| Resume {
            generation: known.next_generation(),
            ..Resume::default()
        });
        let generation = start.generation;

        let mut contents = file.contents(&self.options, &self.recipe, start);
        let mut segments = Vec::new();
        let mut read_bytes = 0;
        let mut broken = None;
        while segments.is_empty() || read_bytes < hint.budget_bytes {
            let cut = match contents.next_content() {
                Ok(Some(cut)) => cut,
                Ok(None) => break,
                Err(trouble) => {
                    broken = Some(trouble);
                    break;
                }
            };
            read_bytes += cut.bytes.bytes.len();
            let row = SegmentRow {
                key: hint.key,
                slot: slot(generation, cut.number),
                content: cut.key,
                byte_base: cut.byte_base,
                record_base: cut.record_base,
                line_base: cut.line_base,
            };
            segments.push((row, cut.bytes));
        }
        let (next, complete) = (contents.reached().clone(), contents.is_complete());
        // What is wrong with a file while somebody writes to it is not wrong with the file.
        file.held_still()?;
        if let Some(trouble) = broken {
            return Err(trouble);
        }
        let row = self.verdict(hint, format, identity, &next, complete);
        match (&row.state, &self.slices) {
            (FileState::Touched, _) => return Ok(vec![Finding::Note(row)]),
            (FileState::Partial { .. }, Some(slices)) => slices(&row),
            _ => {}
        }
        let mut findings: Vec<_> = segments
            .into_iter()
            .map(|(segment, bytes)| {
                Finding::Content(
                    segment.content,
                    bytes,
                    Place {
                        segment,
                        file: None,
                        if_bad: Vec::new(),
                    },
                )
            })
            .collect();
        match findings.last_mut() {
            Some(Finding::Content(_, bytes, place)) => {
                place.file = Some(row);
                // What is wrong with a part of a file is said beside what is right.
                if bytes.alone {
                    place.if_bad = self.given_up(known);
                }
            }
            _ => findings.push(Finding::Note(row)), // an empty file
        }
        Ok(findings)
    }

    /// What to say of a file whose slice was read up to `next`.
    fn verdict(
        &self,
        hint: &Hint,
        format: Format,
        identity: Identity,
        next: &Resume,
        complete: bool,
    ) -> FileRow {
        let known = &hint.known;
        let row = |state, retire| FileRow {
            key: hint.key,
            root: hint.root.clone(),
            path: hint.path.clone(),
            identity: Some(identity),
            state,
            retire,
        };
        if !complete {
            // An earlier attempt at another version may have got further than this slice.
            let ahead = known.filled_slots(next.segment).collect();
            return row(
                FileState::Partial {
                    format,
                    resume: next.clone(),
                },
                ahead,
            );
        }
        let content = next.content.unwrap_or_else(|| ContentHash::of(&[]));
        let unchanged = known
            .standing
            .is_some_and(|standing| standing.content == Some(content));
        if unchanged && known.filling.is_none() {
            return row(FileState::Touched, Vec::new());
        }
        let state = FileState::Indexed {
            format,
            content,
            generation: next.generation,
            segments: next.segment,
        };
        // What the new version does not overwrite: the old one, and the rest of an attempt that got further.
        row(
            state,
            known
                .standing_slots()
                .chain(known.filled_slots(next.segment))
                .collect(),
        )
    }

    /// What to say of a file that could not be read.
    fn trouble(&self, hint: &Hint, trouble: Trouble) -> FileRow {
        let known = &hint.known;
        let attempt = hint.failures + 1;
        // One that is away has not turned bad.
        let dead = match trouble {
            Trouble::Away(_) => known.filled_slots(0).collect(),
            _ => self.given_up(known),
        };
        let trouble = match trouble {
            // Nothing of it is in the index that could be lost.
            Trouble::Away(_) if known.standing.is_none() && known.filling.is_none() => {
                Trouble::Gone
            }
            Trouble::Away(error) => Trouble::Io(error, None),
            trouble => trouble,
        };
        let (identity, state, retire) = match trouble {
            Trouble::Gone | Trouble::Away(_) => (
                None,
                FileState::Gone,
                known
                    .standing_slots()
                    .chain(known.filled_slots(0))
                    .collect(),
            ),
            Trouble::Moving => (None, FileState::Moving, Vec::new()),
            Trouble::Bad(failure, identity) => (
                identity,
                FileState::Dead {
                    failure: *failure,
                    attempts: attempt,
                },
                dead,
            ),
            Trouble::Io(error, identity) => {
                let failure = self.io_failure(&error);
                let denied = error.kind() == io::ErrorKind::PermissionDenied;
                if denied || attempt >= self.patience.tries {
                    (
                        identity,
                        FileState::Dead {
                            failure,
                            attempts: attempt,
                        },
                        dead,
                    )
                } else {
                    let after_ms = self
                        .patience
                        .base_ms
                        .saturating_mul(1 << hint.failures.min(20));
                    (
                        None,
                        FileState::Retrying {
                            attempt,
                            after_ms,
                            failure,
                        },
                        Vec::new(),
                    )
                }
            }
        };
        FileRow {
            key: hint.key,
            root: hint.root.clone(),
            path: hint.path.clone(),
            identity,
            state,
            retire,
        }
    }

    /// The slots of a file that can't be used: what was read of the version that turned out bad goes; the good one before it, as the
    /// user wishes.
    fn given_up(&self, known: &Known) -> Vec<u32> {
        let filled = known.filled_slots(0);
        match self.on_bad {
            OnBad::Drop => known.standing_slots().chain(filled).collect(),
            OnBad::Keep => filled.collect(),
        }
    }

    fn io_failure(&self, error: &io::Error) -> Failure {
        let (reason, advice) = match error.kind() {
            io::ErrorKind::PermissionDenied => (
                "permission",
                "give the user that runs floodmark the right to read it, or exclude it",
            ),
            _ => (
                "io",
                "check the disk or the network share; `floodmark dead retry` looks at it again",
            ),
        };
        Failure {
            reason: reason.into(),
            message: format!("it could not be read: {error}"),
            advice: advice.into(),
            record: None,
            line: None,
        }
    }
}
