use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::testing::{Memory, QUERIES, Random};
use super::{KeywordError, KeywordView, Languages, Options, Snapshot, Syntax, inspect};

fn options() -> Options {
    Options {
        save_after: 1,
        ..Options::default()
    }
}

fn open(dir: &Path, source: &Memory) -> KeywordView {
    KeywordView::open(dir, source, options()).unwrap()
}

fn labels(view: &Snapshot, query: &str) -> Vec<u64> {
    let hits = view.search(query, 100, None, Syntax::Words).unwrap();
    hits.iter().map(|hit| hit.label).collect()
}

/// The view's answers are those that the formula gives for the live texts, and so are the scores of single labels.
fn assert_exact(view: &Snapshot, source: &Memory) {
    assert_eq!(view.len(), source.live_at(view.epoch()).len());
    for query in QUERIES {
        for (k, admit) in [
            (5, (&|_| true) as &(dyn Fn(u64) -> bool + Sync)),
            (3, &|label| label % 3 == 0),
        ] {
            let found = view.search(query, k, Some(admit), Syntax::Words).unwrap();
            let exact = source.best(view.epoch(), query, k, &admit);
            assert_eq!(found.len(), exact.len(), "{query}");
            for (found, exact) in found.iter().zip(&exact) {
                // Sums in another order may swap what is as good as equal.
                assert!(
                    (found.score - exact.score).abs() < 1e-4,
                    "{query}: {found:?} for {exact:?}"
                );
            }
            let asked: Vec<u64> = found.iter().map(|hit| hit.label).collect();
            let scores = view.scores(query, &asked).unwrap();
            let same: Vec<f32> = found.iter().map(|hit| hit.score).collect();
            assert_eq!(scores, same, "{query}");
        }
    }
}

fn bits(view: &Snapshot) -> Vec<Vec<(u64, u32)>> {
    let of = |query: &&str| {
        let hits = view.search(query, 50, None, Syntax::Words).unwrap();
        let bits = hits.iter().map(|hit| (hit.label, hit.score.to_bits()));
        bits.collect()
    };
    QUERIES.iter().map(of).collect()
}

/// One epoch of random changes: some arrive, some of the live leave.
fn step(source: &mut Memory, random: &mut Random, next: &mut u64, size: u64) {
    let live: Vec<u64> = source.live_at(source.epoch).into_iter().collect();
    let mut ops = BTreeMap::new();
    for _ in 0..random.below(size) {
        *next += 1;
        ops.insert(*next, 1);
    }
    for _ in 0..random.below(size) {
        if !live.is_empty() {
            ops.insert(live[random.below(live.len() as u64) as usize], -1);
        }
    }
    // Some come back.
    if *next > 0 && random.below(2) == 0 {
        let label = 1 + random.below(*next);
        if !live.contains(&label) {
            ops.insert(label, 1);
        }
    }
    source.commit(ops);
}

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
fn a_filter_leaves_k_hits_wherever_k_exist() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    source.commit((1..=500).map(|label| (label, 1)));
    let view = open(dir.path(), &source);
    let rare = |label: u64| label % 50 == 7;
    let all = view
        .snapshot()
        .scores("tide", &(1..=500).collect::<Vec<_>>());
    let expected = (1..=500u64)
        .zip(all.unwrap())
        .filter(|(label, score)| rare(*label) && *score > 0.0)
        .count();
    assert!(expected > 3);
    let hits = view
        .snapshot()
        .search("tide", 10, Some(&rare), Syntax::Words);
    assert_eq!(hits.unwrap().len(), expected.min(10));
}

#[test]
fn whatever_is_asked_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    source.add(&["AND the tide: +rises -falls", "nothing of that"]);
    let view = open(dir.path(), &source);
    let huge = "tide \"( ".repeat(1 << 17);
    let wide = (0..100_000).fold(String::new(), |all, n| format!("{all}w{n} "));
    for query in [
        "",
        " \n",
        "\"",
        "tide AND",
        "+",
        "a:b",
        "[* TO",
        "\\",
        "tide^",
        "(((((",
        "\0\u{1}\u{2}tide",
        "*",
        "-",
        &huge,
        &wide,
    ] {
        let found = view
            .snapshot()
            .search(query, 5, None, Syntax::Words)
            .unwrap();
        assert_eq!(found.is_empty(), !query.contains("tide"), "{:.20}", query);
    }
    let error = view.snapshot().search("tide AND (", 5, None, Syntax::Query);
    let error = error.unwrap_err();
    assert!(matches!(error, KeywordError::Syntax(_)), "{error}");
    assert!(error.to_string().contains("plain words"), "{error}");
}

#[test]
fn an_expression_means_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    source.add(&[
        "the spring tide rises at the harbour wall",
        "a tide gauge in spring",
        "harbours without tides",
        "東京都の潮位",
    ]);
    let view = open(dir.path(), &source).snapshot();
    for (query, expected) in [
        ("+tide -harbour", vec![2]),
        ("\"spring tide\"", vec![1]),
        ("\"tide spring\"", vec![]),
        ("tides AND harbour", vec![3, 1]),
        ("gauge OR 潮位", vec![2, 4]),
        ("\"京都\"", vec![4]),
    ] {
        let hits = view.search(query, 10, None, Syntax::Query).unwrap();
        let mut found: Vec<u64> = hits.iter().map(|hit| hit.label).collect();
        found.sort_unstable();
        let mut expected = expected.clone();
        expected.sort_unstable();
        assert_eq!(found, expected, "{query}");
        assert!(hits.iter().all(|hit| hit.score > 0.0), "{query}: {hits:?}");
    }
}

#[test]
fn a_boost_makes_a_word_count_as_often() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    source.add(&["tide and sand", "harbour and sand", "gulls"]);
    let view = open(dir.path(), &source).snapshot();
    let found = |query: &str| view.search(query, 10, None, Syntax::Query).unwrap();
    let first = |query: &str| found(query)[0].label;
    assert_eq!(first("tide^2 harbour"), 1);
    assert_eq!(first("tide harbour^2"), 2);
    assert_eq!(first("(tide^4 sand)^0.5 harbour"), 1);
    assert_eq!(first("(tide sand^4)^0.5 harbour"), 2);
    let (once, thrice) = (found("tide")[0].score, found("tide^3")[0].score);
    assert_eq!(thrice, 3.0 * once);
    // What must not match is no word that counts.
    assert_eq!(found("sand -tide^9")[0].score, found("sand")[0].score);
    for nonsense in [
        "tide^1e99",
        "tide^999999999999999999999999999999999999999999",
    ] {
        if let Err(error) = view.search(nonsense, 10, None, Syntax::Query) {
            assert!(matches!(error, KeywordError::Syntax(_)), "{error}");
        }
    }
}

#[test]
fn the_ideal_is_a_text_of_mean_length_with_every_word_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    // All of the same length, so that each is of mean length.
    source.add(&["tide sand gulls", "harbour sand gulls", "tide wall rope"]);
    let view = open(dir.path(), &source).snapshot();
    let of = |query: &str| view.score(query, Syntax::Words).unwrap();
    let best = |query: &str| of(query).best(1, None)[0].score;
    assert!((of("harbour sand").ideal() - best("harbour sand")).abs() < 1e-6);
    assert!((of("sand sand").ideal() - best("sand sand")).abs() < 1e-6);
    // A word that no text has counts as much as any.
    assert!(of("harbour zebra").ideal() > 2.0 * best("harbour zebra"));
    assert_eq!(of("").ideal(), 0.0);
}

#[test]
fn code_is_told_from_prose() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    let known = source.add(&[
        "def pause(n):\n    \"\"\"Wait longer each time.\"\"\"\n    return min(60, 2 ** n)\n",
        "Twice a day the sea comes up to the harbour wall (and not only in spring).",
        "",
        "海水每天两次涨到港口的墙边。",
    ]);
    let view = open(dir.path(), &source).snapshot();
    let code = known.iter().map(|label| view.is_code(*label));
    assert_eq!(code.collect::<Vec<_>>(), [true, false, false, false]);
    assert!(!view.is_code(u64::MAX));
}

#[test]
fn what_is_asked_in_one_spelling_is_found_in_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    let long = "q".repeat(5_000);
    let texts = [
        "fn getUserName() -> String",
        "def get_user_name(): return None",
        "see src/user/name.rs for more",
        "Crème brûlée and other cities",
        "水位が上がると東京都は警報を出す",
        "홍수경보가 발령되었습니다",
        "กรุงเทพมหานคร",
        "die Häuser am Fluss sind nicht mehr zu retten und das Wasser steigt auf den Deich",
        &long,
        "HTTPServer listens on IPv6",
        "the who",
        "наводнение в городе и его последствия",
    ];
    let known = source.add(&texts);
    let view = open(dir.path(), &source).snapshot();
    for (query, expected) in [
        ("user name", vec![1, 2, 3]),
        ("getusername", vec![1, 2]),
        ("get_user_name", vec![1, 2, 3]),
        ("src/user/name.rs", vec![1, 2, 3]),
        ("creme brulee", vec![4]),
        ("city", vec![4]),
        ("CITIES", vec![4]),
        ("東京", vec![5]),
        ("都", vec![5]),
        ("警報", vec![5]),
        ("경보", vec![6]),
        ("กรุงเทพ", vec![7]),
        ("Haus", vec![8]),
        ("haeuser häuser", vec![8]),
        (&long, vec![9]),
        ("http server", vec![10]),
        ("ipv6", vec![10]),
        ("the", vec![11]),
        ("города", vec![12]),
    ] {
        let found: BTreeSet<u64> = labels(&view, query).into_iter().collect();
        let expected: BTreeSet<u64> = expected.iter().map(|n| known[n - 1]).collect();
        assert_eq!(found, expected, "{:.30}", query);
    }
    // Best of all: the very same.
    assert_eq!(labels(&view, "src/user/name.rs")[0], known[2]);
    // A longer word with the same beginning is another word.
    assert!(labels(&view, &"q".repeat(5_001)).is_empty());
}

#[test]
fn marks_are_the_words_that_matched() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    let text = "The cities: getUserName, Crème; 東京都の潮位";
    source.add(&[text]);
    let view = open(dir.path(), &source).snapshot();
    let marked = |query: &str| {
        let ranges = view.marks(query, text);
        let words: Vec<&str> = ranges.into_iter().map(|range| &text[range]).collect();
        words.join("|")
    };
    assert_eq!(marked("the city"), "cities");
    assert_eq!(marked("user creme"), "User|Crème");
    assert_eq!(marked("get_user_name"), "getUserName");
    assert_eq!(marked("京都"), "京都");
    assert_eq!(marked("潮"), "潮");
    assert_eq!(marked("nothing"), "");
}

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
        languages: Languages::One(super::analyse::NONE),
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
    drop(view);
    let found = inspect(dir.path(), &source, options()).unwrap();
    assert_eq!(found.problems, Vec::new());
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
