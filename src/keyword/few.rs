//! A segment of a few texts, made at once and on the spot.
//!
//! tantivy's writer hands texts to a thread of its own, with a table of words that is sized for the many it may get: megabytes,
//! cleared for each commit and looked through at its end. Beside one note that somebody has just saved, that was most of what the
//! view did. docs/decisions/0020-few-texts.md has the figures.

use tantivy::indexer::{AddOperation, SegmentWriter};
use tantivy::{Index, IndexWriter, Segment};

use super::boxed::Boxed;

/// Memory that the first table of words is sized by; it grows with what comes.
const TABLE_BYTES: usize = 100_000;

/// A segment that is being written. Dropped, it never was: its files are swept away with the next commit.
pub(super) struct Few {
    segment: Segment,
    writer: SegmentWriter,
}

impl Few {
    pub(super) fn new(index: &Index) -> tantivy::Result<Self> {
        let segment = index.new_segment();
        let writer = SegmentWriter::for_segment(TABLE_BYTES, segment.clone())?;
        Ok(Self { segment, writer })
    }

    pub(super) fn add(&mut self, document: Boxed) -> tantivy::Result<()> {
        // What was deleted before the segment joins does not concern it, so that the order within it says nothing.
        let opstamp = 0;
        self.writer.add_document(AddOperation { opstamp, document })
    }

    /// Joins what `writer` commits next. Whatever was deleted until now is none of these texts.
    pub(super) fn join(self, writer: &IndexWriter<Boxed>) -> tantivy::Result<()> {
        let texts = self.writer.max_doc();
        self.writer.finalize()?;
        let segment = self.segment.with_max_doc(texts);
        // As tantivy's own thread does when a segment is complete: the store was written once and for all.
        segment.meta().untrack_temp_docstore();
        writer.add_segment(segment.meta().clone())
    }
}
