//! Lines of bounded length.

use std::io::{self, BufRead, Read};

/// A line without its end.
pub(super) enum Line {
    Whole(Vec<u8>),
    /// Longer than allowed: its beginning. The rest was passed over.
    TooLong(Vec<u8>),
}

impl Line {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::TooLong(bytes) => bytes,
        }
    }
}

pub(super) struct Lines<R> {
    input: R,
    bytes_max: usize,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, bytes_max: usize) -> Self {
        Self {
            input,
            bytes_max,
            number: 0,
        }
    }

    /// Number of the line handed out last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line, or `None` at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        (&mut self.input)
            .take(self.bytes_max as u64 + 1)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > self.bytes_max {
            self.pass_over()?;
            line.truncate(1000); // enough to recognise it by
            return Ok(Some(Line::TooLong(line)));
        }
        if self.number == 1 && line.starts_with("\u{feff}".as_bytes()) {
            line.drain(..3);
        }
        Ok(Some(Line::Whole(line)))
    }

    fn pass_over(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let (used, ended) = match buffer.iter().position(|&byte| byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.input.consume(used);
            if ended {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, bytes_max: usize, expected: &[&str]) {
        let mut lines = Lines::new(io::BufReader::with_capacity(3, input.as_bytes()), bytes_max);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let mark = if matches!(line, Line::TooLong(_)) {
                "!"
            } else {
                ""
            };
            found.push(format!("{mark}{}", str::from_utf8(line.bytes()).unwrap()));
        }
        assert_eq!(found, expected);
        assert_eq!(lines.number(), expected.len() as u64);
    }

    #[test]
    fn lines_end_with_the_line_or_with_the_input() {
        check("", 10, &[]);
        check("a\nbc", 10, &["a", "bc"]);
        check("a\n\nbc\n", 10, &["a", "", "bc"]);
        check("\u{feff}a\n\u{feff}b\n", 10, &["a", "\u{feff}b"]);
    }

    #[test]
    fn a_line_that_is_too_long_does_not_take_the_next_with_it() {
        check(
            "abcd\nabcde\nabcdefghij\nx\n",
            4,
            &["abcd", "!abcde", "!abcde", "x"],
        );
        check("abcdefgh", 4, &["!abcde"]);
    }
}
