//! Listens to the tokenizer and knows where every piece of text stood.

use std::convert::Infallible;
use std::ops::Range;

use html5gum::{Emitter, Error, State, naive_next_state};

use super::Page;

/// Collects a [`Page`]. The tokenizer hands out text in pieces of bytes, sometimes half a character; pieces that are
/// the source unchanged are joined by position and taken from the source, so that only whole characters go on.
pub(super) struct Positions<'s> {
    source: &'s str,
    page: Page,
    /// One past the byte that the tokenizer has consumed.
    position: usize,
    /// One past the last byte that is text or tag.
    done: usize,
    /// Unchanged text that was not handed on yet.
    plain: Range<usize>,
    is_end: bool,
    is_closed: bool,
    name: Vec<u8>,
    last_start: Vec<u8>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'s> Positions<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self {
            source,
            page: Page::default(),
            position: 0,
            done: 0,
            plain: 0..0,
            is_end: false,
            is_closed: false,
            name: Vec::new(),
            last_start: Vec::new(),
            attributes: Vec::new(),
        }
    }

    pub(super) fn finish(mut self) -> Page {
        self.flush();
        self.page
    }

    fn flush(&mut self) {
        if let Some(text) = self.source.get(self.plain.clone()) {
            self.page.text(text, self.plain.clone());
        }
        self.plain = self.done..self.done;
    }

    /// Whether the source has these bytes at `at`, after all that was taken.
    fn has(&self, at: usize, bytes: &[u8]) -> bool {
        at >= self.done && self.source.as_bytes()[at..].starts_with(bytes)
    }

    fn tag_done(&mut self) {
        self.flush();
        self.done = self.position;
        self.plain = self.done..self.done;
    }
}

impl Emitter for &mut Positions<'_> {
    type Token = Infallible;

    fn move_position(&mut self, offset: isize) {
        self.position = self
            .position
            .saturating_add_signed(offset)
            .min(self.source.len());
    }

    fn emit_string(&mut self, bytes: &[u8]) {
        // The newline of a line end that was taken as one character.
        if self.has(self.done, b"\n") && !self.has(self.done, bytes) && self.done > 0 {
            self.done += usize::from(self.source.as_bytes()[self.done - 1] == b'\r');
        }
        let guess = self.position.saturating_sub(bytes.len());
        let at = if self.has(guess, bytes) {
            Some(guess)
        } else {
            // Pieces of a reference that is none are told late.
            self.has(self.done, bytes).then_some(self.done)
        };
        // `&` also begins every entity: unless nothing else was consumed, it is a decoded `&amp;`.
        if let Some(at) = at
            && (bytes != b"&" || self.source.as_bytes().get(self.done..self.position) == Some(b"&"))
        {
            if at != self.plain.end {
                self.flush();
                self.plain = at..at;
            }
            self.done = at + bytes.len();
            self.plain.end = self.done;
            return;
        }
        self.flush();
        let end = self.position.max(self.done);
        self.page
            .text(&String::from_utf8_lossy(bytes), self.done..end);
        self.done = end;
        self.plain = end..end;
    }

    fn emit_current_tag(&mut self) -> Option<State> {
        self.tag_done();
        let name = String::from_utf8_lossy(&self.name).into_owned();
        if self.is_end {
            self.last_start.clear();
            self.page.end(&name, self.position);
            return None;
        }
        self.page
            .start(&name, &self.attributes, self.is_closed, self.position);
        self.last_start.clone_from(&self.name);
        // XHTML closes elements that HTML reads on in.
        if self.is_closed {
            None
        } else {
            naive_next_state(&self.name)
        }
    }

    fn init_start_tag(&mut self) {
        self.name.clear();
        self.attributes.clear();
        self.is_end = false;
        self.is_closed = false;
    }

    fn init_end_tag(&mut self) {
        self.init_start_tag();
        self.is_end = true;
    }

    fn push_tag_name(&mut self, bytes: &[u8]) {
        self.name.extend(bytes);
    }

    fn init_attribute(&mut self) {
        self.attributes.push(Default::default());
    }

    fn push_attribute_name(&mut self, bytes: &[u8]) {
        if let Some((name, _)) = self.attributes.last_mut() {
            name.extend(bytes);
        }
    }

    fn push_attribute_value(&mut self, bytes: &[u8]) {
        if let Some((_, value)) = self.attributes.last_mut() {
            value.extend(bytes);
        }
    }

    fn set_self_closing(&mut self) {
        self.is_closed = true;
    }

    fn current_is_appropriate_end_tag_token(&mut self) -> bool {
        self.is_end && !self.last_start.is_empty() && self.last_start == self.name
    }

    fn set_last_start_tag(&mut self, name: Option<&[u8]>) {
        self.last_start = name.unwrap_or_default().to_vec();
    }

    fn init_comment(&mut self) {
        self.flush();
    }

    fn emit_current_comment(&mut self) {
        self.tag_done();
    }

    fn emit_current_doctype(&mut self) {
        self.tag_done();
    }

    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn pop_token(&mut self) -> Option<Infallible> {
        None
    }

    fn emit_eof(&mut self) {}
    fn emit_error(&mut self, _: Error) {}
    fn set_force_quirks(&mut self) {}
    fn push_comment(&mut self, _: &[u8]) {}
    fn push_doctype_name(&mut self, _: &[u8]) {}
    fn init_doctype(&mut self) {}
    fn set_doctype_public_identifier(&mut self, _: &[u8]) {}
    fn set_doctype_system_identifier(&mut self, _: &[u8]) {}
    fn push_doctype_public_identifier(&mut self, _: &[u8]) {}
    fn push_doctype_system_identifier(&mut self, _: &[u8]) {}
}
