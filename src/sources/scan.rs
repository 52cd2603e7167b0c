//! The walk: every selected file there is, with its `stat`, and an honest account of what could not be seen.
//!
//! One folder is open at a time. It is watched before it is listed (where there is a watch), so that nothing can come
//! into being between the two unnoticed; its entries are looked at in the order of their inodes, which is the order on the disk.

use std::collections::{BTreeSet, HashSet};
use std::ffi::CString;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::selection::rules::{NAMES, Rules};
use super::selection::{At, Judged, Looked, Trail, os_name};
use super::watch::Armed;
use super::{Found, Identity, Selection, SymlinkPolicy, Watcher};

/// How much to walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every root.
    All,
    /// One root.
    Root(usize),
    /// What lies at and below `path`.
    Subtree {
        /// Number of the root.
        root: usize,
        /// Path below it; empty for all of it.
        path: PathBuf,
    },
}

/// What a walk saw, and what it could not see.
#[derive(Debug)]
pub struct ScanReport {
    /// What was to be walked.
    pub scope: Scope,
    /// Files found.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Folders listed.
    pub folders: u64,
    /// Entries left out.
    pub skipped: u64,
    /// What could not be looked at. Everything at and below these paths is unknown.
    pub errors: Vec<ScanError>,
    /// Roots that are not there.
    pub roots_missing: Vec<usize>,
    /// Roots that hold nothing, but for folders: no file, and nothing that is left out. If they held files before, somebody
    /// emptied them, or a disk is away; nobody can tell. Empty if that is to be taken for an answer
    /// ([`SourceOptions::confirm_empty`](super::SourceOptions::confirm_empty)).
    pub roots_empty: Vec<usize>,
    /// False if it was broken off.
    pub complete: bool,
    /// Every (root, device) on which something was seen.
    devices: BTreeSet<(usize, u64)>,
    /// Where links are taken, a file need not lie on the device of its folder.
    links: bool,
    /// The files were named, not searched for.
    listed: bool,
}

/// A path that could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("can't look at {}: {error}", path.display())]
pub struct ScanError {
    /// Number of its root.
    pub root: usize,
    /// Its path below the root; empty for the root itself.
    pub below: PathBuf,
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// What became of a file that a walk did not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is gone, or no longer selected.
    Gone,
    /// Nobody can tell.
    Unknown(Doubt),
}

/// Why nobody can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The walk did not come by.
    NotWalked,
    /// This path (of the file or of a folder above it, below the root) could not be looked at.
    Unreadable(PathBuf),
    /// Its root is not there.
    RootMissing,
    /// Nothing was seen of the file system on which it was: a disk is away.
    DeviceAway,
    /// Its root is there and holds nothing any more.
    Emptied,
}

impl Doubt {
    /// Why nobody can tell, and what there is to do, for people.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NotWalked => "nobody has looked there yet",
            Self::Unreadable(_) => "a folder above can't be read",
            Self::RootMissing => {
                "the input is not there; if that is for good, `floodmark forget` takes its files out of the index"
            }
            Self::DeviceAway => {
                "another file system lies there than before: a disk seems to be away; if that is for good, `floodmark forget` \
                 takes its files out of the index"
            }
            Self::Emptied => {
                "the input held files and holds nothing now, as if a disk were away; if it was emptied on purpose, \
                 `floodmark forget` takes its files out of the index, or a run with --confirm-empty"
            }
        }
    }
}

impl ScanReport {
    fn new(selection: &Selection, scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            files: 0,
            bytes: 0,
            folders: 0,
            skipped: 0,
            errors: Vec::new(),
            roots_missing: Vec::new(),
            roots_empty: Vec::new(),
            complete: true,
            devices: BTreeSet::new(),
            links: selection.options.symlinks != SymlinkPolicy::Skip,
            listed: false,
        }
    }

    /// Of a source that was told of every file: what it did not name is gone. (It is asked about each such file before that
    /// is believed.)
    pub fn listed(selection: &Selection, files: u64) -> Self {
        Self {
            files,
            listed: true,
            ..Self::new(selection, &Scope::All)
        }
    }

    /// For files that were known and not found: how to tell the fate of each. `identity` is what was known of it.
    ///
    /// Only `Fate::Gone` is a deletion. The folder under a mount point lies on another device than the files that were seen
    /// there, and that is a disk that is away. An empty root on the same device may be either: a folder that was mounted from
    /// elsewhere on the same disk, or one that was emptied while nobody watched.
    pub fn fates(&self) -> impl Fn(usize, &Path, &Identity) -> Fate + '_ {
        let unreadable: HashSet<(usize, &Path)> = self
            .errors
            .iter()
            .map(|e| (e.root, e.below.as_path()))
            .collect();
        move |root, path, identity| {
            let walked = match &self.scope {
                Scope::All => true,
                Scope::Root(r) => *r == root,
                Scope::Subtree {
                    root: r,
                    path: below,
                } => *r == root && path.starts_with(below),
            };
            if self.roots_missing.contains(&root) {
                return Fate::Unknown(Doubt::RootMissing);
            }
            if !walked || !self.complete {
                return Fate::Unknown(Doubt::NotWalked);
            }
            if self.listed {
                return Fate::Gone;
            }
            if !unreadable.is_empty()
                && let Some(at) = path
                    .ancestors()
                    .find(|at| unreadable.contains(&(root, *at)))
            {
                return Fate::Unknown(Doubt::Unreadable(at.to_owned()));
            }
            let seen = self.devices.contains(&(root, identity.dev));
            if !(seen || self.links && self.files > 0) {
                return Fate::Unknown(Doubt::DeviceAway);
            }
            if self.roots_empty.contains(&root) {
                return Fate::Unknown(Doubt::Emptied);
            }
            Fate::Gone
        }
    }
}

/// Walks `scope` and hands over every selected file, until `found` says `Break`. With a `watcher`, every folder is
/// watched from before it is listed.
pub fn scan(
    selection: &Selection,
    watcher: Option<&Watcher>,
    scope: &Scope,
    found: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> ScanReport {
    let mut walk = Walk {
        selection,
        watcher,
        found,
        report: ScanReport::new(selection, scope),
        pending: Vec::new(),
    };
    let walked = match scope {
        Scope::All => (0..selection.roots.len()).try_for_each(|root| walk.root(root)),
        Scope::Root(root) => walk.root(*root),
        Scope::Subtree { root, path } if path.as_os_str().is_empty() => walk.root(*root),
        Scope::Subtree { root, path } => walk.subtree(*root, path),
    };
    walk.report.complete = walked.is_continue();
    walk.report
}

/// Why nobody could tell, if it was asked now, what became of a file below `root` that is not there: the root is missing, or
/// empty. Ends at the first file that it finds.
pub fn away(selection: &Selection, root: usize) -> Option<Doubt> {
    let report = scan(selection, None, &Scope::Root(root), &mut |_| {
        ControlFlow::Break(())
    });
    if report.roots_missing.contains(&root) {
        Some(Doubt::RootMissing)
    } else if report.roots_empty.contains(&root) {
        Some(Doubt::Emptied)
    } else {
        None
    }
}

/// A folder to be listed.
struct Pending {
    path: PathBuf,
    rules: Rules,
    trail: Trail,
}

struct Walk<'a> {
    selection: &'a Selection,
    watcher: Option<&'a Watcher>,
    found: &'a mut dyn FnMut(Found) -> ControlFlow<()>,
    report: ScanReport,
    pending: Vec<Pending>,
}

impl Walk<'_> {
    fn root(&mut self, root: usize) -> ControlFlow<()> {
        let (files, skipped) = (self.report.files, self.report.skipped);
        let missing = self.report.roots_missing.len();
        if let Some(watcher) = self.watcher {
            watcher.arm_parent(root);
        }
        self.pending.push(Pending {
            path: PathBuf::new(),
            rules: Rules::default(),
            trail: Trail::default(),
        });
        self.drain(root)?;
        let empty = (self.report.files, self.report.skipped) == (files, skipped);
        let there = self.report.roots_missing.len() == missing;
        if empty && there && !self.selection.options.confirm_empty {
            self.report.roots_empty.push(root);
        }
        if self.report.files > files
            && let Ok(place) = self
                .selection
                .open(root, None, Path::new(""), &Trail::default())
        {
            self.selection.seen_on(root, place.dev);
        }
        ControlFlow::Continue(())
    }

    fn subtree(&mut self, root: usize, path: &Path) -> ControlFlow<()> {
        let (looked, place, rules) = self.selection.descend(root, path);
        if let Some(place) = &place {
            self.report.devices.insert((root, place.dev));
        }
        match looked {
            Looked::File(file) => self.file(file),
            Looked::Folder => {
                let trail = place.map(|p| p.trail).unwrap_or_default();
                self.pending.push(Pending {
                    path: path.to_owned(),
                    rules,
                    trail,
                });
                self.drain(root)
            }
            Looked::Skipped { .. } => {
                self.report.skipped += 1;
                ControlFlow::Continue(())
            }
            Looked::Gone => ControlFlow::Continue(()),
            Looked::Unknown { at, error } => {
                if at.as_os_str().is_empty() && error.kind() == io::ErrorKind::NotFound {
                    self.report.roots_missing.push(root);
                } else {
                    self.trouble(root, at, error);
                }
                ControlFlow::Continue(())
            }
        }
    }

    fn drain(&mut self, root: usize) -> ControlFlow<()> {
        while let Some(folder) = self.pending.pop() {
            let walked = self.folder(root, folder);
            if walked.is_break() {
                self.pending.clear();
                return walked;
            }
        }
        ControlFlow::Continue(())
    }

    fn folder(&mut self, root: usize, Pending { path, rules, trail }: Pending) -> ControlFlow<()> {
        let armed = self
            .watcher
            .map_or(Armed::NOT, |watcher| watcher.arm(root, &path));
        let place = match self.selection.open(root, None, &path, &trail) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::NOTDIR) if path.as_os_str().is_empty() => {
                self.report.roots_missing.push(root);
                return ControlFlow::Continue(());
            }
            // It went away, or something else took its place, since the folder above was listed. A hint is on its way.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return ControlFlow::Continue(()),
            Err(error) => {
                self.trouble(root, path, error.into());
                return ControlFlow::Continue(());
            }
        };
        self.report.folders += 1;
        self.report.devices.insert((root, place.dev));

        let mut entries: Vec<(u64, FileType, CString)> = Vec::new();
        let mut present = [false; 2];
        let mut dir = match Dir::new(place.fd) {
            Ok(dir) => dir,
            Err(error) => {
                self.trouble(root, path, error.into());
                return ControlFlow::Continue(());
            }
        };
        while let Some(entry) = dir.read() {
            match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => {
                    let name = entry.file_name();
                    if self.selection.options.gitignore
                        && let Some(file) = NAMES.iter().position(|n| *n == name)
                    {
                        present[file] = true;
                    }
                    entries.push((entry.ino(), entry.file_type(), name.to_owned()));
                }
                Err(error) => {
                    self.trouble(root, path.clone(), error.into());
                    break;
                }
            }
        }
        entries.sort_unstable_by_key(|(ino, ..)| *ino);
        let fd = match dir.fd() {
            Ok(fd) => fd,
            Err(error) => {
                self.trouble(root, path, error.into());
                return ControlFlow::Continue(());
            }
        };
        let at = At {
            fd,
            trail: &place.trail,
        };
        let absolute = self.selection.roots[root].path.join(&path);
        let rules = match rules.enter(&self.selection.cache, fd, &absolute, &path, present) {
            Ok(rules) => rules,
            Err(error) => {
                // Without its rules nobody knows what is selected here.
                self.trouble(root, path, error);
                return ControlFlow::Continue(());
            }
        };
        if let Some(watcher) = self.watcher {
            watcher.equip(armed, root, &path, &rules);
        }

        let mut below = path;
        for (_, hint, name) in entries {
            below.push(os_name(&name));
            match self.selection.judge(root, at, &below, &name, hint, &rules) {
                Judged::File(identity) => self.file(Found {
                    root,
                    path: below.clone(),
                    identity,
                })?,
                Judged::Folder => {
                    let (rules, trail) = (rules.clone(), place.trail.clone());
                    self.pending.push(Pending {
                        path: below.clone(),
                        rules,
                        trail,
                    });
                }
                Judged::Skip(_) => self.report.skipped += 1,
                Judged::Gone => {}
                Judged::Unknown(error) => self.trouble(root, below.clone(), error),
            }
            below.pop();
        }
        ControlFlow::Continue(())
    }

    fn file(&mut self, file: Found) -> ControlFlow<()> {
        self.report.files += 1;
        self.report.bytes = self.report.bytes.saturating_add(file.identity.size);
        if self.report.devices.last() != Some(&(file.root, file.identity.dev)) {
            self.report.devices.insert((file.root, file.identity.dev));
        }
        (self.found)(file)
    }

    fn trouble(&mut self, root: usize, below: PathBuf, error: io::Error) {
        if let Some(watcher) = self.watcher {
            watcher.trouble(root, &below);
        }
        let path = self.selection.roots[root].path.join(&below);
        self.report.errors.push(ScanError {
            root,
            below,
            path,
            error,
        });
    }
}

#[cfg(test)]
mod tests;
