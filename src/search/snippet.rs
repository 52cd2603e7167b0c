//! What to show of a chunk: the stretch with the most of the words that were looked for, and where they stand in it.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::answers::{Mark, Snippet};

/// Finds the parts of a text that a query matches: bytes, ascending, apart from each other.
pub type Marks<'a> = &'a dyn Fn(&str) -> Vec<Range<usize>>;

/// Length of a snippet in characters: two lines of a terminal.
pub const CHARACTERS: usize = 150;
/// Characters of what comes before the first word, so that it is read in its sentence.
const BEFORE: usize = 30;

/// The best stretch of `text` of about `characters`, on one line.
pub fn snippet(text: &str, marks: Marks<'_>, characters: usize) -> Snippet {
    let line = one_line(text);
    let mut found = marks(&line);
    found.retain(|range| line.get(range.clone()).is_some_and(|word| !word.is_empty()));
    let starts: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
    let number = |byte: usize| starts.partition_point(|start| *start < byte);
    let mut window = stretch(&line, &starts, 0, characters);
    let mut best = (0, 0);
    for first in &found {
        let from = number(first.start).saturating_sub(BEFORE);
        let candidate = stretch(&line, &starts, from, characters);
        let inside = found
            .iter()
            .filter(|range| candidate.start <= range.start && range.end <= candidate.end);
        let word = |range: &Range<usize>| line[range.clone()].to_lowercase();
        let distinct: BTreeSet<String> = inside.clone().map(word).collect();
        let worth = (distinct.len(), inside.count());
        if worth > best {
            (best, window) = (worth, candidate);
        }
    }
    let head = if window.start > 0 { "…" } else { "" };
    let tail = if window.end < line.len() { "…" } else { "" };
    let mut marks: Vec<Mark> = Vec::new();
    for range in &found {
        if range.start < window.start || range.end > window.end {
            continue;
        }
        let [start, end] = [range.start, range.end].map(|at| at - window.start + head.len());
        match marks.last_mut() {
            // What touches is shown as one.
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => marks.push(Mark { start, end }),
        }
    }
    Snippet {
        text: format!("{head}{}{tail}", &line[window]),
        marks,
    }
}

/// White space becomes one space; what a terminal would take for a command is shown instead.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(
            word.chars()
                .map(|c| if c.is_control() { '\u{fffd}' } else { c }),
        );
    }
    line
}

/// So many characters from character `from` on, moved to where words begin and end; as far left as fills it.
fn stretch(line: &str, starts: &[usize], from: usize, characters: usize) -> Range<usize> {
    let byte = |number: usize| starts.get(number).copied().unwrap_or(line.len());
    let from = from.min(starts.len().saturating_sub(characters));
    let (mut start, mut end) = (byte(from), byte(from + characters));
    // A word that is cut is left out, unless the whole is one.
    if from > 0
        && !line[..start].ends_with(' ')
        && let Some(space) = line[start..end].find(' ').filter(|space| *space < BEFORE)
    {
        start += space + 1;
    }
    if end < line.len()
        && !line[end..].starts_with(' ')
        && let Some(space) = line[start..end]
            .rfind(' ')
            .filter(|space| end - start - space < BEFORE)
    {
        end = start + space;
    }
    let trimmed = line[start..end].trim_end();
    start..start + trimmed.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The words of letters and digits that the query has as well, whatever the case.
    fn marks(query: &str) -> impl Fn(&str) -> Vec<Range<usize>> {
        let asked = words(query).into_iter().map(|(_, word)| word);
        let asked: BTreeSet<String> = asked.collect();
        move |text| {
            let found = words(text).into_iter();
            let found = found.filter(|(_, word)| asked.contains(word));
            found.map(|(range, _)| range).collect()
        }
    }

    fn words(text: &str) -> Vec<(Range<usize>, String)> {
        let mut words = Vec::new();
        let mut start = None;
        for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
            match (c.is_alphanumeric(), start) {
                (true, None) => start = Some(at),
                (false, Some(from)) => {
                    words.push((from..at, text[from..at].to_lowercase()));
                    start = None;
                }
                _ => {}
            }
        }
        words
    }

    #[track_caller]
    fn check(text: &str, query: &str, characters: usize, expect: &str) {
        let snippet = snippet(text, &marks(query), characters);
        let mut shown = snippet.text;
        for mark in snippet.marks.iter().rev() {
            shown.insert(mark.end, ']');
            shown.insert(mark.start, '[');
        }
        assert_eq!(shown, expect);
    }

    #[test]
    fn it_shows_the_words_that_were_looked_for() {
        check(
            "The tide\n\n came  in.",
            "tides tide",
            80,
            "The [tide] came in.",
        );
        check("no word of it", "tide", 80, "no word of it");
        check("no word of it", "tide", 8, "no word…");
        let long = format!(
            "{} high water and low water {}",
            "word ".repeat(80),
            "more ".repeat(80)
        );
        check(
            &long,
            "low WATER high",
            60,
            "…word word word word word word [high] [water] and [low] [water] more…",
        );
        check("tide\x1b[2J", "tide", 80, "[tide]\u{fffd}[2J");
        check("", "tide", 80, "");
        check("漢字漢字漢字", "x", 4, "漢字漢字…");
    }

    proptest! {
        #[test]
        fn every_mark_is_a_word_that_was_looked_for(
            text in "[a-cé漢 \n\t\u{7}.]{0,300}", query in "[a-c漢 ]{0,8}", characters in 1usize..80,
        ) {
            let snippet = snippet(&text, &marks(&query), characters);
            let asked: BTreeSet<String> = words(&query).into_iter().map(|(_, word)| word).collect();
            prop_assert!(snippet.text.chars().count() <= characters + 2);
            prop_assert!(!snippet.text.contains(char::is_control));
            let mut last = 0;
            for mark in &snippet.marks {
                prop_assert!(mark.start >= last && mark.end > mark.start);
                last = mark.end;
                let marked = snippet.text.get(mark.start..mark.end).expect("whole characters");
                prop_assert!(asked.contains(&marked.to_lowercase()), "{marked}");
            }
        }
    }
}
