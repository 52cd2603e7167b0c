//! ONNX Runtime out of the binary into the user's cache, once.
//!
//! ```text
//! <cache>/floodmark/onnxruntime-<hash>/libonnxruntime.so
//! ```
//!
//! The hash is that of the library, and the binary knows it: it is compared at every start, so that a torn, flipped or
//! half-written library is unpacked again, never loaded. The folder belongs to the user and nobody else may write to it; if
//! that is not so, nothing in it is used. It may be deleted at any time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::fault;

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
    /// What was unpacked is not what was packed.
    #[error("{}: holds other bytes than were packed; the binary, the disk or the memory is damaged", path.display())]
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

/// A library inside the binary.
#[derive(Clone, Copy, Debug)]
pub struct Packed {
    /// Its bytes, zstd-compressed.
    pub zstd: &'static [u8],
    /// BLAKE3 of its bytes as they were, in hexadecimal digits.
    pub blake3: &'static str,
}

/// The library as a file under `cache`: verified, or unpacked now.
pub fn unpack(packed: &Packed, cache: &Path) -> Result<PathBuf, UnpackError> {
    let home = cache.join("floodmark");
    let short = packed.blake3.get(..32).unwrap_or(packed.blake3);
    let folder = home.join(format!("onnxruntime-{short}"));
    for folder in [&home, &folder] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed(folder))?;
        is_ours(folder)?;
    }
    let library = folder.join(format!("libonnxruntime{}", std::env::consts::DLL_SUFFIX));
    if is_whole(&library, packed)? {
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
    if !is_whole(&library, packed)? {
        write(packed, &library)?;
    }
    Ok(library)
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

/// Whether it is there, byte for byte.
fn is_whole(library: &Path, packed: &Packed) -> Result<bool, UnpackError> {
    let mut file = match File::open(library) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(failed(library)(e)),
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file).map_err(failed(library))?;
    let whole = hasher.finalize().to_hex().as_str() == packed.blake3;
    if !whole {
        tracing::warn!(path = %library.display(), "unpacked ONNX Runtime is damaged, unpacking it again");
    }
    Ok(whole)
}

/// Writes beside, syncs, reads back, renames, syncs the folder. The caller holds the lock.
fn write(packed: &Packed, library: &Path) -> Result<(), UnpackError> {
    let unfinished = library.with_file_name("unfinished");
    fault::point("runtime.begin").map_err(failed(&unfinished))?;
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o700)
        .open(&unfinished)
        .map_err(failed(&unfinished))?;
    zstd::stream::copy_decode(packed.zstd, &mut file)
        .and_then(|()| fault::point("runtime.written"))
        .and_then(|()| file.sync_all())
        .map_err(failed(&unfinished))?;
    if !is_whole(&unfinished, packed)? {
        return Err(UnpackError::Corrupt { path: unfinished });
    }
    fault::point("runtime.rename").map_err(failed(library))?;
    std::fs::rename(&unfinished, library).map_err(failed(library))?;
    fault::point("runtime.renamed").map_err(failed(library))?;
    let folder = library.parent().unwrap_or(library);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed(folder))?;
    tracing::info!(path = %library.display(), "unpacked ONNX Runtime");
    Ok(())
}

#[cfg(test)]
mod tests;
