//! Cuts between lines of JSONL and between rows of CSV.

use std::io::{Read, Seek};

use super::{Buffer, Mode, Segment, SegmentError, Segmenter};
use crate::formats::csv::{self, RowEnd};
use crate::formats::encoding::{is_binary, is_utf8, utf16};
use crate::formats::failure::{count_lines, failure};
use crate::formats::{Charset, Piece, json};

/// Longest header. It is looked through anew for each segment.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// What stands before every segment of a CSV file.
#[derive(Debug)]
pub(super) struct Header {
    bytes: Vec<u8>,
    delimiter: u8,
}

/// How records end.
trait End {
    /// One past the end of the record that goes on in `bytes`.
    fn feed(&mut self, bytes: &[u8]) -> Option<usize>;
    /// There is no record in it.
    fn is_blank(&self, record: &[u8]) -> bool;
}

struct LineEnd;

impl End for LineEnd {
    fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|b| *b == b'\n').map(|at| at + 1)
    }

    fn is_blank(&self, record: &[u8]) -> bool {
        json::is_blank(record)
    }
}

impl End for RowEnd {
    fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        self.feed(bytes)
    }

    fn is_blank(&self, record: &[u8]) -> bool {
        csv::is_blank(record)
    }
}

/// A record in front of the buffer.
enum Next {
    Record(usize),
    /// It is longer than allowed.
    TooLong,
    End,
}

fn next<R: Read + Seek>(
    buffer: &mut Buffer<R>,
    end: &mut impl End,
    max: usize,
) -> Result<Next, SegmentError> {
    let mut scanned = 0;
    loop {
        let bytes = buffer.bytes();
        if let Some(len) = end.feed(&bytes[scanned..]) {
            let len = scanned + len;
            return Ok(if len > max {
                Next::TooLong
            } else {
                Next::Record(len)
            });
        }
        scanned = bytes.len();
        if scanned > max {
            return Ok(Next::TooLong);
        }
        if !buffer.more()? {
            return Ok(if scanned > 0 {
                Next::Record(scanned)
            } else {
                Next::End
            });
        }
    }
}

impl<R: Read + Seek> Segmenter<R> {
    pub(super) fn cut_lines(&mut self) -> Result<(Option<Segment>, Mode), SegmentError> {
        let segment = self.cut_records(Vec::new(), || LineEnd)?;
        Ok((segment, Mode::Lines))
    }

    pub(super) fn cut_rows(
        &mut self,
        header: Header,
    ) -> Result<(Option<Segment>, Mode), SegmentError> {
        let rows = || RowEnd::new(header.delimiter);
        let mut segment = self.cut_records(header.bytes.clone(), rows)?;
        if let Some(segment) = &mut segment {
            self.tell_encoding(segment);
        }
        Ok((segment, Mode::Rows(header)))
    }

    /// Rows that are no UTF-8 are read in one encoding wherever they lie in the file: what the first segment that has such rows
    /// looks like. A few letters in a later one would be too little to tell by.
    fn tell_encoding(&mut self, segment: &mut Segment) {
        let bytes = &segment.bytes;
        if segment.piece != Piece::Whole
            || std::str::from_utf8(bytes).is_ok()
            || utf16(bytes).is_some()
            || is_utf8(bytes)
            || is_binary(bytes)
        {
            return;
        }
        let charset = self.at.encoding;
        let charset = charset.unwrap_or_else(|| Charset::guess(bytes));
        self.at.encoding = Some(charset);
        segment.next.encoding = Some(charset);
        segment.piece = Piece::Encoded(charset);
    }

    /// The header, read from the beginning of the file.
    pub(super) fn read_header(&mut self) -> Result<Header, SegmentError> {
        let max = self.options.max_record_bytes.min(HEADER_BYTES_MAX);
        loop {
            let bytes = self.buffer.bytes();
            if let Some(end) = csv::header_end(bytes, false).filter(|end| *end <= max) {
                let mark = if bytes.starts_with(b"\xef\xbb\xbf") {
                    3
                } else {
                    0
                };
                let delimiter = csv::delimiter(&bytes[mark..]);
                return Ok(Header {
                    bytes: self.buffer.take(end),
                    delimiter,
                });
            }
            if bytes.len() > max {
                return Err(failure(
                    "invalid-csv",
                    format!("the header does not end within {max} bytes"),
                    "look for a quote in the first line that is never closed",
                )
                .into());
            }
            if !self.buffer.more()? {
                let bytes = self.buffer.take(self.buffer.bytes().len());
                let delimiter = csv::delimiter(&bytes);
                return Ok(Header { bytes, delimiter });
            }
        }
    }

    fn cut_records<E: End>(
        &mut self,
        header: Vec<u8>,
        fresh: impl Fn() -> E,
    ) -> Result<Option<Segment>, SegmentError> {
        let (max_bytes, max_records) = (
            self.options.segment_bytes,
            self.options.segment_documents.max(1),
        );
        let max = self.options.max_record_bytes;
        let start = self.start();
        let mut bytes = header.clone();
        let mut records = 0;
        loop {
            let mut end = fresh();
            let held = bytes.len() - header.len();
            let len = match next(&mut self.buffer, &mut end, max)? {
                Next::Record(len) => len,
                Next::TooLong if held > 0 => break,
                Next::TooLong => {
                    let mut end = fresh();
                    return Ok(Some(self.pass_over(|bytes| Ok(end.feed(bytes)))?));
                }
                Next::End => break,
            };
            let is_record = !end.is_blank(&self.buffer.bytes()[..len]);
            let is_full = held + len > max_bytes || (is_record && records as usize == max_records);
            if held > 0 && is_full {
                break;
            }
            records += u64::from(is_record);
            bytes.extend_from_slice(&self.buffer.bytes()[..len]);
            self.buffer.consume(len);
        }
        if bytes.len() == header.len() && !self.is_first() {
            return Ok(None);
        }
        let header_lines = count_lines(&header);
        let mut segment = self.close(start, bytes, Piece::Whole, records);
        segment.byte_base -= header.len() as i64;
        segment.line_base -= header_lines;
        Ok(Some(segment))
    }
}
