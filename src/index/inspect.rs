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
    view.for_each(0, |position, label, _| {
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

#[cfg(test)]
mod tests {
    use floodmark_operators::keys::Epoch;

    use super::*;
    use crate::index::policy::Policy;
    use crate::index::testing::Memory;
    use crate::index::{Change, SourceError};

    const DIMENSION: usize = 8;

    fn source(labels: std::ops::Range<u64>) -> Memory {
        let mut source = Memory::new(DIMENSION);
        source.commit(labels.map(|label| (label, 1)));
        source
    }

    /// A source that says other numbers of one label than it did when the view was made.
    struct Changed(Memory, u64);

    impl VectorSource for Changed {
        fn epoch(&self) -> Result<Epoch, SourceError> {
            self.0.epoch()
        }
        fn dimension(&self) -> usize {
            self.0.dimension()
        }
        fn model_id(&self) -> String {
            self.0.model_id()
        }
        fn live_count(&self) -> Result<u64, SourceError> {
            self.0.live_count()
        }
        fn live(&self, each: &mut dyn FnMut(u64, &[f32])) -> Result<(), SourceError> {
            self.0.live(&mut |label, vector| {
                let mut vector = vector.to_vec();
                if label == self.1 {
                    vector.reverse();
                }
                each(label, &vector);
            })
        }
        fn changes_after(&self, epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError> {
            self.0.changes_after(epoch)
        }
        fn vectors(
            &self,
            labels: &[u64],
            each: &mut dyn FnMut(u64, &[f32]),
        ) -> Result<(), SourceError> {
            self.0.vectors(labels, each)
        }
    }

    fn view(source: &dyn VectorSource) -> (tempfile::TempDir, VectorView) {
        let dir = tempfile::tempdir().unwrap();
        let view = VectorView::open(dir.path(), source, Options::default()).unwrap();
        (dir, view)
    }

    fn problems(view: &VectorView, source: &dyn VectorSource) -> Vec<(String, String)> {
        compare(&view.snapshot(), source).unwrap().problems
    }

    #[test]
    fn a_view_that_is_the_source_has_no_problem_and_is_counted() {
        let source = source(0..100);
        let (dir, view) = view(&source);
        assert_eq!(problems(&view, &source), []);
        drop(view);
        let found = inspect(dir.path(), &source, Options::default()).unwrap();
        assert_eq!((found.vectors, found.problems), (100, vec![]));
    }

    #[test]
    fn each_vector_that_differs_is_named_with_what_is_wrong() {
        let (_dir, view) = view(&source(0..100));
        let one = |what: &str, label: u64| vec![(format!("vector {label}"), what.to_owned())];
        assert_eq!(
            problems(&view, &source(0..101)),
            one("it is in the index and not in the view", 100)
        );
        assert_eq!(
            problems(&view, &source(0..99)),
            one("it is in the view and not in the index", 99)
        );
        assert_eq!(
            problems(&view, &Changed(source(0..100), 41)),
            one("the view holds other numbers than the store", 41)
        );
    }

    #[test]
    fn of_many_that_differ_some_are_named_and_the_rest_is_counted() {
        let (_dir, view) = view(&source(0..100));
        let found = problems(&view, &source(0..150));
        assert_eq!(found.len(), NAMED + 1);
        assert_eq!(
            found[NAMED],
            ("vectors".to_owned(), "40 more differ".to_owned())
        );
    }

    #[test]
    fn a_build_that_can_not_be_read_is_a_problem_and_no_error() {
        let source = source(0..100);
        let dir = tempfile::tempdir().unwrap();
        let eager = Options {
            policy: Policy {
                changes_min: 1,
                ..Policy::default()
            },
            ..Options::default()
        };
        let mut view = VectorView::open(dir.path(), &source, eager).unwrap();
        view.follow(&source).unwrap();
        view.wait_for_build().unwrap();
        drop(view);
        let build = std::fs::read_dir(dir.path().join("builds"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        for file in std::fs::read_dir(build.path()).unwrap() {
            let path = file.unwrap().path();
            if path.file_name().unwrap() != "metadata.json" {
                let mut bytes = std::fs::read(&path).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
        }
        let found = inspect(dir.path(), &source, Options::default()).unwrap();
        assert_eq!(found.problems.len(), 1, "{found:?}");
        assert_eq!(found.problems[0].0, "build");
    }
}
