//! Files that were made to break a reader: each is indexed or dead with a reason, and none takes a neighbour with it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::support::{Asked, Place, Words, copy_folder, oracle};
use floodmark::formats;
use floodmark::worker::Mode;

/// Indexes what is there, with these limits; the index is right then. Reasons of dead files and records by path.
fn index(place: &Place, options: formats::Options) -> BTreeMap<String, Vec<String>> {
    let mut run = place.options(Mode::Once, 1);
    run.formats = options.clone();
    place.start(run, &Asked::default()).join().unwrap();
    place.is_right(&oracle(&place.sources(), &place.state(), &options, &Words));
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for letter in place.snapshot().unwrap().dead().unwrap() {
        let path = floodmark::store::escape_path(&letter.path);
        reasons.entry(path).or_default().push(letter.failure.reason);
    }
    reasons
}

/// What each file is dead for; `None`: nothing.
type Case = (&'static str, Vec<u8>, Option<&'static str>);

fn cases() -> Vec<Case> {
    let good = "{\"text\":\"ebb\"}\n";
    let text = |text: String| text.into_bytes();
    let deep = "[".repeat(100_000);
    vec![
        ("deep.json", text(deep.clone()), Some("too-deep")),
        (
            "deep-closed.json",
            text(format!("{deep}{}", "]".repeat(100_000))),
            Some("too-deep"),
        ),
        (
            "deep.jsonl",
            text(format!("{good}{deep}\n{good}")),
            Some("too-deep"),
        ),
        (
            "deep-object.json",
            text("{\"a\":".repeat(40_000)),
            Some("too-deep"),
        ),
        (
            "long-line.jsonl",
            text(format!("{good}\"{}\"\n{good}", "x".repeat(4 << 20))),
            Some("too-large"),
        ),
        (
            "long-element.json",
            text(format!("[\"ebb\",\"{}\",\"flood\"]", "y".repeat(4 << 20))),
            Some("too-large"),
        ),
        (
            "long-row.csv",
            text(format!("text\nebb\n\"{}\"\nflood\n", "z".repeat(4 << 20))),
            Some("too-large"),
        ),
        (
            "open-quote.csv",
            text(format!("text\nebb\n\"{}", "rope\n".repeat(40))),
            Some("invalid-csv"),
        ),
        (
            "wide.csv",
            text(format!(
                "{}text\n{}salt\n",
                "c,".repeat(30_000),
                ",".repeat(30_000)
            )),
            None,
        ),
        (
            "too-wide.csv",
            text(format!("{}text\n", "c,".repeat(1 << 20))),
            Some("invalid-csv"),
        ),
        (
            "nan.json",
            text("{\"text\":\"ebb\",\"x\":NaN}".into()),
            Some("invalid-json"),
        ),
        (
            "infinite.jsonl",
            text(format!("{good}{{\"text\":\"a\",\"x\":-Infinity}}\n{good}")),
            Some("invalid-json"),
        ),
        (
            "huge-number.jsonl",
            text("{\"text\":\"quay\",\"x\":1e999999}\n".into()),
            None,
        ),
        (
            "bad-utf8.jsonl",
            b"{\"text\":\"\xff\xfe\"}\n{\"text\":\"ebb\"}\n".to_vec(),
            Some("encoding"),
        ),
        (
            "bad-utf8.txt",
            b"quay \xc3\x28 \xf0\x28\x8c\xbc and \xed\xa0\x80 lamp\n".repeat(9),
            None,
        ),
        (
            "half-pair.json",
            text("{\"text\":\"ebb \\ud83d flood\"}".into()),
            None,
        ),
        ("zeros.txt", vec![0; 1 << 20], Some("binary")),
        ("zeros.json", vec![0; 100_000], Some("invalid-json")),
        (
            "nested.html",
            text(format!(
                "{}lamp{}",
                "<div>".repeat(50_000),
                "</div>".repeat(50_000)
            )),
            None,
        ),
        (
            "entities.html",
            text("&lt;&amp;rope&hellip; ".repeat(5_000)),
            None,
        ),
        (
            "attributes.html",
            text(format!("<p {}>salt", "a=b ".repeat(50_000))),
            None,
        ),
        (
            "never-closed.html",
            text(format!("ebb<!--{}", "-- ".repeat(50_000))),
            None,
        ),
        (
            "script.html",
            text(format!("flood<script>{}", "</scrip ".repeat(20_000))),
            None,
        ),
        (
            "quotes.md",
            text(format!("{}ebb\n", "> ".repeat(5_000))),
            None,
        ),
        (
            "lists.md",
            text(
                (0..300)
                    .map(|depth| format!("{}- quay\n", " ".repeat(2 * depth)))
                    .collect(),
            ),
            None,
        ),
        ("links.md", text("[a](".repeat(10_000)), None),
        ("stars.md", text("*a _b ".repeat(5_000)), None),
        (
            "front.md",
            text(format!("+++\na = {}\n+++\nsalt\n", "[".repeat(50_000))),
            None,
        ),
        ("brackets.rs", text("(".repeat(50_000)), None),
        ("blocks.js", text("if(a){".repeat(8_000)), None),
        ("one-word.txt", text("m".repeat(1 << 20)), None),
        (
            "marks.txt",
            text(format!("a{}", "\u{301}".repeat(100_000))),
            None,
        ),
        ("empty.txt", Vec::new(), None),
        ("bom.txt", "\u{feff}".into(), None),
    ]
}

#[test]
fn each_is_indexed_or_dead_with_a_reason() {
    let place = Place::new();
    let mut expect = BTreeMap::new();
    for (name, bytes, reason) in cases() {
        fs::write(place.files().join(name), bytes).unwrap();
        if let Some(reason) = reason {
            expect.insert(name.to_owned(), vec![reason.to_owned()]);
        }
    }
    // Names are bytes: anything but a slash and a zero.
    for name in [
        &b"\xff\xfe.txt"[..],
        b"line\nend.txt",
        b"-rf.txt",
        &[b'n'; 255],
    ] {
        fs::write(
            place.files().join(std::ffi::OsStr::from_bytes(name)),
            "keel",
        )
        .unwrap();
    }
    let ignore = "[\n{a,{b\n**/**/**/*\\\n!\n\\\n[a-\n*.ignored\n";
    fs::write(place.files().join(".gitignore"), ignore).unwrap();
    fs::write(place.files().join("a.ignored"), "bell").unwrap();
    let options = formats::Options {
        max_record_bytes: 256 << 10,
        ..formats::Options::default()
    };
    assert_eq!(index(&place, options), expect);
    let indexed = place.snapshot().unwrap().files(Some("indexed")).unwrap();
    assert!(
        indexed
            .iter()
            .any(|file| file.path == Path::new("long-line.jsonl"))
    );
    assert!(
        !indexed
            .iter()
            .any(|file| file.path == Path::new("a.ignored"))
    );
}

#[test]
fn the_messy_collection_is_indexed_or_dead_with_a_reason() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/messy");
    let messy = std::env::var_os("MESSY_DATA").map_or(default, PathBuf::from);
    if !messy.is_dir() {
        return println!(
            "SKIPPED: {} is not there; MESSY_DATA names such a folder",
            messy.display()
        );
    }
    let place = Place::new();
    copy_folder(&messy, &place.files());
    let reasons = index(&place, formats::Options::default());
    let store = place.snapshot().unwrap();
    let (indexed, dead) = (
        store.files(Some("indexed")).unwrap(),
        store.files(Some("dead")).unwrap(),
    );
    println!(
        "{} indexed, {} dead, {} with a letter",
        indexed.len(),
        dead.len(),
        reasons.len()
    );
    assert!(indexed.len() > 100 && reasons.len() >= dead.len());
}
