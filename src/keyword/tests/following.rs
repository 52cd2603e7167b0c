//! The view follows its source: through any history, past failures, beside readers.

use std::time::{Duration, Instant};

use super::*;
use crate::keyword::view::FEW;

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn after_any_history_the_answers_are_those_of_the_live_texts(seed in any::<u64>()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut source, mut random, mut next) = (Memory::default(), Random(seed), 0);
        let mut view = open(dir.path(), &source);
        let mut kept = Vec::new();
        for _ in 0..12 {
            for _ in 0..=random.below(3) {
                step(&mut source, &mut random, &mut next, 9);
            }
            prop_assert_eq!(view.follow(&source).unwrap(), source.epoch);
            kept.push((view.snapshot(), bits(&view.snapshot())));
            if random.below(4) == 0 {
                drop(view);
                view = open(dir.path(), &source);
            }
        }
        assert_exact(&view.snapshot(), &source);
        // What was handed out answers as it did.
        for (snapshot, answers) in &kept {
            prop_assert_eq!(&bits(snapshot), answers);
        }
        // No trace of the history in any bit of any score.
        let fresh = tempfile::tempdir().unwrap();
        prop_assert_eq!(bits(&open(fresh.path(), &source).snapshot()), bits(&view.snapshot()));
        drop(view);
        let found = inspect(dir.path(), &source, options()).unwrap();
        prop_assert_eq!(found.problems, Vec::new());
    }
}

#[test]
fn a_source_that_fails_leaves_the_last_answers_and_half_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    source.commit((1..=20).map(|label| (label, 1)));
    let mut view = open(dir.path(), &source);
    let before = bits(&view.snapshot());
    source.commit((21..=40).map(|label| (label, 1)));
    source.missing.insert(33);
    let error = view.follow(&source).unwrap_err();
    assert!(
        matches!(error, KeywordError::MissingText { label: 33 }),
        "{error}"
    );
    assert_eq!(bits(&view.snapshot()), before);
    source.missing.clear();
    view.follow(&source).unwrap();
    assert_exact(&view.snapshot(), &source);
    assert_whole_on_the_disk(view, dir.path(), &source);
}

/// What the view leaves behind leads to what the source holds.
fn assert_whole_on_the_disk(view: KeywordView, dir: &Path, source: &Memory) {
    drop(view);
    let found = inspect(dir, source, options()).unwrap();
    assert_eq!(found.problems, Vec::new());
}

#[test]
fn a_commit_of_few_texts_and_one_of_many_are_found_alike_and_lost_alike() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    let mut view = open(dir.path(), &source);
    // As many as become a segment on the spot, one more, and one; in each commit some of the one before leave.
    let mut first = 1u64;
    for texts in [FEW, FEW + 1, 1, FEW, 2] {
        let (texts, leaving) = (texts as u64, first.saturating_sub(3).max(1)..first);
        source.commit((first..first + texts).map(|label| (label, 1)));
        first += texts;
        view.follow(&source).unwrap();
        assert_exact(&view.snapshot(), &source);
        source.commit(leaving.map(|label| (label, -1)).chain([(first, 1)]));
        first += 1;
        view.follow(&source).unwrap();
        assert_exact(&view.snapshot(), &source);
        assert_eq!(
            view.status().live,
            source.live_at(source.epoch).len() as u64
        );
    }
    view.save().unwrap();
    assert_whole_on_the_disk(view, dir.path(), &source);
}

#[test]
fn the_first_that_leaves_after_an_opening_stays_away_when_segments_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    let mut view = open(dir.path(), &source);
    view.merge_nothing();
    // Enough segments to be merged, of which the last commit has changed one in the middle.
    for first in (1..=28).step_by(3) {
        source.commit((first..first + 3).map(|label| (label, 1)));
        view.follow(&source).unwrap();
    }
    source.commit([(13, -1)]);
    view.follow(&source).unwrap();
    view.save().unwrap();
    drop(view);
    let mut view = open(dir.path(), &source);
    let mut next = 31;
    source.commit([(14, -1), (next, 1)]);
    view.follow(&source).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while view.status().segments > 5 {
        assert!(Instant::now() < deadline, "nothing is merged");
        next += 1;
        source.commit([(next, 1)]);
        view.follow(&source).unwrap();
    }
    assert_exact(&view.snapshot(), &source);
    view.save().unwrap();
    assert_whole_on_the_disk(view, dir.path(), &source);
}

#[test]
fn changes_that_are_no_longer_known_are_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    source.commit((1..=20).map(|label| (label, 1)));
    let mut view = open(dir.path(), &source);
    source.commit([(3, -1)]);
    source.commit([(30, 1)]);
    source.pruned_before = 3;
    view.follow(&source).unwrap();
    assert_exact(&view.snapshot(), &source);
}

#[test]
fn queries_beside_a_writer_see_one_epoch_each() {
    let dir = tempfile::tempdir().unwrap();
    // In every epoch one text with the word leaves and one arrives.
    let mut source = Memory {
        others: (1..=200).map(|n| (n, format!("steady word{n}"))).collect(),
        ..Memory::default()
    };
    source.commit([(1, 1)]);
    let mut view = open(dir.path(), &source);
    let (reader, done) = (view.reader(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let queries: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0;
                    while !done.load(Ordering::Relaxed) || seen == 0 {
                        let snapshot = reader.snapshot();
                        assert_eq!(labels(&snapshot, "steady"), [snapshot.epoch()]);
                        seen += 1;
                    }
                })
            })
            .collect();
        let ended = Ended(&done);
        for n in 2..=200 {
            source.commit([(n, 1), (n - 1, -1)]);
            view.follow(&source).unwrap();
        }
        drop(ended);
        for query in queries {
            query.join().unwrap();
        }
    });
}

/// Ends the queries, also when their writer panics.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `cargo test --lib keyword::tests::measure_ -- --ignored --nocapture`. The crate's own code is not optimised there, tantivy is.
#[test]
#[ignore = "a measurement"]
fn measure_commits_of_one_changed_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    let texts: u64 = 8_000;
    source.commit((1..=texts).map(|label| (label, 1)));
    let mut view = KeywordView::open(dir.path(), &source, Options::default()).unwrap();
    view.wait_for_save();
    // All threads', in hundredths of a second.
    let processor = || -> u64 {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let after_name = &stat[stat.rfind(')').unwrap() + 2..];
        let field = |at: usize| after_name.split(' ').nth(at).unwrap().parse::<u64>();
        field(11).unwrap() + field(12).unwrap()
    };
    let before = processor();
    let mut took = Vec::new();
    for round in 0..400 {
        source.commit([(round + 1, -1), (texts + 1 + round, 1)]);
        let started = std::time::Instant::now();
        view.follow(&source).unwrap();
        took.push(started.elapsed());
    }
    took.sort_unstable();
    let status = view.status();
    let processor_ms = (processor() - before) as f64 * 10.0 / took.len() as f64;
    println!(
        "processor {processor_ms:.1} ms a commit; p50 {:?}, p90 {:?}, p99 {:?}, most {:?}; {} segments, {} tombstones",
        took[200], took[360], took[396], took[399], status.segments, status.tombstones
    );
}
