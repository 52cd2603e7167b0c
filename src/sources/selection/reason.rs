//! What was seen at a path, and why it is not selected, in words for its owner.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::super::Found;

/// Is a path selected?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes (a folder: it is entered).
    Take,
    /// No.
    Skip(SkipReason),
}

/// Why a path is not selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// It is floodmark's own state.
    State,
    /// It is a repository's own folder.
    Repository,
    /// Its name begins with a dot.
    Hidden,
    /// A line of `exclude` leaves it out.
    Excluded(String),
    /// No line of `include` matches it.
    NotIncluded,
    /// An ignore file leaves it out.
    Ignored(Rule),
    /// It is a symbolic link, and those are left out.
    Symlink,
    /// It is a link to a folder, and only links to files are taken.
    SymlinkToFolder,
    /// It is a link to a file outside the roots.
    SymlinkOutside(PathBuf),
    /// It is a link that leads nowhere.
    SymlinkDangling,
    /// It is a link to a folder that contains it.
    Loop,
    /// It is a pipe, a socket or a device.
    Special,
    /// It has so many bytes, which is more than `max_file_bytes`.
    TooLarge(u64),
}

/// A line of an ignore file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The file.
    pub file: PathBuf,
    /// The line, as it is written there.
    pub line: String,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State => f.write_str("it is floodmark's own state"),
            Self::Repository => f.write_str("it belongs to a repository's own bookkeeping"),
            Self::Hidden => {
                f.write_str("its name begins with a dot (set hidden = true to take such files)")
            }
            Self::Excluded(line) => write!(f, "exclude has the line {line:?}"),
            Self::NotIncluded => f.write_str("no line of include matches it"),
            Self::Ignored(rule) => {
                write!(f, "{} has the line {:?}", rule.file.display(), rule.line)
            }
            Self::Symlink => f.write_str("it is a symbolic link (see symlinks)"),
            Self::SymlinkToFolder => {
                f.write_str("it is a link to a folder (set symlinks = \"follow\" to enter it)")
            }
            Self::SymlinkOutside(target) => {
                write!(
                    f,
                    "it is a link to {}, outside every input (see symlinks)",
                    target.display()
                )
            }
            Self::SymlinkDangling => f.write_str("it is a link that leads nowhere"),
            Self::Loop => f.write_str("it is a link to a folder that contains it"),
            Self::Special => f.write_str("it is neither a file nor a folder"),
            Self::TooLarge(bytes) => write!(f, "it has {bytes} bytes, more than max_file_bytes"),
        }
    }
}

/// What was seen at one path.
#[derive(Debug)]
pub enum Looked {
    /// A selected file.
    File(Found),
    /// A folder that a scan enters.
    Folder,
    /// `at` (the path or a folder above it) is there and not selected.
    Skipped {
        /// Path below the root.
        at: PathBuf,
        /// Why.
        reason: SkipReason,
    },
    /// It is not there.
    Gone,
    /// It could not be looked at: neither there nor gone.
    Unknown {
        /// Path below the root.
        at: PathBuf,
        /// Why.
        error: io::Error,
    },
}
