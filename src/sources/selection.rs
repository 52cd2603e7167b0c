//! What is in and what is not: one function for the walk, for a single path, and for `explain`.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::{Found, Identity, Roots, SourceOptions, SymlinkPolicy};

mod reason;
pub(super) mod rules;

pub use reason::{Looked, Rule, SkipReason, Verdict};

use rules::Rules;

/// Which files are selected below which roots.
#[derive(Debug)]
pub struct Selection {
    pub(super) options: SourceOptions,
    pub(super) roots: Roots,
    pub(super) cache: rules::Cache,
    include: Gitignore,
    exclude: Gitignore,
    /// The state folder: its path, and its device and inode where it exists.
    state: PathBuf,
    state_inode: Option<(u64, u64)>,
    /// Device on which a scan last found files, by root; 0 before.
    devices: Vec<AtomicU64>,
}

/// A line of `include` or `exclude` is not a pattern.
#[derive(Debug, thiserror::Error)]
#[error("{key} = {line:?}: {error}; write it like a line of a .gitignore file")]
pub struct SelectionError {
    /// The setting.
    pub key: &'static str,
    /// The line.
    pub line: String,
    /// What is wrong with it.
    pub error: String,
}

/// A folder that has been entered, and what decides about its entries.
pub(super) struct Place {
    pub(super) fd: OwnedFd,
    pub(super) dev: u64,
    pub(super) trail: Trail,
}

/// The same, borrowed.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) trail: &'a Trail,
}

/// Device and inode of a folder and of those above it, kept only where links are followed.
#[derive(Clone, Default)]
pub(super) struct Trail(Option<Arc<(u64, u64, Trail)>>);

impl Trail {
    fn has(&self, dev: u64, ino: u64) -> bool {
        let mut trail = self;
        while let Some(step) = &trail.0 {
            if (step.0, step.1) == (dev, ino) {
                return true;
            }
            trail = &step.2;
        }
        false
    }
}

/// What one entry of a folder is.
pub(super) enum Judged {
    File(Identity),
    Folder,
    Skip(SkipReason),
    Gone,
    Unknown(io::Error),
}

impl Selection {
    /// `state` is the state folder, which is never selected; it should exist.
    pub fn new(
        options: &SourceOptions,
        roots: Roots,
        state: &Path,
    ) -> Result<Self, SelectionError> {
        let devices = roots.iter().map(|_| AtomicU64::new(0)).collect();
        Ok(Self {
            include: patterns("include", &options.include)?,
            exclude: patterns("exclude", &options.exclude)?,
            options: options.clone(),
            roots,
            cache: rules::Cache::default(),
            state: super::roots::settled(state, 0).unwrap_or_else(|_| state.to_owned()),
            state_inode: state.metadata().ok().map(|m| (m.dev(), m.ino())),
            devices,
        })
    }

    /// The roots.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The options.
    pub fn options(&self) -> &SourceOptions {
        &self.options
    }

    /// Is the file (or folder) at `path` below `root` selected? As a scan would decide now, but without a walk: some ten
    /// microseconds.
    pub fn admits(&self, root: usize, path: &Path) -> io::Result<Verdict> {
        match self.look(root, path) {
            Looked::File(_) | Looked::Folder => Ok(Verdict::Take),
            Looked::Skipped { reason, .. } => Ok(Verdict::Skip(reason)),
            Looked::Gone => Err(io::ErrorKind::NotFound.into()),
            Looked::Unknown { error, .. } => Err(error),
        }
    }

    /// What is at `path` below `root` now, with the identity that a scan would report.
    pub fn look(&self, root: usize, path: &Path) -> Looked {
        self.descend(root, path).0
    }

    /// Goes down to `path`; also the folders passed, the last one first, and the rules that hold in it.
    pub(super) fn descend(&self, root: usize, path: &Path) -> (Looked, Option<Place>, Rules) {
        let mut rules = Rules::default();
        let mut below = PathBuf::new();
        let mut place = match self.open(root, None, &below, &Trail::default()) {
            Ok(place) => place,
            // Not "gone": nobody can tell what became of the files below a root that is away.
            Err(error) => {
                return (
                    Looked::Unknown {
                        at: below,
                        error: error.into(),
                    },
                    None,
                    rules,
                );
            }
        };
        let device = self.devices[root].load(Ordering::Relaxed);
        let mut names = path.components().peekable();
        while let Some(name) = names.next() {
            let Component::Normal(name) = name else {
                let error =
                    io::Error::new(io::ErrorKind::InvalidInput, "not a path below an input");
                return (
                    Looked::Unknown {
                        at: path.to_owned(),
                        error,
                    },
                    Some(place),
                    rules,
                );
            };
            rules = match rules.enter(
                &self.cache,
                place.fd.as_fd(),
                &self.roots[root].path.join(&below),
                &below,
                self.ignore_files(),
            ) {
                Ok(rules) => rules,
                Err(error) => return (Looked::Unknown { at: below, error }, Some(place), rules),
            };
            below.push(name);
            let Ok(c_name) = CString::new(name.as_bytes()) else {
                return (Looked::Gone, Some(place), rules);
            };
            let at = At {
                fd: place.fd.as_fd(),
                trail: &place.trail,
            };
            let looked = match self.judge(root, at, &below, &c_name, FileType::Unknown, &rules) {
                Judged::Folder if names.peek().is_none() => Looked::Folder,
                Judged::Folder => {
                    match self.open(root, Some(&place), Path::new(name), &place.trail) {
                        Ok(next) => {
                            place = next;
                            continue;
                        }
                        Err(Errno::NOENT | Errno::NOTDIR) => Looked::Gone,
                        Err(error) => Looked::Unknown {
                            at: below,
                            error: error.into(),
                        },
                    }
                }
                Judged::File(identity) if names.peek().is_none() => Looked::File(Found {
                    root,
                    path: path.to_owned(),
                    identity,
                }),
                // A file where there once was a folder.
                Judged::File(_) => Looked::Gone,
                Judged::Skip(reason) => Looked::Skipped { at: below, reason },
                Judged::Gone if device != 0 && self.root_device(root) != Some(device) => {
                    Looked::Unknown {
                        at: PathBuf::new(),
                        error: io::Error::other(
                            "another file system lies at the input than before",
                        ),
                    }
                }
                Judged::Gone => Looked::Gone,
                Judged::Unknown(error) => Looked::Unknown { at: below, error },
            };
            return (looked, Some(place), rules);
        }
        (Looked::Folder, Some(place), rules)
    }

    /// Which ignore files to look for.
    pub(super) fn ignore_files(&self) -> [bool; 2] {
        [self.options.gitignore; 2]
    }

    /// A scan found files below `root`, which lies on this device.
    pub(super) fn seen_on(&self, root: usize, device: u64) {
        self.devices[root].store(device, Ordering::Relaxed);
    }

    fn root_device(&self, root: usize) -> Option<u64> {
        self.roots[root].path.metadata().ok().map(|m| m.dev())
    }

    /// Opens the folder at `path` below `from`, or below the root.
    pub(super) fn open(
        &self,
        root: usize,
        from: Option<&Place>,
        path: &Path,
        trail: &Trail,
    ) -> Result<Place, Errno> {
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if self.options.symlinks != SymlinkPolicy::Follow {
            flags |= OFlags::NOFOLLOW;
        }
        let fd = match from {
            Some(place) => openat(&place.fd, path, flags, Mode::empty())?,
            None if path.as_os_str().is_empty() => {
                openat(CWD, &self.roots[root].path, flags, Mode::empty())?
            }
            None => openat(CWD, self.roots[root].path.join(path), flags, Mode::empty())?,
        };
        let Identity { dev, ino, .. } = identity(&fstat(&fd)?);
        let trail = match self.options.symlinks {
            SymlinkPolicy::Follow => Trail(Some(Arc::new((dev, ino, trail.clone())))),
            _ => Trail::default(),
        };
        Ok(Place { fd, dev, trail })
    }

    /// What the entry `name` of the folder `at` is. `below` is its path below the root, `hint` what the listing says of its type,
    /// `rules` those that hold in it.
    pub(super) fn judge(
        &self,
        root: usize,
        at: At<'_>,
        below: &Path,
        name: &CStr,
        hint: FileType,
        rules: &Rules,
    ) -> Judged {
        let fd = at.fd;
        let mut stat = None;
        let mut kind = hint;
        if kind == FileType::Unknown {
            match entry(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(s) => kind = FileType::from_raw_mode(stat.insert(s).st_mode),
                Err(judged) => return judged,
            }
        }
        if kind == FileType::Symlink {
            if let Err(judged) = self.behind_link(root, at, below, name, &mut stat) {
                return judged;
            }
            kind = stat.map_or(FileType::Unknown, |s| FileType::from_raw_mode(s.st_mode));
        }
        let is_dir = match kind {
            FileType::Directory => true,
            FileType::RegularFile => false,
            _ => return Judged::Skip(SkipReason::Special),
        };
        if let Some(reason) = self.names(root, below, is_dir, rules) {
            return Judged::Skip(reason);
        }
        if is_dir {
            return Judged::Folder;
        }
        let stat = match stat.map_or_else(|| entry(fd, name, AtFlags::SYMLINK_NOFOLLOW), Ok) {
            Ok(stat) => stat,
            Err(judged) => return judged,
        };
        // Between the listing and now it may have become something else; a hint for that is on its way.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Judged::Gone;
        }
        let identity = identity(&stat);
        match self.options.max_file_bytes {
            Some(max) if identity.size > max => Judged::Skip(SkipReason::TooLarge(identity.size)),
            _ => Judged::File(identity),
        }
    }

    /// Puts what the link leads to into `stat`, where the policy lets it.
    fn behind_link(
        &self,
        root: usize,
        at: At<'_>,
        below: &Path,
        name: &CStr,
        stat: &mut Option<Stat>,
    ) -> Result<(), Judged> {
        if self.options.symlinks == SymlinkPolicy::Skip {
            return Err(Judged::Skip(SkipReason::Symlink));
        }
        let target = match statat(at.fd, name, AtFlags::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                return Err(Judged::Skip(SkipReason::SymlinkDangling));
            }
            Err(error) => return Err(Judged::Unknown(error.into())),
            Ok(target) => stat.insert(target),
        };
        let Identity { dev, ino, .. } = identity(target);
        let is_dir = FileType::from_raw_mode(target.st_mode) == FileType::Directory;
        if is_dir && self.options.symlinks == SymlinkPolicy::Files {
            return Err(Judged::Skip(SkipReason::SymlinkToFolder));
        }
        if is_dir && at.trail.has(dev, ino) {
            return Err(Judged::Skip(SkipReason::Loop));
        }
        let path = match self.roots[root].path.join(below).canonicalize() {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Judged::Gone),
            Err(error) => return Err(Judged::Unknown(error)),
        };
        if path.starts_with(&self.state) || (is_dir && self.state_inode == Some((dev, ino))) {
            return Err(Judged::Skip(SkipReason::State));
        }
        let inside = self.roots.iter().any(|root| path.starts_with(&root.path));
        if !inside && self.options.symlinks == SymlinkPolicy::Files {
            return Err(Judged::Skip(SkipReason::SymlinkOutside(path)));
        }
        Ok(())
    }

    /// What the name alone decides. The folders above are taken to be selected.
    pub(super) fn names(
        &self,
        root: usize,
        below: &Path,
        is_dir: bool,
        rules: &Rules,
    ) -> Option<SkipReason> {
        let name = below.file_name().unwrap_or_default().as_bytes();
        if is_dir
            && self
                .state
                .strip_prefix(&self.roots[root].path)
                .is_ok_and(|state| state == below)
        {
            return Some(SkipReason::State);
        }
        if self.options.gitignore && matches!(name, b".git" | b".hg" | b".svn" | b".jj") {
            return Some(SkipReason::Repository);
        }
        if let Match::Ignore(glob) = self.exclude.matched(below, is_dir) {
            return Some(SkipReason::Excluded(glob.original().to_owned()));
        }
        match rules.decide(below, is_dir) {
            Match::Ignore(glob) => {
                let file = glob.from().unwrap_or(Path::new("")).to_owned();
                return Some(SkipReason::Ignored(Rule {
                    file,
                    line: glob.original().to_owned(),
                }));
            }
            Match::None if !self.options.hidden && name.starts_with(b".") => {
                return Some(SkipReason::Hidden);
            }
            _ => {}
        }
        if !is_dir
            && !self.options.include.is_empty()
            && !self
                .include
                .matched_path_or_any_parents(below, false)
                .is_ignore()
        {
            return Some(SkipReason::NotIncluded);
        }
        None
    }
}

fn patterns(key: &'static str, lines: &[String]) -> Result<Gitignore, SelectionError> {
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        let wrong = |error: ignore::Error| SelectionError {
            key,
            line: line.clone(),
            error: error.to_string(),
        };
        builder.add_line(None, line).map_err(wrong)?;
    }
    builder.build().map_err(|error| SelectionError {
        key,
        line: lines.join(", "),
        error: error.to_string(),
    })
}

fn entry(fd: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Stat, Judged> {
    statat(fd, name, flags).map_err(|error| match error {
        Errno::NOENT | Errno::NOTDIR => Judged::Gone,
        error => Judged::Unknown(error.into()),
    })
}

// The fields' types differ between platforms.
#[allow(clippy::unnecessary_cast)]
fn identity(stat: &Stat) -> Identity {
    let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
    Identity {
        dev: stat.st_dev as u64,
        ino: stat.st_ino as u64,
        size: stat.st_size as u64,
        mtime_ns: ns(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime_ns: ns(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
    }
}

/// The last name of a path, as the file system has it.
pub(super) fn os_name(name: &CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}

#[cfg(test)]
mod tests;
