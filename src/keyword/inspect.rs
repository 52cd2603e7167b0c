//! Is the view what the source says it is? For `verify`: nothing here mends anything, and nothing is made up for.

use std::collections::HashMap;
use std::path::Path;

use super::schema::print;
use super::view::{KeywordView, Options};
use super::{Inspection, KeywordError, Snapshot, Syntax, TextSource};

/// Texts that are looked for by their own words.
const SAMPLE: usize = 64;
/// Differences that are named; the rest is counted.
const NAMED: usize = 10;

/// Compares the view in `dir` with the source: the checksums of what was saved, then text by text what that leads to, then
/// whether a sample of texts is found by its own words. Writes nothing.
///
/// # Errors
/// It could not look: those of the source.
pub fn inspect(
    dir: &Path,
    source: &dyn TextSource,
    options: Options,
) -> Result<Inspection, KeywordError> {
    let options = Options {
        read_only: true,
        ..options
    };
    let view = match KeywordView::resume(dir, source, options.clone()) {
        Ok(Some(view)) => view,
        // Nothing saved: a view is made of the source whenever one is opened, and that is what answers.
        Ok(None) => KeywordView::open(dir, source, options)?,
        Err(error @ KeywordError::Source(_)) => return Err(error),
        Err(error) => {
            return Ok(Inspection {
                vectors: 0,
                problems: vec![("view".into(), error.to_string())],
            });
        }
    };
    compare(&view.snapshot(), source)
}

/// Compares a view with the source, which must be of the same epoch.
///
/// # Errors
/// It could not look: those of the source and of tantivy.
pub fn compare(view: &Snapshot, source: &dyn TextSource) -> Result<Inspection, KeywordError> {
    let mut found = Inspection::default();
    let (mut unnamed, mut named) = (0u64, Vec::new());
    let mut differs = |label: u64, what: &str| {
        if named.len() < NAMED {
            named.push((format!("text {label}"), what.to_owned()));
        } else {
            unnamed += 1;
        }
    };
    let (mut prints, mut twice) = (HashMap::new(), Vec::new());
    for segment in &*view.segments {
        segment.for_each(|label, _, print| {
            if prints.insert(label, print).is_some() {
                twice.push(label);
            }
        });
    }
    for label in twice {
        differs(label, "it is in the view twice");
    }
    let every = (view.len() / SAMPLE).max(1) as u64;
    let mut sample: Vec<(u64, String)> = Vec::new();
    source
        .live(&mut |label, text| {
            found.vectors += 1;
            match prints.remove(&label) {
                None => differs(label, "it is in the index and not in the view"),
                Some(held) if held != print(text) => {
                    differs(label, "the view holds another text than the store");
                }
                Some(_) if found.vectors.is_multiple_of(every) && sample.len() < SAMPLE => {
                    sample.push((label, text.to_owned()));
                }
                Some(_) => {}
            }
        })
        .map_err(KeywordError::Source)?;
    let mut left: Vec<u64> = prints.into_keys().collect();
    left.sort_unstable();
    for label in left {
        differs(label, "it is in the view and not in the index");
    }
    for (label, text) in &sample {
        let only = |other: u64| other == *label;
        let has_words = !view.marks(text, text).is_empty();
        if has_words && view.search(text, 1, Some(&only), Syntax::Words)?.is_empty() {
            differs(*label, "a search for its own words does not find it");
        }
    }
    if unnamed > 0 {
        named.push(("texts".into(), format!("{unnamed} more differ")));
    }
    found.problems = named;
    Ok(found)
}
