//! From the text of a filter to what it means.

use std::cmp::Ordering;
use std::ops::Range;

use globset::GlobBuilder;

use super::{Field, Glob, Node, Operand, Part, Test};

/// A filter that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter can't be understood at character {}: {message}\n  {expression}\n  {}^", .at + 1, " ".repeat(*.at))]
pub struct FilterError {
    /// As it was given, on one line.
    pub expression: String,
    /// The character that it is about, from 0.
    pub at: usize,
    /// What is wrong, and what would do.
    pub message: String,
}

/// Names of the formats; `code` is every language.
pub(super) const FORMATS: [&str; 14] = [
    "json",
    "jsonl",
    "csv",
    "text",
    "markdown",
    "html",
    "code",
    "code/rust",
    "code/python",
    "code/java-script",
    "code/go",
    "code/java",
    "code/c",
    "code/other",
];

/// How deep parentheses and `not` may nest.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A word that stands without quotes.
    Word(String),
    /// A text in quotes.
    Quoted(String),
    /// `=`, `<=`, `(`, ….
    Sign(&'static str),
}

/// Longer ones first: `<=` is not `<` and `=`.
const SIGNS: [(&str, &str); 14] = [
    ("==", "="),
    ("!=", "!="),
    ("<=", "<="),
    (">=", ">="),
    ("&&", "and"),
    ("||", "or"),
    ("=", "="),
    ("<", "<"),
    (">", ">"),
    ("~", "~"),
    ("(", "("),
    (")", ")"),
    (",", ","),
    ("!", "not"),
];

/// What an expression means.
pub(super) struct Parsed {
    pub node: Node,
    /// Whether it has a time that counts back from now.
    pub relative: bool,
}

pub(super) fn parse(expression: &str, now_ns: i128) -> Result<Parsed, FilterError> {
    let mut parser = Parser {
        expression,
        tokens: tokens(expression)?,
        next: 0,
        now_ns,
        relative: false,
    };
    let node = parser.any(0)?;
    match parser.peek() {
        None => Ok(Parsed {
            node,
            relative: parser.relative,
        }),
        Some(_) => Err(parser.wrong("here it should end, or go on with and, or")),
    }
}

fn error(expression: &str, byte: usize, message: impl Into<String>) -> FilterError {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    FilterError {
        expression: expression.chars().map(plain).collect(),
        at: expression[..byte].chars().count(),
        message: message.into(),
    }
}

fn tokens(expression: &str) -> Result<Vec<(Token, Range<usize>)>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = expression[at..].chars().next() {
        let rest = &expression[at..];
        let start = at;
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let token = if first == '"' || first == '\'' {
            let (text, length) = unquoted(rest, first)
                .ok_or_else(|| error(expression, start, "this quote has no end"))?;
            at += length;
            Token::Quoted(text)
        } else if let Some((sign, means)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            at += sign.len();
            Token::Sign(means)
        } else {
            let ends = |c: char| c.is_whitespace() || "=!<>~(),\"'".contains(c);
            let length = rest.find(ends).unwrap_or(rest.len());
            at += length;
            Token::Word(rest[..length].to_owned())
        };
        tokens.push((token, start..at));
    }
    Ok(tokens)
}

/// A value as it can stand in an expression, whatever is in it.
pub fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// A text in quotes and the bytes it takes with them. A backslash takes the next character as it is.
fn unquoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((out, at + quote.len_utf8())),
            '\\' => out.push(chars.next()?.1),
            _ => out.push(c),
        }
    }
    None
}

struct Parser<'a> {
    expression: &'a str,
    tokens: Vec<(Token, Range<usize>)>,
    next: usize,
    now_ns: i128,
    relative: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.next += usize::from(token.is_some());
        token
    }

    /// Takes the next token if it is this sign or, in any case of letters, this word.
    fn took(&mut self, word: &str) -> bool {
        let is = match self.peek() {
            Some(Token::Sign(sign)) => *sign == word,
            Some(Token::Word(found)) => found.eq_ignore_ascii_case(word),
            _ => false,
        };
        self.next += usize::from(is);
        is
    }

    /// An error about the next token.
    fn wrong(&self, message: impl Into<String>) -> FilterError {
        let at = self
            .tokens
            .get(self.next)
            .map_or(self.expression.len(), |(_, range)| range.start);
        error(self.expression, at, message)
    }

    /// An error about the token before.
    fn was_wrong(&self, message: impl Into<String>) -> FilterError {
        let at = self
            .tokens
            .get(self.next.wrapping_sub(1))
            .map_or(0, |(_, range)| range.start);
        error(self.expression, at, message)
    }

    fn any(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut nodes = vec![self.all(depth)?];
        while self.took("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut nodes = vec![self.one(depth)?];
        while self.took("and") {
            nodes.push(self.one(depth)?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn one(&mut self, depth: usize) -> Result<Node, FilterError> {
        if depth > DEPTH_MAX {
            return Err(self.wrong(format!("this is nested deeper than {DEPTH_MAX}")));
        }
        if self.took("not") {
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.took("(") {
            let node = self.any(depth + 1)?;
            if !self.took(")") {
                return Err(self.wrong("a closing parenthesis is missing"));
            }
            return Ok(node);
        }
        // A field may be called so.
        let ahead = self.tokens.get(self.next + 1).map(|(token, _)| token);
        if !matches!(ahead, Some(Token::Sign(_)) | None) && self.took("exists") {
            return Ok(Node::Exists(self.field()?));
        }
        let field = self.field()?;
        self.test(field)
    }

    fn field(&mut self) -> Result<Field, FilterError> {
        const WANTED: &str = "the name of a field should stand here, such as path, format, changed, epoch, title, document, \
                              or one of the documents' own";
        let name = match self.peek() {
            Some(Token::Word(name) | Token::Quoted(name)) if !name.is_empty() => name.clone(),
            _ => return Err(self.wrong(WANTED)),
        };
        let quoted = matches!(self.take(), Some(Token::Quoted(_)));
        // In quotes a dot is part of the name.
        if quoted {
            return Ok(Field::Meta(vec![name]));
        }
        Ok(match name.as_str() {
            "path" => Field::Path,
            "format" => Field::Format,
            "changed" => Field::Changed,
            "epoch" => Field::Epoch,
            "document" => Field::Document,
            "title" => Field::Title,
            _ => {
                let below = name.strip_prefix("meta.").unwrap_or(&name);
                if below.split('.').any(str::is_empty) {
                    return Err(self.was_wrong(format!(
                        "{name} has an empty name between its dots; put a name that has a dot in quotes"
                    )));
                }
                Field::Meta(below.split('.').map(str::to_owned).collect())
            }
        })
    }

    fn test(&mut self, field: Field) -> Result<Node, FilterError> {
        use Ordering::{Equal, Greater, Less};
        if self.took("in") {
            return self.list(field);
        }
        let here = self.next;
        if self.took("not") {
            if self.took("in") {
                return Ok(Node::Not(Box::new(self.list(field)?)));
            }
            self.next = here;
        }
        let sign = match self.peek() {
            Some(Token::Sign(sign)) => *sign,
            _ => "",
        };
        let pass: &[Ordering] = match sign {
            "=" | "!=" | "~" => &[Equal],
            "<" => &[Less],
            "<=" => &[Less, Equal],
            ">" => &[Greater],
            ">=" => &[Greater, Equal],
            _ => {
                return Err(self.wrong(
                    "a comparison should stand here: =, !=, <, <=, >, >=, ~ (a glob), in (…)",
                ));
            }
        };
        self.next += 1;
        if sign == "~" {
            return self.glob(field);
        }
        if field == Field::Path && !matches!(sign, "=" | "!=") {
            self.next -= 1;
            return Err(self.wrong("a path is compared by =, !=, in (…) or ~ (a glob)"));
        }
        let test = Node::Test(field.clone(), Test::Compare(pass, self.operand(&field)?));
        Ok(if sign == "!=" {
            Node::Not(Box::new(test))
        } else {
            test
        })
    }

    fn list(&mut self, field: Field) -> Result<Node, FilterError> {
        if !self.took("(") {
            return Err(self.wrong("the values should stand in parentheses: in (a, b)"));
        }
        let mut operands = vec![self.operand(&field)?];
        while self.took(",") {
            operands.push(self.operand(&field)?);
        }
        if !self.took(")") {
            return Err(self.wrong("a comma or a closing parenthesis should stand here"));
        }
        Ok(Node::Test(field, Test::In(operands)))
    }

    fn value(&mut self) -> Result<String, FilterError> {
        let joins = |word: &str| ["and", "or", "not"].contains(&word.to_ascii_lowercase().as_str());
        match self.take() {
            Some(Token::Word(text)) if !joins(&text) => Ok(text),
            Some(Token::Quoted(text)) => Ok(text),
            taken => {
                self.next -= usize::from(taken.is_some());
                Err(self.wrong(
                    "a value should stand here; put it in quotes if it has spaces or signs in it",
                ))
            }
        }
    }

    fn operand(&mut self, field: &Field) -> Result<Operand, FilterError> {
        let text = self.value()?;
        let time_ns = match (instant(&text), field) {
            (None, Field::Changed) => {
                self.relative = true;
                ago(&text, self.now_ns)
            }
            (instant, _) => instant,
        };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        match field {
            Field::Changed if time_ns.is_none() => Err(self.was_wrong(format!(
                "{text:?} is no time; give a date such as 2026-01-31, RFC 3339 such as 2026-01-31T12:00:00Z, or how long \
                 ago: 90s, 15m, 12h, 2d, 3w"
            ))),
            Field::Format if !FORMATS.contains(&text.as_str()) => Err(self.was_wrong(format!(
                "no file is read as {text:?}; the formats are {}",
                FORMATS.join(", ")
            ))),
            Field::Epoch if number.is_none() => {
                Err(self.was_wrong(format!("{text:?} is no number of an epoch")))
            }
            _ => Ok(Operand {
                text,
                number,
                time_ns,
            }),
        }
    }

    fn glob(&mut self, field: Field) -> Result<Node, FilterError> {
        if matches!(field, Field::Changed | Field::Epoch) {
            return Err(
                self.was_wrong("a time or an epoch matches no glob; compare it by <, <=, > or >=")
            );
        }
        let mut pattern = self.value()?;
        let mut of = Part::Below;
        if field == Field::Path {
            if pattern.starts_with('/') {
                of = Part::Whole;
            } else if !pattern.trim_end_matches('/').contains('/') && !pattern.ends_with('/') {
                of = Part::Name;
            }
            if pattern.ends_with('/') {
                pattern.push_str("**");
            }
        }
        let matcher = GlobBuilder::new(&pattern)
            .literal_separator(field == Field::Path)
            .build()
            .map_err(|problem| self.was_wrong(format!("this is no glob: {}", problem.kind())))?
            .compile_matcher();
        Ok(Node::Test(field, Test::Glob(Glob { matcher, of })))
    }
}

fn one_or(mut nodes: Vec<Node>, many: impl FnOnce(Vec<Node>) -> Node) -> Node {
    if nodes.len() == 1 {
        nodes.swap_remove(0)
    } else {
        many(nodes)
    }
}

/// Nanoseconds since 1970 of an instant, or of the first moment of a day in UTC.
fn instant(text: &str) -> Option<i128> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_nanosecond());
    }
    let date = text.parse::<jiff::civil::Date>().ok()?;
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_nanosecond())
}

/// The same of so long before `now_ns`: `2d`.
fn ago(text: &str, now_ns: i128) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let count: i128 = text[..digits].parse().ok()?;
    let seconds = match &text[digits..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    now_ns.checked_sub(count.checked_mul(seconds)?.checked_mul(1_000_000_000)?)
}
