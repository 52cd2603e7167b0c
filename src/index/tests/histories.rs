//! Any history, and many readers during one.

use super::*;

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
