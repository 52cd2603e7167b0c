//! From a text to its pieces: words, whole identifiers, pairs of characters. Knows no language.

use std::ops::{ControlFlow, Range};

use super::fold::{fold, shorten};
use super::script::{Class, class};

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word, or a part of an identifier: stemmed, and counted in the length of the text.
    Word,
    /// An identifier or path of several parts: taken as it is, beside its parts.
    Whole,
    /// A pair of characters of an unsegmented script, or one that stands alone; counted.
    Pair,
    /// The last character of a run of such, which no pair begins with; found by a query of that one character.
    Last,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// In lower case, without accents.
    pub term: String,
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// Its number among the words of the text; a whole identifier has that of its last part.
    pub position: u32,
}

/// Joiners that may stand together inside a compound: `std::fs`, `https://`.
const JOINERS_MAX: usize = 3;
/// Parts of a compound that is also taken whole: beyond, it is no name.
const PARTS_MAX: usize = 32;

type Flow = ControlFlow<()>;

/// Calls `each` with every piece, in the order of their beginnings, until it breaks off.
pub fn split(text: &str, each: &mut dyn FnMut(Piece) -> Flow) {
    let mut splitter = Splitter {
        text,
        position: 0,
        each,
    };
    let _ = splitter.run();
}

struct Splitter<'a> {
    text: &'a str,
    position: u32,
    each: &'a mut dyn FnMut(Piece) -> Flow,
}

impl Splitter<'_> {
    fn run(&mut self) -> Flow {
        let mut at = 0;
        while let Some(c) = self.char_at(at) {
            at = match class(c) {
                Class::Unsegmented => {
                    let end = self.end_of(at, |class| class == Class::Unsegmented);
                    self.unsegmented(at..end)?;
                    end
                }
                Class::Upper | Class::Lower | Class::Digit => self.compound(at)?,
                _ => at + c.len_utf8(),
            };
        }
        Flow::Continue(())
    }

    fn char_at(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    /// The end of the characters from `at` on that are `of` a class, with their marks.
    fn end_of(&self, at: usize, of: impl Fn(Class) -> bool) -> usize {
        let rest = &self.text[at..];
        rest.char_indices()
            .find(|(_, c)| !matches!(class(*c), Class::Mark) && !of(class(*c)))
            .map_or(self.text.len(), |(end, _)| at + end)
    }

    fn emit(&mut self, kind: Kind, term: String, range: Range<usize>, position: u32) -> Flow {
        if term.is_empty() {
            return Flow::Continue(());
        }
        (self.each)(Piece {
            kind,
            term: shorten(term),
            range,
            position,
        })
    }

    /// A run of an unsegmented script: every two neighbours.
    fn unsegmented(&mut self, run: Range<usize>) -> Flow {
        let mut starts: Vec<usize> = (self.text[run.clone()].char_indices())
            .filter(|(_, c)| class(*c) != Class::Mark)
            .map(|(at, _)| run.start + at)
            .collect();
        let count = starts.len();
        starts.push(run.end);
        for at in 0..count {
            let kind = match (count, at + 1 == count) {
                (1, _) | (_, false) => Kind::Pair,
                (_, true) => Kind::Last,
            };
            let range = starts[at]..starts[(at + 2).min(count)];
            let term = fold(&self.text[range.clone()]);
            if kind == Kind::Pair {
                self.emit(kind, term, range, self.position)?;
                self.position += 1;
            } else {
                self.emit(kind, term, range, self.position - 1)?;
            }
        }
        Flow::Continue(())
    }

    /// Words that are joined to one name, or a single word. Returns its end.
    fn compound(&mut self, start: usize) -> ControlFlow<(), usize> {
        let mut words: Vec<(Range<usize>, Join)> = Vec::new();
        let (mut at, mut join) = (start, Join::Weak);
        loop {
            let end = self.end_of(at, |c| {
                matches!(c, Class::Upper | Class::Lower | Class::Digit)
            });
            words.push((at..end, join));
            match self.joined(end) {
                Some((next, by)) if words.len() < PARTS_MAX => (at, join) = (next, by),
                _ => break,
            }
        }
        let end = words.last().map_or(start, |(last, _)| last.end);
        let mut parts = 0;
        // Identifiers between strong joiners: `get_user_name` in `src/get_user_name.rs`.
        let mut whole = String::new();
        for group in words.chunk_by(|_, next| next.1 == Join::Weak) {
            let mut group_parts = 0;
            let range = group[0].0.start..group[group.len() - 1].0.end;
            let mut joined = String::new();
            for (word, _) in group {
                joined.push_str(&fold(&self.text[word.clone()]));
                for part in parts_of(self.text, word.clone()) {
                    let term = fold(&self.text[part.clone()]);
                    self.emit(Kind::Word, term, part, self.position)?;
                    self.position += 1;
                    group_parts += 1;
                }
            }
            if let Join::Strong(sign) = group[0].1
                && parts > 0
            {
                whole.push(sign);
            }
            whole.push_str(&joined);
            parts += group_parts;
            if group_parts > 1 {
                self.emit(Kind::Whole, joined, range, self.position - 1)?;
            }
        }
        let several = words
            .iter()
            .any(|(_, join)| matches!(join, Join::Strong(_)));
        if several {
            self.emit(Kind::Whole, whole, start..end, self.position - 1)?;
        }
        ControlFlow::Continue(self.after_apostrophe(end))
    }

    /// The word after a joiner or a few, if there is one.
    fn joined(&self, end: usize) -> Option<(usize, Join)> {
        let mut join = None;
        for (count, (at, c)) in self.text[end..].char_indices().enumerate() {
            match class(c) {
                Class::Weak if count < JOINERS_MAX => join = join.or(Some(Join::Weak)),
                Class::Strong if count < JOINERS_MAX => {
                    join = Some(match join {
                        Some(Join::Strong(sign)) => Join::Strong(sign),
                        _ => Join::Strong(c),
                    });
                }
                Class::Upper | Class::Lower | Class::Digit => {
                    return join.map(|join| (end + at, join));
                }
                _ => return None,
            }
        }
        None
    }

    /// Passes over the `s` or `t` that English hangs on a word: `user's`, `don't`.
    fn after_apostrophe(&self, end: usize) -> usize {
        let mut rest = self.text[end..].char_indices();
        if let (Some((_, apostrophe)), Some((at, c))) = (rest.next(), rest.next())
            && class(apostrophe) == Class::Apostrophe
            && matches!(c, 's' | 't' | 'S' | 'T')
            && rest.next().is_none_or(|(_, c)| {
                !matches!(
                    class(c),
                    Class::Upper | Class::Lower | Class::Digit | Class::Mark
                )
            })
        {
            return end + at + 1;
        }
        end
    }
}

/// How a word hangs on the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    Weak,
    Strong(char),
}

/// The parts of one word: `getUserName` has three, `HTTPServer2` too, `PDFs` one.
fn parts_of(text: &str, word: Range<usize>) -> Vec<Range<usize>> {
    let chars: Vec<(usize, Class)> = (text[word.clone()].char_indices())
        .map(|(at, c)| (word.start + at, class(c)))
        .filter(|(_, class)| *class != Class::Mark)
        .collect();
    let mut parts = Vec::new();
    let mut start = word.start;
    for at in 1..chars.len() {
        let (before, here) = (chars[at - 1].1, chars[at].1);
        let next = chars.get(at + 1).map(|(_, class)| *class);
        let ends = match (before, here) {
            (Class::Lower, Class::Upper) => true,
            // The last capital begins the next part, unless only the s of a plural follows.
            (Class::Upper, Class::Upper) => {
                next == Some(Class::Lower)
                    && !(at + 2 == chars.len() && text[chars[at + 1].0..word.end].starts_with('s'))
            }
            (Class::Digit, Class::Digit) => false,
            (Class::Digit, _) | (_, Class::Digit) => true,
            _ => false,
        };
        if ends {
            parts.push(start..chars[at].0);
            start = chars[at].0;
        }
    }
    parts.push(start..word.end);
    parts
}
