//! When the view is built anew, and what becomes of the build before.

use super::*;

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

/// The graph of before is gone on with where nothing of it has left, and made anew where something has.
#[test]
fn a_view_that_only_grew_is_built_from_what_stands() {
    let mut source = Memory::new(D);
    source.commit(additions(0..1_000));
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, eager(10, u64::MAX)).unwrap();
    view.wait_for_build().unwrap();
    let graph = Kind::Hnsw { m: 32 };
    let base = view.snapshot().to_go_on_from(graph).expect("all is seen");
    assert_eq!(base.len(), 1_000);
    assert!(view.snapshot().to_go_on_from(Kind::Flat).is_none());

    // More than once, so that a build of a build is looked at too.
    for round in 1..4 {
        source.commit(additions(round * 1_000..round * 1_000 + 1_000));
        view.follow(&source).unwrap();
        settled(&mut view, &source);
        let status = view.status();
        assert_eq!((status.live, status.tombstones), ((round + 1) * 1_000, 0));
        let base = view.snapshot().to_go_on_from(graph).expect("all is seen");
        assert_eq!(
            base.len() as u64,
            (round + 1) * 1_000,
            "nothing is beside it"
        );
        assert!(recall(&view.snapshot(), &source) >= 0.97);
    }
    assert_eq!(base.len(), 1_000, "what stood was not changed");
    let mut first = vec![0f32; D];
    base.vector(999, &mut first).unwrap();
    assert_eq!(first, source.vector(999));
    drop(view);
    let mut view = VectorView::open(dir.path(), &source, eager(10, u64::MAX)).unwrap();
    assert!(recall(&view.snapshot(), &source) >= 0.97, "from the disk");

    let before = view.snapshot();
    source.commit([(7, -1)]);
    view.follow(&source).unwrap();
    assert!(view.snapshot().to_go_on_from(graph).is_none());
    assert!(before.to_go_on_from(graph).is_some(), "who sees all of it");
    source.commit(additions(10_000..11_000));
    view.follow(&source).unwrap();
    settled(&mut view, &source);
    assert_eq!(view.status().tombstones, 0);
    assert!(recall(&view.snapshot(), &source) >= 0.97);
}

/// Whoever opens it next would read a twentieth of it from the source; a build that goes on from what stands costs less.
#[test]
fn a_view_at_rest_is_built_sooner_if_it_only_grew() {
    let mut source = Memory::new(D);
    source.commit(additions(0..1_000));
    let dir = tempfile::tempdir().unwrap();
    let mut view = VectorView::open(dir.path(), &source, eager(10, u64::MAX)).unwrap();
    view.wait_for_build().unwrap();
    source.commit(additions(1_000..1_049));
    view.follow(&source).unwrap();
    view.rest();
    assert!(!view.status().building, "too little");
    source.commit(additions(1_049..1_050));
    view.follow(&source).unwrap();
    assert!(!view.status().building, "more may come");
    view.rest();
    assert!(view.status().building);
    settled(&mut view, &source);
    assert_eq!(view.status().last_build.unwrap().count, 1_050);

    source.commit(additions(2_000..2_100).chain([(7, -1)]));
    view.follow(&source).unwrap();
    view.rest();
    assert!(!view.status().building, "all of it would be linked anew");
}
