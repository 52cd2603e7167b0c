//! What the view holds: each live label with the length and the language of its text.

use std::collections::HashMap;

use super::analyse::{LANGUAGES_MAX, LanguageId};

/// Labels of a page.
const PAGE: u64 = 1 << 12;
/// Bits of an entry that are the language. The next one is whether it is code; the rest is the length.
const LANGUAGE_BITS: u32 = 5;

/// A text as the view counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// Words that count for its length.
    pub words: u64,
    /// The language it was analysed in.
    pub language: LanguageId,
    /// Whether it looks like source code.
    pub code: bool,
}

impl Text {
    /// As it lies in a segment and in a page; never 0.
    pub(super) fn packed(self) -> u64 {
        let words = self.words.min((1 << 26) - 2) + 1;
        (((words << 1) | u64::from(self.code)) << LANGUAGE_BITS) | u64::from(self.language)
    }

    pub(super) fn of_packed(packed: u64) -> Option<Self> {
        let language = packed & ((1 << LANGUAGE_BITS) - 1);
        Some(Self {
            words: (packed >> (LANGUAGE_BITS + 1)).checked_sub(1)?,
            code: packed >> LANGUAGE_BITS & 1 == 1,
            language: (language < LANGUAGES_MAX as u64).then_some(language as LanguageId)?,
        })
    }
}

/// The live labels. Four bytes a label, where labels are dense: they are row numbers.
#[derive(Default)]
pub(super) struct Held {
    pages: HashMap<u64, Box<[u32; PAGE as usize]>>,
    sums: Sums,
}

/// Sums over all live texts: what scores and queries are made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Live texts.
    pub texts: u64,
    /// Their words.
    pub words: u64,
    /// Texts by language.
    pub languages: [u64; LANGUAGES_MAX],
}

impl Held {
    pub(super) fn get(&self, label: u64) -> Option<Text> {
        let page = self.pages.get(&(label / PAGE))?;
        Text::of_packed(u64::from(page[(label % PAGE) as usize]))
    }

    /// False when the label was there.
    pub(super) fn insert(&mut self, label: u64, text: Text) -> bool {
        let page = self
            .pages
            .entry(label / PAGE)
            .or_insert_with(|| Box::new([0; PAGE as usize]));
        let entry = &mut page[(label % PAGE) as usize];
        if *entry != 0 {
            return false;
        }
        *entry = text.packed() as u32;
        self.sums.texts += 1;
        self.sums.words += text.words;
        self.sums.languages[usize::from(text.language)] += 1;
        true
    }

    pub(super) fn remove(&mut self, label: u64) {
        let Some(text) = self.get(label) else { return };
        if let Some(page) = self.pages.get_mut(&(label / PAGE)) {
            page[(label % PAGE) as usize] = 0;
        }
        self.sums.texts -= 1;
        self.sums.words -= text.words;
        self.sums.languages[usize::from(text.language)] -= 1;
    }

    pub(super) fn sums(&self) -> Sums {
        self.sums
    }

    /// Up to about `count` labels, spread over all of them, ascending.
    pub(super) fn sample(&self, count: usize) -> Vec<u64> {
        let every = (self.sums.texts as usize / count.max(1)).max(1);
        let mut labels: Vec<u64> = self
            .pages
            .iter()
            .flat_map(|(page, entries)| {
                let first = page * PAGE;
                entries
                    .iter()
                    .enumerate()
                    .filter(|(_, entry)| **entry != 0)
                    .map(move |(at, _)| first + at as u64)
            })
            .collect();
        labels.sort_unstable();
        labels.into_iter().step_by(every).collect()
    }
}
