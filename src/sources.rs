//! Where files come from: a walk, a watch, a replay. They hand over hints; nothing here reads a file's bytes.
//!
//! ```text
//!  options ─▶ roots ─▶ selection ──┬─▶ scan    every file there is, now          (arms the watch, folder by folder)
//!                                  ├─▶ watch   which path may have changed
//!                                  ├─▶ look    one path, judged exactly as the scan would judge it
//!                                  └─▶ replay  every file, oldest first
//! ```
//!
//! Two things hold everywhere below. What is not there is *gone* only if somebody looked: a folder that can't be read, a
//! root that is away or a scan that was broken off leaves doubt, never a deletion. And one function decides what is
//! selected, for the scan and for a single path alike.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use floodmark_operators::keys::PathKey;
use serde::{Deserialize, Serialize};

pub mod identity;
pub mod raw_path;
pub mod replay;
pub mod roots;
pub mod scan;
pub mod selection;
pub mod watch;

pub use identity::Identity;
pub use replay::replay;
pub use roots::{Root, Roots, RootsError, resolved};
pub use scan::{Doubt, Fate, ScanError, ScanReport, Scope, away, scan};
pub use selection::{Looked, Rule, Selection, SelectionError, SkipReason, Verdict};
pub use watch::{Event, Limits, Mode, PollReason, RescanReason, Watcher, watch};

/// Which files, and how changes to them are noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceOptions {
    /// Folders to index, with everything below them.
    pub inputs: Vec<PathBuf>,
    /// Take only files that match one of these lines (all files when empty). Syntax of a `.gitignore` line, relative to
    /// the root: `*.md`, `docs/`, `/src/**/*.rs`.
    pub include: Vec<String>,
    /// Leave out what matches one of these lines, folders with all they contain. Same syntax; a later `!line` takes back
    /// an earlier one.
    pub exclude: Vec<String>,
    /// Honour `.gitignore` and `.floodmarkignore` from the root downward, also outside a repository, and leave out the
    /// repository's own folders (`.git`, `.hg`, `.svn`, `.jj`). Where the two disagree, `.floodmarkignore` wins.
    pub gitignore: bool,
    /// Take names that begin with a dot. One that an ignore file names with `!` is taken in any case.
    pub hidden: bool,
    /// What to do with symbolic links.
    pub symlinks: SymlinkPolicy,
    /// Leave out files that are larger, in bytes.
    pub max_file_bytes: Option<u64>,
    /// Seconds between two full scans beside the watch, in case a hint was lost.
    pub rescan_secs: u64,
    /// A file whose writer does not close it is looked at when it was quiet for so long, in milliseconds (and, if it is
    /// never quiet, every ten times that).
    pub settle_ms: u64,
    /// A root that held files and holds nothing now was emptied on purpose: its files are gone. Else they are kept, because
    /// nobody can tell that from a disk that is away.
    pub confirm_empty: bool,
    /// Whether to scan periodically in place of watching.
    pub poll: PollPolicy,
    /// Seconds between two scans of a root that can't be watched.
    pub poll_secs: u64,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            inputs: vec![PathBuf::from("data/raw")],
            include: Vec::new(),
            exclude: Vec::new(),
            gitignore: true,
            hidden: false,
            symlinks: SymlinkPolicy::Skip,
            max_file_bytes: None,
            rescan_secs: 300,
            settle_ms: 500,
            confirm_empty: false,
            poll: PollPolicy::Auto,
            poll_secs: 5,
        }
    }
}

/// What to do with symbolic links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SymlinkPolicy {
    /// Leave them out.
    #[default]
    Skip,
    /// Take links to files that lie below one of the roots.
    Files,
    /// Take links to files and to folders, wherever they lead; a link back to a folder above itself is left out. What
    /// changes behind a link to a file is noticed by the periodic scan only.
    Follow,
}

/// Whether to scan periodically in place of watching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PollPolicy {
    /// Watch, except on file systems that don't tell of changes made elsewhere (NFS, SMB, FUSE, …).
    #[default]
    Auto,
    /// Never watch.
    Always,
    /// Watch in any case.
    Never,
}

/// A file that is selected and is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Number of its root.
    pub root: usize,
    /// Its path below the root, byte for byte as the file system has it.
    pub path: PathBuf,
    /// What `stat` says of it.
    pub identity: Identity,
}

/// The key of the file at `path` below `root` (absolute, canonical).
pub fn key(root: &Path, path: &Path) -> PathKey {
    PathKey::of(&[root.as_os_str().as_bytes(), path.as_os_str().as_bytes()])
}

#[cfg(test)]
mod tests;
