use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::armed::{Action, Order, parse};
use super::{Kind, POINTS};

/// Every name in the source, and whether an error can come out there.
fn in_the_source(folder: &Path, found: &mut BTreeMap<String, Vec<Kind>>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            in_the_source(&path, found);
            continue;
        }
        if path
            .components()
            .any(|part| part.as_os_str() == "fault" || part.as_os_str() == "fault.rs")
        {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for (call, kind) in [
            ("fault::point(", Kind::Fails),
            ("fault::pass(", Kind::Passes),
            // The build of a view names its file too.
            (" at(", Kind::Fails),
        ] {
            for rest in source.split(call).skip(1) {
                let Some(name) = rest.trim_start().strip_prefix('"') else {
                    continue;
                };
                let name = name.split('"').next().unwrap();
                found.entry(name.to_owned()).or_default().push(kind);
            }
        }
    }
}

#[test]
fn the_list_is_what_the_source_has_and_no_name_is_used_twice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    in_the_source(&root.join("src"), &mut found);
    in_the_source(&root.join("operators/src"), &mut found);
    let listed: BTreeMap<String, Vec<Kind>> = POINTS
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), vec![*kind]))
        .collect();
    assert_eq!(listed.len(), POINTS.len(), "a name is in the list twice");
    assert_eq!(found, listed);
    assert!(POINTS.len() >= 40);
}

#[test]
fn orders_are_read_and_what_makes_no_sense_is_refused() {
    let (orders, anywhere) = parse("store.commit.before=kill@3;read.open=eio;*=sleep:20").unwrap();
    let order = |action, at| Order { action, at };
    assert_eq!(orders["store.commit.before"], order(Action::Kill, Some(3)));
    assert_eq!(orders["read.open"], order(Action::Eio, None));
    assert_eq!(
        anywhere,
        Some(order(Action::Sleep(Duration::from_millis(20)), None))
    );
    for bad in [
        "store.commit.before",
        "no.such.point=kill",
        "read.open=explode",
        "read.open=kill@soon",
        "parse.begin=eio",
        "*=enospc",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
