//! Is the view what the source says it is? For `verify`: nothing here mends anything, and nothing is made up for.

use std::collections::HashMap;
use std::path::Path;

use super::view::{Options, VectorView};
use super::{IndexError, Snapshot, VectorSource};

/// Vectors that are looked for by themselves.
const SAMPLE: usize = 64;
/// Differences that are named; the rest is counted.
const NAMED: usize = 10;
/// A unit vector's inner product with itself, and what rounding may take from it.
const SELF_SCORE_MIN: f32 = 1.0 - 1e-3;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Vectors that were compared.
    pub vectors: u64,
    /// What is wrong: `(which vector or build, what)`.
    pub problems: Vec<(String, String)>,
}

/// Compares the view in `dir` with the source: the current build's checksums, then label by label and number by number
/// what that build leads to, then whether a sample of vectors finds itself. Writes nothing.
///
/// # Errors
/// It could not look: those of the source.
pub fn inspect(
    dir: &Path,
    source: &dyn VectorSource,
    options: Options,
) -> Result<Inspection, IndexError> {
    let options = Options {
        read_only: true,
        ..options
    };
    let problem = |error: IndexError| match error {
        IndexError::Source(_) => Err(error),
        error => Ok(Inspection {
            vectors: 0,
            problems: vec![("build".into(), error.to_string())],
        }),
    };
    let view = match VectorView::of_current_build(dir, source, options.clone()) {
        Ok(Some(view)) => view,
        // No build: a view is made of the source whenever one is opened, and that is what answers.
        Ok(None) => match VectorView::open(dir, source, options) {
            Ok(view) => view,
            Err(error) => return problem(error),
        },
        Err(error) => return problem(error),
    };
    compare(&view.snapshot(), source)
}

/// Compares a view with the source, which must be of the same epoch.
///
/// # Errors
/// It could not look: those of the source and of FAISS.
pub fn compare(view: &Snapshot, source: &dyn VectorSource) -> Result<Inspection, IndexError> {
    let mut found = Inspection::default();
    let (mut unnamed, mut named) = (0u64, Vec::new());
    let mut differs = |label: u64, what: &str| {
        if named.len() < NAMED {
            named.push((format!("vector {label}"), what.to_owned()));
        } else {
            unnamed += 1;
        }
    };
    let mut positions = HashMap::new();
    let mut twice = Vec::new();
    view.for_each(|position, label, _| {
        if positions.insert(label, position).is_some() {
            twice.push(label);
        }
        Ok(())
    })?;
    for label in twice {
        differs(label, "it is in the view twice");
    }
    let mut ours = vec![0f32; view.dimension()];
    let mut outcome = Ok(());
    let mut sample: Vec<(u64, Vec<f32>)> = Vec::new();
    let every = (view.len() / SAMPLE).max(1);
    source
        .live(&mut |label, theirs| {
            found.vectors += 1;
            let Some(position) = positions.remove(&label) else {
                return differs(label, "it is in the index and not in the view");
            };
            if outcome.is_ok() {
                outcome = view.standing.read().vector(position, &mut ours);
            }
            if outcome.is_ok() && ours != theirs {
                return differs(label, "the view holds other numbers than the store");
            }
            if (found.vectors as usize).is_multiple_of(every) && sample.len() < SAMPLE {
                sample.push((label, theirs.to_vec()));
            }
        })
        .map_err(IndexError::Source)?;
    outcome?;
    let mut left: Vec<u64> = positions.into_keys().collect();
    left.sort_unstable();
    for label in left {
        differs(label, "it is in the view and not in the index");
    }
    // Equal vectors tie, so it is the best score that must be a vector's own; a graph or cells may miss a few.
    let mut lost = Vec::new();
    for (label, vector) in &sample {
        let best = view.search(vector, 1, None)?.first().map(|hit| hit.score);
        if best.is_none_or(|score| score < SELF_SCORE_MIN) {
            lost.push(*label);
        }
    }
    if lost.len() * 20 > sample.len() {
        for label in lost {
            differs(label, "a search for this very vector does not find it");
        }
    }
    if unnamed > 0 {
        named.push(("vectors".into(), format!("{unnamed} more differ")));
    }
    found.problems = named;
    Ok(found)
}
