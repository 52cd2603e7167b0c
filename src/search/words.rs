//! How texts are cut into words, to mark those that a query looks for.

use std::ops::Range;

use tantivy::tokenizer::{
    Language, LowerCaser, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
};

/// The words of a text that a query has as well.
pub fn marks(query: &str, text: &str) -> Vec<Range<usize>> {
    let asked: std::collections::HashSet<String> =
        words(query).into_iter().map(|(_, word)| word).collect();
    let found = words(text).into_iter();
    let found = found.filter(|(_, word)| asked.contains(word));
    found.map(|(range, _)| range).collect()
}

/// Where the words of a text stand, each by its stem; none of those that every text has.
fn words(text: &str) -> Vec<(Range<usize>, String)> {
    let stop = StopWordFilter::new(Language::English);
    let analyser = TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser);
    let mut analyser = match stop {
        Some(stop) => analyser
            .filter(stop)
            .filter(Stemmer::new(Language::English))
            .build(),
        None => analyser.filter(Stemmer::new(Language::English)).build(),
    };
    let mut words = Vec::new();
    let mut stream = analyser.token_stream(text);
    while let Some(token) = stream.next() {
        words.push((token.offset_from..token.offset_to, token.text.clone()));
    }
    words
}
