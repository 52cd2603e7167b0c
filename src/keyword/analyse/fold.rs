//! One spelling for what people write in several: case, accents, widths.
//!
//! Accents of Latin letters are dropped, in texts and in queries: `creme brulee` is `Crème brûlée`, because many type without
//! them, and a text found too much costs less than one not found. Other scripts keep their signs, which make other
//! letters there (й is not и), in the composed spelling.

use tantivy::tokenizer::{AsciiFoldingFilter, RawTokenizer, TextAnalyzer, TokenStream};

/// Bytes of a term; longer ones are cut, and told apart by a hash.
const TERM_BYTES_MAX: usize = 200;

/// In lower case, accents of Latin letters dropped, wide Latin letters made narrow.
pub(super) fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(word.len());
    let mut latin = false;
    for c in word.chars().flat_map(narrow).flat_map(char::to_lowercase) {
        match c {
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => {}
            // Vowel points and lengthening of Hebrew and Arabic, which are mostly left out.
            '\u{591}'..='\u{5c7}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' => {}
            '\u{300}'..='\u{36f}' => match (folded.chars().next_back(), c) {
                (Some(base), _) if is_latin(base) => {}
                (Some('и'), '\u{306}') => replace_last(&mut folded, 'й'),
                (Some('е'), '\u{308}') => replace_last(&mut folded, 'ё'),
                (Some('і'), '\u{308}') => replace_last(&mut folded, 'ї'),
                _ => folded.push(c),
            },
            '\u{3099}' | '\u{309a}' => voice(&mut folded, c == '\u{309a}'),
            c => {
                latin |= is_latin(c) && !c.is_ascii();
                folded.push(c);
            }
        }
    }
    if !latin {
        return folded;
    }
    let mut folding = TextAnalyzer::builder(RawTokenizer::default())
        .filter(AsciiFoldingFilter)
        .build();
    let mut stream = folding.token_stream(&folded);
    match stream.next() {
        Some(token) => token.text.to_lowercase(),
        None => String::new(),
    }
}

fn replace_last(text: &mut String, by: char) {
    text.pop();
    text.push(by);
}

fn is_latin(c: char) -> bool {
    matches!(c, 'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{2c60}'..='\u{2c7f}' | '\u{fb00}'..='\u{fb06}')
}

/// Wide Latin letters and digits as narrow ones, narrow katakana as wide ones.
fn narrow(c: char) -> Option<char> {
    const KATAKANA: &str = "ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン";
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0),
        '\u{ff66}'..='\u{ff9d}' => KATAKANA.chars().nth((u32::from(c) - 0xff66) as usize),
        '\u{ff9e}' => Some('\u{3099}'),
        '\u{ff9f}' => Some('\u{309a}'),
        c => Some(c),
    }
}

/// A kana and its sign, as one: か and ゛ are が. They stand beside each other in Unicode.
fn voice(text: &mut String, half: bool) {
    let Some(last) = text.chars().next_back() else {
        return;
    };
    let distance = 1 + u32::from(half);
    if matches!(last, '\u{304b}'..='\u{3062}' | '\u{3064}'..='\u{3069}' | '\u{306f}'..='\u{307d}' | '\u{30ab}'..='\u{30c2}'
        | '\u{30c4}'..='\u{30c9}' | '\u{30cf}'..='\u{30dd}')
        && let Some(voiced) = char::from_u32(u32::from(last) + distance)
    {
        replace_last(text, voiced);
    }
}

/// A term that is too long: its beginning, and a hash of all of it. Found by the same long word, and by no other.
pub(super) fn shorten(term: String) -> String {
    if term.len() <= TERM_BYTES_MAX {
        return term;
    }
    let hash = blake3::hash(term.as_bytes());
    let cut = term.floor_char_boundary(TERM_BYTES_MAX - 32);
    format!("{}{}", &term[..cut], &hash.to_hex().as_str()[..32])
}
