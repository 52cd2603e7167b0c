//! CSV after RFC 4180, as leniently as it is written: any of `,` `;` tab `|` between cells, any line end, rows shorter
//! or longer than the header. A scanner of its own, because positions inside quoted cells are needed and the scan has
//! to go on where a buffer ends; the tests hold it against the csv crate.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::failure::{At, count_lines, failure};
use super::fields::{Field, Value, assemble};
use super::source_map::MappedText;
use super::{Document, Kind, Options, Parsed};

const DELIMITERS: [u8; 4] = *b",\t;|";
/// The header is looked at this far for its delimiter.
const LOOK_BYTES: usize = 64 << 10;

/// The delimiter that the first row has most of, outside quotes.
///
/// Where that row ends depends on the delimiter, as a quote counts at the beginning of a cell only. Counted is up to the first end
/// that any of them sees: so the header alone says the same as the header with all that follows, and a piece of a file is read as
/// the file is.
pub(crate) fn delimiter(bytes: &[u8]) -> u8 {
    let is_end = |byte: &&u8| matches!(byte, b'\n' | b'\r');
    let blank = bytes.iter().take_while(is_end).count();
    let bytes = &bytes[blank..];
    let bytes = &bytes[..bytes.len().min(LOOK_BYTES)];
    let ends = DELIMITERS.map(|delimiter| RowEnd::new(delimiter).feed(bytes));
    let end = ends.into_iter().flatten().min().unwrap_or(bytes.len());
    let count = |delimiter: &u8| {
        let mut row = RowEnd::new(*delimiter);
        let steps = bytes[..end].iter().map(|byte| row.step(*byte));
        steps.filter(|step| *step == Step::Cell).count()
    };
    // Of equal ones the first.
    let best = DELIMITERS
        .iter()
        .rev()
        .max_by_key(|delimiter| count(delimiter));
    best.copied().unwrap_or(DELIMITERS[0])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    CellStart,
    Bare,
    Quoted,
    /// After a quote inside quotes: the end of the cell, or half of a doubled quote.
    Quote,
    /// After a carriage return: a newline still belongs to the row.
    Return,
}

/// Finds the end of a row in bytes that arrive piece by piece.
#[derive(Clone, Debug)]
pub(crate) struct RowEnd {
    delimiter: u8,
    state: State,
}

/// What a byte does to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is part of the cell.
    Text,
    /// It is a quote that delimits.
    Mark,
    /// It is the second of two quotes.
    Doubled,
    /// It ends the cell.
    Cell,
    /// It ends the row, or follows its carriage return.
    End,
    /// The row ended before it.
    Past,
}

impl RowEnd {
    pub(crate) fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            state: State::CellStart,
        }
    }

    fn step(&mut self, byte: u8) -> Step {
        use State::{Bare, CellStart, Quote, Quoted, Return};
        let (state, step) = match (self.state, byte) {
            (Return, b'\n') => (Return, Step::End),
            (Return, _) => (Return, Step::Past),
            (CellStart, b'"') => (Quoted, Step::Mark),
            (Quoted, b'"') => (Quote, Step::Mark),
            (Quoted, _) => (Quoted, Step::Text),
            (Quote, b'"') => (Quoted, Step::Doubled),
            (CellStart | Bare | Quote, byte) if byte == self.delimiter => (CellStart, Step::Cell),
            (CellStart | Bare | Quote, b'\r' | b'\n') => (Return, Step::End),
            (CellStart | Bare | Quote, _) => (Bare, Step::Text),
        };
        self.state = state;
        step
    }

    /// One past the row's line end, if these bytes hold it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match self.step(*byte) {
                Step::End if *byte == b'\n' => return Some(at + 1),
                Step::Past => return Some(at),
                _ => {}
            }
        }
        None
    }
}

/// A row without a record.
pub(crate) fn is_blank(row: &[u8]) -> bool {
    let row = row.strip_prefix(b"\xef\xbb\xbf").unwrap_or(row);
    row.iter().all(|b| matches!(b, b'\r' | b'\n'))
}

/// The bytes up to the end of the first row that is not blank: the header, if `bytes` hold all of it.
pub(crate) fn header_end(bytes: &[u8], is_all: bool) -> Option<usize> {
    let mark = if bytes.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    let delimiter = delimiter(&bytes[mark..]);
    let mut at = mark;
    loop {
        match RowEnd::new(delimiter).feed(&bytes[at..]) {
            Some(len) if is_blank(&bytes[at..at + len]) => at += len,
            Some(len) => return Some(at + len),
            None => return is_all.then_some(bytes.len()),
        }
    }
}

/// A cell: its text with quotes undone, and the source of each part.
#[derive(Debug, Default)]
struct Cell<'a> {
    /// Stretches of text and where they stand. A doubled quote is the second one alone, two bytes wide.
    parts: Vec<(&'a str, Range<usize>)>,
}

impl Cell<'_> {
    fn text(&self) -> String {
        self.parts.iter().map(|(text, _)| *text).collect()
    }
}

impl Value for Cell<'_> {
    fn is_string(&self) -> bool {
        true
    }

    fn is_text(&self) -> bool {
        true
    }

    fn is_blank(&self) -> bool {
        self.parts.iter().all(|(text, _)| text.trim().is_empty())
    }

    fn write(&self, to: &mut MappedText) {
        for (text, range) in &self.parts {
            to.decode(text, range.clone());
        }
    }

    fn id(&self) -> Option<String> {
        (!self.is_blank()).then(|| self.text().trim().to_owned())
    }

    fn write_json(&self, to: &mut String) {
        to.push_str(&serde_json::Value::from(self.text()).to_string());
    }
}

struct Row<'a> {
    cells: Vec<Cell<'a>>,
    range: Range<usize>,
    /// Its last quote was never closed.
    open: bool,
}

/// The row at `at`.
fn row(text: &str, at: usize, delimiter: u8) -> Row<'_> {
    let bytes = text.as_bytes();
    let mut scan = RowEnd::new(delimiter);
    let mut cells = vec![Cell::default()];
    let mut from = at;
    let mut i = at;
    let mut content_end = at;
    while i < bytes.len() {
        let step = scan.step(bytes[i]);
        if step == Step::Past {
            break;
        }
        if step != Step::Text {
            if from < i {
                add(&mut cells, &text[from..i], from..i);
            }
            from = i + 1;
        }
        match step {
            Step::Doubled => add(&mut cells, "\"", i - 1..i + 1),
            Step::Cell => cells.push(Cell::default()),
            _ => {}
        }
        i += 1;
        if step == Step::End {
            if bytes[i - 1] == b'\n' {
                break;
            }
        } else {
            content_end = i;
        }
    }
    if from < i && scan.state != State::Return {
        add(&mut cells, &text[from..i], from..i);
    }
    Row {
        cells,
        range: at..i.max(content_end),
        open: scan.state == State::Quoted,
    }
}

fn add<'a>(cells: &mut [Cell<'a>], text: &'a str, range: Range<usize>) {
    if let Some(cell) = cells.last_mut() {
        cell.parts.push((text, range));
    }
}

/// A header and a document a row. Rows of blank cells are passed over.
pub(crate) fn parse_csv(text: &str, options: &Options) -> Parsed {
    let mut parsed = Parsed::default();
    let mark = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let delimiter = delimiter(&text.as_bytes()[mark..]);
    let mut names: Option<Vec<String>> = None;
    let (mut at, mut record, mut line) = (mark, 0, 1);
    while at < text.len() {
        let row = row(text, at, delimiter);
        let source = &text[row.range.clone()];
        let (row_line, range) = (line, at..at + source.trim_end_matches(['\r', '\n']).len());
        at = row.range.end;
        line += count_lines(source.as_bytes());
        if is_blank(source.as_bytes()) {
            continue;
        }
        let Some(names) = &names else {
            names = Some(header(&row));
            continue;
        };
        if row.open {
            let why = failure(
                "invalid-csv",
                "a quote that opens in this row is never closed",
                "close it, or double it where it is part of the text",
            );
            parsed.failures.push(why.record(record).line(row_line));
        } else if row.cells.iter().any(|cell| !cell.is_blank()) {
            match assemble(&fields(names, row.cells), options) {
                Ok(assembled) => {
                    let (text, map) = assembled.text.finish();
                    parsed.documents.push(Document {
                        id: assembled.id,
                        record,
                        title: assembled.title,
                        text,
                        map,
                        range,
                        metadata: assembled.metadata,
                        kind: Kind::Prose,
                    });
                }
                Err(why) => parsed.failures.push(why.record(record).line(row_line)),
            }
        }
        record += 1;
    }
    parsed
}

fn fields<'n, 'a>(names: &'n [String], cells: Vec<Cell<'a>>) -> Vec<Field<'n, Cell<'a>>> {
    let name = |i: usize| match names.get(i) {
        Some(name) => Cow::Borrowed(name.as_str()),
        None => Cow::Owned(format!("column_{}", i + 1)),
    };
    cells
        .into_iter()
        .enumerate()
        .map(|(i, value)| Field {
            name: name(i),
            value,
        })
        .collect()
}

/// The columns' names: an empty one is `column_N`, the second of two equal ones gets its number.
fn header(row: &Row<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut taken = HashSet::new();
    for (i, cell) in row.cells.iter().enumerate() {
        let name = cell.text().trim().to_owned();
        names.push(match name.as_str() {
            "" => format!("column_{}", i + 1),
            _ if taken.contains(&name) => format!("{name}_{}", i + 1),
            _ => name,
        });
        taken.extend(names.last().cloned());
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str) -> Vec<Vec<String>> {
        let delimiter = b',';
        let mut at = 0;
        let mut rows = Vec::new();
        while at < text.len() {
            let row = row(text, at, delimiter);
            assert!(row.range.end > at);
            if !is_blank(&text.as_bytes()[row.range.clone()]) {
                rows.push(row.cells.iter().map(Cell::text).collect());
            }
            at = row.range.end;
        }
        rows
    }

    #[test]
    fn delimiters() {
        for (text, expect) in [
            ("a,b\n1;2;3", b','),
            ("a;b;c,d\n", b';'),
            ("a\tb", b'\t'),
            ("\"a,b\"|c", b'|'),
            ("a", b','),
            // A quote in the middle of a cell is none, and one at its beginning holds line ends.
            ("two \"words\"\"\n1;2;3\n4;5;6", b','),
            ("\"two\nlines\";b\n1,2,3", b';'),
        ] {
            assert_eq!(delimiter(text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn quoted_cells_map_back() {
        let text = "title,text\r\nT,\"say \"\"hi\"\"\r\nnow\"\r\n";
        let parsed = parse_csv(text, &Options::default());
        let document = &parsed.documents[0];
        assert_eq!(document.text, "T\n\nsay \"hi\"\r\nnow");
        assert_eq!(&text[document.range.clone()], "T,\"say \"\"hi\"\"\r\nnow\"");
        let at = document.text.find("\"hi\"").unwrap();
        assert_eq!(&text[document.map.range(at..at + 4)], "\"\"hi\"\"");
    }

    #[test]
    fn ragged_rows_and_names() {
        let parsed = parse_csv("id,,id\n1,x,y,z\n\n2\n,,\n", &Options::default());
        let told: Vec<_> = parsed
            .documents
            .iter()
            .map(|d| (d.record, d.id.as_deref(), &*d.text, &*d.metadata))
            .collect();
        let metadata = r#"{"column_2":"x","id_3":"y","column_4":"z"}"#;
        assert_eq!(told, [(0, Some("1"), "x\ny\nz", metadata)]);
        assert_eq!(parsed.failures.len(), 1);
    }

    #[test]
    fn an_open_quote_is_told() {
        let parsed = parse_csv("text\nfine\n\"open\nand on", &Options::default());
        assert_eq!(parsed.documents.len(), 1);
        assert_eq!(
            (parsed.failures[0].record, parsed.failures[0].line),
            (Some(1), Some(3))
        );
    }

    proptest! {
        #[test]
        fn rows_are_those_of_the_csv_crate(text in "([ab,\"\r\né]|\r\n){0,40}") {
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(text.as_bytes());
            let expect: Vec<Vec<String>> = reader
                .records()
                .map(|r| r.unwrap().iter().map(str::to_owned).collect())
                .collect();
            prop_assert_eq!(rows(&text), expect);
        }

        #[test]
        fn a_row_ends_at_the_same_place_however_it_arrives(text in "([ab,\"\r\n]|\r\n){0,40}", cut in 0usize..40) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let whole = RowEnd::new(b',').feed(bytes);
            let mut scan = RowEnd::new(b',');
            let pieces = scan.feed(&bytes[..cut]).or_else(|| scan.feed(&bytes[cut..]).map(|end| cut + end));
            prop_assert_eq!(whole, pieces);
        }
    }
}
