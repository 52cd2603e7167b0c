//! The directory that tantivy writes to: as fast as memory, and durable when [`super::save`] says so.
//!
//! ```text
//!   tantivy ──meta.json, .managed.json, locks──▶ memory, always
//!           ──segments──▶ memory; what is large, and what is saved, the folder       (a writer)
//!           ──segments──▶ memory                       (a reader, or a folder that can't be written)
//!           ◀──segments── memory, else the folder
//! ```
//!
//! Which commit the folder stands for is said by its file `current` alone, and only [`super::save`] writes that one. So a commit
//! costs no sync, and one that was not saved yet is made again from the source. A commit of a few texts costs no file either: it has
//! seven small ones, which live until the next merge, and most of them are never saved. A reader writes nothing, and
//! sees the folder as it was when it read `current`.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::SystemTime;

use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, DirectoryLock, FileHandle, Lock, MmapDirectory, RamDirectory, TerminatingWrite,
    WatchCallback, WatchHandle, WritePtr,
};

use super::KeywordError;
use crate::fault;

const CURRENT: &str = "current";
const UNFINISHED: &str = "current.unfinished";
/// What tantivy calls the file that says which segments there are.
pub(super) const META: &str = "meta.json";
const MANAGED: &str = ".managed.json";

/// What `current` says.
pub(super) struct Current {
    /// tantivy's list of segments.
    pub meta: Vec<u8>,
    /// When it was written, as the file system says.
    pub at: Option<SystemTime>,
}

/// A folder, and memory over it.
#[derive(Clone)]
pub(super) struct Ground(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    memory: RamDirectory,
    disk: Option<MmapDirectory>,
    /// Segments are written to the folder.
    writes: bool,
    locks: Mutex<HashSet<PathBuf>>,
    unlocked: Condvar,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ground({})", self.0.dir.display())
    }
}

impl Ground {
    /// Nothing but memory.
    pub(super) fn memory(dir: &Path) -> Self {
        Self::of(dir, None, false)
    }

    /// An empty folder, made if missing: whatever was in it is removed.
    pub(super) fn empty(dir: &Path) -> Result<Self, KeywordError> {
        remove(dir).map_err(|e| KeywordError::io("remove", dir, e))?;
        fault::point("words.emptied").map_err(|e| KeywordError::io("create", dir, e))?;
        fs::create_dir_all(dir).map_err(|e| KeywordError::io("create", dir, e))?;
        let disk = MmapDirectory::open(dir).map_err(KeywordError::tantivy("open its folder"))?;
        Ok(Self::of(dir, Some(disk), true))
    }

    /// The folder as it was saved last; `None` when nothing was.
    pub(super) fn saved(dir: &Path, writes: bool) -> Result<Option<Self>, KeywordError> {
        let Some(Current { meta, .. }) = Self::last_saved(dir)? else {
            return Ok(None);
        };
        let disk = MmapDirectory::open(dir).map_err(KeywordError::tantivy("open its folder"))?;
        let ground = Self::of(dir, Some(disk), writes);
        // tantivy sweeps away and checks what it manages: everything that lies there.
        let mut files = HashSet::new();
        for entry in fs::read_dir(dir).map_err(|e| KeywordError::io("list", dir, e))? {
            let name = PathBuf::from(
                entry
                    .map_err(|e| KeywordError::io("list", dir, e))?
                    .file_name(),
            );
            if name != Path::new(CURRENT) && name != Path::new(UNFINISHED) {
                files.insert(name);
            }
        }
        let managed = serde_json::to_vec(&files)
            .map_err(|e| KeywordError::unusable(dir, format!("a file has an odd name: {e}")))?;
        for (name, bytes) in [(MANAGED, managed.as_slice()), (META, meta.as_slice())] {
            (ground.0.memory.atomic_write(Path::new(name), bytes))
                .map_err(|e| KeywordError::io("keep in memory", Path::new(name), e))?;
        }
        Ok(Some(ground))
    }

    /// What the folder stands for; `None` when nothing was ever saved there. No segment is opened.
    pub(super) fn last_saved(dir: &Path) -> Result<Option<Current>, KeywordError> {
        let path = dir.join(CURRENT);
        fault::point("words.read").map_err(|e| KeywordError::io("read", &path, e))?;
        let current = match fs::read(&path) {
            Ok(current) => current,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(KeywordError::io("read", &path, e)),
        };
        let meta = unsealed(&current)
            .ok_or_else(|| KeywordError::unusable(&path, "its checksum differs"))?;
        Ok(Some(Current {
            at: path.metadata().and_then(|found| found.modified()).ok(),
            meta: meta.to_vec(),
        }))
    }

    fn of(dir: &Path, disk: Option<MmapDirectory>, writes: bool) -> Self {
        Self(Arc::new(Inner {
            dir: dir.to_owned(),
            memory: RamDirectory::create(),
            disk,
            writes,
            locks: Mutex::default(),
            unlocked: Condvar::new(),
        }))
    }

    /// Whether it can be saved.
    pub(super) fn writes(&self) -> bool {
        self.0.writes
    }

    /// Which segments there are, as tantivy said last.
    pub(super) fn meta(&self) -> Result<Vec<u8>, KeywordError> {
        (self.0.memory.atomic_read(Path::new(META)))
            .map_err(KeywordError::tantivy("read its list of segments"))
    }

    /// Makes a file durable; false when there is none.
    pub(super) fn sync(&self, name: &Path) -> Result<bool, KeywordError> {
        let path = self.0.dir.join(name);
        fault::point("words.save.sync").map_err(|e| KeywordError::io("sync", &path, e))?;
        if let Ok(held) = self.0.memory.open_read(name) {
            let bytes = held.read_bytes();
            let written = bytes.and_then(|bytes| {
                fault::point("words.save.write")?;
                let mut file = File::create(&path)?;
                file.write_all(&bytes)?;
                fault::point("words.save.written")?;
                file.sync_all()
            });
            if let Err(error) = written {
                // Half of it is of no use. If it can't be removed either, the next opening sweeps it away.
                let _ = fs::remove_file(&path);
                return Err(KeywordError::io("write", &path, error));
            }
            // From here on it is read from the folder. Whoever has it open keeps what he has.
            self.0
                .memory
                .delete(name)
                .map_err(|error| KeywordError::io("move", &path, io::Error::other(error)))?;
            return Ok(true);
        }
        match File::open(&path) {
            Ok(file) => (file.sync_all())
                .map(|()| true)
                .map_err(|e| KeywordError::io("sync", &path, e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(KeywordError::io("open", &path, e)),
        }
    }

    /// Makes the folder stand for `meta`, whose files are durable.
    pub(super) fn point_to(&self, meta: &[u8]) -> Result<(), KeywordError> {
        let (unfinished, current) = (self.0.dir.join(UNFINISHED), self.0.dir.join(CURRENT));
        let folder = |error| KeywordError::io("sync", &self.0.dir, error);
        fault::point("words.save.synced")
            .and_then(|()| self.sync_folder())
            .map_err(folder)?;
        fault::point("words.current.begin")
            .and_then(|()| File::create(&unfinished))
            .and_then(|mut file| file.write_all(&sealed(meta)).and_then(|()| file.sync_all()))
            .map_err(|e| KeywordError::io("write", &unfinished, e))?;
        fault::point("words.current.written")
            .and_then(|()| fs::rename(&unfinished, &current))
            .map_err(|e| KeywordError::io("rename", &unfinished, e))?;
        fault::point("words.current.renamed")
            .and_then(|()| self.sync_folder())
            .map_err(folder)?;
        fault::pass("words.saved");
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.0.dir).and_then(|folder| folder.sync_all())
    }

    fn disk_path(&self, path: &Path) -> Option<PathBuf> {
        (self.0.writes && !is_ours(path)).then(|| self.0.dir.join(path))
    }
}

/// Larger files of segments go to the folder at once.
const SMALL_BYTES: usize = 256 << 10;

/// Removes a folder, if there is one. A merge of the view that had it before may still be writing: what appears there meanwhile goes too.
fn remove(dir: &Path) -> io::Result<()> {
    let mut tries = 10;
    loop {
        tries -= 1;
        match fs::remove_dir_all(dir) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && tries > 0 => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => return Ok(()),
        }
    }
}

/// Kept in memory whatever happens.
fn is_ours(path: &Path) -> bool {
    path == Path::new(META) || path.as_os_str().as_encoded_bytes().first() == Some(&b'.')
}

fn sealed(meta: &[u8]) -> Vec<u8> {
    let mut sealed = blake3::hash(meta).to_hex().to_string().into_bytes();
    sealed.push(b'\n');
    sealed.extend_from_slice(meta);
    sealed
}

fn unsealed(current: &[u8]) -> Option<&[u8]> {
    let (seal, meta) = current.split_at_checked(64)?;
    let meta = meta.strip_prefix(b"\n")?;
    (blake3::hash(meta).to_hex().as_bytes() == seal).then_some(meta)
}

impl Directory for Ground {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        match (self.0.memory.get_file_handle(path), &self.0.disk) {
            (Err(OpenReadError::FileDoesNotExist(_)), Some(disk)) => disk.get_file_handle(path),
            (found, _) => found,
        }
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let in_memory = self.0.memory.delete(path);
        let Some(on_disk) = self.disk_path(path).filter(|_| in_memory.is_err()) else {
            return in_memory;
        };
        let removed = fault::point("words.file.delete").and_then(|()| fs::remove_file(on_disk));
        removed.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => DeleteError::FileDoesNotExist(path.to_owned()),
            _ => DeleteError::IoError {
                io_error: Arc::new(error),
                filepath: path.to_owned(),
            },
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        if self.0.memory.exists(path)? {
            return Ok(true);
        }
        match &self.0.disk {
            Some(disk) if !is_ours(path) => disk.exists(path),
            _ => Ok(false),
        }
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let Some(on_disk) = self.disk_path(path) else {
            return self.0.memory.open_write(path);
        };
        fault::point("words.file.create").map_err(|error| OpenWriteError::IoError {
            io_error: Arc::new(error),
            filepath: path.to_owned(),
        })?;
        if self.0.memory.exists(path).unwrap_or(false) || on_disk.exists() {
            return Err(OpenWriteError::FileAlreadyExists(path.to_owned()));
        }
        Ok(BufWriter::new(Box::new(Growing {
            ground: self.clone(),
            path: path.to_owned(),
            at: Place::Memory(Vec::new()),
        })))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.0.memory.atomic_read(path)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.0.memory.atomic_write(path, data)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// tantivy's own waits a tenth of a second whenever it does not get one at once.
    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        let mut locks = self.0.locks.lock().unwrap_or_else(PoisonError::into_inner);
        while !locks.insert(lock.filepath.clone()) {
            if !lock.is_blocking {
                return Err(LockError::LockBusy);
            }
            locks = (self.0.unlocked.wait(locks)).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(DirectoryLock::from(Box::new(Locked {
            ground: self.clone(),
            path: lock.filepath.clone(),
        })))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty()) // readers are told when to look
    }
}

/// A lock that is held.
struct Locked {
    ground: Ground,
    path: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let inner = &self.ground.0;
        let mut locks = inner.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.remove(&self.path);
        inner.unlocked.notify_all();
    }
}

/// A file that stays in memory while it is small. It is complete when it is closed, and durable when it is saved.
struct Growing {
    ground: Ground,
    path: PathBuf,
    at: Place,
}

enum Place {
    Memory(Vec<u8>),
    Folder(File),
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fault::point("words.file.write")?;
        if let Place::Memory(held) = &mut self.at {
            if held.len() + bytes.len() <= SMALL_BYTES {
                held.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            let mut file = File::create_new(self.ground.0.dir.join(&self.path))?;
            file.write_all(held)?;
            self.at = Place::Folder(file);
        }
        match &mut self.at {
            Place::Folder(file) => file.write(bytes),
            Place::Memory(_) => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.at {
            Place::Folder(file) => file.flush(),
            Place::Memory(_) => Ok(()),
        }
    }
}

impl TerminatingWrite for Growing {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        fault::point("words.file.close")?;
        match &mut self.at {
            Place::Folder(file) => file.flush(),
            Place::Memory(held) => {
                let kept = self.ground.0.memory.open_write(&self.path);
                let mut kept = kept.map_err(io::Error::other)?;
                kept.write_all(held)?;
                kept.terminate()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(ground: &Ground, name: &str, bytes: &[u8]) {
        let mut file = ground.open_write(Path::new(name)).unwrap();
        for part in bytes.chunks(1000) {
            file.write_all(part).unwrap();
        }
        file.terminate().unwrap();
    }

    fn read(ground: &Ground, name: &str) -> Vec<u8> {
        let file = ground.open_read(Path::new(name)).unwrap();
        file.read_bytes().unwrap().to_vec()
    }

    #[test]
    fn a_small_file_comes_to_the_folder_when_it_is_saved_and_a_large_one_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let ground = Ground::empty(dir.path()).unwrap();
        let large: Vec<u8> = (0..=SMALL_BYTES).map(|at| (at % 251) as u8).collect();
        write(&ground, "small.idx", b"tide");
        write(&ground, "large.idx", &large);
        let (small, on_disk) = (dir.path().join("small.idx"), dir.path().join("large.idx"));
        assert!(!small.exists());
        assert_eq!(fs::read(on_disk).unwrap(), large);
        assert_eq!(read(&ground, "small.idx"), b"tide");
        assert_eq!(read(&ground, "large.idx"), large);
        for name in ["small.idx", "large.idx"] {
            let again = ground.open_write(Path::new(name)).err().unwrap();
            assert!(matches!(again, OpenWriteError::FileAlreadyExists(_)));
            assert!(ground.sync(Path::new(name)).unwrap(), "{name}");
        }
        assert_eq!(fs::read(&small).unwrap(), b"tide");
        assert!(!ground.0.memory.exists(Path::new("small.idx")).unwrap());
        assert_eq!(read(&ground, "small.idx"), b"tide");
        ground.delete(Path::new("small.idx")).unwrap();
        assert!(!small.exists() && !ground.exists(Path::new("small.idx")).unwrap());
        assert!(!ground.sync(Path::new("small.idx")).unwrap());
    }

    #[test]
    fn a_file_that_was_never_saved_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let ground = Ground::empty(dir.path()).unwrap();
        write(&ground, "a.idx", b"tide");
        ground.delete(Path::new("a.idx")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let twice = ground.delete(Path::new("a.idx")).err().unwrap();
        assert!(matches!(twice, DeleteError::FileDoesNotExist(_)));
    }
}
