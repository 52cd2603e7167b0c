//! What the system lets us watch, and what can't be watched.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// What the system lets us watch, for `doctor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Folders that one user may watch (`fs.inotify.max_user_watches`); `None` where it can't be found out.
    pub max_user_watches: Option<u64>,
    /// Programs' watches that one user may have (`fs.inotify.max_user_instances`).
    pub max_user_instances: Option<u64>,
    /// Events that the kernel keeps for a program (`fs.inotify.max_queued_events`).
    pub max_queued_events: Option<u64>,
    /// Watches in use by the programs that this user may look into, this one among them.
    pub in_use: u64,
    /// Folders that this program watches now.
    pub folders: u64,
}

impl Limits {
    /// Looks them up; `folders` is how many this program watches.
    pub fn now(folders: u64) -> Self {
        let number = |path: &str| {
            fs::read_to_string(path)
                .ok()
                .and_then(|text| text.trim().parse::<u64>().ok())
        };
        let least = |of: [&str; 2]| of.into_iter().filter_map(number).min();
        Self {
            max_user_watches: least([
                "/proc/sys/fs/inotify/max_user_watches",
                "/proc/sys/user/max_inotify_watches",
            ]),
            max_user_instances: least([
                "/proc/sys/fs/inotify/max_user_instances",
                "/proc/sys/user/max_inotify_instances",
            ]),
            max_queued_events: number("/proc/sys/fs/inotify/max_queued_events"),
            in_use: in_use(),
            folders,
        }
    }
}

fn in_use() -> u64 {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let mut watches = 0;
    for process in entries(Path::new("/proc")) {
        let process = process.path();
        for fd in entries(&process.join("fd")) {
            if fs::read_link(fd.path())
                .is_ok_and(|target| target == Path::new("anon_inode:inotify"))
            {
                let info = fs::read_to_string(process.join("fdinfo").join(fd.file_name()))
                    .unwrap_or_default();
                watches += info
                    .lines()
                    .filter(|line| line.starts_with("inotify "))
                    .count() as u64;
            }
        }
    }
    watches
}

/// The file system at `path`, if it is one that does not tell of changes made elsewhere.
#[cfg(target_os = "linux")]
pub fn remote(path: &Path) -> Option<&'static str> {
    // linux/magic.h, and the file systems' own headers for those that are not in it.
    const SILENT: [(u32, &str); 13] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x6573_5546, "FUSE"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x6b41_4653, "AFS"),
        (0x7375_7245, "Coda"),
        (0x786f_4256, "VirtualBox shared folder"),
        (0xbacb_acbc, "VMware shared folder"),
        (0x0bd0_0bd0, "Lustre"),
    ];
    let magic = rustix::fs::statfs(path).ok()?.f_type as u32;
    SILENT
        .iter()
        .find(|(number, _)| *number == magic)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_systems_limits_are_found() {
        let limits = Limits::now(3);
        assert!(limits.max_user_watches.is_some_and(|n| n > 0));
        assert_eq!(limits.folders, 3);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_local_folder_is_watched() {
        assert_eq!(remote(Path::new("/proc")), None);
    }
}
