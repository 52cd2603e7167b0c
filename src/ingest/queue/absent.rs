//! Files that are not there: doubted, kept, or forgotten because somebody says so.

use std::path::PathBuf;

use super::entry::{Phase, Sighting};
use super::{BUDGET_MIN, DOUBTED, Name, Queue, Remembered};
use crate::ingest::hint::Hint;
use crate::ingest::kept::Kept;
use crate::sources::{Doubt, Fate, ScanReport, Scope};

impl Queue {
    /// Files that a scan should have seen and did not are looked at one by one before they are given up.
    pub(super) fn scanned(&mut self, pass: u64, report: &ScanReport) {
        let fates = report.fates();
        let start = match &report.scope {
            Scope::All => (0, PathBuf::new()),
            Scope::Root(root) => (*root, PathBuf::new()),
            Scope::Subtree { root, path } => (*root, path.clone()),
        };
        // What lies below a folder follows it.
        let walked = |name: &Name| match &report.scope {
            Scope::All => true,
            Scope::Root(root) => name.0 == *root,
            Scope::Subtree { root, path } => name.0 == *root && name.1.starts_with(path),
        };
        for (name, entry) in self.files.starting_at(&start) {
            if !walked(name) {
                break;
            }
            if entry.seen >= pass || entry.gone || entry.moved || entry.phase == Phase::Moving {
                continue;
            }
            // Also of a file that is to be read again in any case: it may be gone all the same. Without any stat only its
            // path can be asked, and only where its root is.
            let identity = entry.known.identity.or(entry.last_seen);
            let fate = match &identity {
                Some(identity) => fates(name.0, &name.1, identity),
                None if report.roots_empty.contains(&name.0) => Fate::Unknown(Doubt::Emptied),
                None if report.roots_missing.contains(&name.0) => Fate::Unknown(Doubt::RootMissing),
                None if report.complete => Fate::Gone,
                None => Fate::Unknown(Doubt::NotWalked),
            };
            match fate {
                // Nobody knows whether the look that is under way was before or after. It is asked when that is known.
                Fate::Gone if entry.phase == Phase::InFlight => {
                    entry.sighting = entry.sighting.and(Sighting::Missed);
                }
                Fate::Gone => {
                    entry.seen = DOUBTED;
                    self.doubted += 1;
                    if self.doubts.send(name.clone()).is_err() {
                        self.doubted -= 1; // nobody looks any more: the program ends
                    }
                }
                Fate::Unknown(Doubt::NotWalked) => {}
                Fate::Unknown(doubt) => {
                    entry.kept = Some(doubt);
                    self.kept_more = true;
                }
            }
        }
        for error in &report.errors {
            tracing::warn!(%error, "scan");
        }
        if matches!(report.scope, Scope::All) {
            self.scans += 1;
        }
    }

    /// A file that a scan did not see is not there, and for this reason nobody can tell whether it is gone.
    pub(super) fn keep(&mut self, name: &Name, doubt: Doubt) {
        let is_doubted = self
            .files
            .get(name)
            .is_some_and(|entry| entry.seen == DOUBTED);
        self.answered(name);
        // Else another thread has seen it meanwhile, or seen it leave.
        if let Some(entry) = self.files.get_mut(name)
            && is_doubted
            && !entry.gone
        {
            entry.kept = Some(doubt);
            self.kept_more = true;
        }
    }

    /// Tells whoever asks which inputs have files that are not there and stay. Not after every walk: there are many, of small
    /// folders, and this one looks at all files.
    pub(super) fn count_what_is_kept(&mut self) {
        let mut all = Vec::new();
        for (name, entry) in self.files.iter() {
            if let Some(doubt) = &entry.kept {
                Kept::count(&mut all, &self.roots[name.0], doubt);
            }
        }
        if std::mem::take(&mut self.kept_more) {
            for kept in &all {
                tracing::warn!(
                    input = %kept.input.display(),
                    files = kept.files,
                    "files are not there and stay in the index: {}",
                    kept.doubt.advice()
                );
            }
        }
        self.released = false;
        self.progress.keeps(all);
    }

    /// A file leaves the index, whether or not it lies under one of the inputs.
    pub(super) fn forget(&mut self, file: Remembered) {
        let key = crate::sources::key(&file.root, &file.path);
        if self.left.contains(&key) {
            return; // it was asked for twice
        }
        let mut known = file.known;
        if let Some(number) = self.roots.iter().position(|root| **root == *file.root) {
            let name = (number, file.path.clone());
            let Some(entry) = self.files.get_mut(&name) else {
                return;
            };
            self.released |= entry.kept.take().is_some();
            match entry.phase {
                Phase::Resting | Phase::Delayed => {
                    // One that was to wait for its time was counted when it began to.
                    self.under_way += usize::from(entry.phase == Phase::Resting);
                }
                // It is looked at now, and then once more.
                Phase::Queued | Phase::InFlight | Phase::Moving => {
                    entry.gone = true;
                    self.enqueue(name, true);
                    return;
                }
            }
            known = entry.known.clone();
            entry.phase = Phase::InFlight;
            (entry.gone, entry.again, entry.moved) = (true, false, false);
            entry.sighting = Sighting::None;
        } else {
            self.under_way += 1;
        }
        self.left.insert(key);
        self.leaving.push(Hint {
            key,
            root: file.root.to_path_buf(),
            path: file.path,
            known,
            gone: true,
            moved: None,
            failures: 0,
            again: Vec::new(),
            budget_bytes: BUDGET_MIN,
        });
    }
}
