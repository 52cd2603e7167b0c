//! `.gitignore` and `.floodmarkignore`: one level a folder that has one, the nearest first.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::super::Identity;

/// Ignore files in the order of their weight: the first that has a word on a path decides.
pub(crate) const NAMES: [&CStr; 2] = [c".floodmarkignore", c".gitignore"];

/// Larger ignore files are cut here, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Two changes this close together may carry the same time stamp: what was read so soon after a change is not cached.
const TICK: Duration = Duration::from_millis(100);

/// Is this the name of an ignore file?
pub(crate) fn is_ignore_file(name: &OsStr) -> bool {
    NAMES.iter().any(|n| n.to_bytes() == name.as_bytes())
}

/// What the ignore files from the root down to one folder say. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Option<Arc<Level>>);

#[derive(Debug)]
struct Level {
    above: Rules,
    /// Bytes of a path below the root that lie before its path below this folder.
    skip: usize,
    /// In the order of [`NAMES`].
    files: [Option<Arc<Gitignore>>; 2],
}

impl Rules {
    /// The rule that decides about the path `below` the root, if any does: the nearest folder's, the last line's.
    pub(crate) fn decide(&self, below: &Path, is_dir: bool) -> Match<&Glob> {
        for file in 0..NAMES.len() {
            let mut rules = self;
            while let Some(level) = &rules.0 {
                if let Some(matcher) = &level.files[file] {
                    let path = OsStr::from_bytes(&below.as_os_str().as_bytes()[level.skip..]);
                    let verdict = matcher.matched(Path::new(path), is_dir);
                    if !verdict.is_none() {
                        return verdict;
                    }
                }
                rules = &level.above;
            }
        }
        Match::None
    }

    /// These, and those of the folder `fd` at `below` the root, which is `folder`. `present` says which of [`NAMES`] to
    /// look for.
    pub(crate) fn enter(
        &self,
        cache: &Cache,
        fd: BorrowedFd<'_>,
        folder: &Path,
        below: &Path,
        present: [bool; 2],
    ) -> io::Result<Rules> {
        let mut files = [None, None];
        for (file, name) in NAMES.iter().enumerate().filter(|(file, _)| present[*file]) {
            files[file] = cache.read(fd, folder, name)?;
        }
        if files.iter().all(Option::is_none) {
            return Ok(self.clone());
        }
        let bytes = below.as_os_str().len();
        let skip = if bytes == 0 { 0 } else { bytes + 1 };
        Ok(Rules(Some(Arc::new(Level {
            above: self.clone(),
            skip,
            files,
        }))))
    }
}

/// Compiled ignore files, each as long as its `stat` stays the same.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<PathBuf, (Identity, Arc<Gitignore>)>>);

impl Cache {
    const MAX: usize = 4096;

    fn read(
        &self,
        fd: BorrowedFd<'_>,
        folder: &Path,
        name: &CStr,
    ) -> io::Result<Option<Arc<Gitignore>>> {
        // Like git: a link in the place of an ignore file does not count. It may lead anywhere.
        let stat = match statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let identity = super::identity(&stat);
        let path = folder.join(OsStr::from_bytes(name.to_bytes()));
        if let Some((known, matcher)) = self.lock().get(&path)
            && *known == identity
        {
            return Ok(Some(matcher.clone()));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        File::from(file).take(MAX_BYTES).read_to_end(&mut bytes)?;
        let matcher = Arc::new(compile(&path, &bytes));
        let changed = Duration::from_nanos(u64::try_from(identity.ctime_ns).unwrap_or(u64::MAX));
        let age = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .checked_sub(changed);
        if age.is_some_and(|age| age > TICK) {
            let mut cache = self.lock();
            if cache.len() >= Self::MAX {
                cache.clear();
            }
            cache.insert(path, (identity, matcher.clone()));
        }
        Ok(Some(matcher))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Identity, Arc<Gitignore>)>> {
        // A cache has no state that a panic could leave half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compile(path: &Path, bytes: &[u8]) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    let text = String::from_utf8_lossy(bytes);
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if let Err(error) = builder.add_line(Some(path.to_owned()), line) {
            tracing::warn!(file = %path.display(), line = number + 1, %error, "line of an ignore file is not understood and has no effect");
        }
    }
    builder.build().unwrap_or_else(|error| {
        tracing::warn!(file = %path.display(), %error, "ignore file is not understood and has no effect");
        Gitignore::empty()
    })
}
