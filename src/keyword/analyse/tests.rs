use super::*;

/// Terms of a text, `=` before those that stand beside a position, `~` before stop words.
fn terms(text: &str) -> String {
    let mut analyser = Analyser::new(Languages::Auto);
    let mut pieces = Vec::new();
    split(text, &mut |piece| {
        pieces.push(piece);
        ControlFlow::Continue(())
    });
    let language = analyser.language(&pieces);
    let shown: Vec<String> = (pieces.iter())
        .map(|piece| {
            let (term, stop) = analyser.term(language, piece);
            match (piece.kind, stop) {
                (Kind::Whole | Kind::Last, _) => format!("={term}"),
                (_, true) => format!("~{term}"),
                (_, false) => term,
            }
        })
        .collect();
    shown.join(" ")
}

#[test]
fn each_kind_of_text_becomes_these_terms() {
    for (text, expected) in [
        ("", ""),
        (" \t\n-- ...", ""),
        // Prose.
        (
            "The Cities were flooded, again.",
            "~the citi were flood again",
        ),
        ("don't touch the user's files", "don touch ~the user file"),
        ("state-of-the-art", "state ~of ~the art =stateoftheart"),
        ("Crème brûlée", "creme brule"),
        ("cre\u{300}me", "creme"),
        ("ＦＵＬＬ width", "full width"),
        ("soft\u{ad}ened", "soften"),
        // Code.
        ("getUserName", "get user name =getusername"),
        ("get_user_name", "get user name =getusername"),
        ("GetUserName()", "get user name =getusername"),
        ("get-user-name", "get user name =getusername"),
        ("MAX_SIZE", "max size =maxsize"),
        ("src/user/name.rs", "src user name rs =src/user/name.rs"),
        ("src/getName.rs", "src get name =getname rs =src/getname.rs"),
        ("std::fs::File", "std fs file =std:fs:file"),
        ("HTTPServer2", "http server 2 =httpserver2"),
        (
            "PDFs and XMLHttpRequest",
            "pdfs ~and xml http request =xmlhttprequest",
        ),
        ("utf8 x86_64", "utf 8 =utf8 x 86 64 =x8664"),
        ("v1.2.3", "v 1 =v1 2 3 =v1.2.3"),
        ("user@example.org", "user exampl org =user@example.org"),
        ("a.b", "~a b =a.b"),
        ("wait... what", "wait what"),
        // Scripts without spaces.
        ("东京都", "东京 京都 =都"),
        ("水", "水"),
        ("水 位", "水 位"),
        ("iPhone15の価格", "i phone 15 =iphone15 の価 価格 =格"),
        ("東京タワー", "東京 京タ タワ ワー =ー"),
        ("ｶﾞｽ", "ガス =ス"),
        ("か\u{3099}す", "がす =す"),
        ("홍수 경보", "홍수 =수 경보 =보"),
        ("น้ำท่วม", "น้ำ ำท่ ท่ว วม =ม"),
        // Other scripts.
        ("наводнения", "наводнен"),
        ("и\u{306}", "й"),
        ("שָׁלוֹם", "שלום"),
    ] {
        assert_eq!(terms(text), expected, "{text}");
    }
}

#[test]
fn no_length_is_lost_or_confused() {
    let long = "x".repeat(10_000);
    let (one, other) = (terms(&long), terms(&format!("{long}y")));
    assert!(one.len() <= 200 && one.starts_with("xxx"), "{one}");
    assert_ne!(one, other);
    assert_eq!(terms(&"x".repeat(60)), "x".repeat(60));
}

#[test]
fn the_language_is_what_the_words_say() {
    let analyser = Analyser::new(Languages::Auto);
    for (text, expected) in [
        ("", "english"),
        ("tide gauge harbour", "english"),
        // Words that other languages have too: most English titles are no longer.
        ("What is a proposition", "english"),
        ("A note on an error in a proof", "english"),
        (
            "the level of the river is rising and it will not stop",
            "english",
        ),
        (
            "der Pegel des Flusses steigt und es ist nicht klar, wann er wieder fällt",
            "german",
        ),
        (
            "le niveau de la rivière monte et les digues ne sont pas sûres",
            "french",
        ),
        (
            "el nivel del río sube y los diques no son seguros para las casas",
            "spanish",
        ),
        (
            "il livello del fiume sale e non si sa quando la piena passerà, che è una cosa",
            "italian",
        ),
        (
            "o nível do rio sobe e as barragens não são seguras para uma casa",
            "portuguese",
        ),
        (
            "het peil van de rivier stijgt en de dijken zijn niet veilig voor een huis",
            "dutch",
        ),
        (
            "nivån i floden stiger och det är inte säkert att vallarna håller för alla",
            "swedish",
        ),
        ("уровень реки поднимается", "russian"),
        ("η στάθμη του ποταμού", "greek"),
        ("水位が上がる", "english"),
        ("fn main() { let the_answer = is_it(42); }", "english"),
        ("de", "english"),
    ] {
        let mut pieces = Vec::new();
        split(text, &mut |piece| {
            pieces.push(piece);
            ControlFlow::Continue(())
        });
        let id = analyser.language(&pieces);
        assert_eq!(LANGUAGES[usize::from(id) - 1].0, expected, "{text}");
    }
}

#[test]
fn what_is_written_for_tantivy_is_read_by_it() {
    let (written, text) = Analyser::new(Languages::Auto).text("the getUserName 東京都");
    let mut terms = Terms::default();
    let mut stream = terms.token_stream(&written);
    let mut read = Vec::new();
    while stream.advance() {
        read.push((stream.token().text.clone(), stream.token().position));
    }
    let expected = [
        ("the", 0),
        ("get", 1),
        ("user", 2),
        ("name", 3),
        ("getusername", 3),
        ("東京", 4),
        ("京都", 5),
        ("都", 5),
    ];
    assert_eq!(read, expected.map(|(term, at)| (term.to_owned(), at)));
    assert_eq!(text.words, 5); // without the stop word and what stands beside
}

#[test]
fn any_text_is_split_at_characters_in_order() {
    let mut seed = 7u64;
    let alphabet: Vec<char> = "aZ9_-/.'’é\u{301}東\u{3099}ｶﾞกั한 \u{200b}🌊\0ß"
        .chars()
        .collect();
    for _ in 0..3_000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push(alphabet[(seed >> 33) as usize % alphabet.len()]);
        }
        let mut last = 0;
        split(&text, &mut |piece| {
            assert!(
                text.get(piece.range.clone()).is_some(),
                "{text:?} {piece:?}"
            );
            assert!(piece.position >= last, "{text:?} {piece:?}");
            assert!(!piece.term.is_empty() && !piece.term.contains(['\u{1}', '\u{2}']));
            last = piece.position;
            ControlFlow::Continue(())
        });
    }
}
