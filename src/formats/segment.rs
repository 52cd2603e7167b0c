//! A file of any size, cut into segments that need nothing but themselves to be read.
//!
//! Cuts fall between records (lines of JSONL, rows of CSV, elements of a JSON array) or between headings, paragraphs or
//! lines of a text. A small file is one segment; HTML, a single JSON object and a text that is not UTF-8 are never cut.
//! Held in memory: two segments, a buffer, and the longest record that was met.

mod buffer;
mod elements;
mod prose;
mod rows;

use std::io::{self, Read, Seek};

use self::buffer::Buffer;
use super::encoding::{is_utf8, utf16};
use super::failure::failure;
use super::parse::too_long_note;
use super::{Format, Options, Piece};
use crate::store::row::{Failure, Resume};

/// A piece of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// What is read: a content.
    pub bytes: Vec<u8>,
    /// How it is to be read.
    pub piece: Piece,
    /// Add to a position in `bytes` for the position in the file. Negative where a CSV header is put before.
    pub byte_base: i64,
    /// Records of the file before it. A piece of a text counts as a record.
    pub record_base: u64,
    /// Add to a line of `bytes` for the line in the file.
    pub line_base: u64,
    /// Where the next segment begins; `generation` and `content` are those that reading began with.
    pub next: Resume,
    /// No other follows.
    pub last: bool,
}

/// Why the next segment can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file could not be read. This may pass.
    #[error("can't read the file: {0}")]
    Io(#[from] io::Error),
    /// The file can't be indexed as it is, from here on. This will not pass.
    #[error("{}", .0.message)]
    Failure(Failure),
}

impl From<Failure> for SegmentError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

type Cut = Result<Option<Segment>, SegmentError>;

/// How this file is cut.
#[derive(Debug)]
enum Mode {
    /// Not looked at yet.
    New,
    /// In one piece of at most so many bytes.
    Once(u64),
    Lines,
    Rows(rows::Header),
    Elements(elements::Place),
    Prose,
    Done,
}

/// Cuts a file into [`Segment`]s, from its beginning or from where a reading stopped.
#[derive(Debug)]
pub struct Segmenter<R> {
    buffer: Buffer<R>,
    format: Format,
    file_size: u64,
    options: Options,
    /// Position after the last cut.
    at: Resume,
    mode: Mode,
    /// The segment after the one handed out: only so the last is known to be it.
    ahead: Option<Cut>,
}

impl<R: Read + Seek> Segmenter<R> {
    /// Over the file that `reader` reads, from `resume` on (`Resume::default()` for the beginning). The segmenter seeks
    /// by itself: a CSV file's header is read again wherever reading goes on.
    pub fn new(
        reader: R,
        format: Format,
        file_size: u64,
        options: &Options,
        resume: &Resume,
    ) -> Self {
        Self {
            buffer: Buffer::new(reader),
            format,
            file_size,
            options: options.clone(),
            at: resume.clone(),
            mode: Mode::New,
            ahead: None,
        }
    }

    /// The next segment, or none after the last. A file has at least one: empty if the file is.
    ///
    /// # Errors
    ///
    /// See [`SegmentError`]; after an error there is nothing more.
    pub fn next_segment(&mut self) -> Result<Option<Segment>, SegmentError> {
        let current = match self.ahead.take() {
            Some(cut) => cut?,
            None => self.cut()?,
        };
        Ok(current.map(|mut segment| {
            let ahead = self.cut();
            segment.last = matches!(ahead, Ok(None));
            self.ahead = Some(ahead);
            segment
        }))
    }

    fn cut(&mut self) -> Cut {
        if matches!(self.mode, Mode::New) {
            self.mode = Mode::Done;
            self.mode = if self.at.segment > 0 {
                self.resume()?
            } else {
                self.begin()?
            };
        }
        // Whatever fails, fails for good.
        let cut = match std::mem::replace(&mut self.mode, Mode::Done) {
            Mode::New | Mode::Done => Ok((None, Mode::Done)),
            Mode::Once(max) => self.cut_once(max),
            Mode::Lines => self.cut_lines(),
            Mode::Rows(header) => self.cut_rows(header),
            Mode::Elements(place) => self.cut_elements(place),
            Mode::Prose => self.cut_prose(),
        };
        let (segment, mode) = cut?;
        if segment.is_some() {
            self.mode = mode;
        }
        Ok(segment)
    }

    fn begin(&mut self) -> Result<Mode, SegmentError> {
        self.buffer.seek(0, 0)?;
        let limit = self.options.segment_bytes;
        let fits = self.buffer.have(limit + 1)? <= limit;
        let head = self.buffer.bytes();
        let record = self.options.max_record_bytes as u64;
        Ok(match self.format {
            Format::Html => Mode::Once(self.options.max_file_bytes),
            Format::Json => match elements::array_start(head) {
                _ if fits && elements::count(head, self.options.segment_documents) => {
                    Mode::Once(record)
                }
                Some(start) => {
                    self.buffer.consume(start);
                    Mode::Elements(elements::Place::First)
                }
                None => Mode::Once(record),
            },
            _ if utf16(head).is_some() => Mode::Once(self.options.max_file_bytes),
            Format::Jsonl => Mode::Lines,
            Format::Csv => Mode::Rows(self.read_header()?),
            Format::Text | Format::Markdown | Format::Code(_) => {
                if fits || !is_utf8(prose::whole_characters(head)) {
                    Mode::Once(self.options.max_file_bytes)
                } else {
                    Mode::Prose
                }
            }
        })
    }

    fn resume(&mut self) -> Result<Mode, SegmentError> {
        if self.at.offset >= self.file_size {
            return Ok(Mode::Done);
        }
        let mode = match self.format {
            Format::Html => Mode::Done,
            Format::Json => Mode::Elements(elements::Place::Later),
            Format::Jsonl => Mode::Lines,
            Format::Csv => {
                self.buffer.seek(0, 0)?;
                Mode::Rows(self.read_header()?)
            }
            Format::Text | Format::Markdown | Format::Code(_) => Mode::Prose,
        };
        self.buffer.seek(self.at.offset, self.at.line)?;
        Ok(mode)
    }

    /// Closes a segment whose bytes were consumed from `start` on.
    fn close(&mut self, start: Start, bytes: Vec<u8>, piece: Piece, records: u64) -> Segment {
        let record_base = self.at.record;
        self.at.offset = self.buffer.offset();
        self.at.line = self.buffer.line();
        self.at.record += records;
        self.at.segment += 1;
        Segment {
            bytes,
            piece,
            byte_base: start.offset as i64,
            record_base,
            line_base: start.line,
            next: self.at.clone(),
            last: false,
        }
    }

    fn start(&self) -> Start {
        Start {
            offset: self.buffer.offset(),
            line: self.buffer.line(),
        }
    }

    /// Nothing has been handed out yet: an empty file is an empty segment.
    fn is_first(&self) -> bool {
        self.at.segment == 0
    }

    fn cut_once(&mut self, max: u64) -> Result<(Option<Segment>, Mode), SegmentError> {
        let start = self.start();
        let whole = usize::try_from(max.saturating_add(1)).unwrap_or(usize::MAX);
        if self.file_size > max || self.buffer.have(whole)? as u64 > max {
            let size = self.file_size.max(max + 1);
            return Err(failure(
                "too-large",
                format!("the file has {size} bytes and is read whole; the limit is {max}"),
                "split it, make it JSONL or UTF-8 text (which are read piece by piece), or raise max_file_bytes \
                 or, for JSON, max_record_bytes",
            )
            .into());
        }
        let bytes = self.buffer.take(self.buffer.bytes().len());
        Ok((Some(self.close(start, bytes, Piece::Whole, 1)), Mode::Done))
    }

    /// Passes over the record in front, which is too long. A note takes its place.
    fn pass_over(
        &mut self,
        mut end: impl FnMut(&[u8]) -> Result<Option<usize>, Failure>,
    ) -> Result<Segment, SegmentError> {
        let start = self.start();
        let mut hasher = blake3::Hasher::new();
        let mut pass = |buffer: &mut Buffer<R>, len: usize| {
            hasher.update(&buffer.bytes()[..len]);
            buffer.consume(len);
        };
        loop {
            let seen = self.buffer.bytes();
            if let Some(len) = end(seen)? {
                pass(&mut self.buffer, len);
                break;
            }
            let len = seen.len();
            pass(&mut self.buffer, len);
            if !self.buffer.more()? {
                break;
            }
        }
        let bytes = self.buffer.offset() - start.offset;
        let note = too_long_note(
            bytes,
            self.options.max_record_bytes,
            hasher.finalize().to_hex().as_str(),
        );
        Ok(self.close(start, note, Piece::TooLong, 1))
    }
}

/// Where a segment begins in the file.
#[derive(Clone, Copy, Debug)]
struct Start {
    offset: u64,
    line: u64,
}
