//! One tree to try things on, for the tests of all parts.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;

/// A root in a folder of its own, with the state beside it.
pub(super) struct Tree {
    dir: tempfile::TempDir,
    pub(super) options: SourceOptions,
}

impl Tree {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        let options = SourceOptions {
            inputs: vec![dir.path().join("root")],
            settle_ms: 50,
            ..Default::default()
        };
        Self { dir, options }
    }

    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let tree = Self::new();
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut SourceOptions)) -> Self {
        change(&mut self.options);
        self
    }

    pub(super) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join("root").join(below)
    }

    pub(super) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(super) fn write(&self, below: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn selection(&self) -> Arc<Selection> {
        let roots = Roots::resolve(&self.options, &self.state()).unwrap();
        Arc::new(Selection::new(&self.options, roots, &self.state()).unwrap())
    }

    /// The paths that a scan finds, sorted.
    pub(super) fn found(&self) -> Vec<String> {
        let (found, report) = walk(&self.selection(), None, &Scope::All);
        assert!(report.errors.is_empty() && report.complete, "{report:?}");
        found
            .into_iter()
            .map(|f| f.path.to_str().unwrap().to_owned())
            .collect()
    }
}

pub(super) fn walk(
    selection: &Selection,
    watcher: Option<&Watcher>,
    scope: &Scope,
) -> (Vec<Found>, ScanReport) {
    let mut files = Vec::new();
    let report = scan(selection, watcher, scope, &mut |found| {
        files.push(found);
        ControlFlow::Continue(())
    });
    files.sort_by(|a, b| (a.root, &a.path).cmp(&(b.root, &b.path)));
    (files, report)
}

/// Gives `path` the time `mtime_s`, seconds since 1970.
pub(super) fn set_mtime(path: &Path, mtime_s: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(mtime_s);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[test]
fn a_replay_goes_from_old_to_new_and_ties_go_by_path() {
    let tree = Tree::of(&[("z", "1"), ("b", "2"), ("a/x", "3"), ("new", "4")]);
    for (path, mtime_s) in [("z", 100), ("b", 200), ("a/x", 200), ("new", 300)] {
        set_mtime(&tree.path(path), mtime_s);
    }
    let (files, report) = replay(&tree.selection());
    assert_eq!(
        files
            .iter()
            .map(|f| f.path.to_str().unwrap())
            .collect::<Vec<_>>(),
        ["z", "a/x", "b", "new"]
    );
    assert!(report.complete);
}

#[test]
fn options_are_read_with_their_defaults_and_unknown_keys_are_refused() {
    let options: SourceOptions =
        serde_json::from_str(r#"{"symlinks": "files", "poll": "never"}"#).unwrap();
    assert_eq!(options.symlinks, SymlinkPolicy::Files);
    assert_eq!(
        SourceOptions {
            symlinks: SymlinkPolicy::Skip,
            poll: PollPolicy::Auto,
            ..options
        },
        Default::default()
    );
    assert!(serde_json::from_str::<SourceOptions>(r#"{"symlink": "files"}"#).is_err());
}

#[test]
fn a_key_tells_roots_and_paths_apart_and_keeps_raw_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let raw = |bytes: &'static [u8]| Path::new(std::ffi::OsStr::from_bytes(bytes));
    assert_ne!(
        key(Path::new("/a"), Path::new("b/c")),
        key(Path::new("/a/b"), Path::new("c"))
    );
    assert_ne!(
        key(Path::new("/a"), raw(b"\xff")),
        key(Path::new("/a"), raw(b"\xfe"))
    );
}

mod roots {
    use super::*;

    fn resolve(inputs: &[&Path], state: &Path) -> Result<Vec<PathBuf>, String> {
        let options = SourceOptions {
            inputs: inputs.iter().map(|p| p.to_path_buf()).collect(),
            ..Default::default()
        };
        Roots::resolve(&options, state)
            .map(|roots| roots.iter().map(|r| r.path.clone()).collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn overlapping_ones_are_refused_and_doubles_count_once() {
        let tree = Tree::of(&[("a/x", ""), ("b/x", "")]);
        let (all, a, b, state) = (tree.path(""), tree.path("a"), tree.path("b"), tree.state());
        assert!(resolve(&[&all, &a], &state).unwrap_err().contains("inside"));
        assert!(resolve(&[&a, &all], &state).unwrap_err().contains("inside"));
        assert!(
            resolve(&[&tree.path("a/x")], &state)
                .unwrap_err()
                .contains("not a folder")
        );
        assert!(
            resolve(&[&state.join("views")], &state)
                .unwrap_err()
                .contains("state folder")
        );
        assert!(resolve(&[], &state).unwrap_err().contains("--input"));
        assert_eq!(
            resolve(&[&a, &b, &a.join("../a")], &state).unwrap().len(),
            2
        );
    }

    #[test]
    fn a_root_keeps_its_path_while_it_is_away() {
        let tree = Tree::of(&[("disk/x", "")]);
        let link = tree.path("link");
        std::os::unix::fs::symlink("disk", &link).unwrap();
        let there = resolve(&[&link, &tree.path("none")], &tree.state()).unwrap();
        fs::rename(tree.path("disk"), tree.path("away")).unwrap();
        assert_eq!(
            resolve(&[&link, &tree.path("none")], &tree.state()).unwrap(),
            there
        );
        assert!(there[0].ends_with("root/disk") && there[1].ends_with("root/none"));
    }

    #[test]
    fn a_path_of_the_command_line_is_located_without_following_its_last_link() {
        let tree = Tree::of(&[("a/x", "")]);
        std::os::unix::fs::symlink("a/x", tree.path("link")).unwrap();
        let selection = tree.selection();
        let locate = |p: &str| {
            selection
                .roots()
                .locate(&tree.path(p))
                .map(|(_, p)| p.to_str().unwrap().to_owned())
        };
        assert_eq!(locate("a/x").as_deref(), Some("a/x"));
        assert_eq!(locate("a/../link").as_deref(), Some("link"));
        assert_eq!(locate("a/gone").as_deref(), Some("a/gone"));
        assert_eq!(locate("../other"), None);
    }
}
