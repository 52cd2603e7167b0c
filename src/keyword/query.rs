//! From a query to what is looked for.

use std::collections::HashMap;
use std::ops::ControlFlow;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use super::analyse::{Analyser, Kind, LANGUAGES_MAX, LanguageId, NONE, Piece, split};

/// Different words of a query that are looked for; the rest of a longer one is passed over.
pub(super) const WORDS_MAX: usize = 512;
/// Pieces of a query that are looked at.
const PIECES_MAX: usize = 16 * WORDS_MAX;

/// A word of the query: any of its terms counts as it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub terms: Vec<Sought>,
    /// How often it stands in the query.
    pub times: f32,
}

/// What is looked for in the dictionary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sought {
    /// This term.
    Exactly(String),
    /// Every term that begins so: the pairs of one character.
    Begins(String),
}

/// What a query of plain words looks for. `languages`: live texts in each.
pub(super) fn wanted(
    query: &str,
    analyser: &mut Analyser,
    languages: &[u64; LANGUAGES_MAX],
) -> Vec<Wanted> {
    let spoken: Vec<LanguageId> = (0..LANGUAGES_MAX as LanguageId)
        .filter(|language| languages[usize::from(*language)] > 0)
        .collect();
    let mut found = Distinct::default();
    // Stop words are looked for when there is nothing else.
    let mut stops = Distinct::default();
    let mut left = PIECES_MAX;
    split(query, &mut |piece| {
        let (asked, stop) = terms(&piece, analyser, &spoken);
        (if stop { &mut stops } else { &mut found }).add(asked);
        left -= 1;
        if left == 0 || found.wanted.len() == WORDS_MAX {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    if found.wanted.is_empty() {
        stops.wanted.truncate(WORDS_MAX);
        return stops.wanted;
    }
    found.wanted
}

/// The terms that a piece of the query may have become in a text, and whether it is a stop word wherever it is one term.
fn terms(
    piece: &Piece,
    analyser: &mut Analyser,
    spoken: &[LanguageId],
) -> (Option<Vec<Sought>>, bool) {
    match piece.kind {
        Kind::Last => (None, false),
        Kind::Pair if piece.term.chars().nth(1).is_none() => {
            (Some(vec![Sought::Begins(piece.term.clone())]), false)
        }
        Kind::Pair | Kind::Whole => (Some(vec![Sought::Exactly(piece.term.clone())]), false),
        Kind::Word => {
            let (mut words, mut stops) = (Vec::new(), Vec::new());
            for &language in spoken {
                let (term, stop) = analyser.term(language, piece);
                let terms = if stop { &mut stops } else { &mut words };
                if !terms.contains(&term) {
                    terms.push(term);
                }
            }
            let stop = words.is_empty();
            let terms = if stop { stops } else { words };
            let exactly = terms.into_iter().map(Sought::Exactly).collect();
            (Some(exactly), stop)
        }
    }
}

#[derive(Default)]
struct Distinct {
    wanted: Vec<Wanted>,
    places: HashMap<Vec<Sought>, usize>,
}

impl Distinct {
    fn add(&mut self, terms: Option<Vec<Sought>>) {
        let Some(terms) = terms.filter(|terms| !terms.is_empty()) else {
            return;
        };
        if let Some(place) = self.places.get(&terms) {
            self.wanted[*place].times += 1.0;
        } else if self.wanted.len() < WORDS_MAX {
            self.places.insert(terms.clone(), self.wanted.len());
            self.wanted.push(Wanted { terms, times: 1.0 });
        }
    }
}

/// The terms of an expression's words, for tantivy's parser, which knows one language: that of most texts.
#[derive(Clone)]
pub(super) struct Words {
    tokens: Vec<Token>,
    at: usize,
    language: LanguageId,
    stems: std::sync::Arc<std::sync::Mutex<Analyser>>,
}

impl Words {
    pub(super) fn new(
        stems: std::sync::Arc<std::sync::Mutex<Analyser>>,
        languages: &[u64; LANGUAGES_MAX],
    ) -> Self {
        let language = (0..LANGUAGES_MAX)
            .max_by_key(|id| languages[*id])
            .map_or(NONE, |id| id as LanguageId);
        Self {
            tokens: Vec::new(),
            at: 0,
            language,
            stems,
        }
    }
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        (self.tokens, self.at) = (Vec::new(), 0);
        let mut stems = (self.stems.lock()).unwrap_or_else(std::sync::PoisonError::into_inner);
        let (language, tokens) = (self.language, &mut self.tokens);
        split(text, &mut |piece| {
            if piece.kind != Kind::Last {
                let (text, _) = stems.term(language, &piece);
                tokens.push(Token {
                    offset_from: piece.range.start,
                    offset_to: piece.range.end,
                    position: piece.position as usize,
                    text,
                    position_length: 1,
                });
            }
            ControlFlow::Continue(())
        });
        drop(stems);
        WordStream(self)
    }
}

/// See [`Words`].
pub(super) struct WordStream<'a>(&'a mut Words);

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        self.0.at += 1;
        self.0.at <= self.0.tokens.len()
    }

    fn token(&self) -> &Token {
        &self.0.tokens[self.0.at - 1]
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.0.tokens[self.0.at - 1]
    }
}
