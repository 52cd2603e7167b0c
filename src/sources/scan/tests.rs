use std::fs;

use super::super::tests::{Tree, walk};
use super::*;

fn identity(tree: &Tree, path: &str) -> Identity {
    Identity::of(&fs::metadata(tree.path(path)).unwrap())
}

#[test]
fn a_scan_reports_every_file_with_the_identity_that_a_reader_sees() {
    let tree = Tree::of(&[("a", "1"), ("d/e/f", "22")]);
    let (found, report) = walk(&tree.selection(), None, &Scope::All);
    assert_eq!(found.len(), 2);
    for file in found {
        assert_eq!(file.identity, identity(&tree, file.path.to_str().unwrap()));
    }
    assert_eq!((report.files, report.bytes, report.folders), (2, 3, 3));
}

#[test]
fn a_subtree_is_judged_by_the_rules_above_it() {
    let tree = Tree::of(&[
        (".gitignore", "*.log\n/out/\n"),
        ("d/a", ""),
        ("d/b.log", ""),
        ("out/x", ""),
        ("e", ""),
    ]);
    let selection = tree.selection();
    let found = |path: &str| {
        let (found, report) = walk(
            &selection,
            None,
            &Scope::Subtree {
                root: 0,
                path: path.into(),
            },
        );
        assert!(report.complete && report.errors.is_empty());
        found
            .into_iter()
            .map(|f| f.path.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("d"), ["d/a"]);
    assert_eq!(found("e"), ["e"]);
    assert_eq!(found("out"), [""; 0]);
    assert_eq!(found("none"), [""; 0]);
    assert_eq!(found(""), ["d/a", "e"]);
}

#[test]
fn a_deleted_file_is_gone_and_one_beside_the_walk_is_not() {
    let tree = Tree::of(&[("d/a", "1"), ("d/b", "2")]);
    let (a, selection) = (identity(&tree, "d/a"), tree.selection());
    fs::remove_file(tree.path("d/a")).unwrap();
    let fate =
        |scope: Scope, path: &str| walk(&selection, None, &scope).1.fates()(0, Path::new(path), &a);
    assert_eq!(fate(Scope::All, "d/a"), Fate::Gone);
    assert_eq!(
        fate(
            Scope::Subtree {
                root: 0,
                path: "d".into()
            },
            "d/a"
        ),
        Fate::Gone
    );
    assert_eq!(
        fate(
            Scope::Subtree {
                root: 0,
                path: "d".into()
            },
            "other"
        ),
        Fate::Unknown(Doubt::NotWalked)
    );
    fs::remove_dir_all(tree.path("d")).unwrap();
    assert_eq!(
        fate(
            Scope::Subtree {
                root: 0,
                path: "d".into()
            },
            "d/a"
        ),
        Fate::Gone
    );
}

#[test]
fn of_a_root_that_holds_nothing_any_more_nobody_can_tell() {
    let tree = Tree::of(&[("d/a", "1"), ("d/.hidden", "2")]);
    let (known, selection) = (identity(&tree, "d/a"), tree.selection());
    let fate = |selection: &Selection, scope: Scope| {
        let (_, report) = walk(selection, None, &scope);
        report.fates()(0, Path::new("d/a"), &known)
    };
    // Something that is left out shows that it is the folder it was.
    fs::remove_file(tree.path("d/a")).unwrap();
    assert_eq!(fate(&selection, Scope::All), Fate::Gone);
    fs::remove_file(tree.path("d/.hidden")).unwrap();
    for whole in [
        Scope::All,
        Scope::Root(0),
        Scope::Subtree {
            root: 0,
            path: PathBuf::new(),
        },
    ] {
        assert_eq!(fate(&selection, whole), Fate::Unknown(Doubt::Emptied));
    }
    // What was seen leaving is gone, whatever is left.
    let below = Scope::Subtree {
        root: 0,
        path: "d".into(),
    };
    assert_eq!(fate(&selection, below), Fate::Gone);
    let confirmed = tree.with(|options| options.confirm_empty = true);
    assert_eq!(fate(&confirmed.selection(), Scope::All), Fate::Gone);
}

#[test]
fn nothing_is_gone_because_a_disk_is_away() {
    let tree = Tree::of(&[("a", "1")]);
    let (known, selection) = (identity(&tree, "a"), tree.selection());
    // An empty mount point: nothing is seen of the device on which the file was.
    fs::remove_file(tree.path("a")).unwrap();
    let (_, report) = walk(&selection, None, &Scope::All);
    let elsewhere = Identity {
        dev: known.dev + 1,
        ..known
    };
    assert_eq!(
        report.fates()(0, Path::new("a"), &elsewhere),
        Fate::Unknown(Doubt::DeviceAway)
    );

    fs::rename(tree.path(""), tree.path("../away")).unwrap();
    for scope in [
        Scope::All,
        Scope::Subtree {
            root: 0,
            path: "a".into(),
        },
    ] {
        let (_, report) = walk(&selection, None, &scope);
        assert_eq!(report.roots_missing, [0]);
        assert_eq!(
            report.fates()(0, Path::new("a"), &known),
            Fate::Unknown(Doubt::RootMissing)
        );
    }
}

#[test]
fn what_lies_below_an_unreadable_folder_is_unknown() {
    // A path longer than the system takes can't be opened, whoever runs the test.
    let tree = Tree::of(&[("ok", "1")]);
    let known = identity(&tree, "ok");
    let name = "x".repeat(250);
    let mut at = rustix::fs::openat(
        rustix::fs::CWD,
        tree.path(""),
        rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    for _ in 0..17 {
        rustix::fs::mkdirat(&at, name.as_str(), rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(
            &at,
            name.as_str(),
            rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
    }
    let (found, report) = walk(&tree.selection(), None, &Scope::All);
    assert_eq!(found.len(), 1);
    let [error] = &report.errors[..] else {
        panic!("{report:?}")
    };
    let fates = report.fates();
    assert_eq!(
        fates(0, &error.below.join("f"), &known),
        Fate::Unknown(Doubt::Unreadable(error.below.clone()))
    );
    assert_eq!(fates(0, Path::new("other"), &known), Fate::Gone);
}

#[test]
fn a_scan_that_is_broken_off_says_so() {
    let tree = Tree::of(&[("a", "1"), ("b", "2")]);
    let mut left = 1;
    let report = scan(&tree.selection(), None, &Scope::All, &mut |_| {
        left -= 1;
        if left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!((report.files, report.complete), (1, false));
    assert_eq!(
        report.fates()(0, Path::new("c"), &identity(&tree, "a")),
        Fate::Unknown(Doubt::NotWalked)
    );
}

/// `cargo test --release --lib sources::scan -- --ignored --nocapture`, with the folder in FLOODMARK_BENCH_DIR.
#[test]
#[ignore = "measures"]
fn measure_a_scan() {
    let Some(dir) = std::env::var_os("FLOODMARK_BENCH_DIR") else {
        return;
    };
    let tree = Tree::new().with(|o| o.inputs = vec![dir.into()]);
    let selection = tree.selection();
    for _ in 0..3 {
        let start = std::time::Instant::now();
        let report = scan(&selection, None, &Scope::All, &mut |_| {
            ControlFlow::Continue(())
        });
        println!(
            "{} files, {} folders: {:?}",
            report.files,
            report.folders,
            start.elapsed()
        );
    }
}
