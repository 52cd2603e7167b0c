//! How a file becomes contents and a content becomes chunks: the one description that a run, `plan` and `verify` share.
//!
//! ```text
//!  open ─ stat ─ detect ─▶ OpenFile ─ contents ─▶ Cut (key, bytes) ─ chunks ─▶ ContentRow and texts
//!                             └─ held_still: the same stat afterwards, so those bytes were the file
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use floodmark_operators::chunk::{Chunk, Chunks};
use floodmark_operators::keys::{ContentHash, ContentKey};
use floodmark_operators::parse::Parse;

use crate::fault;
use crate::formats::{self, Format, Recipe, SegmentError, Segmenter, TokenOffsets};
use crate::ingest::parser::{Chunker, Parser};
use crate::ingest::reader::Bytes;
use crate::sources::Identity;
use crate::store::row::{ContentRow, Failure, Resume};

/// Bytes of a PDF's end that are looked at.
const TAIL: u64 = 64 << 10;

/// Why a file's content can't be had.
#[derive(Debug)]
pub enum Trouble {
    /// There is no file.
    Gone,
    /// There is no file, and nothing else in its input either: a disk may be away.
    Away(io::Error),
    /// It changed meanwhile.
    Moving,
    /// The system did not let us.
    Io(io::Error, Option<Identity>),
    /// It can't be indexed as it is.
    Bad(Box<Failure>, Option<Identity>),
}

/// A regular file that was opened, and what it was then.
pub struct OpenFile {
    file: File,
    /// What `stat` said.
    pub identity: Identity,
    /// How it is to be read.
    pub format: Format,
}

/// A content of a file, and where it lies in it.
pub struct Cut {
    /// The content's key.
    pub key: ContentKey,
    /// Its number in the file, from 0.
    pub number: u32,
    /// What is parsed.
    pub bytes: Bytes,
    /// Add to a position in the content for the position in the file.
    pub byte_base: i64,
    /// Records of the file before it.
    pub record_base: u64,
    /// Lines of the file before it.
    pub line_base: u64,
}

impl OpenFile {
    /// Opens the file at `path` below `root`, without ever waiting for a writer of a pipe.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub fn open(root: &Path, path: &Path) -> Result<Self, Trouble> {
        let (mut file, identity) = match open(&root.join(path)) {
            // Below an input that is away everything is missing, and nothing is gone.
            Err(Trouble::Gone) if !holds_something(root) => {
                let what = "the input is not there, or holds nothing any more";
                return Err(Trouble::Away(io::Error::new(io::ErrorKind::NotFound, what)));
            }
            opened => opened?,
        };
        let io = |error| Trouble::Io(error, Some(identity));
        let mut head = [0; 4096];
        let read = fill(&mut file, &mut head).map_err(io)?;
        let mut seen = head[..read].to_vec();
        // A PDF says at its end that it is encrypted.
        if seen.starts_with(b"%PDF") && identity.size > read as u64 {
            let from = identity.size.saturating_sub(TAIL).max(read as u64);
            file.seek(SeekFrom::Start(from)).map_err(io)?;
            (&mut file).take(TAIL).read_to_end(&mut seen).map_err(io)?;
        }
        let format =
            formats::detect(path, &seen).map_err(|failure| match still(&file, identity) {
                Ok(()) => Trouble::Bad(failure.into(), Some(identity)),
                Err(trouble) => trouble,
            })?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        Ok(Self {
            file,
            identity,
            format,
        })
    }

    /// Its contents, from `start` on.
    pub fn contents<'a>(
        &'a mut self,
        options: &formats::Options,
        recipe: &'a Recipe,
        start: Resume,
    ) -> Contents<'a> {
        let Self {
            file,
            identity,
            format,
        } = self;
        Contents {
            segmenter: Segmenter::new(file, *format, identity.size, options, &start),
            recipe,
            format: *format,
            identity: *identity,
            next: start,
            complete: false,
        }
    }

    /// Whether what was read is what is there.
    ///
    /// # Errors
    /// [`Trouble::Moving`] when it is not.
    pub fn held_still(&self) -> Result<(), Trouble> {
        still(&self.file, self.identity)
    }
}

/// Whether anything but folders lies below. Folders that are left of it may be the places where disks were.
fn holds_something(root: &Path) -> bool {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue; // what can't be listed shows nothing
        };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => return true,
            }
        }
    }
    false
}

fn still(file: &File, identity: Identity) -> Result<(), Trouble> {
    let metadata = fault::point("read.stat")
        .and_then(|()| file.metadata())
        .map_err(|error| Trouble::Io(error, Some(identity)))?;
    if Identity::of(&metadata) == identity {
        Ok(())
    } else {
        Err(Trouble::Moving)
    }
}

/// The contents of a file, one after the other.
pub struct Contents<'a> {
    segmenter: Segmenter<&'a mut File>,
    recipe: &'a Recipe,
    format: Format,
    identity: Identity,
    next: Resume,
    complete: bool,
}

impl Contents<'_> {
    /// The next content, or none after the last. A file has at least one: empty if the file is.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub fn next_content(&mut self) -> Result<Option<Cut>, Trouble> {
        if self.complete {
            return Ok(None);
        }
        fault::point("read.segment").map_err(|error| Trouble::Io(error, Some(self.identity)))?;
        let segment = self.segmenter.next_segment();
        let Some(segment) = segment.map_err(|error| at_segment(error, self.identity))? else {
            self.complete = true;
            return Ok(None);
        };
        let hash = ContentHash::of(&[&segment.bytes]);
        let cut = Cut {
            key: self.recipe.content_key(hash, self.format, &segment.piece),
            number: self.next.segment,
            byte_base: segment.byte_base,
            record_base: segment.record_base,
            line_base: segment.line_base,
            bytes: Bytes {
                bytes: segment.bytes.into(),
                hash,
                format: self.format,
                piece: segment.piece,
                alone: segment.last && self.next.segment == 0,
            },
        };
        self.complete = segment.last;
        self.next = Resume {
            segment: self.next.segment + 1,
            generation: self.next.generation,
            content: Some(match self.next.content {
                Some(so_far) => ContentHash::of(&[&so_far.to_bytes(), &hash.to_bytes()]),
                None => hash,
            }),
            ..segment.next
        };
        Ok(Some(cut))
    }

    /// Where the next content begins, and what was seen before it.
    pub fn reached(&self) -> &Resume {
        &self.next
    }

    /// Whether the last content was handed out.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

/// What a file's bytes are to this configuration.
pub struct Reading {
    /// How files are cut.
    pub options: formats::Options,
    /// What a content key depends on beside the bytes.
    pub recipe: Recipe,
    parser: Parser,
    chunker: Chunker,
}

impl Reading {
    /// By these options and a model's tokenizer; `tokenizer` names what it does.
    pub fn new(options: &formats::Options, tokens: Arc<dyn TokenOffsets>, tokenizer: &str) -> Self {
        Self {
            options: options.clone(),
            recipe: Recipe::new(options, tokenizer),
            parser: Parser {
                options: options.clone(),
            },
            chunker: Chunker {
                options: options.chunk.clone(),
                tokens,
            },
        }
    }

    /// The documents, chunks and texts of a content.
    ///
    /// # Errors
    /// When it can't be indexed as it is.
    pub fn chunks(&self, cut: Cut) -> Result<Chunks<Arc<ContentRow>>, Failure> {
        let documents = self.parser.parse(cut.key, cut.bytes);
        self.chunker.chunk(cut.key, &documents)
    }
}

/// Opens a regular file without ever waiting for a writer of a pipe.
fn open(path: &Path) -> Result<(File, Identity), Trouble> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let opened = fault::point("read.open")
        .and_then(|()| File::options().read(true).custom_flags(nonblock).open(path));
    let file = match opened {
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
        SegmentError::Failure(failure) => Trouble::Bad(failure.into(), Some(identity)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The word that tells stands in the trailer, far behind the first bytes.
    #[test]
    fn a_pdf_that_is_encrypted_is_called_so() {
        let folder = tempfile::tempdir().unwrap();
        let body = "stream endstream\n".repeat(20_000);
        for (trailer, reason) in [
            ("<< /Encrypt 5 0 R >>", "encrypted"),
            ("<< /Root 1 0 R >>", "unsupported"),
        ] {
            let pdf = format!("%PDF-1.7\n{body}trailer {trailer}\n%%EOF\n");
            std::fs::write(folder.path().join("a.pdf"), pdf).unwrap();
            match OpenFile::open(folder.path(), Path::new("a.pdf")) {
                Err(Trouble::Bad(failure, _)) => assert_eq!(failure.reason, reason),
                _ => panic!("a PDF can't be read"),
            }
        }
    }
}
