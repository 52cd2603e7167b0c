//! What somebody does to a folder while floodmark lives and dies beside it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::random::Random;

const FOLDERS: &[&str] = &["", "a", "a/deep", "b"];
const NAMES: &[&str] = &[
    "list.json",
    "rows.jsonl",
    "page.md",
    "note.txt",
    "table.csv",
    "bad.json",
];
const WORDS: &[&str] = &[
    "ebb", "flood", "quay", "lamp", "rope", "salt", "gull", "mud", "oar", "keel", "fog", "bell",
];

/// How many texts a file has: each reading takes in all of it.
pub const SHORT: &[usize] = &[1, 3, 20, 70];
/// Some files are read over several epochs.
pub const LONG: &[usize] = &[3, 900];

fn sentence(number: u64) -> String {
    let mut words = Random::new(number);
    let said: Vec<&str> = (0..5).map(|_| *words.pick(WORDS)).collect();
    format!("{} {number}", said.join(" "))
}

/// Bytes for a file of that name. Half of the texts are drawn from few, so that copies and repetitions are common.
fn bytes(path: &Path, random: &mut Random, counts: &[usize]) -> String {
    let count = *random.pick(counts);
    let texts: Vec<String> = (0..count)
        .map(|_| {
            let few = random.percent(50);
            sentence(random.below(if few { 60 } else { 1 << 40 }))
        })
        .collect();
    let lines = |line: &dyn Fn(&String) -> String| texts.iter().map(line).collect::<String>();
    match path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
    {
        "list.json" => {
            let items: Vec<String> = texts
                .iter()
                .map(|text| format!("{{\"text\":\"{text}\"}}"))
                .collect();
            format!("[{}]", items.join(",\n"))
        }
        "rows.jsonl" => lines(&|text| format!("{{\"text\":\"{text}\"}}\n")),
        "table.csv" => "id,text\n".to_owned() + &lines(&|text| format!("1,{text}\n")),
        "page.md" => lines(&|text| format!("# {text}\n\n{text} and {text}.\n\n")),
        "note.txt" => lines(&|text| format!("{text}.\n")),
        _ => format!("{{\"text\": \"{} ", texts[0]),
    }
}

fn file(root: &Path, random: &mut Random) -> PathBuf {
    root.join(random.pick(FOLDERS)).join(random.pick(NAMES))
}

/// Does one thing. What can't be done, because something is not there or in the way, is not done.
pub fn act(root: &Path, random: &mut Random, counts: &[usize]) {
    let (one, other) = (file(root, random), file(root, random));
    let ready = |path: &Path| {
        path.parent()
            .is_some_and(|parent| fs::create_dir_all(parent).is_ok())
    };
    let _done = match random.below(20) {
        0..6 if ready(&one) => fs::write(&one, bytes(&one, random, counts)),
        6..9 if ready(&one) => {
            let beside = one.with_file_name(".new");
            fs::write(&beside, bytes(&one, random, counts)).and_then(|()| fs::rename(beside, one))
        }
        9..11 => {
            let more = bytes(&one, random, counts);
            let open = fs::File::options().append(true).open(&one);
            open.and_then(|mut open| open.write_all(more.as_bytes()))
        }
        11 => fs::File::options().write(true).open(&one).and_then(|open| {
            let length = open.metadata()?.len();
            open.set_len(random.below(length + 1))
        }),
        12..14 if ready(&other) => fs::rename(one, other),
        14..16 if one != other && ready(&other) => fs::copy(one, other).map(drop),
        16..18 => fs::remove_file(one),
        _ => {
            let (from, to) = (random.pick(&FOLDERS[1..]), random.pick(&FOLDERS[1..]));
            fs::rename(root.join(from), root.join(to))
        }
    };
}

/// Makes a file of any kind one that can't be indexed: at its beginning, where that is seen at once, or at its end, where a JSON file
/// that is read over several epochs turns out to be bad when much of it was read.
pub fn spoil(root: &Path, random: &mut Random) {
    let one = file(root, random);
    let at_its_end = random.percent(50);
    if !one.exists() {
        return;
    }
    let _done = match at_its_end {
        true => {
            let open = fs::File::options().append(true).open(&one);
            open.and_then(|mut open| open.write_all(b",{"))
        }
        false => fs::write(&one, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    };
}
