//! What a view answers: in order, exact where it is flat, and nearly all of it where it is not.

use super::*;

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
