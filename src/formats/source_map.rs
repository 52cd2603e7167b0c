//! Which bytes of a content a stretch of a document's text came from.
//!
//! A text is mostly its source unchanged, with exceptions: an escape, an entity, a doubled quote, a character of another
//! encoding. The map keeps runs of equal exceptions, so that a plain text costs one run and a UTF-16 file of ASCII too.

use std::ops::Range;
use std::sync::Arc;

/// A stretch of `count` units, each `text_width` bytes of text made from `source_width` bytes of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    text: usize,
    source: usize,
    count: u32,
    text_width: u32,
    source_width: u32,
}

impl Run {
    fn text_end(&self) -> usize {
        self.text + self.count as usize * self.text_width as usize
    }

    fn source_end(&self) -> usize {
        self.source + self.count as usize * self.source_width as usize
    }
}

/// From text offsets to content offsets. Offsets at character boundaries are mapped exactly; inside a unit that has no
/// inner boundary (the middle of `&hellip;`) a range widens to the whole unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceMap {
    runs: Vec<Run>,
    /// Text order is not source order.
    scattered: bool,
    /// Where the source was itself made from the content's bytes: text was decoded first, then parsed.
    outer: Option<Arc<SourceMap>>,
}

impl SourceMap {
    /// The text is the content's bytes from `source` on.
    pub fn linear(text_len: usize, source: usize) -> Self {
        let mut map = Self::default();
        map.push(0, text_len, source, text_len);
        map
    }

    /// The smallest range of the content that holds everything that `text` was made of. Where a text was put together
    /// from several places (title and body of a record) the range spans them.
    pub fn range(&self, text: Range<usize>) -> Range<usize> {
        let first = self
            .runs
            .partition_point(|run| run.text_end() <= text.start);
        let last = self.runs.partition_point(|run| run.text < text.end);
        let mut found: Option<Range<usize>> = None;
        let step = if self.scattered {
            1
        } else {
            last.saturating_sub(first + 1).max(1)
        };
        for run in self
            .runs
            .get(first..last)
            .unwrap_or_default()
            .iter()
            .step_by(step)
        {
            let width = run.text_width as usize;
            let from = text.start.saturating_sub(run.text) / width;
            let to = (text.end - run.text)
                .div_ceil(width)
                .min(run.count as usize);
            let start = run.source + from * run.source_width as usize;
            let end = run.source + to * run.source_width as usize;
            found = Some(match found {
                None => start..end,
                Some(range) => range.start.min(start)..range.end.max(end),
            });
        }
        let found = found.unwrap_or_else(|| {
            let nearest = self.runs.get(first).map(|run| run.source);
            let nearest = nearest
                .or(self.runs.last().map(Run::source_end))
                .unwrap_or(0);
            nearest..nearest
        });
        match &self.outer {
            Some(outer) => outer.range(found),
            None => found,
        }
    }

    /// This map, whose source is the text of `outer`.
    pub(crate) fn through(mut self, outer: Option<Arc<SourceMap>>) -> Self {
        self.outer = outer;
        self
    }

    /// `text_len` bytes of text at `text` came from `source_len` bytes at `source`. Equal lengths mean byte by byte.
    fn push(&mut self, text: usize, text_len: usize, source: usize, source_len: usize) {
        if text_len == 0 {
            return;
        }
        let (count, text_width, source_width) = if text_len == source_len {
            (text_len as u32, 1, 1)
        } else {
            (1, text_len as u32, source_len as u32)
        };
        if let Some(last) = self.runs.last_mut() {
            if last.text_end() == text
                && last.source_end() == source
                && last.text_width == text_width
                && last.source_width == source_width
                && let Some(sum) = last.count.checked_add(count)
            {
                last.count = sum;
                return;
            }
            self.scattered |= source < last.source_end();
        }
        self.runs.push(Run {
            text,
            source,
            count,
            text_width,
            source_width,
        });
    }
}

/// A text under construction together with its map.
#[derive(Debug, Default)]
pub(crate) struct MappedText {
    /// What was put together so far.
    pub(crate) text: String,
    map: SourceMap,
}

impl MappedText {
    /// Appends `piece`, which is the source's bytes at `source`.
    pub(crate) fn copy(&mut self, piece: &str, source: usize) {
        self.map
            .push(self.text.len(), piece.len(), source, piece.len());
        self.text.push_str(piece);
    }

    /// Appends `piece`, which was written as the source's bytes `source`.
    pub(crate) fn decode(&mut self, piece: &str, source: Range<usize>) {
        self.map
            .push(self.text.len(), piece.len(), source.start, source.len());
        self.text.push_str(piece);
    }

    /// Appends `piece`, which stands nowhere in the source.
    pub(crate) fn insert(&mut self, piece: &str) {
        self.text.push_str(piece);
    }

    pub(crate) fn finish(self) -> (String, SourceMap) {
        (self.text, self.map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(build: impl FnOnce(&mut MappedText)) -> (String, SourceMap) {
        let mut text = MappedText::default();
        build(&mut text);
        text.finish()
    }

    #[test]
    fn exceptions_shift_what_follows() {
        // source: ab\u00e9cd
        let (text, map) = mapped(|t| {
            t.copy("ab", 0);
            t.decode("é", 2..8);
            t.copy("cd", 8);
        });
        assert_eq!(text, "abécd");
        assert_eq!(map.range(0..6), 0..10);
        assert_eq!(map.range(1..4), 1..8);
        assert_eq!(map.range(2..4), 2..8);
        assert_eq!(map.range(4..5), 8..9);
        assert_eq!(map.range(6..6), 10..10);
    }

    #[test]
    fn wide_units_are_one_run() {
        let (_, map) = mapped(|t| {
            for (i, c) in ["a", "b", "c"].iter().enumerate() {
                t.decode(c, 2 * i..2 * i + 2);
            }
        });
        assert_eq!(map.runs.len(), 1);
        assert_eq!(map.range(1..2), 2..4);
    }

    #[test]
    fn a_text_out_of_source_order_spans_its_parts() {
        let (_, map) = mapped(|t| {
            t.copy("title", 50);
            t.insert("\n\n");
            t.copy("body", 10);
        });
        assert_eq!(map.range(0..5), 50..55);
        assert_eq!(map.range(7..11), 10..14);
        assert_eq!(map.range(0..11), 10..55);
        assert_eq!(map.range(5..7), 10..10);
    }

    #[test]
    fn maps_compose() {
        let outer = Arc::new(mapped(|t| (0..9).for_each(|i| t.decode("x", 2 * i..2 * i + 2))).1);
        let map = SourceMap::linear(3, 4).through(Some(outer));
        assert_eq!(map.range(0..2), 8..12);
    }
}
