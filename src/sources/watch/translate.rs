//! From what happened to a hint: which of the kernel's words concern a selected path, and when.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::super::SymlinkPolicy;
use super::super::selection::rules;
use super::kernel::{Change, Happening, Kernel};
use super::table::{Folder, Table, Wd};
use super::{Event, Key, RescanReason, Shared, lock};

impl Shared {
    /// Adds the hints that follow.
    pub(super) fn happened(&self, kernel: &Kernel, happening: Happening, events: &mut Vec<Event>) {
        let Happening {
            wd,
            change,
            is_dir,
            name,
        } = happening;
        if change == Change::Overflow {
            tracing::info!("more changes than the kernel keeps; looking at everything again");
            events.push(Event::Rescan {
                root: None,
                reason: RescanReason::Overflow,
            });
            return;
        }
        let mut table = lock(&self.table);
        let Some(name) = name else {
            self.folder_happened(kernel, &mut table, wd, change, events);
            return;
        };
        if matches!(change, Change::Created | Change::Arrived) {
            let returned = table
                .parents(wd)
                .iter()
                .filter(|(_, waited)| *waited == name);
            let rescan = |(root, _): &(usize, _)| Event::Rescan {
                root: Some(*root),
                reason: RescanReason::RootReturned,
            };
            events.extend(returned.map(rescan));
        }
        // Mostly one; two where a folder is reached on two ways.
        for folder in table.folders(wd).to_vec() {
            let path = folder.path.join(&name);
            if self.selection.options.gitignore && rules::is_ignore_file(&name) {
                self.ignore_file_happened(&folder, path, change, events);
            } else if is_dir {
                self.subfolder_happened(kernel, &mut table, &folder, path, change, events);
            } else {
                self.file_happened(kernel, &mut table, &folder, path, change, events);
            }
        }
    }

    /// Something about a watched folder itself.
    fn folder_happened(
        &self,
        kernel: &Kernel,
        table: &mut Table,
        wd: Wd,
        change: Change,
        events: &mut Vec<Event>,
    ) {
        match change {
            Change::FolderLeft => {
                for folder in table
                    .folders(wd)
                    .to_vec()
                    .iter()
                    .filter(|f| f.path.as_os_str().is_empty())
                {
                    table
                        .remove_tree(folder.root, Path::new(""))
                        .into_iter()
                        .for_each(|wd| kernel.remove(wd));
                    events.push(Event::Rescan {
                        root: Some(folder.root),
                        reason: RescanReason::RootLost,
                    });
                }
            }
            Change::Unmounted => {
                let rescan = |f: Folder| Event::Rescan {
                    root: Some(f.root),
                    reason: RescanReason::Unmounted,
                };
                events.extend(table.remove(wd).into_iter().map(rescan));
            }
            Change::Forgotten => {
                // Mostly we knew; if not, somebody should look.
                let subtree = |f: Folder| Event::Subtree {
                    root: f.root,
                    path: f.path.to_path_buf(),
                };
                events.extend(table.remove(wd).into_iter().map(subtree));
            }
            Change::Attributes => {
                for folder in table
                    .folders(wd)
                    .iter()
                    .filter(|f| table.is_troubled(f.root, &f.path))
                {
                    events.push(Event::Subtree {
                        root: folder.root,
                        path: folder.path.to_path_buf(),
                    });
                }
            }
            _ => {}
        }
    }

    fn ignore_file_happened(
        &self,
        folder: &Folder,
        path: PathBuf,
        change: Change,
        events: &mut Vec<Event>,
    ) {
        let key = (folder.root, path);
        match change {
            Change::Created | Change::Written => self.writing(&key),
            _ => {
                lock(&self.settle).closed(&key);
                events.push(self.written(key.0, key.1));
            }
        }
    }

    fn subfolder_happened(
        &self,
        kernel: &Kernel,
        table: &mut Table,
        folder: &Folder,
        path: PathBuf,
        change: Change,
        events: &mut Vec<Event>,
    ) {
        let root = folder.root;
        if folder
            .rules
            .as_ref()
            .is_some_and(|rules| self.selection.names(root, &path, true, rules).is_some())
        {
            return;
        }
        let concerns = match change {
            Change::Created | Change::Arrived | Change::Left => {
                table
                    .remove_tree(root, &path)
                    .into_iter()
                    .for_each(|wd| kernel.remove(wd));
                true
            }
            Change::Attributes => !table.has(root, &path) || table.is_troubled(root, &path),
            _ => false,
        };
        if concerns {
            events.push(Event::Subtree { root, path });
        }
    }

    fn file_happened(
        &self,
        kernel: &Kernel,
        table: &mut Table,
        folder: &Folder,
        path: PathBuf,
        change: Change,
        events: &mut Vec<Event>,
    ) {
        let root = folder.root;
        let follow = self.selection.options.symlinks == SymlinkPolicy::Follow;
        if follow && matches!(change, Change::Created | Change::Arrived | Change::Left) {
            // A link may lead to a folder, or have led to one.
            let leads =
                change != Change::Left && self.selection.roots[root].path.join(&path).is_dir();
            if leads || table.has(root, &path) {
                table
                    .remove_tree(root, &path)
                    .into_iter()
                    .for_each(|wd| kernel.remove(wd));
                events.push(Event::Subtree { root, path });
                return;
            }
        }
        if folder
            .rules
            .as_ref()
            .is_some_and(|rules| self.selection.names(root, &path, false, rules).is_some())
        {
            return;
        }
        let key = (root, path);
        let now = match change {
            Change::Written => false,
            Change::Created => self.is_link(root, &key.1),
            // Set while it is written: it will be closed, or settle.
            Change::Attributes => !lock(&self.settle).is_open(&key),
            Change::Closed | Change::Arrived | Change::Left => true,
            _ => return,
        };
        if now {
            if change != Change::Attributes {
                lock(&self.settle).closed(&key);
            }
            events.push(Event::Changed { root, path: key.1 });
        } else {
            self.writing(&key);
        }
    }

    /// Nobody closes a new link, and a hard link is complete from the start.
    fn is_link(&self, root: usize, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let metadata = self.selection.roots[root]
            .path
            .join(path)
            .symlink_metadata();
        metadata.is_ok_and(|m| m.file_type().is_symlink() || m.nlink() > 1)
    }

    fn writing(&self, key: &Key) {
        if lock(&self.settle).written(key, Instant::now()) {
            self.settle_earlier.notify_one();
        }
    }

    /// The hint for a file that was written.
    pub(super) fn written(&self, root: usize, path: PathBuf) -> Event {
        match (path.file_name(), path.parent()) {
            (Some(name), Some(folder))
                if self.selection.options.gitignore && rules::is_ignore_file(name) =>
            {
                Event::Subtree {
                    root,
                    path: folder.to_owned(),
                }
            }
            _ => Event::Changed { root, path },
        }
    }
}
