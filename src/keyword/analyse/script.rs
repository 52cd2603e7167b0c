//! What a character is to the splitter.

/// Classes of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Of a script that is written without spaces, or with words too long to be found whole: pairs of characters are looked for.
    Unsegmented,
    /// A capital letter.
    Upper,
    /// Any other letter.
    Lower,
    /// A digit, or another number.
    Digit,
    /// A sign that belongs to the character before it.
    Mark,
    /// Joins words to an identifier: `_` and `-`.
    Weak,
    /// Joins identifiers to a path, an address, a version: `/ . \ : @ + # ~`.
    Strong,
    /// ' and ’.
    Apostrophe,
    /// Everything else.
    Gap,
}

pub(super) fn class(c: char) -> Class {
    match c {
        'a'..='z' => Class::Lower,
        'A'..='Z' => Class::Upper,
        '0'..='9' => Class::Digit,
        '_' | '-' | '\u{2010}' | '\u{2011}' => Class::Weak,
        '/' | '.' | '\\' | ':' | '@' | '+' | '#' | '~' => Class::Strong,
        '\'' | '\u{2019}' => Class::Apostrophe,
        _ if c.is_ascii() => Class::Gap,
        _ if is_mark(c) => Class::Mark,
        _ if is_unsegmented(c) => Class::Unsegmented,
        _ if c.is_uppercase() => Class::Upper,
        _ if c.is_alphabetic() => Class::Lower,
        _ if c.is_numeric() => Class::Digit,
        _ => Class::Gap,
    }
}

/// Signs over, under or beside a letter, and joiners that are not seen. Signs that Unicode counts as letters (vowels of Thai
/// and of India) are among them where they never stand first.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c7}'
        | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}' | '\u{640}'
        | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{93c}' | '\u{93e}'..='\u{94f}' | '\u{981}'..='\u{983}' | '\u{9bc}'
        | '\u{9be}'..='\u{9cd}' | '\u{a3c}'..='\u{a4d}' | '\u{abc}' | '\u{abe}'..='\u{acd}' | '\u{b3c}' | '\u{b3e}'..='\u{b4d}'
        | '\u{bbe}'..='\u{bcd}' | '\u{c3e}'..='\u{c4d}' | '\u{cbc}' | '\u{cbe}'..='\u{ccd}' | '\u{d3e}'..='\u{d4d}'
        | '\u{dca}'..='\u{ddf}' | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{eb1}' | '\u{eb4}'..='\u{ebc}'
        | '\u{ec8}'..='\u{ece}' | '\u{102b}'..='\u{103e}' | '\u{17b4}'..='\u{17d3}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}' | '\u{3099}' | '\u{309a}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{ff9e}' | '\u{ff9f}')
}

fn is_unsegmented(c: char) -> bool {
    matches!(c,
        '\u{e01}'..='\u{e30}' | '\u{e32}' | '\u{e33}' | '\u{e40}'..='\u{e46}'  // Thai
        | '\u{e81}'..='\u{eb0}' | '\u{eb2}' | '\u{eb3}' | '\u{ec0}'..='\u{ec6}' | '\u{edc}'..='\u{edf}' // Lao
        | '\u{1000}'..='\u{102a}' | '\u{1050}'..='\u{1055}' | '\u{aa60}'..='\u{aa7a}' // Myanmar
        | '\u{1780}'..='\u{17b3}'                                              // Khmer
        | '\u{f40}'..='\u{f6c}'                                                // Tibetan
        | '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}' // Hangul
        | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}' // Hiragana
        | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9d}' // Katakana
        | '\u{3100}'..='\u{312f}'                                              // Bopomofo
        | '\u{2e80}'..='\u{2fdf}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}') // Han
}
