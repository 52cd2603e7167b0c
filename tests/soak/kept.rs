//! What may be left of a file that turned bad, where `on-bad = keep`: all of one version that was good, and nothing of any other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use floodmark::formats;
use floodmark::store::{Snapshot, Standing, StoreError, escape_path};

use crate::site::files_below;
use crate::support::{Expected, ExportLine, Words, exported, read};

/// Lines of the index by path.
pub type Lines = BTreeMap<String, Vec<ExportLine>>;

/// Every version of every file, good or bad, in the order in which they came.
#[derive(Default)]
pub struct Versions {
    seen: RefCell<BTreeMap<String, Vec<Vec<u8>>>>,
}

impl Versions {
    /// Remembers what lies in `root` now.
    pub fn look(&self, root: &Path) {
        let mut seen = self.seen.borrow_mut();
        for path in files_below(root) {
            let (Ok(bytes), Ok(name)) = (fs::read(&path), path.strip_prefix(root)) else {
                continue;
            };
            let versions = seen.entry(escape_path(name).to_string()).or_default();
            if !versions.contains(&bytes) {
                versions.push(bytes);
            }
        }
    }

    /// Adds to `expected` what is kept of the `dead`, which must be one good version of each; of those in `stood`, what stood there
    /// before the run that found them bad. Gives how many are kept.
    pub fn stand_in(
        &self,
        snapshot: &Snapshot,
        dead: &BTreeSet<String>,
        stood: Option<&Lines>,
        expected: &mut Expected,
    ) -> Result<u64, String> {
        let have = by_path(snapshot);
        let mut kept = 0;
        for path in dead {
            let lines = have.get(path).map_or(&[][..], Vec::as_slice);
            if let Some(before) = stood.and_then(|stood| stood.get(path))
                && before != lines
            {
                return Err(format!(
                    "I1: {path} turned bad; {} lines of it stood before, {} do now",
                    before.len(),
                    lines.len()
                ));
            }
            if lines.is_empty() {
                continue;
            }
            let Some(version) = self.version(path, lines) else {
                return Err(format!(
                    "I1: {path} is bad, and what is in the index of it ({} lines) was never a version of it",
                    lines.len()
                ));
            };
            expected.lines.extend(version.lines);
            expected.texts.extend(version.texts);
            kept += 1;
        }
        // The order of the export.
        expected.lines.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(kept)
    }

    /// The good version that has these lines.
    fn version(&self, path: &str, lines: &[ExportLine]) -> Option<Expected> {
        self.seen.borrow().get(path)?.iter().find_map(|bytes| {
            let (mut version, options) = (Expected::default(), formats::Options::default());
            read(path, bytes, &options, &Words, &mut version)?;
            (version.lines == lines).then_some(version)
        })
    }
}

fn by_path(snapshot: &Snapshot) -> Lines {
    let mut lines = Lines::new();
    for line in exported(snapshot).0 {
        lines.entry(line.path.clone()).or_default().push(line);
    }
    lines
}

/// The lines of each file that stands there whole: as it is, or as it was when it was good.
pub fn standing(snapshot: &Snapshot) -> Result<Lines, StoreError> {
    let mut lines = by_path(snapshot);
    let whole: BTreeSet<String> = (snapshot.files(None)?.iter())
        .filter(|file| matches!(file.standing, Standing::Indexed | Standing::Dead { .. }))
        .map(|file| escape_path(&file.path).to_string())
        .collect();
    lines.retain(|path, _| whole.contains(path));
    Ok(lines)
}
