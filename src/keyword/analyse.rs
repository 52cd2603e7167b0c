//! From texts and queries to terms: one chain for prose, code and scripts without spaces.
//!
//! ```text
//!   text ──split──▶ pieces ──fold──▶ lower case, ──stem──▶ terms
//!                                    no accents     (in the language of the text)
//! ```
//!
//! | in the text | terms |
//! |---|---|
//! | `The cities` | `the` (a stop word: kept, but neither asked for nor counted), `citi` |
//! | `getUserName`, `get_user_name`, `get-user-name` | `get` `user` `name`, and `getusername` |
//! | `src/user/name.rs` | `src` `user` `name` `rs`, and `src/user/name.rs` |
//! | `utf8` | `utf` `8`, and `utf8` |
//! | `Crème` | `creme`, stemmed |
//! | `東京都` | `東京` `京都`, and `都`: pairs, and the last one for a query of one character |
//!
//! A word of any length is a term; past 200 bytes it is cut and told apart by a hash.
//!
//! A text has one language, which is detected or configured. A query is read in every language that occurs in the view: each
//! word stands for all the stems that it may have become.

mod fold;
pub mod language;
pub(super) mod script;
mod split;

use std::ops::ControlFlow;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use super::held::Text;
pub use language::{ENGLISH, LANGUAGES, LANGUAGES_MAX, LanguageId, NONE};
use language::{Stems, detect};
pub use split::{Kind, Piece, split};

/// Changes whenever the same text would become other terms, or would be taken for something else: views of another version are made anew.
const VERSION: u32 = 3;
/// Pieces by which a text's language is told.
const DETECT_PIECES: usize = 400;

/// Which language texts are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Languages {
    /// Each text says it itself.
    #[default]
    Auto,
    /// All texts are in this one, or in none: see [`language::of_name`].
    One(LanguageId),
}

impl Languages {
    /// By its name in the configuration: `auto`, `none`, or a language.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "none" => Some(Self::One(NONE)),
            name => language::of_name(name).map(Self::One),
        }
    }
}

/// What a view must agree with to be gone on with.
pub(super) fn version(languages: Languages) -> String {
    let language = match languages {
        Languages::Auto => "auto",
        Languages::One(NONE) => "none",
        Languages::One(id) => LANGUAGES[usize::from(id) - 1].0,
    };
    format!("{VERSION} {language}")
}

/// Makes terms. Keeps stems that it has met.
pub(super) struct Analyser {
    languages: Languages,
    stems: Stems,
}

impl Analyser {
    pub(super) fn new(languages: Languages) -> Self {
        Self {
            languages,
            stems: Stems::default(),
        }
    }

    /// The terms of a text as [`Terms`] reads them, and what counts of it.
    pub(super) fn text(&mut self, text: &str) -> (String, Text) {
        let mut pieces = Vec::new();
        split(text, &mut |piece| {
            pieces.push(piece);
            ControlFlow::Continue(())
        });
        let language = self.language(&pieces);
        let mut terms = String::with_capacity(text.len() + text.len() / 4);
        let mut words = 0;
        for piece in pieces {
            let counts = matches!(piece.kind, Kind::Word | Kind::Pair);
            let (term, stop) = self.term(language, &piece);
            words += u64::from(counts && !stop);
            terms.push(if counts { NEXT } else { SAME });
            terms.push_str(&term);
        }
        let code = is_code(text);
        (
            terms,
            Text {
                words,
                language,
                code,
            },
        )
    }

    /// The language of a text, of which these are the pieces.
    pub(super) fn language(&self, pieces: &[Piece]) -> LanguageId {
        match self.languages {
            Languages::Auto => detect(pieces.iter().take(DETECT_PIECES)),
            Languages::One(language) => language,
        }
    }

    /// The term of a piece in a language, and whether it is a stop word there.
    pub(super) fn term(&mut self, language: LanguageId, piece: &Piece) -> (String, bool) {
        match piece.kind {
            Kind::Word => {
                let stemmed = self.stems.stem(language, &piece.term);
                (stemmed.term, stemmed.stop)
            }
            Kind::Whole | Kind::Pair | Kind::Last => (piece.term.clone(), false),
        }
    }
}

/// Signs that code is full of, and prose is not.
const CODE_SIGNS: &str = "(){}[]<>;=_";
/// So many of 1000 characters that are seen must be such signs. In functions some 75 are, in abstracts 5.
const CODE_SIGNS_MIN: usize = 40;

/// Whether a text looks like source code.
fn is_code(text: &str) -> bool {
    let (mut seen, mut signs) = (0, 0);
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        seen += 1;
        signs += usize::from(CODE_SIGNS.contains(c));
    }
    signs * 1_000 > seen * CODE_SIGNS_MIN
}

/// Stands before a term at the next position.
const NEXT: char = '\u{1}';
/// Stands before a term at the position of the one before it.
const SAME: char = '\u{2}';

/// Hands tantivy the terms that [`Analyser::text`] has written down.
#[derive(Clone, Default)]
pub(super) struct Terms(Token);

impl Tokenizer for Terms {
    type TokenStream<'a> = TermStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> TermStream<'a> {
        self.0.reset();
        self.0.position = usize::MAX; // the first one is at 0
        TermStream {
            rest: text,
            token: &mut self.0,
        }
    }
}

/// See [`Terms`].
pub(super) struct TermStream<'a> {
    rest: &'a str,
    token: &'a mut Token,
}

impl TokenStream for TermStream<'_> {
    fn advance(&mut self) -> bool {
        let mut chars = self.rest.chars();
        let Some(mark) = chars.next() else {
            return false;
        };
        let rest = chars.as_str();
        let end = rest.find([NEXT, SAME]).unwrap_or(rest.len());
        if mark == NEXT {
            self.token.position = self.token.position.wrapping_add(1);
        }
        self.token.text.clear();
        self.token.text.push_str(&rest[..end]);
        self.rest = &rest[end..];
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests;
