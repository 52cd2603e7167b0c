//! ONNX Runtime out of the binary into the user's cache, once.
//!
//! ```text
//! <cache>/floodmark/onnxruntime-<hash of the packed bytes>/libonnxruntime-<hash of this file>.so
//! ```
//!
//! The file's name is the hash of its bytes, and it is compared at every start (29 MB: some 10 ms): a torn, flipped or
//! half-written library is unpacked again, never loaded. The folder belongs to the user and nobody else may write to it;
//! if that is not so, nothing in it is touched. It may be deleted at any time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the library can't be unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The file system refused.
    #[error("{}: {source}; make room there, or set XDG_CACHE_HOME to a folder that can be written", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another user could have put something into the folder.
    #[error("{}: {reason}; remove it, or set XDG_CACHE_HOME to a folder of your own", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Who could have.
        reason: String,
    },
    /// What was written is not what was read back.
    #[error("{}: reads back other bytes than were written; the disk or its memory is bad", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
}

/// `XDG_CACHE_HOME`, or `.cache` of the user's home.
pub fn user_cache() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
}

/// The library whose zstd-compressed bytes are `packed`, as a file under `cache`: verified, or unpacked now.
pub fn unpack(packed: &[u8], cache: &Path) -> Result<PathBuf, UnpackError> {
    let home = cache.join("floodmark");
    let folder = home.join(format!(
        "onnxruntime-{}",
        &blake3::hash(packed).to_hex()[..32]
    ));
    for folder in [&home, &folder] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed(folder))?;
        is_ours(folder)?;
    }
    if let Some(library) = verified(&folder)? {
        return Ok(library);
    }
    // One process unpacks, the others wait for it and find it done. The kernel drops the lock of a process that dies.
    let lock = folder.join("lock");
    let held = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&lock)
        .map_err(failed(&lock))?;
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|e| failed(&lock)(e.into()))?;
    match verified(&folder)? {
        Some(library) => Ok(library),
        None => write(packed, &folder),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    let path = path.to_owned();
    |source| UnpackError::Io { path, source }
}

/// The folder, and the link if it is one, belong to this user, and nobody else writes to it.
fn is_ours(folder: &Path) -> Result<(), UnpackError> {
    let user = rustix::process::geteuid().as_raw();
    let not_ours = |reason| {
        Err(UnpackError::NotOurs {
            path: folder.to_owned(),
            reason,
        })
    };
    for metadata in [std::fs::symlink_metadata(folder), std::fs::metadata(folder)] {
        let metadata = metadata.map_err(failed(folder))?;
        if metadata.uid() != user {
            return not_ours(format!("belongs to another user (uid {})", metadata.uid()));
        }
        if metadata.is_dir() && metadata.mode() & 0o022 != 0 {
            return not_ours(format!(
                "others may write to it (mode {:o})",
                metadata.mode() & 0o777
            ));
        }
    }
    Ok(())
}

const PREFIX: &str = "libonnxruntime-";

/// The library of the folder whose bytes have the hash that its name says. A damaged one stays until [`write`] replaces it.
fn verified(folder: &Path) -> Result<Option<PathBuf>, UnpackError> {
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let hash = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_suffix(std::env::consts::DLL_SUFFIX));
        if let Some(hash) = hash {
            if hash_of(&path)? == hash {
                return Ok(Some(path));
            }
            tracing::warn!(path = %path.display(), "unpacked ONNX Runtime is damaged, unpacking it again");
        }
    }
    Ok(None)
}

fn hash_of(path: &Path) -> Result<String, UnpackError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut file = File::open(path).map_err(failed(path))?;
    loop {
        match io::Read::read(&mut file, &mut buffer).map_err(failed(path))? {
            0 => return Ok(hasher.finalize().to_hex()[..32].to_owned()),
            read => hasher.update(&buffer[..read]),
        };
    }
}

/// Writes beside, syncs, reads back, renames, syncs the folder. The caller holds the lock.
fn write(packed: &[u8], folder: &Path) -> Result<PathBuf, UnpackError> {
    let unfinished = folder.join("unfinished");
    let bytes = zstd::stream::decode_all(packed).map_err(failed(folder))?;
    let hash = blake3::hash(&bytes).to_hex()[..32].to_owned();
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o700)
        .open(&unfinished)
        .map_err(failed(&unfinished))?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed(&unfinished))?;
    if hash_of(&unfinished)? != hash {
        return Err(UnpackError::Corrupt { path: unfinished });
    }
    let library = folder.join(format!("{PREFIX}{hash}{}", std::env::consts::DLL_SUFFIX));
    std::fs::rename(&unfinished, &library).map_err(failed(&library))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed(folder))?;
    tracing::info!(path = %library.display(), bytes = bytes.len(), "unpacked ONNX Runtime");
    Ok(library)
}

#[cfg(test)]
mod tests;
