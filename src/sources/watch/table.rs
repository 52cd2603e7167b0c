//! Which kernel watch stands for which folder.
//!
//! The kernel watches inodes and we think in paths: a renamed folder keeps its watch, and a folder that is reached on two
//! ways has one watch for both. So a watch has one or more paths, and is given up with its last.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::selection::rules::Rules;

/// A watch descriptor.
pub(super) type Wd = i32;

/// A folder that is watched.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) root: usize,
    pub(super) path: Arc<Path>,
    /// The rules that held when it was last listed; before the first listing everything passes.
    pub(super) rules: Option<Rules>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Table {
    folders: HashMap<Wd, Vec<Folder>>,
    wds: BTreeMap<(usize, Arc<Path>), Wd>,
    /// Folders above a root, watched for the root's return: the name to wait for.
    parents: HashMap<Wd, Vec<(usize, OsString)>>,
    /// Paths that could not be looked at: a change of their attributes may mend that.
    troubled: BTreeSet<(usize, PathBuf)>,
}

impl Table {
    /// `wd` stands for this folder. Returns a watch that now stands for nothing.
    #[must_use]
    pub(super) fn insert(&mut self, wd: Wd, root: usize, path: &Path) -> Option<Wd> {
        let path: Arc<Path> = path.into();
        self.troubled.remove(&(root, path.to_path_buf()));
        let orphan = match self.wds.insert((root, path.clone()), wd) {
            Some(old) if old == wd => return None,
            Some(old) => self.leave(old, root, &path),
            None => None,
        };
        self.folders.entry(wd).or_default().push(Folder {
            root,
            path,
            rules: None,
        });
        orphan
    }

    /// The rules of a folder became known.
    pub(super) fn equip(&mut self, wd: Wd, root: usize, path: &Path, rules: &Rules) {
        let folder = self
            .folders
            .get_mut(&wd)
            .into_iter()
            .flatten()
            .find(|f| f.root == root && *f.path == *path);
        if let Some(folder) = folder {
            folder.rules = Some(rules.clone());
        }
    }

    /// Waits for the return of a root.
    pub(super) fn insert_parent(&mut self, wd: Wd, root: usize, name: OsString) {
        let waiting = self.parents.entry(wd).or_default();
        if !waiting.iter().any(|(r, _)| *r == root) {
            waiting.push((root, name));
        }
    }

    /// The folders that `wd` stands for.
    pub(super) fn folders(&self, wd: Wd) -> &[Folder] {
        self.folders.get(&wd).map_or(&[], Vec::as_slice)
    }

    /// The roots whose return `wd` waits for.
    pub(super) fn parents(&self, wd: Wd) -> &[(usize, OsString)] {
        self.parents.get(&wd).map_or(&[], Vec::as_slice)
    }

    /// Is this folder watched?
    pub(super) fn has(&self, root: usize, path: &Path) -> bool {
        self.wds.contains_key(&(root, path.into()))
    }

    /// Something at this path could not be looked at.
    pub(super) fn trouble(&mut self, root: usize, path: &Path) {
        self.troubled.insert((root, path.to_owned()));
    }

    /// Was there trouble at this path?
    pub(super) fn is_troubled(&self, root: usize, path: &Path) -> bool {
        !self.troubled.is_empty() && self.troubled.contains(&(root, path.to_owned()))
    }

    /// Forgets the folder and everything below it; returns the watches that now stand for nothing.
    pub(super) fn remove_tree(&mut self, root: usize, path: &Path) -> Vec<Wd> {
        // Paths compare name by name, so that a folder and all below it are neighbours.
        let below = |(r, p): &(usize, Arc<Path>)| *r == root && p.starts_with(path);
        let gone: Vec<_> = self
            .wds
            .range((root, Arc::from(path))..)
            .map(|(k, wd)| (k.clone(), *wd))
            .take_while(|(k, _)| below(k))
            .collect();
        let mut orphans = Vec::new();
        for (key, wd) in gone {
            self.wds.remove(&key);
            orphans.extend(self.leave(wd, root, &key.1));
        }
        if !self.troubled.is_empty() {
            self.troubled
                .retain(|(r, p)| *r != root || !p.starts_with(path));
        }
        orphans
    }

    /// The kernel gave up the watch.
    pub(super) fn remove(&mut self, wd: Wd) -> Vec<Folder> {
        self.parents.remove(&wd);
        let folders = self.folders.remove(&wd).unwrap_or_default();
        for folder in &folders {
            let key = (folder.root, folder.path.clone());
            if self.wds.get(&key) == Some(&wd) {
                self.wds.remove(&key);
            }
        }
        folders
    }

    /// Forgets everything; returns all watches.
    pub(super) fn clear(&mut self) -> Vec<Wd> {
        let mut wds: Vec<Wd> = self.folders.drain().map(|(wd, _)| wd).collect();
        wds.extend(self.parents.drain().map(|(wd, _)| wd));
        wds.sort_unstable();
        wds.dedup();
        self.wds.clear();
        self.troubled.clear();
        wds
    }

    /// How many watches there are.
    pub(super) fn len(&self) -> usize {
        self.folders.len()
            + self
                .parents
                .keys()
                .filter(|wd| !self.folders.contains_key(wd))
                .count()
    }

    fn leave(&mut self, wd: Wd, root: usize, path: &Path) -> Option<Wd> {
        let folders = self.folders.get_mut(&wd)?;
        folders.retain(|f| f.root != root || *f.path != *path);
        if !folders.is_empty() {
            return None;
        }
        self.folders.remove(&wd);
        (!self.parents.contains_key(&wd)).then_some(wd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(table: &Table, wd: Wd) -> Vec<&str> {
        table
            .folders(wd)
            .iter()
            .map(|f| f.path.to_str().unwrap())
            .collect()
    }

    #[test]
    fn a_renamed_folder_keeps_its_watch_until_its_last_path_is_gone() {
        let mut table = Table::default();
        assert_eq!(table.insert(1, 0, Path::new("old")), None);
        // The walk comes by the new name before the news of the rename does.
        assert_eq!(table.insert(1, 0, Path::new("new")), None);
        assert!(table.remove_tree(0, Path::new("old")).is_empty());
        assert_eq!(paths(&table, 1), ["new"]);
        assert_eq!(table.remove_tree(0, Path::new("new")), [1]);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_tree_is_its_folder_and_what_lies_below_and_nothing_that_only_looks_like_it() {
        let mut table = Table::default();
        for (wd, path) in [
            (1, "a"),
            (2, "a/b"),
            (3, "a-b"),
            (4, "a/b/c"),
            (5, "ab"),
            (6, ""),
        ] {
            assert_eq!(table.insert(wd, 0, Path::new(path)), None);
        }
        assert_eq!(table.insert(7, 1, Path::new("a")), None);
        let mut orphans = table.remove_tree(0, Path::new("a"));
        orphans.sort_unstable();
        assert_eq!(orphans, [1, 2, 4]);
        assert_eq!(table.len(), 4);
        assert!(table.has(1, Path::new("a")) && table.has(0, Path::new("a-b")));
    }

    #[test]
    fn a_folder_in_the_place_of_another_takes_over_its_path() {
        let mut table = Table::default();
        assert_eq!(table.insert(1, 0, Path::new("a")), None);
        assert_eq!(table.insert(2, 0, Path::new("a")), Some(1));
        assert!(table.remove(1).is_empty());
        assert!(table.has(0, Path::new("a")));
    }

    #[test]
    fn the_watch_for_a_roots_return_outlives_the_folder() {
        let mut table = Table::default();
        assert_eq!(table.insert(1, 0, Path::new("")), None);
        table.insert_parent(1, 1, "other".into());
        assert!(table.remove_tree(0, Path::new("")).is_empty());
        assert_eq!(table.parents(1).len(), 1);
        assert_eq!(table.clear(), [1]);
    }
}
