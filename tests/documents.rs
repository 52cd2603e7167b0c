//! The pages say what the program is: code that a page shows stands in the file that it names, and links lead somewhere.
//!
//! A block of code is checked if the line above it is `<!-- from PATH -->`. It must stand in PATH, to the letter.

use std::path::{Path, PathBuf};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and the pages of docs/, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = vec![top().join("README.md"), top().join("CONTRIBUTING.md")];
    let docs = std::fs::read_dir(top().join("docs")).unwrap();
    paths.extend(
        docs.map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
    );
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn code_that_is_shown_stands_in_the_file_that_is_named() {
    let mut checked = 0;
    for (page, text) in pages() {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(file) = line
                .strip_prefix("<!-- from ")
                .and_then(|rest| rest.strip_suffix(" -->"))
            else {
                continue;
            };
            assert!(
                lines.next().is_some_and(|fence| fence.starts_with("```")),
                "{}: {line}",
                page.display()
            );
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let source = std::fs::read_to_string(top().join(file)).unwrap();
            let source: Vec<&str> = source.lines().collect();
            // A block may be shown less indented than it stands.
            let stands = source.windows(block.len()).any(|window| {
                let indent = window[0].len() - window[0].trim_start().len();
                window.iter().zip(&block).all(|(stands, shown)| {
                    stands == shown || stands.get(indent..).unwrap_or("") == *shown
                })
            });
            assert!(
                stands,
                "{}: this does not stand in {file}:\n{}",
                page.display(),
                block.join("\n")
            );
            checked += 1;
        }
    }
    assert!(
        checked >= 8,
        "only {checked} blocks were found: has the mark changed?"
    );
}

#[test]
fn links_lead_somewhere() {
    for (page, text) in pages() {
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(
                page.parent().unwrap().join(path).exists(),
                "{} links to {target}",
                page.display()
            );
        }
    }
}

#[test]
fn every_command_stands_in_the_readme() {
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap();
    for command in floodmark::cli::command()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let name = command.get_name();
        let stands = readme.lines().any(|line| {
            line.starts_with("| `")
                && line
                    .split('|')
                    .nth(1)
                    .is_some_and(|cell| cell.contains(name))
        });
        assert!(stands, "README.md's table of commands lacks {name}");
    }
}

#[test]
fn the_librarys_defaults_are_those_of_the_configuration() {
    use floodmark::worker::{Mode, Options};
    let library = Options::new(Mode::Once, ".floodmark", vec!["data/raw".into()]);
    let config = floodmark::config::Layers::default().resolve().unwrap();
    assert_eq!(library.batch_tokens, config.batch_tokens);
    assert_eq!(library.epochs_in_flight as u64, config.epochs_in_flight);
    assert_eq!(library.epoch_target_ms, config.epoch_target_ms);
    assert_eq!(library.patience.tries, config.retries);
    assert_eq!(library.patience.base_ms, config.retry_base_ms);
    assert_eq!(library.sources.inputs, config.input);
    assert_eq!(library.sources.rescan_secs, config.rescan.as_secs());
    assert_eq!(library.formats.segment_bytes, config.segment_bytes);
    assert_eq!(library.formats.segment_documents, config.segment_documents);
}
