//! What lies on the disk: torn, of another, bounded, and written by nobody who only reads.

use super::*;

/// Every file below `dir`, with what it holds.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect()
}

fn restore(dir: &Path, whole: &BTreeMap<PathBuf, Vec<u8>>) {
    // A merge of the view that was dropped last may still be writing.
    while let Err(error) = fs::remove_dir_all(dir) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty);
    }
    fs::create_dir(dir).unwrap();
    for (path, bytes) in whole {
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_torn_file_costs_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("keywords");
    let (mut source, mut random, mut next) = (Memory::default(), Random(5), 0);
    {
        let mut view = open(&dir, &source);
        for _ in 0..6 {
            step(&mut source, &mut random, &mut next, 30);
            view.follow(&source).unwrap();
        }
    }
    step(&mut source, &mut random, &mut next, 30);
    let answers = {
        let fresh = tempfile::tempdir().unwrap();
        bits(&open(fresh.path(), &source).snapshot())
    };
    let whole = files(&dir);
    assert!(whole.len() > 8, "{:?}", whole.keys());
    for (path, bytes) in &whole {
        let middle = bytes.len() / 2;
        let mut flipped = bytes.clone();
        if let Some(byte) = flipped.get_mut(middle) {
            *byte ^= 0x20;
        }
        let mut last = bytes.clone();
        if let Some(byte) = last.last_mut() {
            *byte ^= 1;
        }
        let damages: [Option<&[u8]>; 5] = [
            Some(&flipped),
            Some(&last),
            Some(&bytes[..middle]),
            Some(b""),
            None,
        ];
        for damage in damages {
            restore(&dir, &whole);
            match damage {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            let view = KeywordView::open(
                &dir,
                &source,
                Options {
                    read_only: true,
                    ..options()
                },
            )
            .unwrap();
            assert_eq!(bits(&view.snapshot()), answers, "{}", path.display());
            drop(view);
            let view = open(&dir, &source);
            assert_eq!(bits(&view.snapshot()), answers, "{}", path.display());
        }
    }
}

#[test]
fn what_was_saved_stays_whole_until_the_next_save() {
    let dir = tempfile::tempdir().unwrap();
    let seldom = Options {
        save_after: 1_000,
        ..Options::default()
    };
    let mut source = Memory::default();
    source.add(&["the tides", "the moon"]);
    drop(KeywordView::open(dir.path(), &source, seldom.clone()).unwrap());
    // Everything that was saved leaves, in a view that found it in the folder, and is killed before it saves again.
    let mut view = KeywordView::open(dir.path(), &source, seldom.clone()).unwrap();
    for label in [1, 2] {
        source.commit([(label, -1)]);
        view.follow(&source).unwrap();
    }
    view.sweep();
    let killed = tempfile::tempdir().unwrap();
    for (path, bytes) in files(dir.path()) {
        fs::write(killed.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    assert!(killed.path().join("current").exists());
    let found = inspect(killed.path(), &source, seldom).unwrap();
    assert_eq!(found.problems, Vec::new());
}

#[test]
fn a_folder_of_another_store_or_analyser_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    source.add(&["the tides", "the moon"]);
    drop(open(dir.path(), &source));
    let mut other = Memory::default();
    other.add(&["a sluice", "a basin"]);
    let found = inspect(dir.path(), &other, options()).unwrap();
    assert!(!found.problems.is_empty());
    let view = open(dir.path(), &other);
    assert_eq!(labels(&view.snapshot(), "basins"), [2]);
    drop(view);
    let plain = Options {
        languages: Languages::One(crate::keyword::analyse::NONE),
        ..options()
    };
    let view = KeywordView::open(dir.path(), &other, plain).unwrap();
    assert_eq!(labels(&view.snapshot(), "basins"), Vec::<u64>::new());
    assert_eq!(labels(&view.snapshot(), "basin"), [2]);
    // Further than its store, as after a backup was restored.
    drop(view);
    other.epoch = 0;
    other.history.clear();
    assert!(open(dir.path(), &other).snapshot().is_empty());
}

#[test]
fn a_reader_writes_nothing_and_is_as_fresh_as_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let (mut source, mut random, mut next) = (Memory::default(), Random(9), 0);
    step(&mut source, &mut random, &mut next, 40);
    let mut writer = open(dir.path(), &source);
    writer.save().unwrap();
    let before = files(dir.path());
    step(&mut source, &mut random, &mut next, 40);
    let read_only = Options {
        read_only: true,
        ..options()
    };
    let mut reader = KeywordView::open(dir.path(), &source, read_only.clone()).unwrap();
    assert_eq!(files(dir.path()), before);
    assert_eq!(reader.epoch(), source.epoch);
    assert_exact(&reader.snapshot(), &source);
    // The writer goes on, merges and sweeps; the reader does not mind.
    for _ in 0..12 {
        step(&mut source, &mut random, &mut next, 40);
        writer.follow(&source).unwrap();
        writer.save().unwrap();
    }
    reader.follow(&source).unwrap();
    assert_eq!(bits(&reader.snapshot()), bits(&writer.snapshot()));
    drop(reader);
    let nowhere = dir.path().join("nowhere");
    let reader = KeywordView::open(&nowhere, &source, read_only).unwrap();
    assert_eq!(bits(&reader.snapshot()), bits(&writer.snapshot()));
    assert!(!nowhere.exists());
}

#[test]
fn what_lies_on_the_disk_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    source.commit((1..=50).map(|label| (label, 1)));
    let mut view = open(dir.path(), &source);
    let mut next = 50;
    for _ in 0..100 {
        next += 1;
        source.commit([(next, 1), (next - 50, -1)]);
        view.follow(&source).unwrap();
    }
    view.save().unwrap();
    source.commit([(1, 1)]);
    view.follow(&source).unwrap();
    drop(view);
    let view = open(dir.path(), &source);
    let status = view.status();
    assert!(status.segments < 20, "{status:?}");
    let count = files(dir.path()).len() as u64;
    // Seven files a segment, those of a merge that came after the last save, and what says which are current.
    assert!(count < 8 * 20 * 2, "{count} files for {status:?}");
}
