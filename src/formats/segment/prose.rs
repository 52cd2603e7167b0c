//! Cuts in a text: at a heading or a top-level definition, else an empty line, else a line end, else any character.

use std::io::{Read, Seek};

use super::{Mode, Segment, SegmentError, Segmenter};
use crate::formats::{Format, Piece};

impl<R: Read + Seek> Segmenter<R> {
    pub(super) fn cut_prose(&mut self) -> Result<(Option<Segment>, Mode), SegmentError> {
        // Four bytes are the longest character: less would never get past one.
        let limit = self.options.segment_bytes.max(4);
        let start = self.start();
        let here = self.buffer.have(limit + 1)?;
        if here == 0 && !self.is_first() {
            return Ok((None, Mode::Done));
        }
        let len = if here <= limit {
            here
        } else {
            cut(&self.buffer.bytes()[..limit], self.format)
        };
        let bytes = self.buffer.take(len);
        let piece = if self.format == Format::Markdown && !self.is_first() {
            Piece::Continued
        } else {
            Piece::Whole
        };
        Ok((Some(self.close(start, bytes, piece, 1)), Mode::Prose))
    }
}

/// Where to cut bytes that go on: the last of the best places in the second half, or else in all of them.
fn cut(bytes: &[u8], format: Format) -> usize {
    let (mut best, mut best_rank) = (0, (false, 0));
    let (mut at, mut is_fenced, mut after_blank) = (0, false, false);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let text = line.trim_ascii_end();
        if at > 0 {
            let is_head = match format {
                Format::Markdown => line.starts_with(b"#") && !is_fenced,
                Format::Code(_) => {
                    after_blank && text.first().is_some_and(|b| !b.is_ascii_whitespace())
                }
                _ => false,
            };
            let rank = if is_head {
                3
            } else if after_blank && !text.is_empty() && !is_fenced {
                2
            } else {
                1
            };
            let rank = (at >= bytes.len() / 2, rank);
            if rank >= best_rank {
                (best, best_rank) = (at, rank);
            }
        }
        is_fenced ^= text.starts_with(b"```") || text.starts_with(b"~~~");
        after_blank = text.is_empty();
        at += line.len();
    }
    if bytes.ends_with(b"\n") && best_rank <= (true, 1) {
        return bytes.len();
    }
    match best {
        0 => whole_characters(bytes).len().max(1),
        best => best,
    }
}

/// Without the beginning of a UTF-8 character at the end, or half of a line end.
pub(super) fn whole_characters(bytes: &[u8]) -> &[u8] {
    let len = bytes.len();
    for back in 1..=len.min(3) {
        let needs = match bytes[len - back] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            b'\r' if back == 1 => 2,
            0x80..=0xbf => continue,
            _ => break,
        };
        return if needs > back {
            &bytes[..len - back]
        } else {
            bytes
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Format, text: &str, first: &str) {
        assert_eq!(&text[..cut(text.as_bytes(), format)], first);
    }

    #[test]
    fn the_best_place_of_the_second_half() {
        check(Format::Markdown, "a\n\nbbbb\n# C\nd\n\ne", "a\n\nbbbb\n");
        check(
            Format::Markdown,
            "aaaa\n```\n# c\n\nd\n```\nx",
            "aaaa\n```\n# c\n\nd\n```\n",
        );
        check(Format::Text, "aaaa\nbbbb\n\ncc\ndd", "aaaa\nbbbb\n\n");
        check(Format::Text, "aaaa\nbbbb\ncc", "aaaa\nbbbb\n");
        check(Format::Text, "a\nbbbbbbbbbbbbbb", "a\n");
        check(Format::Text, "ééé", "ééé");
        assert_eq!(whole_characters("aé".as_bytes()[..2].into()), b"a");
        assert_eq!(
            whole_characters("日本".as_bytes()[..5].into()),
            "日".as_bytes()
        );
        assert_eq!(whole_characters(b"a\r"), b"a");
    }
}
