//! Cuts between the elements of a JSON array.

use std::io::{Read, Seek};

use super::{Mode, Segment, SegmentError, Segmenter};
use crate::formats::Piece;
use crate::formats::failure::{At, count_lines, failure};
use crate::formats::json::scan::{ElementEnd, is_space};
use crate::formats::json::{check_elements, invalid, max_depth};
use crate::store::row::Failure;

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An element, or the end of an empty array.
    First,
    /// A comma and an element, or the end.
    Later,
}

/// One past the `[` that the file begins with.
pub(super) fn array_start(head: &[u8]) -> Option<usize> {
    let mark = if head.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    let at = mark + head[mark..].iter().position(|b| !is_space(*b))?;
    (head[at] == b'[').then_some(at + 1)
}

/// Whether a file that is all here needs no cut: it is no array, a broken one, or has at most `max` elements.
pub(super) fn count(head: &[u8], max: usize) -> bool {
    let Some(mut at) = array_start(head) else {
        return true;
    };
    for _ in 0..max {
        match ElementEnd::new(usize::MAX).feed(&head[at..]) {
            Ok(Some(len)) if head[at + len] == b',' => at += len + 1,
            _ => return true,
        }
    }
    false
}

/// What stands between elements.
enum Gap {
    /// So many bytes, then an element.
    Element(usize),
    /// So many bytes with the closing bracket.
    End(usize),
}

impl<R: Read + Seek> Segmenter<R> {
    pub(super) fn cut_elements(
        &mut self,
        mut place: Place,
    ) -> Result<(Option<Segment>, Mode), SegmentError> {
        let (max_bytes, max_records) = (
            self.options.segment_bytes,
            self.options.segment_documents.max(1),
        );
        let mut bytes: Vec<u8> = Vec::new();
        let mut start = self.start();
        let mut records = 0;
        loop {
            let gap = match self.gap(place)? {
                Gap::Element(gap) => gap,
                Gap::End(len) => {
                    if records == 0 {
                        start = self.start();
                    }
                    // What follows the array is looked at only after its last segment is cut; that one is checked first.
                    self.check_segment(&bytes, start.line)?;
                    let segment =
                        (records > 0).then(|| self.close(start, bytes, Piece::Elements, records));
                    self.buffer.consume(len);
                    self.nothing_more()?;
                    let segment = match segment {
                        None if self.is_first() => {
                            Some(self.close(start, Vec::new(), Piece::Elements, 0))
                        }
                        other => other,
                    };
                    return Ok((segment, Mode::Done));
                }
            };
            let Some(len) = self.element(gap)? else {
                if records > 0 {
                    break;
                }
                self.buffer.consume(gap);
                let mut end = ElementEnd::new(max_depth(&self.options));
                let line = self.buffer.line();
                let segment = self.pass_over(|more| end.feed(more).map_err(|f| moved(f, line)))?;
                return Ok((Some(segment), Mode::Elements(Place::Later)));
            };
            let is_full = bytes.len() + gap + len > max_bytes || records as usize == max_records;
            if records > 0 && is_full {
                break;
            }
            if records > 0 {
                bytes.extend_from_slice(&self.buffer.bytes()[..gap]);
            }
            self.buffer.consume(gap);
            if records == 0 {
                start = self.start();
            }
            bytes.extend_from_slice(&self.buffer.bytes()[..len]);
            self.buffer.consume(len);
            records += 1;
            place = Place::Later;
        }
        self.check_segment(&bytes, start.line)?;
        let segment = self.close(start, bytes, Piece::Elements, records);
        Ok((Some(segment), Mode::Elements(Place::Later)))
    }

    fn check_segment(&self, bytes: &[u8], line: u64) -> Result<(), SegmentError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = line + 1 + count_lines(&bytes[..error.valid_up_to()]);
            failure(
                "encoding",
                "the JSON is not UTF-8",
                "save it as UTF-8: JSON has no other encoding (RFC 8259)",
            )
            .line(line)
        })?;
        Ok(check_elements(text, &self.options).map_err(|failure| moved(failure, line))?)
    }

    /// Looks at the white space and the comma or bracket in front of the buffer.
    fn gap(&mut self, place: Place) -> Result<Gap, SegmentError> {
        let mut has_comma = place == Place::First;
        let mut at = 0;
        loop {
            let Some(byte) = self.buffer.bytes().get(at).copied() else {
                if at > self.options.max_record_bytes || !self.buffer.more()? {
                    return Err(self.broken("the array is never closed", at));
                }
                continue;
            };
            match byte {
                byte if is_space(byte) => {}
                b']' if !has_comma || place == Place::First => return Ok(Gap::End(at + 1)),
                b',' if !has_comma => has_comma = true,
                _ if has_comma => return Ok(Gap::Element(at)),
                _ => return Err(self.broken("a comma is missing between elements", at)),
            }
            at += 1;
        }
    }

    /// The length of the element that begins `gap` bytes on, without the white space after it. `None`: it is too long.
    fn element(&mut self, gap: usize) -> Result<Option<usize>, SegmentError> {
        let max = self.options.max_record_bytes;
        let mut end = ElementEnd::new(max_depth(&self.options));
        let mut scanned = gap;
        loop {
            let bytes = self.buffer.bytes();
            let line = self.buffer.line();
            if let Some(len) = end.feed(&bytes[scanned..]).map_err(|f| moved(f, line))? {
                let element = &bytes[gap..scanned + len];
                let space = element.iter().rev().take_while(|b| is_space(**b)).count();
                if space == element.len() {
                    return Err(self.broken("an element is missing", gap));
                }
                return Ok((element.len() <= max).then_some(element.len() - space));
            }
            scanned = bytes.len();
            if scanned - gap > max {
                return Ok(None);
            }
            if !self.buffer.more()? {
                return Err(self.broken("the file ends in the middle of an element", scanned));
            }
        }
    }

    fn nothing_more(&mut self) -> Result<(), SegmentError> {
        loop {
            let bytes = self.buffer.bytes();
            if let Some(at) = bytes.iter().position(|b| !is_space(*b)) {
                return Err(self.broken("something follows the end of the array", at));
            }
            let len = bytes.len();
            self.buffer.consume(len);
            if !self.buffer.more()? {
                return Ok(());
            }
        }
    }

    fn broken(&self, what: &str, at: usize) -> SegmentError {
        let line = 1 + self.buffer.line() + count_lines(&self.buffer.bytes()[..at]);
        invalid(format!("not valid JSON: {what}"), false)
            .line(line)
            .into()
    }
}

/// A failure with a line of the segment, told of the file.
fn moved(failure: Failure, before: u64) -> Failure {
    let line = failure.line.unwrap_or(1) + before;
    failure.line(line)
}
