//! The operators together, against what a naive computation says must be live after each epoch.
//!
//! Times differ from run to run; what is checked holds whatever the timing. A failing case prints the history that
//! replays it.

mod rig;

use std::collections::{BTreeMap, BTreeSet};

use floodmark_operators::keys::{ChunkHash, Epoch};
use proptest::prelude::*;
use rig::{
    Change, Commit, LATE, Out, Outcome, Step, Stored, chunks_of, hash, refused, run, text,
    unembeddable,
};

/// What lies where after each epoch, recomputed from the first hint on.
fn places(stored: &Stored, steps: &[Step]) -> Vec<(Epoch, BTreeMap<u8, u8>)> {
    let mut now = stored.slots.clone();
    now.retain(|_, content| stored.contents.contains(content));
    let mut all = vec![(0, now.clone())];
    let mut epoch = stored.upper.max(1);
    for step in steps {
        let Step::Epoch(hints) = step else { continue };
        for (path, content) in hints {
            match content {
                Some(content) if refused(*content) => {}
                Some(content) => {
                    now.insert(*path, *content);
                }
                None => {
                    now.remove(path);
                }
            }
        }
        all.push((epoch, now.clone()));
        epoch += 1;
    }
    all
}

fn wanted(places: &BTreeMap<u8, u8>) -> BTreeSet<ChunkHash> {
    places
        .values()
        .flat_map(|content| chunks_of(*content))
        .filter(|chunk| !unembeddable(*chunk))
        .map(hash)
        .collect()
}

/// The stretches of epochs in which a text is wanted: from, and up to where it is not.
type Runs = BTreeMap<ChunkHash, Vec<(Epoch, Option<Epoch>)>>;

fn runs(places: &[(Epoch, BTreeMap<u8, u8>)]) -> Runs {
    let mut runs = Runs::new();
    let mut before = BTreeSet::new();
    for (epoch, now) in places {
        let now = wanted(now);
        for joined in now.difference(&before) {
            runs.entry(*joined).or_default().push((*epoch, None));
        }
        for left in before.difference(&now) {
            runs.get_mut(left).unwrap().last_mut().unwrap().1 = Some(*epoch);
        }
        before = now;
    }
    runs
}

/// Checks every commit of a run against the history.
fn check(stored: &Stored, steps: &[Step], outcome: &Outcome) {
    let places = places(stored, steps);
    let runs = runs(&places);
    let history: BTreeMap<Epoch, Vec<Change>> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Epoch(hints) => Some(hints.clone()),
            _ => None,
        })
        .enumerate()
        .map(|(number, hints)| (stored.upper.max(1) + number as Epoch, hints))
        .collect();

    let mut files: BTreeMap<Epoch, Vec<Change>> = BTreeMap::new();
    let mut changes: BTreeMap<(Epoch, ChunkHash), isize> = BTreeMap::new();
    let mut vectors = stored.vectors.clone();
    let mut contents = stored.contents.clone();
    let mut upper = 0;
    for Commit {
        minted,
        upper: next,
        rows,
    } in &outcome.commits
    {
        assert!(*next > upper, "the frontier moves: {upper} to {next}");
        for (epoch, row) in rows {
            assert!(
                (upper..*next).contains(epoch),
                "{row:?} of {epoch} in the commit {upper}..{next}"
            );
            match row {
                Out::Recovered => assert_eq!(*epoch, 0),
                Out::File(path, content, usable) => {
                    assert_eq!(*usable, content.is_none_or(|content| !refused(content)));
                    files.entry(*epoch).or_default().push((*path, *content));
                }
                Out::Content(content) => {
                    contents.insert(*content);
                }
                Out::New(hash) => assert!(vectors.insert(*hash), "two vectors for {hash}"),
                Out::Live(hash, diff) => *changes.entry((*epoch, *hash)).or_default() += diff,
            }
        }
        upper = *next;
        // Nothing of a closed epoch is missing: not a file …
        for (epoch, hints) in history.range(..upper) {
            let mut committed = files.get(epoch).cloned().unwrap_or_default();
            let mut expected = hints.clone();
            committed.sort();
            expected.sort();
            assert_eq!(committed, expected, "the files of epoch {epoch}");
        }
        // … and not a text, unless it was taken back before it was embedded.
        let mut expected = BTreeMap::new();
        for (hash, runs) in &runs {
            for (from, to) in runs.iter().filter(|(from, _)| *from < upper) {
                let came = changes.contains_key(&(*from, *hash));
                let taken_back = to.is_some_and(|to| to < *minted);
                assert!(
                    came || taken_back,
                    "{hash}, wanted from {from}, is missing at {upper}"
                );
                if came {
                    expected.insert((*from, *hash), 1);
                    expected.extend(to.filter(|to| *to < upper).map(|to| ((to, *hash), -1)));
                }
            }
        }
        changes.retain(|_, diff| *diff != 0);
        assert_eq!(changes, expected, "what joined and left before {upper}");
        let mut live: BTreeMap<ChunkHash, isize> = BTreeMap::new();
        for ((_, hash), diff) in &changes {
            *live.entry(*hash).or_default() += diff;
        }
        for (hash, copies) in live {
            assert!(
                copies == 0 || vectors.contains(&hash),
                "{hash} is live without a vector"
            );
        }
        // A content that lies somewhere is described.
        let at = places.iter().rev().find(|(epoch, _)| *epoch < upper);
        for content in at.into_iter().flat_map(|(_, places)| places.values()) {
            assert!(
                contents.contains(content),
                "content {content} lies somewhere and nothing is known of it"
            );
        }
    }
    assert_eq!(
        Some(upper),
        history.keys().last().map(|last| last + 1).or(Some(1)),
        "all is committed"
    );
    let mut embedded = outcome.embedded.clone();
    embedded.sort();
    for pair in embedded.windows(2) {
        assert_ne!(pair[0], pair[1], "embedded twice");
    }
    for text in embedded {
        let hash = ChunkHash::of(&[text.as_bytes()]);
        assert!(
            !stored.vectors.contains(&hash),
            "{text} had a vector in the store"
        );
    }
}

/// What a restart finds after the first `count` commits.
fn stored(before: &Stored, commits: &[Commit]) -> Stored {
    let mut stored = before.clone();
    let mut contents = before.contents.clone();
    let mut slots: BTreeMap<u8, u8> = before.slots.clone();
    slots.retain(|_, content| before.contents.contains(content));
    let mut files: BTreeMap<Epoch, Vec<(u8, Option<u8>)>> = BTreeMap::new();
    for Commit { upper, rows, .. } in commits {
        stored.upper = *upper;
        for (epoch, row) in rows {
            match row {
                Out::File(path, content, true) => {
                    files.entry(*epoch).or_default().push((*path, *content))
                }
                Out::Content(content) => {
                    contents.insert(*content);
                }
                Out::New(hash) => {
                    stored.vectors.insert(*hash);
                }
                _ => {}
            }
        }
    }
    for (path, content) in files.into_values().flatten() {
        match content {
            Some(content) => slots.insert(path, content),
            None => slots.remove(&path),
        };
    }
    stored.slots = slots;
    // Only what is embedded whole is known; the rest is read again.
    let whole = |content: &u8| {
        chunks_of(*content)
            .into_iter()
            .all(|chunk| stored.vectors.contains(&hash(chunk)))
    };
    stored.contents = contents.into_iter().filter(whole).collect();
    stored
}

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let content = prop_oneof![4 => (0u8..26).prop_map(Some), 1 => Just(None)];
    let hints = prop::collection::btree_map(0u8..6, content, 1..4)
        .prop_map(|hints| Step::Epoch(hints.into_iter().collect()));
    let step =
        prop_oneof![6 => hints, 2 => (1usize..3).prop_map(Step::Permit), 1 => Just(Step::Drain)];
    prop::collection::vec(step, 1..length)
}

/// Histories to try: `CASES` raises the number.
fn cases() -> ProptestConfig {
    let cases = std::env::var("CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(64);
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_commit_is_what_a_naive_computation_says(workers in 1usize..4, steps in steps(24)) {
        let stored = Stored::default();
        check(&stored, &steps, &run(workers, &stored, &steps));
    }

    /// A second run, with another number of workers, goes on from any commit of the first: it embeds nothing that the
    /// first made durable, and ends where one run would have ended.
    #[test]
    fn any_commit_is_a_place_to_go_on_from(
        workers in (1usize..4, 1usize..4),
        steps in steps(16),
        cut in any::<prop::sample::Index>(),
    ) {
        let nothing = Stored::default();
        let first = run(workers.0, &nothing, &steps);
        let kept = cut.index(first.commits.len()) + 1;
        let stored = stored(&nothing, &first.commits[..kept]);
        // What was not durable is heard of again, and what is not known whole is looked at again.
        let again: Vec<Change> = stored
            .slots
            .iter()
            .filter(|(_, content)| !stored.contents.contains(*content))
            .map(|(path, content)| (*path, Some(*content)))
            .collect();
        let mut epoch = 0;
        let lost = steps.iter().filter(|step| {
            epoch += u64::from(matches!(step, Step::Epoch(_)));
            epoch >= stored.upper.max(1)
        });
        let more: Vec<Step> = (!again.is_empty()).then_some(Step::Epoch(again)).into_iter().chain(lost.cloned()).collect();
        let second = run(workers.1, &stored, &more);
        check(&stored, &more, &second);
        let ends = |stored: &Stored, steps: &[Step]| wanted(&places(stored, steps).pop().unwrap().1);
        prop_assert_eq!(ends(&stored, &more), ends(&nothing, &steps));
    }
}

/// The texts of the contents that lie somewhere in the steps.
fn texts(contents: &[u8]) -> Vec<String> {
    let chunks: BTreeSet<u8> = contents
        .iter()
        .flat_map(|content| chunks_of(*content))
        .collect();
    let mut texts: Vec<String> = chunks.into_iter().map(text).collect();
    texts.sort();
    texts
}

#[test]
fn what_is_taken_back_before_it_is_embedded_never_is() {
    // Two batches run and two wait at the threads, each of one text or a few; the rest can still be taken back.
    let contents: Vec<u8> = (0..6).map(|path| path * 4 + 3).collect();
    let filling: Vec<Change> = (0..6)
        .map(|path| (path, Some(contents[usize::from(path)])))
        .collect();
    let gone: Vec<Change> = (0..6).map(|path| (path, None)).collect();
    let (all, under_way) = (texts(&contents).len(), 7);
    assert!(all > under_way);
    let steps = [
        Step::Epoch(filling),
        Step::AtLeast(all),
        Step::Epoch(gone),
        Step::AtMost(under_way),
        Step::Epoch(vec![(0, Some(1))]),
    ];
    let outcome = run(1, &Stored::default(), &steps);
    check(&Stored::default(), &steps, &outcome);
    let asked = outcome.embedded.len();
    assert!(
        asked <= under_way + chunks_of(1).len(),
        "{asked} of {all}: {:?}",
        outcome.embedded
    );
}

#[test]
fn a_content_that_comes_back_is_neither_parsed_nor_embedded_again() {
    let steps = [
        Step::Epoch(vec![(0, Some(3)), (2, Some(7))]),
        Step::Drain,
        Step::Epoch(vec![(1, Some(3))]),
        Step::Epoch(vec![(0, None), (1, None)]),
        Step::Drain,
        Step::Epoch(vec![(4, Some(3)), (2, Some(3))]),
        Step::Drain,
        Step::Epoch(vec![(5, Some(7))]),
    ];
    for workers in 1..=3 {
        let outcome = run(workers, &Stored::default(), &steps);
        check(&Stored::default(), &steps, &outcome);
        assert_eq!(outcome.parsed, BTreeMap::from([(3, 1), (7, 1)]));
        let mut embedded = outcome.embedded;
        embedded.sort();
        assert_eq!(embedded, texts(&[3, 7]));
    }
}

#[test]
fn a_content_may_be_found_again_while_it_is_parsed_and_chunked() {
    for round in 0..90 {
        let content = [3, 10][round % 2]; // a good one, and one that no chunker can use
        let steps = [Step::Epoch(vec![
            (0, Some(content)),
            (1, Some(content)),
            (LATE, Some(content)),
        ])];
        check(
            &Stored::default(),
            &steps,
            &run(round % 3 + 1, &Stored::default(), &steps),
        );
    }
}

#[test]
fn an_epoch_that_waits_for_the_model_is_not_committed() {
    // Nothing is permitted: epochs 1 and 2 must wait, whatever else is through.
    let steps = [
        Step::Epoch(vec![(0, Some(1))]),
        Step::Epoch(vec![(1, Some(12))]), // no chunks at all: ready long before
        Step::Epoch(vec![(2, None)]),
        Step::Permit(1),
        Step::Drain,
    ];
    for workers in 1..=3 {
        let outcome = run(workers, &Stored::default(), &steps);
        check(&Stored::default(), &steps, &outcome);
        let first = outcome
            .commits
            .iter()
            .find(|commit| commit.upper > 1)
            .unwrap();
        let live = first
            .rows
            .iter()
            .filter(|(epoch, row)| *epoch == 1 && matches!(row, Out::Live(_, 1)));
        assert_eq!(live.count(), chunks_of(1).len());
    }
}
