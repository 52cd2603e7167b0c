//! BM25 after Robertson & Zaragoza 2009, with the statistics of the live texts alone.
//!
//! tantivy's own scores count texts that are deleted and not merged away yet, round lengths to a byte, and fix the
//! parameters. Here a score is the same after any history that led to the same texts.

/// How soon another occurrence of a word adds nothing; as usual for passages.
const K1: f32 = 0.9;
/// How much a long text is discounted.
const B: f32 = 0.4;

/// What scores are made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bm25 {
    texts: f32,
    /// `K1 · (1 − B)`
    base: f32,
    /// `K1 · B ÷ mean length`
    slope: f32,
}

impl Bm25 {
    /// Of so many texts with so many words in all.
    pub(super) fn new(texts: u64, words: u64) -> Self {
        let mean = (words.max(1) as f64 / texts.max(1) as f64) as f32;
        Self {
            texts: texts as f32,
            base: K1 * (1.0 - B),
            slope: K1 * B / mean,
        }
    }

    /// What a word is worth that `having` of the texts have.
    pub(super) fn idf(&self, having: u64) -> f32 {
        let having = (having as f32).min(self.texts);
        (1.0 + (self.texts - having + 0.5) / (having + 0.5)).ln()
    }

    /// What a word of that worth adds to the score of a text of `words` words in which it stands `times` times.
    pub(super) fn gain(&self, idf: f32, times: u32, words: u64) -> f32 {
        let times = times as f32;
        idf * times / (times + self.base + self.slope * words as f32)
    }

    /// What a word of that worth adds to a text of mean length in which it stands once.
    pub(super) fn full(&self, idf: f32) -> f32 {
        idf / (1.0 + K1)
    }
}
