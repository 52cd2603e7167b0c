//! Sockets in folders whose path is longer than a socket's address may be (108 bytes on Linux, 104 on macOS).

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Paths up to this length are used as they are.
const DIRECT_BYTES_MAX: usize = 100;

/// Connects to the socket `name` in `folder`.
pub fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    shortened(folder, name, |path| UnixStream::connect(path))
}

/// Listens on a new socket `name` in `folder`.
pub fn bind(folder: &Path, name: &str) -> io::Result<UnixListener> {
    shortened(folder, name, |path| UnixListener::bind(path))
}

fn shortened<T>(
    folder: &Path,
    name: &str,
    use_path: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let path = folder.join(name);
    if path.as_os_str().len() <= DIRECT_BYTES_MAX {
        return use_path(&path);
    }
    #[cfg(target_os = "linux")]
    return through_descriptor(folder, name, use_path);
    #[cfg(not(target_os = "linux"))]
    return through_link(folder, name, use_path);
}

/// The kernel knows an open folder by a short name.
#[cfg(target_os = "linux")]
fn through_descriptor<T>(
    folder: &Path,
    name: &str,
    use_path: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    use std::os::fd::AsRawFd;
    let folder = std::fs::File::open(folder)?;
    use_path(Path::new(&format!(
        "/proc/self/fd/{}/{name}",
        folder.as_raw_fd()
    )))
}

/// A short link to the folder, in a private folder so that nobody else can put one there.
#[cfg(any(test, not(target_os = "linux")))]
pub(super) fn through_link<T>(
    folder: &Path,
    name: &str,
    use_path: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    use std::os::unix::fs::DirBuilderExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let private = std::env::temp_dir().join(format!("floodmark-{}-{number}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    let link = private.join("s");
    let result = std::fs::canonicalize(folder)
        .and_then(|folder| std::os::unix::fs::symlink(folder, &link))
        .and_then(|()| use_path(&link.join(name)));
    let _ = std::fs::remove_dir_all(&private);
    result
}
