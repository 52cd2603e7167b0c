//! Every part that reads bytes from outside, over seeds and over a fixed set of mutations of them. The same functions are
//! fuzzed for as long as one likes by `make fuzz`; what that finds is kept in `tests/seeds/`, one folder a part.

#[path = "shared/targets.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use floodmark::formats::{Format, Language};
use targets::{TARGETS, Target};

/// Mutations of each seed.
const MUTATIONS: u64 = 12;
/// Seeds are cut to so many bytes: what breaks a parser is seldom long.
const SEED_BYTES: usize = 600;

/// Numbers that are the same everywhere (Marsaglia's xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    }
}

fn files(folder: &Path, into: &mut Vec<Vec<u8>>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => files(&path, into),
            false => into.push(fs::read(path).unwrap()),
        }
    }
}

/// What is mutated: the sample corpus, and the words that such files are made of. What was found before comes whole.
fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Vec::new();
    files(&root.join("examples/corpus"), &mut seeds);
    seeds.iter_mut().for_each(|seed| seed.truncate(SEED_BYTES));
    seeds.push(target.words.concat().into_bytes());
    seeds.push(vec![0xff; 24]);
    files(&root.join("tests/seeds").join(target.name), &mut seeds);
    seeds
}

fn mutate(seed: &[u8], words: &[&str], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.next(6) {
        let at = dice.next(bytes.len() + 1);
        let end = (at + dice.next(24)).min(bytes.len());
        match dice.next(6) {
            0 if !words.is_empty() => {
                bytes.splice(at..at, words[dice.next(words.len())].bytes());
            }
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again: Vec<u8> = bytes[at..end].to_vec();
                let to = dice.next(bytes.len() + 1);
                bytes.splice(to..to, again);
            }
            3 if at < bytes.len() => bytes[at] ^= 1 << dice.next(8),
            4 => bytes.insert(at, dice.next(256) as u8),
            5 => bytes.truncate(at.max(1)),
            _ => {}
        }
    }
    bytes
}

/// Runs it, and says how to keep what breaks it.
fn run(target: &Target, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_err() {
        let kept = std::env::temp_dir().join(format!("{}-broken", target.name));
        let _ = fs::write(&kept, bytes);
        panic!(
            "{} broke on {:?}…; all {} bytes are in {}: mend it, and keep them in tests/seeds/{}/",
            target.name,
            String::from_utf8_lossy(&bytes[..bytes.len().min(80)]),
            bytes.len(),
            kept.display(),
            target.name
        );
    }
}

fn survives(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let mut dice = Dice(0x5eed_f00d ^ name.len() as u64);
    for seed in seeds(target) {
        run(target, &seed);
        for _ in 0..MUTATIONS {
            run(target, &mutate(&seed, target.words, &mut dice));
        }
    }
}

macro_rules! survive {
    ($($name:ident)*) => {
        $(#[test] fn $name() { survives(stringify!($name)); })*

        #[test]
        fn every_part_has_its_test() {
            let tested = [$(stringify!($name)),*];
            assert!(TARGETS.iter().all(|target| tested.contains(&target.name)));
        }
    };
}

survive!(json jsonl csv text markdown html code detect segments growth config ignore store control embed);

/// What is known to make parsers slow: something that opens and never closes, or that might always be the beginning of something.
const OPENERS: &[&str] = &[
    "(",
    "[",
    "{",
    "<",
    "\"",
    "'",
    "`",
    "``` ",
    "*",
    "**a",
    "_a ",
    "~",
    "> ",
    "- ",
    "1. ",
    "![",
    "[a](",
    "[a]: ",
    "[^a]",
    "<a ",
    "<a b=",
    "<p>",
    "<b><i>",
    "</p>",
    "<!--",
    "<script>",
    "&",
    "&amp",
    "&#",
    "&lt;a",
    "a  ",
    "\\",
    "|",
    "|-",
    "\n",
    "\r",
    "\n\n",
    "\t",
    "a,",
    "\"\"",
    "\"a\n",
    ";",
    "fn a(){",
    "if(a){",
    "a.b(",
    "a=>",
    "/*",
    "//",
    "#",
    "# a\n",
    "=\n",
    "é",
    "日",
    "\u{feff}",
    "\u{301}",
    "\u{200d}",
    "a",
    "a ",
    "a.\n",
    "{\"a\":",
    "[1,",
    "\"a\",",
    "{\"text\":\"a\"}\n",
    "\\u00e9",
];

#[test]
fn time_grows_with_the_input_and_not_with_its_square() {
    let code = [Language::Rust, Language::Python, Language::JavaScript];
    let formats = [
        Format::Json,
        Format::Jsonl,
        Format::Csv,
        Format::Text,
        Format::Markdown,
        Format::Html,
    ];
    let work: Vec<(Format, &str)> = formats
        .into_iter()
        .chain(code.map(Format::Code))
        .flat_map(|format| OPENERS.iter().map(move |unit| (format, *unit)))
        .collect();
    let mut slow = Vec::new();
    for (format, unit) in work {
        // Code is what takes longest here: a grammar that finds no way out, in a build without optimisation.
        let size = if matches!(format, Format::Code(_)) {
            512
        } else {
            4 << 10
        };
        let grown = catch_unwind(|| targets::grows(unit.as_bytes(), format, size));
        if let Err(why) = grown {
            slow.push(why.downcast_ref::<String>().cloned().unwrap_or_default());
        }
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}
