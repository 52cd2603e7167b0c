//! Results on standard output, for people or for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::CliError;

/// One JSON value on one line.
pub fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), CliError> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// `name  value`, a pair a line, the values below each other.
pub fn pairs(out: &mut dyn Write, pairs: &[(&str, String)]) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs
        .iter()
        .try_for_each(|(name, value)| writeln!(out, "{name:width$}  {value}"))
}

/// What a terminal would take for a command is shown instead: names and texts of files are not ours.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The first `width` characters of a text on one line.
pub fn snippet(text: &str, width: usize) -> String {
    let line = plain(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    match line.char_indices().nth(width) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// `3 files`, `1 file`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_one_line_that_no_terminal_obeys() {
        assert_eq!(
            snippet("the tide\n\n came \x1b[2Jin", 80),
            "the tide came \u{fffd}[2Jin"
        );
        assert_eq!(snippet("漢字漢字漢字", 4), "漢字漢字…");
        assert_eq!(snippet("", 4), "");
    }
}
