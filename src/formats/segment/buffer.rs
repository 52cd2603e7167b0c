//! The bytes of a file that were read and not yet cut.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use crate::formats::failure::count_lines;

const READ_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Buffer<R> {
    reader: R,
    data: Vec<u8>,
    from: usize,
    /// Of the first byte that is not consumed.
    offset: u64,
    /// Newlines before it.
    line: u64,
    is_end: bool,
}

impl<R: Read + Seek> Buffer<R> {
    /// Begins where `reader` stands, which is the beginning of the file.
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            data: Vec::new(),
            from: 0,
            offset: 0,
            line: 0,
            is_end: false,
        }
    }

    pub(super) fn seek(&mut self, offset: u64, line: u64) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(offset))?;
        self.data.clear();
        (self.from, self.offset, self.line, self.is_end) = (0, offset, line, false);
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.data[self.from..]
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Reads on; false at the end of the file.
    pub(super) fn more(&mut self) -> io::Result<bool> {
        if self.is_end {
            return Ok(false);
        }
        if self.from > 0 {
            self.data.drain(..self.from);
            self.from = 0;
        }
        let held = self.data.len();
        self.data.resize(held + READ_BYTES, 0);
        let read = loop {
            match self.reader.read(&mut self.data[held..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.data
            .truncate(held + read.as_ref().copied().unwrap_or(0));
        self.is_end = read? == 0;
        Ok(!self.is_end)
    }

    /// Reads until `len` bytes are here or the file ends; how many are here.
    pub(super) fn have(&mut self, len: usize) -> io::Result<usize> {
        while self.bytes().len() < len && self.more()? {}
        Ok(self.bytes().len())
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.line += count_lines(&self.bytes()[..len]);
        self.offset += len as u64;
        self.from += len;
        if self.from == self.data.len() {
            // One long record does not keep its memory for the rest of the file.
            self.data.clear();
            self.data.shrink_to(4 * READ_BYTES);
            self.from = 0;
        }
    }

    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let bytes = self.bytes()[..len].to_vec();
        self.consume(len);
        bytes
    }
}
