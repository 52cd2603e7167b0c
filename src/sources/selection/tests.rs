use std::collections::BTreeSet;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::super::tests::{Tree, walk};
use super::super::{Scope, SourceOptions, SymlinkPolicy};
use super::*;

fn reason(tree: &Tree, path: &str) -> SkipReason {
    match tree.selection().look(0, Path::new(path)) {
        Looked::Skipped { reason, .. } => reason,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn ignore_files_nest_negate_and_tell_folders_from_files() {
    let tree = Tree::of(&[
        (".gitignore", "*.log\nbuild/\n/top\n# no comment\n"),
        ("a.log", ""),
        ("a.txt", ""),
        ("top", ""),
        ("build/x", ""),
        ("sub/build", "a file of that name stays"),
        ("sub/top", ""),
        ("sub/.gitignore", "!keep.log\n*.tmp\n"),
        ("sub/keep.log", ""),
        ("sub/deep/keep.log", ""),
        ("sub/deep/x.tmp", ""),
        ("x.tmp", ""),
    ]);
    assert_eq!(
        tree.found(),
        [
            "a.txt",
            "sub/build",
            "sub/deep/keep.log",
            "sub/keep.log",
            "sub/top",
            "x.tmp"
        ]
    );
    let SkipReason::Ignored(rule) = reason(&tree, "sub/deep/x.tmp") else {
        panic!()
    };
    assert_eq!(
        (rule.file, rule.line.as_str()),
        (tree.path("sub/.gitignore").canonicalize().unwrap(), "*.tmp")
    );
    assert_eq!(tree.with(|o| o.gitignore = false).found().len(), 10);
}

#[test]
fn our_own_ignore_file_overrules_gits() {
    let tree = Tree::of(&[
        (".gitignore", "*.gen\n"),
        (".floodmarkignore", "!api.gen\nsecret*\n!.env.example\n"),
        ("api.gen", ""),
        ("b.gen", ""),
        ("secrets", ""),
        (".env.example", ""),
        (".env", ""),
    ]);
    assert_eq!(tree.found(), [".env.example", "api.gen"]);
    assert_eq!(reason(&tree, ".env"), SkipReason::Hidden);
}

#[test]
fn includes_and_excludes_are_lines_like_those_of_an_ignore_file() {
    let files = ["a.md", "b.txt", "docs/c.txt", "docs/old/d.md", "src/e.md"].map(|p| (p, ""));
    let found = |include: &[&str], exclude: &[&str]| {
        Tree::of(&files)
            .with(|o| {
                o.include = include.iter().map(|s| s.to_string()).collect();
                o.exclude = exclude.iter().map(|s| s.to_string()).collect();
            })
            .found()
    };
    assert_eq!(found(&["*.md"], &[]), ["a.md", "docs/old/d.md", "src/e.md"]);
    assert_eq!(
        found(&["docs/", "/a.md"], &["old/"]),
        ["a.md", "docs/c.txt"]
    );
    assert_eq!(
        found(&[], &["*.md", "!a.md"]),
        ["a.md", "b.txt", "docs/c.txt"]
    );
    let options = SourceOptions {
        exclude: vec!["a[".into(), "{".into()],
        ..Default::default()
    };
    let tree = Tree::new();
    let roots = Roots::resolve(&tree.options, &tree.state()).unwrap();
    let error = Selection::new(&options, roots, &tree.state())
        .unwrap_err()
        .to_string();
    assert!(error.contains("exclude") && error.contains('{'), "{error}");
}

#[test]
fn the_state_repositories_hidden_special_and_large_files_stay_out() {
    let mut tree = Tree::of(&[
        (".git/HEAD", ""),
        (".hidden/x", ""),
        ("big", "12345"),
        ("small", "1"),
    ])
    .with(|o| o.max_file_bytes = Some(4));
    assert!(
        std::process::Command::new("mkfifo")
            .arg(tree.path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(tree.found(), ["small"]);
    assert_eq!(reason(&tree, "big"), SkipReason::TooLarge(5));
    assert_eq!(reason(&tree, "pipe"), SkipReason::Special);
    tree.options.hidden = true;
    assert_eq!(tree.found(), [".hidden/x", "small"]);
    assert_eq!(reason(&tree, ".git/HEAD"), SkipReason::Repository);

    tree.write("index/db", "1");
    let roots = Roots::resolve(&tree.options, &tree.path("index")).unwrap();
    let selection = Selection::new(&tree.options, roots, &tree.path("index")).unwrap();
    assert!(
        matches!(selection.look(0, Path::new("index/db")), Looked::Skipped { at, reason: SkipReason::State } if at == Path::new("index"))
    );
}

#[test]
fn links_are_left_out_or_taken_and_never_walked_in_a_circle() {
    let mut tree = Tree::of(&[("dir/file", "1"), ("../outside/secret", "2")]);
    symlink("dir/file", tree.path("to-file")).unwrap();
    symlink("dir", tree.path("to-dir")).unwrap();
    symlink("..", tree.path("dir/up")).unwrap();
    symlink("self", tree.path("self")).unwrap();
    symlink("nowhere", tree.path("dangling")).unwrap();
    symlink("../outside/secret", tree.path("leak")).unwrap();
    symlink("../outside", tree.path("leaks")).unwrap();
    symlink("../state", tree.path("state")).unwrap();
    std::fs::write(tree.state().join("db"), "").unwrap();
    assert_eq!(tree.found(), ["dir/file"]);
    assert_eq!(reason(&tree, "to-dir/file"), SkipReason::Symlink);

    tree.options.symlinks = SymlinkPolicy::Files;
    assert_eq!(tree.found(), ["dir/file", "to-file"]);
    assert_eq!(reason(&tree, "to-dir"), SkipReason::SymlinkToFolder);
    assert!(matches!(
        reason(&tree, "leak"),
        SkipReason::SymlinkOutside(_)
    ));
    assert_eq!(reason(&tree, "dangling"), SkipReason::SymlinkDangling);
    assert_eq!(reason(&tree, "self"), SkipReason::SymlinkDangling);

    tree.options.symlinks = SymlinkPolicy::Follow;
    assert_eq!(
        tree.found(),
        ["dir/file", "leak", "leaks/secret", "to-dir/file", "to-file"]
    );
    assert_eq!(reason(&tree, "dir/up"), SkipReason::Loop);
    assert_eq!(reason(&tree, "state"), SkipReason::State);
}

#[test]
fn a_changed_ignore_file_holds_at_once() {
    let tree = Tree::of(&[("a.log", ""), ("b.log", "")]);
    let selection = tree.selection();
    let admits = |path: &str| selection.admits(0, Path::new(path)).unwrap() == Verdict::Take;
    for _ in 0..20 {
        tree.write(".gitignore", "a*\n");
        assert!(!admits("a.log") && admits("b.log"));
        tree.write(".gitignore", "b*\n");
        assert!(admits("a.log") && !admits("b.log"));
    }
}

#[test]
fn what_is_not_there_is_gone_unless_its_root_is_away() {
    let tree = Tree::of(&[("a", ""), ("dir/b", "")]);
    let selection = tree.selection();
    let look = |path: &str| selection.look(0, Path::new(path));
    assert!(matches!(look("none"), Looked::Gone));
    assert!(matches!(look("a/below-a-file"), Looked::Gone));
    assert!(matches!(look("dir"), Looked::Folder));
    assert!(matches!(look("../state"), Looked::Unknown { .. }));
    std::fs::rename(tree.path(""), tree.path("../away")).unwrap();
    assert!(matches!(look("a"), Looked::Unknown { .. }));
}

#[test]
fn a_name_need_not_be_utf8() {
    let tree = Tree::of(&[(".gitignore", "*.log\n")]);
    let raw = |bytes: &'static [u8]| Path::new(OsStr::from_bytes(bytes));
    tree.write(raw(b"\xff\xfe.txt"), "");
    tree.write(raw(b"\xff.log"), "");
    let (found, _) = walk(&tree.selection(), None, &Scope::All);
    assert_eq!(
        found.iter().map(|f| f.path.as_path()).collect::<Vec<_>>(),
        [raw(b"\xff\xfe.txt")]
    );
    assert!(
        matches!(tree.selection().look(0, raw(b"\xff\xfe.txt")), Looked::File(f) if f == found[0])
    );
}

/// Names that meet the patterns below often.
fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c.log", "d.txt", "build", ".h"])
}

fn line() -> impl Strategy<Value = String> {
    let pattern = prop_oneof![
        name().prop_map(str::to_owned),
        prop::sample::select(vec![
            "*.log", "**/b", "a/**", "*", "?", "[ab]", "a/*/b", "*.txt"
        ])
        .prop_map(str::to_owned),
        (name(), name()).prop_map(|(a, b)| format!("{a}/{b}")),
    ];
    (any::<bool>(), any::<bool>(), pattern, any::<bool>()).prop_map(
        |(not, anchor, pattern, dir)| {
            let (not, anchor) = (if not { "!" } else { "" }, if anchor { "/" } else { "" });
            format!("{not}{anchor}{pattern}{}", if dir { "/" } else { "" })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The walk, the single look and the walker of the `ignore` crate take the same files.
    #[test]
    fn scan_and_look_and_the_ignore_crate_agree(
        files in prop::collection::vec(prop::collection::vec(name(), 1..5), 1..25),
        rules in prop::collection::vec((prop::collection::vec(name(), 0..3), any::<bool>(), prop::collection::vec(line(), 1..4)), 0..5),
        hidden in any::<bool>(),
    ) {
        let tree = Tree::new().with(|o| o.hidden = hidden);
        let mut paths = BTreeSet::new();
        for file in &files {
            let path: PathBuf = file.iter().collect();
            // A name may be a folder already, or a file in the place of a folder: those are left out.
            let _ = std::fs::create_dir_all(tree.path(&path).parent().unwrap());
            if std::fs::write(tree.path(&path), "").is_ok() {
                paths.insert(path);
            }
        }
        for (folder, ours, lines) in &rules {
            let folder: PathBuf = folder.iter().collect();
            if tree.path(&folder).is_dir() {
                let name = if *ours { ".floodmarkignore" } else { ".gitignore" };
                tree.write(folder.join(name), lines.join("\n"));
                paths.insert(folder.join(name));
            }
        }
        let selection = tree.selection();
        let (scanned, _) = walk(&selection, None, &Scope::All);
        let looked: Vec<Found> = paths.iter().filter_map(|p| match selection.look(0, p) {
            Looked::File(found) => Some(found),
            Looked::Skipped { .. } => None,
            other => panic!("{p:?}: {other:?}"),
        }).collect();
        prop_assert_eq!(&scanned, &looked);

        let root = tree.path("").canonicalize().unwrap();
        let walker = ignore::WalkBuilder::new(&root)
            .standard_filters(false).git_ignore(true).require_git(false).hidden(!hidden)
            .add_custom_ignore_filename(".floodmarkignore").build();
        let theirs: BTreeSet<PathBuf> = walker.flatten().filter(|e| e.file_type().is_some_and(|t| t.is_file()))
            .map(|e| e.path().strip_prefix(&root).unwrap().to_owned()).collect();
        prop_assert_eq!(scanned.into_iter().map(|f| f.path).collect::<BTreeSet<_>>(), theirs);
    }
}
