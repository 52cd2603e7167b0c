//! The view as of one epoch: what queries are answered from.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use floodmark_operators::keys::Epoch;
use tantivy::schema::Schema;

use super::analyse::{Analyser, split};
use super::expression::Expression;
use super::held::Sums;
use super::query::{Sought, Wanted, Words, wanted};
use super::schema::Fields;
use super::scored::{Hit, Scored};
use super::segment::Segment;
use super::{KeywordError, Syntax};

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
        Ok(self.score(query, syntax)?.best(k, admit))
    }

    /// The score of each of `labels` for a query of plain words, in their order, as [`Self::search`] gives it; 0 where nothing matches and where there is no such text.
    ///
    /// # Errors
    /// As for [`Self::search`].
    pub fn scores(&self, query: &str, labels: &[u64]) -> Result<Vec<f32>, KeywordError> {
        Ok(self.score(query, Syntax::Words)?.of(labels))
    }

    /// The query's score of every text.
    ///
    /// # Errors
    /// As for [`Self::search`].
    pub fn score(&self, query: &str, syntax: Syntax) -> Result<Scored<'_>, KeywordError> {
        let searching = || KeywordError::tantivy::<tantivy::TantivyError>("search");
        let score = |wanted: &[Wanted]| Scored::new(&self.segments, &self.sums, wanted);
        match syntax {
            Syntax::Words => score(&wanted(query, &mut self.analyser(), &self.sums.languages)),
            Syntax::Query => {
                let schema = &self.schema;
                let tokenizer = Words::new(self.analyser.clone(), &self.sums.languages);
                let expression = Expression::parse(query, schema, self.fields.body, tokenizer)?;
                score(&expression.wanted)
                    .and_then(|scored| scored.matched_by(&*expression.query, schema))
            }
        }
        .map_err(searching())
    }

    /// Whether a text looks like source code; false where there is no such text.
    pub fn is_code(&self, label: u64) -> bool {
        let text = |segment: &Segment| segment.text(segment.doc(label)?);
        self.segments
            .iter()
            .find_map(text)
            .is_some_and(|text| text.code)
    }

    /// How much a word says: the fewer of the texts have it, the more (inverse document frequency). Of several words in one, as in
    /// `getUserName`, it is the rarest that counts; what is no word says nothing: 0.
    ///
    /// # Errors
    /// What the disk says.
    pub fn rarity(&self, word: &str) -> Result<f64, KeywordError> {
        let wanted = wanted(word, &mut self.analyser(), &self.sums.languages);
        let rarest = Scored::rarest(&self.segments, &self.sums, &wanted);
        rarest
            .map(f64::from)
            .map_err(KeywordError::tantivy("search"))
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
}
