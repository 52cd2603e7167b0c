//! The view against a naive model: whatever happens to it, it answers what the source's history says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::policy::{Kind, Policy};
use super::testing::{Memory, Random, clustered};
use super::view::Options;
use super::*;

const D: usize = 24;

/// Builds at the least excuse, of the kind that the sizes say.
fn eager(flat_max: u64, hnsw_max: u64) -> Options {
    let policy = Policy {
        threshold: 0.2,
        changes_min: 1,
        flat_max,
        hnsw_max,
    };
    Options {
        policy,
        build_threads: 1,
        ..Options::default()
    }
}

fn flat() -> Options {
    eager(u64::MAX, u64::MAX)
}

fn never() -> Options {
    Options {
        policy: Policy {
            changes_min: u64::MAX,
            ..Policy::default()
        },
        ..Options::default()
    }
}

fn query(seed: u64) -> Vec<f32> {
    clustered(1 << 50 | seed, D, 50)
}

/// The snapshot answers exactly what the history says of its epoch.
#[track_caller]
fn check(snapshot: &Snapshot, source: &Memory) {
    let live = source.live_at(snapshot.epoch());
    assert_eq!(snapshot.len(), live.len());
    for (seed, k) in [(1, 1), (2, 10), (3, live.len() + 5)] {
        let expected = source.nearest(snapshot.epoch(), &query(seed), k, &|_| true);
        assert_eq!(
            snapshot.search(&query(seed), k, None).unwrap(),
            expected,
            "k = {k}"
        );
    }
    let odd = |label: u64| label % 5 == 1;
    let expected = source.nearest(snapshot.epoch(), &query(4), 7, &odd);
    assert_eq!(
        snapshot.search(&query(4), 7, Some(&odd)).unwrap(),
        expected,
        "filtered"
    );
    let everything = source.nearest(snapshot.epoch(), &query(5), live.len(), &|_| true);
    let labels: Vec<u64> = everything.iter().map(|hit| hit.label).collect();
    let scores: Vec<Option<f32>> = everything.iter().map(|hit| Some(hit.score)).collect();
    assert_eq!(snapshot.scores(&query(5), &labels).unwrap(), scores);
    assert_eq!(snapshot.scores(&query(5), &[u64::MAX]).unwrap(), [None]);
}

/// The share of the true neighbours that the snapshot finds.
fn recall(snapshot: &Snapshot, source: &Memory) -> f64 {
    let (mut found, mut asked) = (0, 0);
    for seed in 0..60 {
        let truth: BTreeSet<u64> = source
            .nearest(snapshot.epoch(), &query(seed), 10, &|_| true)
            .iter()
            .map(|h| h.label)
            .collect();
        let hits = snapshot.search(&query(seed), 10, None).unwrap();
        assert_eq!(hits.len(), truth.len());
        for hit in &hits {
            let score = snapshot::inner_product(&query(seed), &source.vector(hit.label));
            assert_eq!(hit.score, score, "a score depends on the vectors alone");
        }
        found += hits.iter().filter(|h| truth.contains(&h.label)).count();
        asked += truth.len();
    }
    found as f64 / asked as f64
}

fn settled(view: &mut VectorView, source: &Memory) {
    while view.status().building {
        view.wait_for_build().unwrap();
        view.follow(source).unwrap();
    }
}

fn additions(labels: std::ops::Range<u64>) -> impl Iterator<Item = (u64, i8)> {
    labels.map(|label| (label, 1))
}

#[test]
fn an_empty_view_answers_nothing_and_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &Memory::new(D), flat()).unwrap();
    assert_eq!(view.snapshot().search(&query(0), 10, None).unwrap(), []);
    assert_eq!(view.follow(&Memory::new(D)).unwrap(), 0);
    assert!(!view.status().building && view.snapshot().is_empty());
}

#[test]
fn bad_queries_are_errors_and_odd_ones_are_not() {
    let mut source = Memory::new(D);
    source.commit(additions(0..30));
    let dir = tempfile::tempdir().unwrap();
    let snapshot = VectorView::open(dir.path(), &source, never())
        .unwrap()
        .snapshot();
    let mut poisoned = query(0);
    poisoned[3] = f32::NAN;
    let error = snapshot.search(&poisoned, 5, None).unwrap_err();
    assert!(matches!(error, IndexError::NotFinite) && error.kind() == ErrorKind::FixInput);
    for wrong in [&query(0)[1..], &[], &[query(0), query(1)].concat()[..]] {
        assert!(matches!(
            snapshot.search(wrong, 5, None),
            Err(IndexError::Dimension { expected: D, .. })
        ));
    }
    assert_eq!(snapshot.search(&query(0), 0, None).unwrap(), []);
    assert_eq!(
        snapshot.search(&query(0), usize::MAX, None).unwrap().len(),
        30
    );
    assert_eq!(snapshot.search(&query(0), 5, Some(&|_| false)).unwrap(), []);
}

#[test]
fn equal_scores_are_ordered_by_label_also_where_they_are_cut() {
    let mut source = Memory::new(D);
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, never()).unwrap();
    // Forty labels a vector, more than are fetched to spare, and the greatest come first: FAISS keeps the first.
    for block in (0..40).rev() {
        source.commit((block * 10..block * 10 + 10).map(|i| (Memory::EQUALS + i, 1)));
        view.follow(&source).unwrap();
    }
    for k in 1..20 {
        let hits = view.snapshot().search(&query(9), k, None).unwrap();
        assert_eq!(hits, source.nearest(source.epoch, &query(9), k, &|_| true));
    }
}

#[test]
fn a_snapshot_stays_as_it_was_taken() {
    for options in [flat(), eager(10, u64::MAX), eager(10, 20)] {
        let mut source = Memory::new(D);
        source.commit(additions(0..300));
        let dir = tempfile::tempdir().unwrap();
        let mut view = VectorView::open(dir.path(), &source, options).unwrap();
        settled(&mut view, &source);
        let before = view.snapshot();
        source.commit(additions(300..500).chain((0..100).map(|label| (label, -1))));
        view.follow(&source).unwrap();
        let after = view.snapshot();
        settled(&mut view, &source);
        source.commit((100..450).map(|label| (label, -1)));
        view.follow(&source).unwrap();
        settled(&mut view, &source);
        for (snapshot, epoch) in [(&before, 1), (&after, 2), (&view.snapshot(), 3)] {
            assert_eq!(snapshot.epoch(), epoch);
            let all = snapshot.search(&query(0), 1_000, None).unwrap();
            assert_eq!(all, source.nearest(epoch, &query(0), 1_000, &|_| true));
        }
    }
}

#[test]
fn following_is_idempotent_and_reads_only_the_net_of_an_epoch() {
    let mut source = Memory::new(D);
    source.commit([(1, 1), (2, 1), (3, 1)]);
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, never()).unwrap();
    source.commit([(2, -1), (2, 1), (3, -1), (4, 1), (4, -1), (5, 1)]);
    source.commit([(1, -1)]);
    source.commit([(1, 1), (5, -1)]);
    for _ in 0..3 {
        assert_eq!(view.follow(&source).unwrap(), 4);
        check(&view.snapshot(), &source);
    }
    // A label that is said to be live twice is live once.
    source.history.push(Change {
        epoch: 5,
        label: 1,
        op: 1,
    });
    source.epoch = 5;
    view.follow(&source).unwrap();
    assert_eq!(view.snapshot().len(), 2);
}

#[test]
fn the_threshold_decides_and_the_previous_build_is_kept() {
    let mut source = Memory::new(D);
    source.commit(additions(0..100));
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, flat()).unwrap();
    view.wait_for_build().unwrap();
    assert_eq!(view.status().last_build.unwrap().epoch, 1);

    source.commit(additions(100..110).chain([
        (0, -1),
        (1, -1),
        (2, -1),
        (3, -1),
        (4, -1),
        (5, -1),
        (6, -1),
        (7, -1),
        (8, -1),
    ]));
    view.follow(&source).unwrap();
    let status = view.status();
    assert_eq!(
        (
            status.building,
            status.churn,
            status.tombstones,
            status.live
        ),
        (false, 0.19, 9, 101)
    );
    check(&view.snapshot(), &source);

    source.commit([(9, -1)]);
    view.follow(&source).unwrap();
    assert!(view.status().building);
    view.wait_for_build().unwrap();
    let status = view.status();
    assert_eq!(
        (
            status.churn,
            status.tombstones,
            status.last_build.clone().unwrap().epoch
        ),
        (0.0, 0, 3)
    );
    check(&view.snapshot(), &source);

    assert_eq!(
        fs::read_to_string(dir.path().join("current")).unwrap(),
        "3-2"
    );
    assert!(dir.path().join("builds/1-1/metadata.json").is_file());
    assert_eq!(view.needs_changes_after(), 1);
    source.commit(additions(200..300));
    view.follow(&source).unwrap();
    view.wait_for_build().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir.path().join("builds"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["3-2", "4-3"]);
}

/// A process that dies after each build and before it has tidied up leaves them all.
#[test]
fn builds_that_a_killed_process_left_are_removed_at_the_next_opening() {
    let mut source = Memory::new(D);
    source.commit(additions(0..100));
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, flat()).unwrap();
    view.wait_for_build().unwrap();
    drop(view);
    let builds = dir.path().join("builds");
    for number in 2..5 {
        let left = builds.join(format!("1-{number}"));
        fs::create_dir(&left).unwrap();
        copy(&builds.join("1-1"), &left);
    }
    let view = VectorView::open(dir.path(), &source, flat()).unwrap();
    check(&view.snapshot(), &source);
    let mut left: Vec<_> = fs::read_dir(&builds)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["1-1", "1-4"], "the current one, and the newest");
}

#[test]
fn what_happens_during_a_build_is_not_lost() {
    for options in [flat(), eager(10, u64::MAX), eager(10, 20)] {
        let mut source = Memory::new(D);
        source.commit(additions(0..2_000));
        let dir = tempfile::tempdir().unwrap();
        let mut view = VectorView::open(dir.path(), &source, options).unwrap();
        assert!(view.status().building);
        // `follow` would adopt a finished build: apply the change to what stands, as if the build took longer.
        source.commit(additions(2_000..2_100).chain((0..50).map(|label| (label, -1))));
        assert!(view.catch_up(&source).unwrap());
        source.commit([(2_000, -1), (0, 1)]);
        assert!(view.catch_up(&source).unwrap());
        let before = view.snapshot();
        view.wait_for_build().unwrap();
        let (status, after) = (view.status(), view.snapshot());
        assert_eq!(status.last_build.unwrap().epoch, 1);
        assert_eq!(before.epoch(), after.epoch());
        for snapshot in [before, after] {
            let all = snapshot.search(&query(0), 5_000, None).unwrap();
            assert_eq!(all, source.nearest(3, &query(0), 5_000, &|_| true));
        }
    }
}

#[test]
fn hnsw_and_ivf_keep_their_recall_through_changes_and_a_reopening() {
    for (options, name) in [(eager(500, u64::MAX), "hnsw"), (eager(500, 600), "ivf")] {
        let mut source = Memory::new(D);
        source.commit(additions(0..6_000));
        let dir = tempfile::tempdir().unwrap();
        let mut view = VectorView::open(dir.path(), &source, options.clone()).unwrap();
        assert_eq!(
            view.status().kind,
            Kind::Flat,
            "flat answers until the build is there"
        );
        settled(&mut view, &source);
        assert_eq!(view.status().kind.name(), name);
        source.commit(additions(6_000..6_500).chain((0..600).map(|label| (label, -1))));
        view.follow(&source).unwrap();
        assert!(!view.status().building && view.status().tombstones == 600);
        let found = recall(&view.snapshot(), &source);
        assert!(found >= 0.95, "{name} {found}");
        drop(view);
        let view = VectorView::open(dir.path(), &source, options).unwrap();
        assert_eq!(view.status().kind.name(), name, "opened from the build");
        let found = recall(&view.snapshot(), &source);
        assert!(found >= 0.95, "{name} reopened {found}");
        // So selective that the index alone would find too few: exact.
        let few = |label: u64| label.is_multiple_of(500);
        let hits = view.snapshot().search(&query(3), 10, Some(&few)).unwrap();
        assert_eq!(hits, source.nearest(2, &query(3), 10, &few));
    }
}

#[test]
fn neighbours_that_all_left_make_room_for_those_behind_them() {
    let mut source = Memory::new(D);
    source.commit(additions(0..2_000));
    for options in [never(), eager(10, u64::MAX), eager(10, 20)] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            policy: Policy {
                threshold: 0.5,
                ..options.policy
            },
            ..options
        };
        let mut source = Memory {
            history: source.history.clone(),
            epoch: source.epoch,
            ..Memory::new(D)
        };
        let mut view = VectorView::open(dir.path(), &source, options).unwrap();
        settled(&mut view, &source);
        let nearest: Vec<u64> = source
            .nearest(1, &query(0), 300, &|_| true)
            .iter()
            .map(|h| h.label)
            .collect();
        source.commit(nearest.iter().map(|label| (*label, -1)));
        view.follow(&source).unwrap();
        let hits = view.snapshot().search(&query(0), 10, None).unwrap();
        assert_eq!(hits, source.nearest(2, &query(0), 10, &|_| true));
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

#[test]
fn any_damage_to_any_file_changes_no_answer() {
    let mut source = Memory::new(D);
    let good = tempfile::tempdir().unwrap();
    source.commit(additions(0..200));
    let mut view = VectorView::open(good.path(), &source, flat()).unwrap();
    settled(&mut view, &source);
    source.commit(additions(200..300).chain([(3, -1), (5, -1)]));
    view.follow(&source).unwrap();
    settled(&mut view, &source);
    drop(view);
    source.commit([(7, -1), (1_000, 1)]);
    assert_eq!(
        files(good.path()).len(),
        7,
        "two builds of three files, and the pointer"
    );

    let mut random = Random(42);
    for file in files(good.path()) {
        let len = fs::metadata(&file).unwrap().len();
        for damage in 0..8 {
            let hurt = tempfile::tempdir().unwrap();
            copy(good.path(), hurt.path());
            let target = hurt.path().join(file.strip_prefix(good.path()).unwrap());
            match damage {
                0 => fs::remove_file(&target).unwrap(),
                1 => fs::File::options()
                    .write(true)
                    .open(&target)
                    .unwrap()
                    .set_len(len / 2)
                    .unwrap(),
                2 => fs::write(&target, b"").unwrap(),
                _ => {
                    let mut bytes = fs::read(&target).unwrap();
                    let at = random.below(len) as usize;
                    bytes[at] ^= 1 << random.below(8);
                    fs::write(&target, bytes).unwrap();
                }
            }
            let mut view = VectorView::open(hurt.path(), &source, flat()).unwrap();
            check(&view.snapshot(), &source);
            source.pruned_before = 0;
            view.follow(&source).unwrap();
            settled(&mut view, &source);
            check(&view.snapshot(), &source);
        }
    }
    // A number in the metadata that is wrong but plausible: the last epoch would be passed over.
    let metadata = good.path().join("builds/2-2/metadata.json");
    let honest = fs::read_to_string(&metadata).unwrap();
    let forged = honest.replace("\"epoch\": 2", "\"epoch\": 3");
    assert_ne!(honest, forged);
    fs::write(&metadata, forged).unwrap();
    let view = VectorView::open(good.path(), &source, never()).unwrap();
    check(&view.snapshot(), &source);
    assert_eq!(
        view.status().last_build.unwrap().epoch,
        1,
        "the previous build answers"
    );
    // Both builds at once, and the folder itself.
    for index in files(good.path())
        .iter()
        .filter(|f| f.ends_with("index.faiss"))
    {
        fs::write(index, b"IxFI").unwrap();
    }
    check(
        &VectorView::open(good.path(), &source, never())
            .unwrap()
            .snapshot(),
        &source,
    );
    fs::remove_dir_all(good.path()).unwrap();
    check(
        &VectorView::open(good.path(), &source, flat())
            .unwrap()
            .snapshot(),
        &source,
    );
}

#[test]
fn a_build_of_another_model_store_or_future_does_not_answer() {
    let mut source = Memory::new(D);
    source.commit(additions(0..50));
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, flat()).unwrap();
    settled(&mut view, &source);
    drop(view);

    let mut other_model = Memory {
        model: "other".into(),
        clusters: 7,
        ..Memory::new(D)
    };
    other_model.commit(additions(0..50));
    let mut other_store = Memory {
        clusters: 7,
        ..Memory::new(D)
    };
    other_store.commit(additions(0..50));
    let mut restored = Memory::new(D);
    restored.epoch = 0;
    let mut wider = Memory::new(D);
    wider.commit(additions(0..49));
    for source in [&other_model, &other_store, &restored, &wider] {
        let view = VectorView::open(dir.path(), source, never()).unwrap();
        check(&view.snapshot(), source);
    }
    // The changes since the build are no longer known.
    source.commit(additions(50..60));
    source.pruned_before = 2;
    check(
        &VectorView::open(dir.path(), &source, never())
            .unwrap()
            .snapshot(),
        &source,
    );
}

#[test]
fn a_change_of_model_while_following_starts_over() {
    let mut source = Memory::new(D);
    source.commit(additions(0..50));
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, flat()).unwrap();
    let mut other = Memory {
        model: "other".into(),
        ..Memory::new(D / 2)
    };
    other.commit(additions(10..90));
    other.commit([]);
    view.follow(&other).unwrap();
    settled(&mut view, &other);
    let question = clustered(5, D / 2, 50);
    let hits = view.snapshot().search(&question, 100, None).unwrap();
    assert_eq!(hits, other.nearest(2, &question, 100, &|_| true));
    assert!(view.snapshot().search(&query(0), 1, None).is_err());
}

#[test]
fn a_vector_that_is_missing_is_an_error_and_the_snapshot_stays() {
    let mut source = Memory::new(D);
    source.commit(additions(0..20));
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, flat()).unwrap();
    settled(&mut view, &source);
    source.commit(additions(20..40).chain([(0, -1)]));
    source.missing.insert(33);
    for _ in 0..2 {
        assert!(matches!(
            view.follow(&source),
            Err(IndexError::MissingVector { label: 33 })
        ));
        assert_eq!(view.snapshot().epoch(), 1);
        check(&view.snapshot(), &source);
    }
    source.missing.clear();
    assert_eq!(view.follow(&source).unwrap(), 2);
    check(&view.snapshot(), &source);
    settled(&mut view, &source);
    check(&view.snapshot(), &source);
}

#[test]
fn a_reader_writes_nothing_and_a_folder_that_can_not_be_written_still_answers() {
    let mut source = Memory::new(D);
    source.commit(additions(0..100));
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("vectors");
    let view = VectorView::open(
        &elsewhere,
        &source,
        Options {
            read_only: true,
            ..flat()
        },
    )
    .unwrap();
    check(&view.snapshot(), &source);
    assert!(!elsewhere.exists() && !view.status().building);

    // A file lies where the folder should be: no build can be written.
    fs::write(&elsewhere, b"").unwrap();
    let mut view = VectorView::open(&elsewhere, &source, flat()).unwrap();
    assert!(view.wait_for_build().is_err());
    assert!(view.status().last_failure.is_some());
    source.commit(additions(100..110));
    view.follow(&source).unwrap();
    assert!(!view.status().building, "not tried again at each commit");
    check(&view.snapshot(), &source);
    fs::remove_file(&elsewhere).unwrap();
    source.commit(additions(110..140));
    view.follow(&source).unwrap();
    view.wait_for_build().unwrap();
    assert_eq!(view.status().last_failure, None);
    check(&view.snapshot(), &source);
}

#[test]
fn queries_on_many_threads_see_whole_epochs_while_the_view_follows_and_builds() {
    let mut source = Memory::new(D);
    source.commit(additions(0..400));
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, eager(600, 900)).unwrap();
    // Epoch e holds labels 50 e .. 50 e + 350 alone, so that any answer tells its epoch.
    let windows = 16u64;
    let expected =
        |epoch: u64| -> BTreeSet<u64> { (50 * (epoch - 1)..50 * (epoch - 1) + 400).collect() };
    let (done, reader) = (AtomicBool::new(false), view.reader());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut epochs = BTreeSet::new();
                    while !done.load(Ordering::SeqCst) || epochs.is_empty() {
                        let snapshot = reader.snapshot();
                        let hits = snapshot.search(&query(1), 1_000, None).unwrap();
                        let labels: BTreeSet<u64> = hits.iter().map(|h| h.label).collect();
                        assert_eq!(labels, expected(snapshot.epoch()));
                        epochs.insert(snapshot.epoch());
                    }
                    epochs
                })
            })
            .collect();
        for window in 1..windows {
            let (left, came) = (
                50 * (window - 1)..50 * window,
                50 * window + 350..50 * window + 400,
            );
            source.commit(left.map(|label| (label, -1)).chain(additions(came)));
            view.follow(&source).unwrap();
        }
        done.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.join().unwrap();
        }
    });
    settled(&mut view, &source);
    check(&view.snapshot(), &source);
    assert!(view.status().last_build.is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u64, bool)>),
    Follow,
    Settle,
    Reopen,
    Prune,
    Damage(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let op = (0u64..60, prop::bool::weighted(0.6));
    prop_oneof![
        6 => prop::collection::vec(op, 0..25).prop_map(Step::Commit),
        4 => Just(Step::Follow),
        2 => Just(Step::Settle),
        2 => Just(Step::Reopen),
        1 => Just(Step::Prune),
        1 => (0usize..100, 0usize..10_000).prop_map(|(file, byte)| Step::Damage(file, byte)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_in_what_the_model_says(
        steps in prop::collection::vec(step(), 1..30),
        (flat_max, hnsw_max) in prop::sample::select(vec![(u64::MAX, u64::MAX), (20, u64::MAX), (15, 30)]),
    ) {
        let options = eager(flat_max, hnsw_max);
        let dir = tempfile::tempdir().unwrap();
        let mut source = Memory::new(D);
        let mut view = Some(VectorView::open(dir.path(), &source, options.clone()).unwrap());
        let mut kept = Vec::new();
        for step in steps.into_iter().chain([Step::Follow, Step::Reopen]) {
            let standing = view.as_mut().unwrap();
            match step {
                Step::Commit(ops) => {
                    let mut live = source.live_at(source.epoch);
                    // A label is added when it is not live, removed when it is: other operations cancel out.
                    let ops: Vec<(u64, i8)> = ops
                        .into_iter()
                        .filter_map(|(label, add)| match add {
                            true => live.insert(label).then_some((label, 1)),
                            false => live.remove(&label).then_some((label, -1)),
                        })
                        .collect();
                    source.commit(ops);
                }
                Step::Follow => {
                    prop_assert_eq!(standing.follow(&source).unwrap(), source.epoch);
                }
                Step::Settle => settled(standing, &source),
                Step::Reopen => {
                    drop(view.take());
                    view = Some(VectorView::open(dir.path(), &source, options.clone()).unwrap());
                    prop_assert_eq!(view.as_ref().unwrap().epoch(), source.epoch);
                }
                Step::Prune => source.pruned_before = source.epoch,
                Step::Damage(file, byte) => {
                    let found = files(dir.path());
                    // A build under way may take the file away at any time.
                    if let Some(path) = found.get(file % found.len().max(1))
                        && let Ok(mut bytes) = fs::read(path)
                        && !bytes.is_empty()
                        && !standing.status().building
                    {
                        let at = byte % bytes.len();
                        bytes[at] ^= 4;
                        fs::write(path, bytes).unwrap();
                    }
                }
            }
            let snapshot = view.as_ref().unwrap().snapshot();
            check(&snapshot, &source);
            kept.push(snapshot);
        }
        for snapshot in kept {
            check(&snapshot, &source);
        }
    }
}
