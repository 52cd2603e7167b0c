//! Which documents may be found: an expression over where a text lies and what its document says of itself.
//!
//! ```text
//! filter = all { "or" all }
//! all    = one { "and" one }
//! one    = "not" one | "(" filter ")" | "exists" FIELD | FIELD test
//! test   = ( "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" ) VALUE | [ "not" ] "in" "(" VALUE { "," VALUE } ")"
//! ```
//!
//! One function judges, whether it is for the set of texts that both views are searched within, or for the place that a
//! hit shows. It answers [`None`] where it depends on more than what it was told: so a file is decided once where its
//! path decides, and its documents are looked at only where they do.

mod parse;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::path::Path;

use floodmark_operators::keys::Epoch;
use globset::GlobMatcher;
use serde_json::{Map, Value};

pub use parse::{FilterError, quoted};

/// An expression that was understood.
#[derive(Clone, Debug)]
pub struct Filter {
    all: Node,
    relative: bool,
}

#[derive(Clone, Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Exists(Field),
    Test(Field, Test),
}

/// What is asked about. A name that is none of the first is one of the document's own fields; `meta.` before it says so
/// where the two are called the same.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// The file.
    Path,
    /// How it was read.
    Format,
    /// Last change of its bytes.
    Changed,
    /// The epoch from which on the text lies there.
    Epoch,
    /// The document's id, or number.
    Document,
    /// Its title.
    Title,
    /// A field of it: names from the outside in.
    Meta(Vec<String>),
}

#[derive(Clone, Debug)]
enum Test {
    /// How it compares with a value: which of less, equal, greater pass.
    Compare(&'static [Ordering], Operand),
    /// Equal to one of them.
    In(Vec<Operand>),
    Glob(Glob),
}

/// A value of the expression, in each of the ways in which it can be compared.
#[derive(Clone, Debug, PartialEq)]
struct Operand {
    text: String,
    number: Option<f64>,
    /// Nanoseconds since 1970.
    time_ns: Option<i128>,
}

#[derive(Clone, Debug)]
struct Glob {
    matcher: GlobMatcher,
    /// What of a path is matched.
    of: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Name,
    Below,
    Whole,
}

/// What is known of a place where a text lies.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Root of the file.
    pub root: &'a Path,
    /// The file, below the root.
    pub path: &'a Path,
    /// How it was read: `markdown`, `code/rust`, ….
    pub format: &'a str,
    /// Last change of the bytes, nanoseconds since 1970.
    pub changed_ns: Option<i64>,
    /// The epoch from which on the text lies there.
    pub since: Epoch,
    /// What the document says; `None`: not looked at yet.
    pub document: Option<DocumentFacts<'a>>,
}

/// What a document says of itself.
#[derive(Clone, Copy, Debug)]
pub struct DocumentFacts<'a> {
    /// Its id, or its number in the file.
    pub name: &'a str,
    /// Its title.
    pub title: Option<&'a str>,
    /// Its other fields.
    pub metadata: &'a Map<String, Value>,
}

impl Filter {
    /// Reads expressions that all must hold. Times such as `2d` count back from `now_ns`, nanoseconds since 1970.
    ///
    /// # Errors
    /// What is not understood, and where.
    pub fn parse(expressions: &[String], now_ns: i128) -> Result<Self, FilterError> {
        let (mut nodes, mut relative) = (Vec::new(), false);
        for expression in expressions {
            let parsed = parse::parse(expression, now_ns)?;
            nodes.push(parsed.node);
            relative |= parsed.relative;
        }
        Ok(Self {
            all: Node::All(nodes),
            relative,
        })
    }

    /// Whether the place passes; `None`: its document decides, and [`Facts::document`] is not given.
    pub fn judge(&self, facts: &Facts<'_>) -> Option<bool> {
        self.all.judge(facts)
    }

    /// Whether it counts back from now, so that tomorrow it means something else.
    pub fn is_relative(&self) -> bool {
        self.relative
    }
}

impl Node {
    fn judge(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Self::All(nodes) => join(nodes, facts, false),
            Self::Any(nodes) => join(nodes, facts, true),
            Self::Not(node) => node.judge(facts).map(|passes| !passes),
            Self::Exists(field) => field.values(facts).map(|values| !values.is_empty()),
            Self::Test(field, test) => {
                let values = field.values(facts)?;
                Some(values.iter().any(|value| test.passes(value, facts)))
            }
        }
    }
}

/// `and` ends with the first that fails, `or` with the first that passes; what is open stays open unless one decides.
fn join(nodes: &[Node], facts: &Facts<'_>, decides: bool) -> Option<bool> {
    let mut joined = Some(!decides);
    for node in nodes {
        match node.judge(facts) {
            Some(judged) if judged == decides => return Some(decides),
            Some(_) => {}
            None => joined = None,
        }
    }
    joined
}

/// A value that a place has for a field.
enum Found<'a> {
    Path,
    Text(&'a str),
    Number(f64),
    TimeNs(i128),
    Switch(bool),
}

impl Field {
    /// What the place has: nothing where there is no such field, several for a list. `None`: not known yet.
    fn values<'a>(&self, facts: &Facts<'a>) -> Option<Vec<Found<'a>>> {
        Some(match self {
            Self::Path => vec![Found::Path],
            Self::Format => vec![Found::Text(facts.format)],
            Self::Changed => facts
                .changed_ns
                .map(|ns| Found::TimeNs(i128::from(ns)))
                .into_iter()
                .collect(),
            Self::Epoch => vec![Found::Number(facts.since as f64)],
            Self::Document => vec![Found::Text(facts.document?.name)],
            Self::Title => facts.document?.title.map(Found::Text).into_iter().collect(),
            Self::Meta(names) => {
                let mut values = Vec::new();
                if let Some((first, rest)) = names.split_first()
                    && let Some(value) = facts.document?.metadata.get(first)
                {
                    gather(value, rest, &mut values);
                }
                values
            }
        })
    }
}

/// The values at the end of a path of names; a list stands for each of its elements, `null` for none.
fn gather<'a>(value: &'a Value, names: &[String], into: &mut Vec<Found<'a>>) {
    match (value, names) {
        (Value::Array(elements), _) => elements
            .iter()
            .for_each(|element| gather(element, names, into)),
        (Value::Object(map), [name, rest @ ..]) => {
            if let Some(value) = map.get(name) {
                gather(value, rest, into);
            }
        }
        (_, [_, ..]) | (Value::Null, []) => {}
        // An object is there, and equal to nothing that can be written.
        (Value::Object(_), []) => into.push(Found::Number(f64::NAN)),
        (Value::String(text), []) => into.push(Found::Text(text)),
        (Value::Bool(switch), []) => into.push(Found::Switch(*switch)),
        (Value::Number(number), []) => {
            into.push(Found::Number(number.as_f64().unwrap_or(f64::NAN)));
        }
    }
}

impl Test {
    fn passes(&self, found: &Found<'_>, facts: &Facts<'_>) -> bool {
        match self {
            Self::Compare(pass, operand) => operand
                .compared_to(found, facts)
                .is_some_and(|order| pass.contains(&order)),
            Self::In(operands) => operands
                .iter()
                .any(|operand| operand.compared_to(found, facts) == Some(Ordering::Equal)),
            Self::Glob(glob) => glob.matches(found, facts),
        }
    }
}

impl Operand {
    /// How what was found stands to this; `None`: they can't be compared.
    fn compared_to(&self, found: &Found<'_>, facts: &Facts<'_>) -> Option<Ordering> {
        match found {
            Found::Path => {
                let wanted = Path::new(&self.text);
                let same = facts.path == wanted || facts.root.join(facts.path) == wanted;
                Some(if same {
                    Ordering::Equal
                } else {
                    facts.path.cmp(wanted)
                })
            }
            Found::TimeNs(ns) => Some(ns.cmp(&self.time_ns?)),
            Found::Switch(switch) => switch.partial_cmp(&match self.text.as_str() {
                "true" => true,
                "false" => false,
                _ => return None,
            }),
            Found::Number(number) => number.partial_cmp(&self.number?),
            Found::Text(text) => {
                // `code` is every `code/…`.
                let family = text.split_once('/').map(|(family, _)| family);
                if *text == self.text || (*text == facts.format && family == Some(&self.text)) {
                    return Some(Ordering::Equal);
                }
                // Numbers and times that stand in quotes compare as what they are.
                if let (Some(number), Ok(found)) = (self.number, text.trim().parse::<f64>()) {
                    return found.partial_cmp(&number);
                }
                Some((*text).cmp(self.text.as_str()))
            }
        }
    }
}

impl Glob {
    fn matches(&self, found: &Found<'_>, facts: &Facts<'_>) -> bool {
        match (found, self.of) {
            (Found::Path, Part::Name) => facts
                .path
                .file_name()
                .is_some_and(|name| self.matcher.is_match(name)),
            (Found::Path, Part::Below) => self.matcher.is_match(facts.path),
            (Found::Path, Part::Whole) => self.matcher.is_match(facts.root.join(facts.path)),
            (Found::Text(text), _) => self.matcher.is_match(text),
            (Found::Number(number), _) => self.matcher.is_match(number.to_string()),
            (Found::Switch(switch), _) => self.matcher.is_match(switch.to_string()),
            (Found::TimeNs(_), _) => false,
        }
    }
}
