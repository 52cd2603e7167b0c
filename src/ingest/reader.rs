//! Looks at a file: what is there now, read once, hashed as it is read, and checked to have held still meanwhile.
//!
//! ```text
//!  open ─ stat ─ known already? ─ read a slice ─ hash ─ stat again ─ same? ─▶ segments and a verdict on the file
//!                     └─▶ touched                          └─▶ moving: look again
//! ```
//!
//! A file that is larger than a slice is read over several epochs: the reader says where to go on, and the complete old
//! version stays in the index until the last slice of the new one has joined it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use floodmark_operators::fingerprint::{Finding, Fingerprint};
use floodmark_operators::keys::{ContentHash, PathKey};
use serde::{Deserialize, Serialize};

use crate::formats::{self, Format, Piece, Recipe, SegmentError, Segmenter};
use crate::ingest::hint::{Hint, slot};
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
}

/// Where a segment was found. The last one of a slice brings the verdict on the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The segment's row.
    pub segment: SegmentRow,
    /// The file's row.
    pub file: Option<FileRow>,
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
}

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

/// Why a look did not end with the file's content.
enum Trouble {
    /// There is no file.
    Gone,
    /// It changed meanwhile.
    Moving,
    /// The system did not let us.
    Io(io::Error, Option<Identity>),
    /// It can't be indexed as it is.
    Bad(Failure, Option<Identity>),
}

impl Reader {
    fn read(&self, hint: &Hint) -> Result<Vec<Finding<Bytes, Place, FileRow>>, Trouble> {
        let path = hint.root.join(&hint.path);
        let (mut file, identity) = open(&path)?;
        let io = |error| Trouble::Io(error, Some(identity));
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

        let mut head = [0; 4096];
        let read = fill(&mut file, &mut head).map_err(io)?;
        let bad = |failure| Trouble::Bad(failure, Some(identity));
        let format = formats::detect(&hint.path, &head[..read]).map_err(bad)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;

        let mut segmenter = Segmenter::new(&mut file, format, identity.size, &self.options, &start);
        let mut next = start.clone();
        let mut segments = Vec::new();
        let mut read_bytes = 0;
        let mut complete = false;
        while !complete && (segments.is_empty() || read_bytes < hint.budget_bytes) {
            let Some(segment) = segmenter
                .next_segment()
                .map_err(|error| at_segment(error, identity))?
            else {
                complete = true;
                break;
            };
            let hash = ContentHash::of(&[&segment.bytes]);
            let row = SegmentRow {
                key: hint.key,
                slot: slot(start.generation, next.segment),
                content: self.recipe.content_key(hash, format, &segment.piece),
                byte_base: segment.byte_base,
                record_base: segment.record_base,
                line_base: segment.line_base,
            };
            read_bytes += segment.bytes.len();
            complete = segment.last;
            next = Resume {
                segment: next.segment + 1,
                generation: start.generation,
                content: Some(match next.content {
                    Some(so_far) => ContentHash::of(&[&so_far.to_bytes(), &hash.to_bytes()]),
                    None => hash,
                }),
                ..segment.next
            };
            let bytes = Bytes {
                bytes: segment.bytes.into(),
                hash,
                format,
                piece: segment.piece,
            };
            segments.push((row, bytes));
        }
        drop(segmenter);

        let after = Identity::of(&file.metadata().map_err(io)?);
        if after != identity {
            return Err(Trouble::Moving);
        }
        let row = self.verdict(hint, format, identity, &next, complete);
        if let FileState::Touched = row.state {
            return Ok(vec![Finding::Note(row)]);
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
                    },
                )
            })
            .collect();
        match findings.last_mut() {
            Some(Finding::Content(_, _, place)) => place.file = Some(row),
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
        let filled = || known.filled_slots(0).collect::<Vec<_>>();
        let (identity, state, retire) = match trouble {
            Trouble::Gone => (
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
                    failure,
                    attempts: attempt,
                },
                filled(),
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
                        filled(),
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

/// Opens a regular file without ever waiting for a writer of a pipe.
fn open(path: &Path) -> Result<(File, Identity), Trouble> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = match File::options().read(true).custom_flags(nonblock).open(path) {
        Ok(file) => file,
        Err(error) => {
            let gone = matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            );
            return Err(if gone {
                Trouble::Gone
            } else {
                Trouble::Io(
                    error,
                    std::fs::metadata(path)
                        .ok()
                        .map(|metadata| Identity::of(&metadata)),
                )
            });
        }
    };
    let metadata = file.metadata().map_err(|error| Trouble::Io(error, None))?;
    if !metadata.is_file() {
        return Err(Trouble::Gone); // what was a file is now something else
    }
    Ok((file, Identity::of(&metadata)))
}

/// Reads until `buffer` is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn at_segment(error: SegmentError, identity: Identity) -> Trouble {
    match error {
        SegmentError::Io(error) => Trouble::Io(error, Some(identity)),
        SegmentError::Failure(failure) => Trouble::Bad(failure, Some(identity)),
    }
}
