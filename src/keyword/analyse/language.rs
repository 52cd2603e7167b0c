//! Languages: which there are, which one a text is in, and what is done to its words.

use std::collections::HashMap;
use std::sync::LazyLock;

use tantivy::tokenizer::{
    Language, RawTokenizer, Stemmer, StopWordFilter, TextAnalyzer, TokenStream,
};

use super::split::{Kind, Piece};

/// A language's place in [`LANGUAGES`], plus one. 0: none, words are left as they are.
pub type LanguageId = u8;

/// Languages, and none.
pub const LANGUAGES_MAX: usize = LANGUAGES.len() + 1;

/// No stemming, no stop words.
pub const NONE: LanguageId = 0;
/// What a text is taken for that says nothing of its language.
pub const ENGLISH: LanguageId = 1;

/// Names as a configuration gives them. The order is part of what lies on the disk: add at the end.
pub const LANGUAGES: [(&str, Language); 18] = [
    ("english", Language::English),
    ("arabic", Language::Arabic),
    ("danish", Language::Danish),
    ("dutch", Language::Dutch),
    ("finnish", Language::Finnish),
    ("french", Language::French),
    ("german", Language::German),
    ("greek", Language::Greek),
    ("hungarian", Language::Hungarian),
    ("italian", Language::Italian),
    ("norwegian", Language::Norwegian),
    ("portuguese", Language::Portuguese),
    ("romanian", Language::Romanian),
    ("russian", Language::Russian),
    ("spanish", Language::Spanish),
    ("swedish", Language::Swedish),
    ("tamil", Language::Tamil),
    ("turkish", Language::Turkish),
];

/// Function words by which a language is known, without accents, as [`super::fold`] leaves them.
const SIGNS: &[(&str, &str)] = &[
    (
        "english",
        "the of a and to in is that for it with as was on are by this be from or an at not which have you we can i he his but \
         they all were will has their what how when who there do if no so its one about",
    ),
    (
        "danish",
        "og er det til den af en for ikke de der med har jeg vi som pa et han var fra ved efter blev skal kan hvad",
    ),
    (
        "dutch",
        "de het een van en in is dat te voor met zijn op niet aan er ook als bij door maar om wordt naar uit hij deze",
    ),
    (
        "finnish",
        "ja on ei se etta han oli mutta ovat kun myos joka tai hanen sen kuin mika nyt niin vain ole voi sita ne",
    ),
    (
        "french",
        "le la les de des et est un une du en que pour dans qui sur pas au avec ce par il plus sont aux cette nous vous",
    ),
    (
        "german",
        "der die das und ist nicht ein eine zu mit den von auf fur sich dem des im auch als es an werden wird bei oder sind",
    ),
    (
        "hungarian",
        "a az es hogy nem egy is van meg mint de csak ez azt volt ha mar vagy lehet szerint ezt nagyon minden",
    ),
    (
        "italian",
        "il di che e la per un una non sono del della con i le si da in nel come piu alla anche gli lo delle questo",
    ),
    (
        "norwegian",
        "og er det til som en av for ikke de med har jeg vi pa et han var fra ved etter ble skal kan hva seg mot",
    ),
    (
        "portuguese",
        "o de que e do da em um uma para com nao os as no na por mais dos como foi ao das sao seu pela ou",
    ),
    (
        "romanian",
        "si de la in cu o un nu pe este care din sa ca mai pentru sunt al ale fost dar prin acest lui dupa",
    ),
    (
        "spanish",
        "el la de que y los del se las por un para con no una su al lo es mas como pero sus le fue este entre son",
    ),
    (
        "swedish",
        "och ar det att i en som pa av for inte de med har jag vi ett han var fran vid efter ska kan vad sig om den",
    ),
    (
        "turkish",
        "ve bir bu da de icin ile cok daha olarak gibi ne var ama kadar sonra olan en o mi her degil ise ancak",
    ),
];

/// Which words are signs of which languages: bit `i` for language `i`.
static SIGN: LazyLock<HashMap<&str, u32>> = LazyLock::new(|| {
    let mut signs = HashMap::new();
    for (name, words) in SIGNS {
        let id = of_name(name).expect("each language with signs is in the table");
        for word in words.split(' ') {
            *signs.entry(word).or_default() |= 1 << id;
        }
    }
    signs
});

/// The language of that name.
pub fn of_name(name: &str) -> Option<LanguageId> {
    let at = LANGUAGES.iter().position(|(known, _)| *known == name)?;
    Some(at as LanguageId + 1)
}

/// Signs that a language must show: one may be a name, or a word of another language.
const SIGNS_MIN: u32 = 2;

/// The language of a text, of its first pieces. By its script; in Latin script by its function words, if one language has
/// more of them than all others; otherwise English.
pub(super) fn detect<'a>(pieces: impl Iterator<Item = &'a Piece>) -> LanguageId {
    let mut hits = [0u32; LANGUAGES_MAX];
    let mut scripts = [0u32; LANGUAGES_MAX];
    let (mut words, mut signs) = (0u32, None);
    for piece in pieces.filter(|piece| piece.kind == Kind::Word) {
        words += 1;
        match piece.term.chars().next() {
            Some('\u{400}'..='\u{52f}') => scripts[usize::from(RUSSIAN)] += 1,
            Some('\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}') => {
                scripts[usize::from(GREEK)] += 1;
            }
            Some('\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}') => {
                scripts[usize::from(ARABIC)] += 1;
            }
            Some('\u{b80}'..='\u{bff}') => scripts[usize::from(TAMIL)] += 1,
            _ => {
                let known = *signs.get_or_insert(&*SIGN);
                let bits = known.get(piece.term.as_str()).copied().unwrap_or(0);
                for (id, hits) in hits.iter_mut().enumerate() {
                    *hits += (bits >> id) & 1;
                }
            }
        }
    }
    if let Some(id) = (0..LANGUAGES_MAX).find(|id| scripts[*id] * 2 > words) {
        return id as LanguageId;
    }
    let best = hits.iter().copied().max().unwrap_or(0);
    let mut of_best = (0..LANGUAGES_MAX).filter(|id| hits[*id] == best);
    match (of_best.next(), of_best.next()) {
        (Some(id), None) if best >= SIGNS_MIN => id as LanguageId,
        _ => ENGLISH,
    }
}

const ARABIC: LanguageId = 2;
const GREEK: LanguageId = 8;
const RUSSIAN: LanguageId = 14;
const TAMIL: LanguageId = 17;

/// What became of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stemmed {
    pub term: String,
    pub stop: bool,
}

/// Stemmers, and what they said before: most words come again.
#[derive(Default)]
pub(super) struct Stems {
    tools: [Option<Tool>; LANGUAGES_MAX],
}

struct Tool {
    stemmer: TextAnalyzer,
    stops: Option<TextAnalyzer>,
    known: HashMap<String, Stemmed>,
}

/// Words whose stems are kept, per language.
const KNOWN_MAX: usize = 20_000;

impl Stems {
    pub(super) fn stem(&mut self, language: LanguageId, word: &str) -> Stemmed {
        if language == NONE {
            return Stemmed {
                term: word.to_owned(),
                stop: false,
            };
        }
        let slot = &mut self.tools[usize::from(language)];
        let tool = slot.get_or_insert_with(|| Tool::new(LANGUAGES[usize::from(language) - 1].1));
        if let Some(known) = tool.known.get(word) {
            return known.clone();
        }
        let stop =
            (tool.stops.as_mut()).is_some_and(|stops| stops.token_stream(word).next().is_none());
        let term = match tool.stemmer.token_stream(word).next() {
            Some(token) if !token.text.is_empty() => token.text.clone(),
            _ => word.to_owned(),
        };
        let stemmed = Stemmed { term, stop };
        if tool.known.len() >= KNOWN_MAX {
            tool.known.clear();
        }
        tool.known.insert(word.to_owned(), stemmed.clone());
        stemmed
    }
}

impl Tool {
    fn new(language: Language) -> Self {
        let raw = || TextAnalyzer::builder(RawTokenizer::default());
        Self {
            stemmer: raw().filter(Stemmer::new(language)).build(),
            stops: StopWordFilter::new(language).map(|stops| raw().filter(stops).build()),
            known: HashMap::new(),
        }
    }
}
