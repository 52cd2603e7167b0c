//! The view as of one epoch: what queries are answered from.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use floodmark_operators::keys::Epoch;
use tantivy::columnar::ColumnValues;
use tantivy::postings::{Postings, TermInfo};
use tantivy::query::{EnableScoring, Query, QueryParser};
use tantivy::schema::{IndexRecordOption, Schema};
use tantivy::tokenizer::{TextAnalyzer, TokenizerManager};
use tantivy::{DocId, DocSet, InvertedIndexReader, SegmentMeta, SegmentReader, TERMINATED};

use super::analyse::{Analyser, split};
use super::held::{Sums, Text};
use super::query::{Sought, Wanted, Words, wanted};
use super::schema::{Fields, TOKENIZER};
use super::score::Bm25;
use super::{KeywordError, Syntax};

/// A text that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its label.
    pub label: u64,
    /// BM25, higher is better. Comparable within one query and epoch only.
    pub score: f32,
}

impl Hit {
    /// Best first; equal ones by label.
    pub fn order(&self, other: &Self) -> Ordering {
        (other.score.total_cmp(&self.score)).then(self.label.cmp(&other.label))
    }
}

/// The view as of one epoch. It answers so however the view goes on.
pub struct Snapshot {
    pub(super) epoch: Epoch,
    pub(super) sums: Sums,
    pub(super) fields: Fields,
    pub(super) segments: Arc<Vec<Segment>>,
    pub(super) schema: Schema,
    pub(super) analyser: Arc<Mutex<Analyser>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (f.debug_struct("Snapshot").field("epoch", &self.epoch))
            .field("texts", &self.sums.texts)
            .finish_non_exhaustive()
    }
}

/// Some of the texts, with what is read of each of them.
#[derive(Clone)]
pub(super) struct Segment {
    pub reader: SegmentReader,
    postings: Arc<InvertedIndexReader>,
    labels: Arc<dyn ColumnValues<u64>>,
    texts: Arc<dyn ColumnValues<u64>>,
    prints: Arc<dyn ColumnValues<u64>>,
}

impl Segment {
    pub(super) fn open(reader: &SegmentReader, fields: Fields) -> tantivy::Result<Self> {
        let column = |name: &str| -> tantivy::Result<Arc<dyn ColumnValues<u64>>> {
            Ok(reader.fast_fields().u64(name)?.first_or_default_col(0))
        };
        Ok(Self {
            postings: reader.inverted_index(fields.body)?,
            labels: column("label")?,
            texts: column("text")?,
            prints: column("print")?,
            reader: reader.clone(),
        })
    }

    /// Whether it is that segment, with the same texts deleted from it.
    pub(super) fn is(&self, meta: &SegmentMeta) -> bool {
        self.reader.segment_id() == meta.id()
            && self.reader.delete_opstamp() == meta.delete_opstamp()
    }

    /// Calls `each` with every live text: its label, its length and language, its print.
    pub(super) fn for_each(&self, mut each: impl FnMut(u64, Option<Text>, u64)) {
        for doc in 0..self.reader.max_doc() {
            if !self.reader.is_deleted(doc) {
                let text = Text::of_packed(self.texts.get_val(doc));
                each(self.labels.get_val(doc), text, self.prints.get_val(doc));
            }
        }
    }

    fn words(&self, doc: DocId) -> u64 {
        Text::of_packed(self.texts.get_val(doc)).map_or(0, |text| text.words)
    }

    /// The dictionary's entries for what is sought.
    fn entries(&self, sought: &Sought) -> tantivy::Result<Vec<TermInfo>> {
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
    fn having(&self, entry: &TermInfo) -> tantivy::Result<u64> {
        let Some(alive) = self.reader.alive_bitset() else {
            return Ok(u64::from(entry.doc_freq));
        };
        let postings =
            (self.postings).read_postings_from_terminfo(entry, IndexRecordOption::Basic)?;
        Ok(u64::from(postings.doc_freq_given_deletes(alive)))
    }
}

/// The scores of a segment's texts, by document; 0 where nothing matches.
type Scores = Vec<f32>;

impl Snapshot {
    /// The epoch of every hit.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Texts it knows.
    pub fn len(&self) -> usize {
        self.sums.texts as usize
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.sums.texts == 0
    }

    /// The `k` texts that match best among those that `admit` allows, best first, ties by label. Fewer only if there are
    /// no more that match. A query without a word finds nothing.
    ///
    /// # Errors
    /// [`KeywordError::Syntax`], for [`Syntax::Query`] alone; otherwise what the disk says.
    pub fn search(
        &self,
        query: &str,
        k: usize,
        admit: Option<&(dyn Fn(u64) -> bool + Sync)>,
        syntax: Syntax,
    ) -> Result<Vec<Hit>, KeywordError> {
        let mut best = Best::new(k);
        if k == 0 {
            return Ok(Vec::new());
        }
        self.matches(query, syntax, &mut |segment, scores, doc| {
            let score = scores[doc as usize];
            if best.wants(score) {
                let hit = Hit {
                    label: segment.labels.get_val(doc),
                    score,
                };
                if best.admits(&hit) && admit.is_none_or(|admit| admit(hit.label)) {
                    best.push(hit);
                }
            }
        })?;
        Ok(best.into_hits())
    }

    /// The score of each of `labels` for a query of plain words, in their order, as [`Self::search`] gives it; 0 where nothing matches and where there is no such text.
    ///
    /// # Errors
    /// As for [`Self::search`].
    pub fn scores(&self, query: &str, labels: &[u64]) -> Result<Vec<f32>, KeywordError> {
        self.scores_as(query, labels, Syntax::Words)
    }

    /// [`Self::scores`] for a query that is read so.
    ///
    /// # Errors
    /// As for [`Self::search`].
    pub fn scores_as(
        &self,
        query: &str,
        labels: &[u64],
        syntax: Syntax,
    ) -> Result<Vec<f32>, KeywordError> {
        let asked: HashSet<u64> = labels.iter().copied().collect();
        let mut found = HashMap::with_capacity(asked.len());
        self.matches(query, syntax, &mut |segment, scores, doc| {
            let label = segment.labels.get_val(doc);
            if asked.contains(&label) {
                found.insert(label, scores[doc as usize]);
            }
        })?;
        Ok(labels
            .iter()
            .map(|label| found.get(label).copied().unwrap_or(0.0))
            .collect())
    }

    /// The parts of `text` that a query of plain words matches: byte ranges, ascending, apart from each other.
    pub fn marks(&self, query: &str, text: &str) -> Vec<Range<usize>> {
        let mut analyser = self.analyser();
        let wanted = wanted(query, &mut analyser, &self.sums.languages);
        let mut exactly = HashSet::new();
        let mut begins = Vec::new();
        for sought in wanted.iter().flat_map(|wanted| &wanted.terms) {
            match sought {
                Sought::Exactly(term) => drop(exactly.insert(term.as_str())),
                Sought::Begins(prefix) => begins.push(prefix.as_str()),
            }
        }
        let mut pieces = Vec::new();
        split(text, &mut |piece| {
            pieces.push(piece);
            ControlFlow::Continue(())
        });
        let language = analyser.language(&pieces);
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for piece in pieces {
            let (term, _) = analyser.term(language, &piece);
            let first = begins.iter().find(|prefix| term.starts_with(**prefix));
            let range = match first {
                // Of a pair, the one character that was asked for.
                Some(_) => {
                    let first =
                        (text[piece.range.clone()].chars().next()).map_or(0, char::len_utf8);
                    piece.range.start..piece.range.start + first
                }
                None if exactly.contains(term.as_str()) => piece.range,
                None => continue,
            };
            ranges.push(range);
        }
        ranges.sort_by_key(|range| (range.start, range.end));
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match apart.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        apart
    }

    fn analyser(&self) -> std::sync::MutexGuard<'_, Analyser> {
        self.analyser.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `each` with every text that matches and the scores of its segment.
    fn matches(
        &self,
        query: &str,
        syntax: Syntax,
        each: &mut dyn FnMut(&Segment, &[f32], DocId),
    ) -> Result<(), KeywordError> {
        let searching = || KeywordError::tantivy::<tantivy::TantivyError>("search");
        match syntax {
            Syntax::Words => {
                let wanted = wanted(query, &mut self.analyser(), &self.sums.languages);
                self.scored(&wanted, &mut |segment, scores| {
                    for (doc, score) in scores.iter().enumerate() {
                        if *score > 0.0 {
                            each(segment, scores, doc as DocId);
                        }
                    }
                    Ok(())
                })
            }
            Syntax::Query => {
                let query = self.parse(query)?;
                let wanted = words_of(&*query);
                let schema = self.schema();
                let weight = (query.weight(EnableScoring::disabled_from_schema(&schema)))
                    .map_err(searching())?;
                return self
                    .scored(&wanted, &mut |segment, scores| {
                        let mut found = weight.scorer(&segment.reader, 1.0)?;
                        let mut doc = found.doc();
                        while doc != TERMINATED {
                            if !segment.reader.is_deleted(doc) {
                                each(segment, scores, doc);
                            }
                            doc = found.advance();
                        }
                        Ok(())
                    })
                    .map_err(searching());
            }
        }
        .map_err(searching())
    }

    fn schema(&self) -> Schema {
        self.schema.clone()
    }

    fn parse(&self, query: &str) -> Result<Box<dyn Query>, KeywordError> {
        let tokenizers = TokenizerManager::new();
        tokenizers.register(
            TOKENIZER,
            TextAnalyzer::from(Words::new(self.analyser.clone(), &self.sums.languages)),
        );
        QueryParser::new(self.schema(), vec![self.fields.body], tokenizers)
            .parse_query(query)
            .map_err(|error| KeywordError::Syntax(error.to_string()))
    }

    /// Scores every text: word by word, over all segments, so that the order of additions is that of the query.
    fn scored(
        &self,
        wanted: &[Wanted],
        each: &mut dyn FnMut(&Segment, &Scores) -> tantivy::Result<()>,
    ) -> tantivy::Result<()> {
        let bm25 = Bm25::new(self.sums.texts, self.sums.words);
        // Entries by segment and word, and what each word is worth.
        let mut entries: Vec<Vec<Vec<TermInfo>>> = Vec::with_capacity(self.segments.len());
        let mut having = vec![0; wanted.len()];
        for segment in &*self.segments {
            let mut of_segment = Vec::with_capacity(wanted.len());
            for (word, having) in wanted.iter().zip(&mut having) {
                let mut of_word = Vec::new();
                for sought in &word.terms {
                    of_word.extend(segment.entries(sought)?);
                }
                for entry in &of_word {
                    *having += segment.having(entry)?;
                }
                of_segment.push(of_word);
            }
            entries.push(of_segment);
        }
        let worth: Vec<f32> = (wanted.iter().zip(&having))
            .map(|(word, having)| bm25.idf(*having) * word.times)
            .collect();
        for (segment, entries) in self.segments.iter().zip(entries) {
            let mut scores = vec![0f32; segment.reader.max_doc() as usize];
            let alive = segment.reader.alive_bitset();
            for (worth, entries) in worth.iter().zip(entries) {
                for entry in entries {
                    let mut postings = (segment.postings)
                        .read_postings_from_terminfo(&entry, IndexRecordOption::WithFreqs)?;
                    let mut doc = postings.doc();
                    while doc != TERMINATED {
                        if alive.is_none_or(|alive| alive.is_alive(doc)) {
                            scores[doc as usize] +=
                                bm25.gain(*worth, postings.term_freq(), segment.words(doc));
                        }
                        doc = postings.advance();
                    }
                }
            }
            each(segment, &scores)?;
        }
        Ok(())
    }
}

/// The words of an expression, each once.
fn words_of(query: &dyn Query) -> Vec<Wanted> {
    let mut terms = Vec::new();
    query.query_terms(&mut |term, _| {
        let found = term.value().as_str().map(str::to_owned);
        if let Some(term) = found.filter(|term| !terms.contains(term)) {
            terms.push(term);
        }
    });
    terms.truncate(super::query::WORDS_MAX);
    (terms.into_iter())
        .map(|term| Wanted {
            terms: vec![Sought::Exactly(term)],
            times: 1.0,
        })
        .collect()
}

/// The best so far.
struct Best {
    k: usize,
    heap: BinaryHeap<Ranked>,
}

impl Best {
    fn new(k: usize) -> Self {
        Self {
            k,
            heap: BinaryHeap::with_capacity(k.min(1_024) + 1),
        }
    }

    /// Whether a hit of that score might be among them.
    fn wants(&self, score: f32) -> bool {
        self.heap.len() < self.k || (self.heap.peek()).is_some_and(|worst| score >= worst.0.score)
    }

    fn admits(&self, hit: &Hit) -> bool {
        self.heap.len() < self.k
            || (self.heap.peek()).is_some_and(|worst| hit.order(&worst.0) == Ordering::Less)
    }

    fn push(&mut self, hit: Hit) {
        self.heap.push(Ranked(hit));
        if self.heap.len() > self.k {
            self.heap.pop();
        }
    }

    fn into_hits(self) -> Vec<Hit> {
        let ranked = self.heap.into_sorted_vec();
        ranked.into_iter().map(|ranked| ranked.0).collect()
    }
}

/// A hit in a heap whose greatest is the worst.
struct Ranked(Hit);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(&other.0)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}
