//! Texts and files to measure with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::arguments::Arguments;

/// Records in a file of passages.
pub const RECORDS_A_FILE: usize = 10;

/// The passages of the file, or as many made-up texts of one to eight sentences.
pub fn passages(arguments: &Arguments) -> Vec<String> {
    let Some(path) = &arguments.passages else {
        let text = |number: usize| {
            (0..1 + number % 8)
                .map(|part| sentence(number * 8 + part) + ". ")
                .collect()
        };
        return (0..arguments.texts).map(text).collect();
    };
    strings(path, arguments.texts)
}

/// Sentences of the file, as many as it has of so many, or made-up ones.
pub fn sentences(arguments: &Arguments, most: usize) -> Vec<String> {
    match &arguments.sentences {
        Some(path) => strings(path, most),
        None => (0..most).map(sentence).collect(),
    }
}

/// The first `most` JSON strings of a file that has one a line.
fn strings(path: &Path, most: usize) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a file of texts");
    text.lines()
        .take(most)
        .map(|line| serde_json::from_str(line).expect("a JSON string a line"))
        .collect()
}

/// A sentence of some twenty words, another for each number.
pub fn sentence(number: usize) -> String {
    const WORDS: [&str; 32] = [
        "harbour", "winter", "ledger", "copper", "garden", "signal", "bridge", "kettle", "meadow",
        "engine", "lantern", "river", "market", "violin", "granite", "orchard", "compass",
        "timber", "canvas", "pepper", "thunder", "archive", "beacon", "saddle", "cellar", "marble",
        "turbine", "valley", "anchor", "basket", "glacier", "hammer",
    ];
    let word = |shift: usize| WORDS[(number.wrapping_mul(2_654_435_761) >> shift) % 32];
    format!(
        "Note {number}: the {} by the {} keeps a {} near the {} until the {} leaves",
        word(0),
        word(5),
        word(10),
        word(15),
        word(20)
    )
}

/// Ten records a JSON file.
pub fn write_many(folder: &Path, texts: &[String]) {
    fs::create_dir_all(folder).expect("a folder");
    for (number, part) in texts.chunks(RECORDS_A_FILE).enumerate() {
        let record = |(at, text): (usize, &String)| serde_json::json!({ "id": format!("p{}", number * RECORDS_A_FILE + at), "text": text });
        let records: Vec<_> = part.iter().enumerate().map(record).collect();
        // A thousand files a folder, as people have them.
        let below = folder.join(format!("{:03}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&below).expect("a folder");
        }
        let json = serde_json::to_vec(&records).expect("JSON");
        fs::write(below.join(format!("f{number:06}.json")), json).expect("a file");
    }
}

/// All records in JSONL files of `a_file` lines.
pub fn write_lines(folder: &Path, texts: &[String], a_file: usize) {
    fs::create_dir_all(folder).expect("a folder");
    for (number, part) in texts.chunks(a_file).enumerate() {
        let line = |(at, text): (usize, &String)| {
            let id = number * a_file + at;
            serde_json::json!({ "id": id, "text": text }).to_string() + "\n"
        };
        let lines: String = part.iter().enumerate().map(line).collect();
        fs::write(folder.join(format!("{number:06}.jsonl")), lines).expect("a file");
    }
}

/// One record a file: `files` files with a thousand different texts.
pub fn write_small(folder: &Path, files: usize) {
    for number in 0..files {
        let below = folder.join(format!("{:04}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&below).expect("a folder");
        }
        let record = serde_json::json!({ "id": number, "text": sentence(number % 1000) });
        fs::write(below.join(format!("{number}.json")), record.to_string()).expect("a file");
    }
}

/// The folder as the edits leave it. Returns how many files it has.
pub fn write_edited(folder: &Path, edits: &Path) -> usize {
    let mut files = BTreeMap::new();
    for line in fs::read_to_string(edits).expect("the edits").lines() {
        let edit: serde_json::Value = serde_json::from_str(line).expect("a JSON object a line");
        let field = |name: &str| edit[name].as_str().unwrap_or_default().to_owned();
        match edit["op"].as_str() {
            Some("delete") => drop(files.remove(&field("path"))),
            Some("rename") => {
                let text = files.remove(&field("old_path")).unwrap_or_default();
                let new = edit["text"].as_str().map_or(text, str::to_owned);
                files.insert(field("path"), new);
            }
            _ => drop(files.insert(field("path"), field("text"))),
        }
    }
    for (path, text) in &files {
        // Hidden folders are left out by default, and would not be measured.
        let path = folder.join(path.trim_start_matches('.'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    files.len()
}

/// Files and bytes below a folder.
pub fn size_of(folder: &Path) -> (usize, u64) {
    files(folder).iter().fold((0, 0), |(files, bytes), path| {
        (
            files + 1,
            bytes + fs::metadata(path).map_or(0, |metadata| metadata.len()),
        )
    })
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            match entry.file_type().expect("a type").is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found
}
