//! One query's score of every text: made once, asked for the best and for single ones.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tantivy::postings::TermInfo;
use tantivy::query::{EnableScoring, Query};
use tantivy::schema::Schema;
use tantivy::{DocId, DocSet, TERMINATED};

use super::held::Sums;
use super::query::Wanted;
use super::score::Bm25;
use super::segment::Segment;
use crate::index::{Rank, Ranked};

/// A text that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its label.
    pub label: u64,
    /// BM25, higher is better. Comparable within one query and epoch only.
    pub score: f32,
}

impl Rank for Hit {
    /// Best first; equal ones by label.
    fn order(&self, other: &Self) -> Ordering {
        (other.score.total_cmp(&self.score)).then(self.label.cmp(&other.label))
    }
}

/// See the module's text. Of the epoch of the snapshot that made it.
pub struct Scored<'a> {
    segments: &'a [Segment],
    /// By segment and document; 0 where nothing matches.
    scores: Vec<Vec<f32>>,
    /// What an expression matches, by segment: its score may be 0. `None`: what has a score.
    matching: Option<Vec<Vec<DocId>>>,
    ideal: f32,
}

impl<'a> Scored<'a> {
    /// Word by word, over all segments, so that the order of additions is that of the query.
    pub(super) fn new(
        segments: &'a [Segment],
        sums: &Sums,
        wanted: &[Wanted],
    ) -> tantivy::Result<Self> {
        let bm25 = Bm25::new(sums.texts, sums.words);
        // Entries by segment and word, and what each word is worth.
        let mut entries: Vec<Vec<Vec<TermInfo>>> = Vec::with_capacity(segments.len());
        let mut having = vec![0; wanted.len()];
        for segment in segments {
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
        let mut scores = Vec::with_capacity(segments.len());
        for (segment, entries) in segments.iter().zip(entries) {
            let mut of_segment = vec![0f32; segment.len()];
            for (worth, entries) in worth.iter().zip(entries) {
                for entry in entries {
                    segment.for_each_having(&entry, |doc, times, words| {
                        of_segment[doc as usize] += bm25.gain(*worth, times, words);
                    })?;
                }
            }
            scores.push(of_segment);
        }
        Ok(Self {
            segments,
            scores,
            matching: None,
            ideal: worth.iter().map(|worth| bm25.full(*worth)).sum(),
        })
    }

    /// What the rarest of these words is worth; 0 without any.
    pub(super) fn rarest(
        segments: &[Segment],
        sums: &Sums,
        wanted: &[Wanted],
    ) -> tantivy::Result<f32> {
        let bm25 = Bm25::new(sums.texts, sums.words);
        let mut rarest = 0f32;
        for word in wanted {
            let mut having = 0;
            for segment in segments {
                for sought in &word.terms {
                    for entry in segment.entries(sought)? {
                        having += segment.having(&entry)?;
                    }
                }
            }
            rarest = rarest.max(bm25.idf(having));
        }
        Ok(rarest)
    }

    /// Only what `query` matches.
    pub(super) fn matched_by(
        mut self,
        query: &dyn Query,
        schema: &Schema,
    ) -> tantivy::Result<Self> {
        let weight = query.weight(EnableScoring::disabled_from_schema(schema))?;
        let mut matching = Vec::with_capacity(self.segments.len());
        for (segment, scores) in self.segments.iter().zip(&mut self.scores) {
            let mut docs = Vec::new();
            let mut kept = vec![0f32; scores.len()];
            let mut found = weight.scorer(&segment.reader, 1.0)?;
            let mut doc = found.doc();
            while doc != TERMINATED {
                if !segment.reader.is_deleted(doc) {
                    docs.push(doc);
                    kept[doc as usize] = scores[doc as usize];
                }
                doc = found.advance();
            }
            *scores = kept;
            matching.push(docs);
        }
        self.matching = Some(matching);
        Ok(self)
    }

    /// The `k` texts that match best among those that `admit` allows, best first, ties by label. Fewer only if there are
    /// no more that match.
    pub fn best(&self, k: usize, admit: Option<&(dyn Fn(u64) -> bool + Sync)>) -> Vec<Hit> {
        let mut best = Best::new(k);
        if k == 0 {
            return Vec::new();
        }
        for (at, (segment, scores)) in self.segments.iter().zip(&self.scores).enumerate() {
            let mut look = |doc: DocId, score: f32| {
                if best.wants(score) {
                    let hit = Hit {
                        label: segment.label(doc),
                        score,
                    };
                    if best.admits(&hit) && admit.is_none_or(|admit| admit(hit.label)) {
                        best.push(hit);
                    }
                }
            };
            match &self.matching {
                Some(matching) => {
                    for doc in &matching[at] {
                        look(*doc, scores[*doc as usize]);
                    }
                }
                None => {
                    for (doc, score) in scores.iter().enumerate() {
                        if *score > 0.0 {
                            look(doc as DocId, *score);
                        }
                    }
                }
            }
        }
        best.into_hits()
    }

    /// The score of each of `labels`, in their order; 0 where nothing matches and where there is no such text.
    pub fn of(&self, labels: &[u64]) -> Vec<f32> {
        let score = |label: &u64| {
            let places = self.segments.iter().zip(&self.scores);
            let mut scores =
                places.filter_map(|(segment, scores)| Some(scores[segment.doc(*label)? as usize]));
            scores.next().unwrap_or(0.0)
        };
        labels.iter().map(score).collect()
    }

    /// What a text of mean length would score that had every word of the query once; a word that no text has counts as the
    /// rarest. How close the best comes to it says how much of the query the texts have words for.
    pub fn ideal(&self) -> f32 {
        self.ideal
    }
}

/// The best so far.
struct Best {
    k: usize,
    heap: BinaryHeap<Ranked<Hit>>,
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
