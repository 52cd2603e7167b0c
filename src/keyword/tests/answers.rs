//! What is asked, and what is found by it.

use super::*;

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
fn a_word_that_few_texts_have_says_more_and_a_sign_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Memory::default();
    source.add(&["tide sand gulls", "harbour sand gulls", "wall sand rope"]);
    let view = open(dir.path(), &source).snapshot();
    let rarity = |word: &str| view.rarity(word).unwrap();
    // n = 3: ln(1 + (3 − df + .5) ÷ (df + .5)) for df = 1, 2, 3, 0
    for (word, ratio) in [
        ("Tide", 2.5 / 1.5),
        ("gulls", 1.5 / 2.5),
        ("sand", 0.5 / 3.5),
        ("zebra", 3.5 / 0.5),
    ] {
        let expected = f64::ln(1.0 + ratio);
        assert!((rarity(word) - expected).abs() < 1e-6, "{word}");
    }
    assert_eq!(
        rarity("sandTide"),
        rarity("zebra"),
        "nobody has written it so"
    );
    assert_eq!(rarity("sand/gulls"), rarity("zebra"));
    assert_eq!([rarity("?"), rarity(""), rarity("…")], [0.0; 3]);
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
