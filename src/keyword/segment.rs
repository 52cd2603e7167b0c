//! A segment: some of the texts, with what is read of each of them kept at hand.

use std::sync::Arc;

use tantivy::columnar::ColumnValues;
use tantivy::index::SegmentId;
use tantivy::postings::{Postings, TermInfo};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, DocSet, InvertedIndexReader, SegmentMeta, SegmentReader, TERMINATED};

use super::held::Text;
use super::query::Sought;
use super::schema::Fields;

/// See the module's text.
#[derive(Clone)]
pub(super) struct Segment {
    pub reader: SegmentReader,
    postings: Arc<InvertedIndexReader>,
    columns: Arc<Columns>,
}

/// What stays while a segment exists. Which of its texts are deleted is the reader's.
struct Columns {
    of: SegmentId,
    /// By document.
    labels: Vec<u64>,
    /// By document: [`Text::packed`].
    texts: Vec<u32>,
    /// All documents, by label.
    by_label: Vec<DocId>,
    prints: Arc<dyn ColumnValues<u64>>,
}

impl Columns {
    fn read(reader: &SegmentReader) -> tantivy::Result<Self> {
        let column = |name: &str| -> tantivy::Result<Arc<dyn ColumnValues<u64>>> {
            Ok(reader.fast_fields().u64(name)?.first_or_default_col(0))
        };
        let (labels, texts) = (column("label")?, column("text")?);
        let labels: Vec<u64> = labels.iter().collect();
        let mut by_label: Vec<DocId> = (0..labels.len() as DocId).collect();
        by_label.sort_by_key(|doc| labels[*doc as usize]);
        Ok(Self {
            of: reader.segment_id(),
            by_label,
            // More than fits is not what was written, and is told from what was: 0 never is.
            texts: (texts.iter())
                .map(|packed| u32::try_from(packed).unwrap_or(0))
                .collect(),
            labels,
            prints: column("print")?,
        })
    }
}

impl Segment {
    /// `known`: segments that were open before. Most still are: their columns are not read again.
    pub(super) fn open(
        reader: &SegmentReader,
        fields: Fields,
        known: &[Self],
    ) -> tantivy::Result<Self> {
        let same = (known.iter()).find(|known| known.columns.of == reader.segment_id());
        Ok(Self {
            postings: reader.inverted_index(fields.body)?,
            columns: match same {
                Some(known) => known.columns.clone(),
                None => Arc::new(Columns::read(reader)?),
            },
            reader: reader.clone(),
        })
    }

    /// Whether it is that segment, with the same texts deleted from it.
    pub(super) fn is(&self, meta: &SegmentMeta) -> bool {
        self.reader.segment_id() == meta.id()
            && self.reader.delete_opstamp() == meta.delete_opstamp()
    }

    /// Documents, the deleted ones included.
    pub(super) fn len(&self) -> usize {
        self.columns.labels.len()
    }

    /// Calls `each` with every live text: its label, its length and language, its print.
    pub(super) fn for_each(&self, mut each: impl FnMut(u64, Option<Text>, u64)) {
        for doc in 0..self.reader.max_doc() {
            if !self.reader.is_deleted(doc) {
                each(
                    self.label(doc),
                    self.text(doc),
                    self.columns.prints.get_val(doc),
                );
            }
        }
    }

    pub(super) fn label(&self, doc: DocId) -> u64 {
        self.columns.labels[doc as usize]
    }

    pub(super) fn text(&self, doc: DocId) -> Option<Text> {
        Text::of_packed(u64::from(self.columns.texts[doc as usize]))
    }

    /// Where a label lies, if it is live here.
    pub(super) fn doc(&self, label: u64) -> Option<DocId> {
        let Columns {
            labels, by_label, ..
        } = &*self.columns;
        let first = by_label.partition_point(|doc| labels[*doc as usize] < label);
        // One that came, went and came again within a commit lies here twice.
        by_label[first..]
            .iter()
            .copied()
            .take_while(|doc| labels[*doc as usize] == label)
            .find(|doc| !self.reader.is_deleted(*doc))
    }

    /// The dictionary's entries for what is sought.
    pub(super) fn entries(&self, sought: &Sought) -> tantivy::Result<Vec<TermInfo>> {
        let dictionary = self.postings.terms();
        match sought {
            Sought::Exactly(term) => Ok(dictionary.get(term.as_bytes())?.into_iter().collect()),
            Sought::Begins(prefix) => {
                let mut entries = Vec::new();
                let mut stream = dictionary.range().ge(prefix.as_bytes()).into_stream()?;
                while stream.advance() && stream.key().starts_with(prefix.as_bytes()) {
                    entries.push(stream.value().clone());
                }
                Ok(entries)
            }
        }
    }

    /// Live texts that have a term.
    pub(super) fn having(&self, entry: &TermInfo) -> tantivy::Result<u64> {
        let Some(alive) = self.reader.alive_bitset() else {
            return Ok(u64::from(entry.doc_freq));
        };
        let postings =
            (self.postings).read_postings_from_terminfo(entry, IndexRecordOption::Basic)?;
        Ok(u64::from(postings.doc_freq_given_deletes(alive)))
    }

    /// Calls `each` with every live text that has a term, how often it has it, and its length in words.
    pub(super) fn for_each_having(
        &self,
        entry: &TermInfo,
        mut each: impl FnMut(DocId, u32, u64),
    ) -> tantivy::Result<()> {
        let alive = self.reader.alive_bitset();
        let mut postings =
            (self.postings).read_postings_from_terminfo(entry, IndexRecordOption::WithFreqs)?;
        let mut doc = postings.doc();
        while doc != TERMINATED {
            if alive.is_none_or(|alive| alive.is_alive(doc)) {
                let words = self.text(doc).map_or(0, |text| text.words);
                each(doc, postings.term_freq(), words);
            }
            doc = postings.advance();
        }
        Ok(())
    }
}
