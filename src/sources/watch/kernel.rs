//! The kernel's side of a watch: inotify, by rustix's safe calls. Elsewhere there is none, and every root is polled.

use std::ffi::OsString;

use super::table::Wd;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Happening {
    pub(super) wd: Wd,
    pub(super) change: Change,
    pub(super) is_dir: bool,
    /// The entry of the watched folder; none if it is about the folder itself.
    pub(super) name: Option<OsString>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// An entry was made; a file may still be written.
    Created,
    /// Bytes were written.
    Written,
    /// A writer closed it.
    Closed,
    /// Rights, owner, times or number of links.
    Attributes,
    /// It was moved here.
    Arrived,
    /// It was deleted, or moved away.
    Left,
    /// The watched folder itself was deleted or moved.
    FolderLeft,
    /// Its file system was unmounted.
    Unmounted,
    /// The kernel gave the watch up.
    Forgotten,
    /// Events were lost.
    Overflow,
}

/// What to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Everything about a folder's entries.
    Folder,
    /// The same, and the folder's own end.
    Root,
    /// New entries only.
    Parent,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsStr;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
    use rustix::io::Errno;

    use super::{Change, Happening, Interest, Wd};

    /// An inotify instance.
    pub(in super::super) struct Kernel {
        fd: OwnedFd,
        /// A watch of which nothing is expected but its end, which wakes the reader.
        bell: Wd,
    }

    impl Kernel {
        pub(in super::super) fn new() -> io::Result<Self> {
            let fd = inotify::init(CreateFlags::CLOEXEC)?;
            let bell = inotify::add_watch(&fd, "/", WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR)?;
            Ok(Self { fd, bell })
        }

        /// Watches the folder. What it was watched for before is kept.
        pub(in super::super) fn add(
            &self,
            path: &Path,
            interest: Interest,
            follow: bool,
        ) -> io::Result<Wd> {
            // No OPEN and no ACCESS: our own reading would come back as news, for ever.
            let arrivals = WatchFlags::CREATE | WatchFlags::MOVED_TO;
            let entries = arrivals
                | WatchFlags::MODIFY
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::ATTRIB
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::EXCL_UNLINK;
            let mut flags = WatchFlags::ONLYDIR | WatchFlags::MASK_ADD;
            flags |= match interest {
                Interest::Folder => entries,
                Interest::Root => entries | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF,
                Interest::Parent => arrivals,
            };
            if !follow {
                flags |= WatchFlags::DONT_FOLLOW;
            }
            Ok(inotify::add_watch(&self.fd, path, flags)?)
        }

        /// Gives a watch up. That it is gone already is no error.
        pub(in super::super) fn remove(&self, wd: Wd) {
            if wd != self.bell {
                let _ = inotify::remove_watch(&self.fd, wd);
            }
        }

        /// Wakes the reader.
        pub(in super::super) fn ring(&self) {
            let _ = inotify::remove_watch(&self.fd, self.bell);
        }

        /// Waits, and hands over what happened, batch after batch, until `batch` says that it is enough.
        pub(in super::super) fn read(
            &self,
            batch: &mut dyn FnMut(&mut Vec<Happening>) -> bool,
        ) -> io::Result<()> {
            let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
            let mut reader = Reader::new(&self.fd, &mut buffer);
            let mut happenings = Vec::new();
            loop {
                match reader.next() {
                    Ok(event) => happenings.extend(happening(&event)),
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                }
                if reader.is_buffer_empty() {
                    if !batch(&mut happenings) {
                        return Ok(());
                    }
                    happenings.clear();
                }
            }
        }
    }

    fn happening(event: &inotify::Event<'_>) -> Option<Happening> {
        let changes = [
            (ReadFlags::QUEUE_OVERFLOW, Change::Overflow),
            (ReadFlags::UNMOUNT, Change::Unmounted),
            (ReadFlags::IGNORED, Change::Forgotten),
            (ReadFlags::DELETE_SELF, Change::FolderLeft),
            (ReadFlags::MOVE_SELF, Change::FolderLeft),
            (ReadFlags::CLOSE_WRITE, Change::Closed),
            (ReadFlags::CREATE, Change::Created),
            (ReadFlags::MODIFY, Change::Written),
            (ReadFlags::MOVED_TO, Change::Arrived),
            (ReadFlags::MOVED_FROM, Change::Left),
            (ReadFlags::DELETE, Change::Left),
            (ReadFlags::ATTRIB, Change::Attributes),
        ];
        let (_, change) = changes
            .into_iter()
            .find(|(flag, _)| event.events().contains(*flag))?;
        Some(Happening {
            wd: event.wd(),
            change,
            is_dir: event.events().contains(ReadFlags::ISDIR),
            name: event
                .file_name()
                .map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()),
        })
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::Kernel;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::Kernel;

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::io;
    use std::path::Path;

    use super::{Happening, Interest, Wd};

    /// No kernel that could be asked.
    pub(in super::super) enum Kernel {}

    impl Kernel {
        pub(in super::super) fn new() -> io::Result<Self> {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "folders are watched on Linux only",
            ))
        }

        pub(in super::super) fn add(&self, _: &Path, _: Interest, _: bool) -> io::Result<Wd> {
            match *self {}
        }

        pub(in super::super) fn remove(&self, _: Wd) {
            match *self {}
        }

        pub(in super::super) fn ring(&self) {
            match *self {}
        }

        pub(in super::super) fn read(
            &self,
            _: &mut dyn FnMut(&mut Vec<Happening>) -> bool,
        ) -> io::Result<()> {
            match *self {}
        }
    }
}
