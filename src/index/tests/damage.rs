//! What lies on the disk is torn, foreign or not to be written; what the source says is incomplete.

use super::*;

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
