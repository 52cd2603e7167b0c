//! Hits as a person reads them.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::super::{CliError, print};
use crate::answers::{Found, Snippet};

/// Width of a title.
const TITLE_CHARACTERS: usize = 150;

/// What the reader's screen can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Words that were looked for stand out.
    pub colour: bool,
    /// Paths can be clicked.
    pub links: bool,
}

impl Style {
    /// Of standard output: plain where it is no terminal. `NO_COLOR` takes the colours (no-color.org).
    pub fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let terminal = std::io::stdout().is_terminal() && !dumb;
        Self {
            colour: terminal && !set("NO_COLOR"),
            links: terminal,
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Text that opens the file when it is clicked (OSC 8).
    fn link(self, path: &str, text: &str) -> String {
        if !self.links || !path.starts_with('/') {
            return text.to_owned();
        }
        let mut uri = String::new();
        for &byte in Path::new(path).as_os_str().as_bytes() {
            if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
        format!("\x1b]8;;file://{uri}\x1b\\{text}\x1b]8;;\x1b\\")
    }

    fn snippet(self, snippet: &Snippet) -> String {
        let (text, mut at, mut out) = (&snippet.text, 0, String::new());
        for mark in &snippet.marks {
            // Marks that don't fit come from another version: they are left out.
            let (Some(before), Some(marked)) =
                (text.get(at..mark.start), text.get(mark.start..mark.end))
            else {
                break;
            };
            out.push_str(&print::plain(before));
            out.push_str(&self.paint("1;33", &print::plain(marked)));
            at = mark.end;
        }
        out + &print::plain(text.get(at..).unwrap_or_default())
    }
}

/// Writes what was found, numbered from behind `offset`.
pub fn write(
    found: &Found,
    offset: usize,
    style: Style,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    for (number, hit) in (offset + 1..).zip(&found.hits) {
        let path = print::plain(&hit.path);
        let path = style.link(&hit.path, &style.paint("1;36", &path));
        let stale = if hit.stale { ", an older version" } else { "" };
        let (start, end, score) = (hit.start, hit.end, hit.score);
        let place = style.paint("2", &format!(":{start}-{end}  ({score:.3}{stale})"));
        writeln!(out, "{number:2}. {path}{place}")?;
        if let Some(title) = &hit.title {
            let title = print::snippet(title, TITLE_CHARACTERS);
            writeln!(out, "    {}", style.paint("1", &title))?;
        }
        if hit.snippet.text.is_empty() {
            writeln!(out, "    {}", print::snippet(&hit.text, TITLE_CHARACTERS))?;
        } else {
            writeln!(out, "    {}", style.snippet(&hit.snippet))?;
        }
        for passage in &hit.more {
            let place = style.paint("2", &format!("{}-{}", passage.start, passage.end));
            writeln!(out, "    {place}  {}", style.snippet(&passage.snippet))?;
        }
        match hit.other_paths.as_slice() {
            [] => {}
            [other] => writeln!(out, "    also in {}", print::plain(other))?,
            [other, rest @ ..] => {
                let rest = print::count(rest.len() as u64, "other file");
                writeln!(out, "    also in {} and {rest}", print::plain(other))?;
            }
        }
    }
    if let (Some(next), true) = (found.next, style.links) {
        let epoch = found.epoch;
        let hint = format!("    more: --offset {next} --as-of {epoch}");
        writeln!(out, "{}", style.paint("2", &hint))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{Hit, Mark, Passage};

    fn found() -> Found {
        let snippet = |text: &str, start, end| Snippet {
            text: text.into(),
            marks: vec![Mark { start, end }],
        };
        Found {
            epoch: 7,
            hits: vec![Hit {
                path: "/notes/a b\u{1b}.md".into(),
                start: 3,
                end: 9,
                score: 1.5,
                title: Some("Tides".into()),
                text: "The tide".into(),
                snippet: snippet("The tide", 4, 8),
                more: vec![Passage {
                    start: 20,
                    end: 30,
                    snippet: snippet("tides", 0, 5),
                    ..Passage::default()
                }],
                ..Hit::default()
            }],
            next: Some(1),
            dense_weight: None,
            rerank: None,
        }
    }

    fn written(style: Style) -> String {
        let mut out = Vec::new();
        write(&found(), 0, style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn without_a_terminal_it_is_plain_text() {
        assert_eq!(
            written(Style::default()),
            " 1. /notes/a b\u{fffd}.md:3-9  (1.500)\n    Tides\n    The tide\n    20-30  tides\n"
        );
    }

    #[test]
    fn on_a_terminal_words_stand_out_and_paths_can_be_clicked() {
        let links = written(Style {
            colour: false,
            links: true,
        });
        assert!(
            links.starts_with(
                " 1. \x1b]8;;file:///notes/a%20b%1B.md\x1b\\/notes/a b\u{fffd}.md\x1b]8;;\x1b\\:3-9"
            ),
            "{links:?}"
        );
        assert!(
            links.ends_with("    more: --offset 1 --as-of 7\n"),
            "{links:?}"
        );
        let colour = written(Style {
            colour: true,
            links: false,
        });
        assert!(colour.contains("The \x1b[1;33mtide\x1b[0m\n"), "{colour:?}");
        assert!(!colour.contains("]8;;"));
    }

    #[test]
    fn a_mark_that_does_not_fit_is_no_panic() {
        let mut found = found();
        found.hits[0].snippet.marks = vec![Mark { start: 1, end: 99 }, Mark { start: 2, end: 1 }];
        write(&found, 0, Style::default(), &mut Vec::new()).unwrap();
    }
}
