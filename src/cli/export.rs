//! `floodmark export`: one [`crate::answers::Exported`] a line.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{CliError, Exit};
use crate::answers::{Exported, shown};
use crate::config::Config;
use crate::store::{ExportRow, Reader, Snapshot, StoreError};

/// Streams the live index, sorted: the same index gives the same bytes, whoever made it and wherever the inputs lie.
pub fn run(config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if !config.state.is_dir() {
        return Err(CliError::NoState(config.state.clone()));
    }
    let store = Reader::open(&config.state)
        .and_then(|reader| reader.snapshot())
        .map_err(could_not)?;
    write(&store, config.vectors, out)?;
    Ok(Exit::Done)
}

fn could_not(error: StoreError) -> CliError {
    match error {
        StoreError::Sink(error) => CliError::Output(error),
        error => CliError::CouldNotLook(error.to_string()),
    }
}

fn write(store: &Snapshot, vectors: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let roots = labels(store.live_roots().map_err(could_not)?);
    let mut without_vector = 0u64;
    for (root, label) in &roots {
        let row = |row: &ExportRow<'_>| match row.vector_hash {
            Some(hash) => line(row, label, hash, out),
            // Another model's successor has not come to it yet, so it is not in the index.
            None => {
                without_vector += 1;
                Ok(())
            }
        };
        store.export_root(root, vectors, row).map_err(could_not)?;
    }
    if without_vector > 0 {
        tracing::warn!(
            chunks = without_vector,
            "chunks without a vector are not in the index and are left out; the next run embeds them"
        );
    }
    Ok(())
}

fn line(row: &ExportRow<'_>, label: &str, hash: &str, out: &mut dyn Write) -> io::Result<()> {
    let exported = Exported {
        path: format!("{label}{}", shown(row.path)),
        document: row.document.to_owned(),
        chunk: u64::from(row.chunk),
        start: row.start,
        end: row.end,
        text_hash: row.text_hash,
        vector_hash: hash.to_owned(),
        vector: row.vector.map(<[f32]>::to_vec),
    };
    serde_json::to_writer(&mut *out, &exported)?;
    out.write_all(b"\n")
}

/// What stands before the paths of each root: nothing where there is one; else the folder's name, and where two have the
/// same, the whole path. In the order of the lines.
fn labels(roots: Vec<PathBuf>) -> Vec<(PathBuf, String)> {
    if let [_] = roots.as_slice() {
        return roots
            .into_iter()
            .map(|root| (root, String::new()))
            .collect();
    }
    let name = |root: &Path| root.file_name().map(|name| shown(Path::new(name)));
    let mut names: HashMap<Option<String>, u32> = HashMap::new();
    for root in &roots {
        *names.entry(name(root)).or_default() += 1;
    }
    let mut labels: Vec<(PathBuf, String)> = roots
        .into_iter()
        .map(|root| {
            let label = match name(&root) {
                Some(own) if names.get(&Some(own.clone())) == Some(&1) => own,
                _ => shown(&root).trim_end_matches('/').to_owned(),
            };
            (root, format!("{label}/"))
        })
        .collect();
    labels.sort_by(|a, b| a.1.cmp(&b.1));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_no_more_of_the_machine_than_it_must() {
        let label = |roots: &[&str]| -> Vec<String> {
            let roots = roots.iter().map(PathBuf::from).collect();
            labels(roots).into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(label(&["/home/ada/notes"]), [""]);
        assert_eq!(
            label(&["/x/notes", "/x/a b", "/y/a"]),
            ["a b/", "a/", "notes/"]
        );
        assert_eq!(label(&["/y/a", "/x/a", "/b"]), ["/x/a/", "/y/a/", "b/"]);
        assert!(label(&[]).is_empty());
    }
}
