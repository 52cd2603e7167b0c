//! Random histories of a folder: after each round the index is what a computation from scratch says, and no text was
//! embedded twice, whoever watched, however often it was restarted, with any number of workers.
//!
//! They run with `confirm-empty` and without. Without it, an input that is found empty keeps what was in it ([`restarted`] says
//! so in a line). Of one that is watched that can't be computed from the files: whether each was seen leaving depends on how
//! quick the watch was. So there, without `confirm-empty`, one file lies that no history touches, and the input is never empty.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use floodmark::worker::{Mode, Options};
use proptest::prelude::*;

use super::support::{Asked, Expected, Place, Stop, Words, difference, wait};

const FOLDERS: &[&str] = &["", "a", "a/deep", "b"];
const NAMES: &[&str] = &[
    "list.json",
    "rows.jsonl",
    "page.md",
    "note.txt",
    "table.csv",
    "bad.json",
];

/// What somebody does to the folder. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Action {
    /// Writes a file in place.
    Write(usize, u8),
    /// Writes a file beside it and renames it.
    Replace(usize, u8),
    Append(usize, u8),
    Truncate(usize, u8),
    Move(usize, usize),
    Copy(usize, usize),
    Delete(usize),
    RenameFolder(usize, usize),
}

fn place_of(number: usize) -> PathBuf {
    let (folder, name) = (number % FOLDERS.len(), number / FOLDERS.len() % NAMES.len());
    Path::new(FOLDERS[folder]).join(NAMES[name])
}

fn sentence(seed: usize) -> String {
    const WORDS: &[&str] = &[
        "ebb", "flood", "quay", "lamp", "rope", "salt", "gull", "mud", "oar", "keel", "fog", "bell",
    ];
    (0..6)
        .map(|at| WORDS[(seed * 5 + at * (seed % 7 + 1)) % WORDS.len()])
        .collect::<Vec<_>>()
        .join(" ")
}

/// Bytes for a file of that name: much is shared between seeds, so that copies and repeated texts are common.
fn bytes(path: &Path, seed: u8) -> String {
    let seed = usize::from(seed);
    let count = [1, 3, 60, 120][seed % 4];
    let texts = (0..count).map(|at| sentence(seed / 4 + at));
    match path.file_name().and_then(|name| name.to_str()).unwrap() {
        "list.json" if seed % 3 == 0 => {
            format!("{{\"id\":\"only\",\"text\":\"{}\"}}", sentence(seed))
        }
        "list.json" => {
            let items: Vec<String> = texts
                .map(|text| format!("{{\"text\":\"{text}\",\"n\":{seed}}}"))
                .collect();
            format!("[{}]", items.join(",\n"))
        }
        "rows.jsonl" => texts
            .map(|text| format!("{{\"text\":\"{text}\"}}\n"))
            .collect(),
        "table.csv" => {
            "id,text\n".to_owned()
                + &texts
                    .enumerate()
                    .map(|(at, text)| format!("{at},{text}\n"))
                    .collect::<String>()
        }
        "page.md" => texts
            .map(|text| format!("# {text}\n\n{text} and {text}.\n\n"))
            .collect(),
        "note.txt" => texts.map(|text| format!("{text}.\n")).collect(),
        _ => format!("{{\"text\": \"{} ", sentence(seed)),
    }
}

impl Action {
    /// Does it. What can't be done, because something is not there or in the way, is not done.
    fn act(&self, root: &Path) {
        let at = |number: &usize| root.join(place_of(*number));
        let ready = |path: &PathBuf| fs::create_dir_all(path.parent().unwrap()).is_ok();
        let _ = match self {
            Self::Write(file, seed) => Some(at(file))
                .filter(ready)
                .map(|path| fs::write(&path, bytes(&path, *seed))),
            Self::Replace(file, seed) => Some(at(file)).filter(ready).map(|path| {
                let beside = path.with_file_name(".new");
                fs::write(&beside, bytes(&path, *seed)).and_then(|()| fs::rename(beside, path))
            }),
            Self::Append(file, seed) => fs::File::options()
                .append(true)
                .open(at(file))
                .ok()
                .map(|mut open| open.write_all(bytes(&at(file), *seed).as_bytes())),
            Self::Truncate(file, part) => {
                fs::File::options()
                    .write(true)
                    .open(at(file))
                    .ok()
                    .map(|open| {
                        let length = open.metadata()?.len();
                        open.set_len(length * u64::from(*part) / 256)
                    })
            }
            Self::Move(from, to) => Some(at(to))
                .filter(ready)
                .map(|to| fs::rename(at(from), to)),
            Self::Copy(from, to) => Some(at(to))
                .filter(|to| at(from) != *to && ready(to))
                .map(|to| fs::copy(at(from), to).map(drop)),
            Self::Delete(file) => Some(fs::remove_file(at(file))),
            Self::RenameFolder(from, to) => {
                let folder = |number: &usize| root.join(FOLDERS[1 + number % (FOLDERS.len() - 1)]);
                Some(fs::rename(folder(from), folder(to)))
            }
        };
    }
}

fn action() -> impl Strategy<Value = Action> {
    let file = || 0usize..FOLDERS.len() * NAMES.len();
    prop_oneof![
        6 => (file(), any::<u8>()).prop_map(|(file, seed)| Action::Write(file, seed)),
        3 => (file(), any::<u8>()).prop_map(|(file, seed)| Action::Replace(file, seed)),
        2 => (file(), any::<u8>()).prop_map(|(file, seed)| Action::Append(file, seed)),
        2 => (file(), any::<u8>()).prop_map(|(file, part)| Action::Truncate(file, part)),
        2 => (file(), file()).prop_map(|(from, to)| Action::Move(from, to)),
        2 => (file(), file()).prop_map(|(from, to)| Action::Copy(from, to)),
        2 => file().prop_map(Action::Delete),
        2 => (0usize..9, 0usize..9).prop_map(|(from, to)| Action::RenameFolder(from, to)),
    ]
}

fn rounds() -> impl Strategy<Value = Vec<Vec<Action>>> {
    prop::collection::vec(prop::collection::vec(action(), 1..10), 1..5)
}

/// Rounds between which everything is often deleted.
fn rounds_that_empty() -> impl Strategy<Value = Vec<Vec<Action>>> {
    let write = || (0usize..3, any::<u8>()).prop_map(|(file, seed)| Action::Write(file, seed));
    let round = prop_oneof![
        prop::collection::vec(write(), 1..4),
        Just((0..3).map(Action::Delete).collect()),
    ];
    prop::collection::vec(round, 2..6)
}

/// Histories a test tries: `CASES` raises the number. A failing one is printed; the seed too, as `PROPTEST_RNG_SEED`.
fn cases(few: u32) -> ProptestConfig {
    let cases = std::env::var("CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(few);
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 0, // shrinking waits for the deadline each time

        ..ProptestConfig::default()
    }
}

/// Every text was embedded at most once.
fn embedded_once(asked: &Asked) {
    for (text, times) in &*asked.lock().unwrap() {
        assert_eq!(*times, 1, "{text:?} was embedded {times} times");
    }
}

/// The options of a run that takes an empty input for an answer, or does not.
fn options(place: &Place, mode: Mode, workers: usize, confirm_empty: bool) -> Options {
    let mut options = place.options(mode, workers);
    options.sources.confirm_empty = confirm_empty;
    options
}

/// Whether anything lies below but folders.
fn holds_something(folder: &Path) -> bool {
    fs::read_dir(folder)
        .unwrap()
        .map(Result::unwrap)
        .any(|entry| !entry.file_type().unwrap().is_dir() || holds_something(&entry.path()))
}

fn watched(workers: usize, confirm_empty: bool, rounds: &[Vec<Action>]) {
    followed(workers, confirm_empty, rounds.len(), |round, files| {
        rounds[round].iter().for_each(|action| action.act(files));
    });
}

/// A run that watches, while `round` does something to the folder.
fn followed(workers: usize, confirm_empty: bool, rounds: usize, round: impl Fn(usize, &Path)) {
    let (place, asked) = (Place::new(), Asked::default());
    if !confirm_empty {
        fs::write(place.files().join("stays.txt"), "the lighthouse").unwrap();
    }
    let options = options(&place, Mode::Watch, workers, confirm_empty);
    let run = place.start(options, &asked);
    let handle = run.handle();
    let stop = Stop(handle.clone());
    for number in 0..rounds {
        round(number, &place.files());
        let expected = place.expected(&Words);
        wait(
            "the index to follow",
            |until| handle.progress().wait_for_commit(until),
            || match place.snapshot() {
                _ if !handle.progress().scanned() || handle.progress().files() > 0 => {
                    Err("behind".to_owned())
                }
                None => expected
                    .lines
                    .is_empty()
                    .then_some(())
                    .ok_or("nothing is committed".to_owned()),
                Some(snapshot) => difference(&snapshot, &expected).map_or(Ok(()), Err),
            },
        );
    }
    drop(stop);
    run.join().unwrap();
    place.is_right(&place.expected(&Words));
    embedded_once(&asked);
}

fn restarted(workers: &[usize], confirm_empty: bool, rounds: &[Vec<Action>]) {
    let (place, asked) = (Place::new(), Asked::default());
    let mut expected = Expected::default();
    for (actions, workers) in rounds.iter().zip(workers.iter().cycle()) {
        actions.iter().for_each(|action| action.act(&place.files()));
        let options = options(&place, Mode::Once, *workers, confirm_empty);
        place.start(options, &asked).join().unwrap();
        if confirm_empty || holds_something(&place.files()) {
            expected = place.expected(&Words);
        }
        place.is_right(&expected);
        embedded_once(&asked);
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn a_run_that_watches_follows_every_history(workers in prop::sample::select(vec![1usize, 3]), confirm_empty: bool, rounds in rounds()) {
        watched(workers, confirm_empty, &rounds);
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn runs_between_the_rounds_give_the_same(workers in prop::sample::select(vec![[1usize, 3], [3, 1], [1, 1], [3, 3]]), confirm_empty: bool, rounds in rounds()) {
        restarted(&workers, confirm_empty, &rounds);
    }

    /// A few files that come and go: the input is empty every other time.
    #[test]
    fn runs_between_rounds_that_empty_the_folder_keep_what_was_in_it(rounds in rounds_that_empty()) {
        restarted(&[1], false, &rounds);
    }
}

/// Renames a watched folder over another one that was just emptied, again and again.
#[test]
fn a_folder_that_takes_the_place_of_an_emptied_one_is_followed() {
    let (deep, b, note) = (2, 3, 3 * FOLDERS.len());
    let round = |seed| {
        vec![
            vec![
                Action::Write(note + deep, seed),
                Action::Write(note + b, seed + 4),
            ],
            vec![
                Action::Delete(note + b),
                Action::RenameFolder(1, 2),
                Action::Write(b, seed),
            ],
            vec![Action::Delete(note + b), Action::Delete(b)],
        ]
    };
    let rounds: Vec<Vec<Action>> = (0..40).flat_map(round).collect();
    watched(1, true, &rounds);
}

/// Renames a folder away and back, before anybody has had the time to look.
#[test]
fn a_folder_that_is_renamed_away_and_back_is_followed() {
    let (a, b) = (0, 2);
    let (page_in_deep, table_in_b) = (2 * FOLDERS.len() + 2, 4 * FOLDERS.len() + 3);
    let round = |seed| {
        vec![
            Action::Write(page_in_deep, seed),
            Action::RenameFolder(a, b),
            Action::Write(table_in_b, seed),
            Action::RenameFolder(b, a),
        ]
    };
    let rounds: Vec<Vec<Action>> = (0..40).map(round).collect();
    watched(1, false, &rounds);
}

/// Several at once write, move and rename folders, each below a folder of his own that is renamed as well.
#[test]
fn a_storm_of_renamed_folders_is_followed() {
    const STORMS: usize = 4;
    let storm = |number: u64, files: &Path| {
        let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut dice = move |sides: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % sides
        };
        let homes = [0, 1].map(|at| files.join(format!("{}-{at}", number % STORMS as u64)));
        for _ in 0..60 {
            let home = &homes[dice(2)];
            let (file, seed) = (dice(FOLDERS.len() * NAMES.len()), dice(256) as u8);
            match dice(8) {
                0..3 => Action::Write(file, seed).act(home),
                3 => Action::Move(file, dice(24)).act(home),
                4 => Action::Delete(file).act(home),
                5..7 => Action::RenameFolder(dice(3), dice(3)).act(home),
                // What is in the way stays there.
                _ => drop(fs::rename(home, &homes[dice(2)])),
            }
        }
    };
    followed(3, true, 8, |round, files| {
        std::thread::scope(|scope| {
            for number in 0..STORMS {
                scope.spawn(move || storm((round * STORMS + number) as u64, files));
            }
        });
    });
}

fn once(place: &Place, asked: &Asked) {
    place
        .start(place.options(Mode::Once, 1), asked)
        .join()
        .unwrap();
    place.is_right(&place.expected(&Words));
}

#[test]
fn a_file_that_turns_bad_in_a_later_piece_leaves_nothing_behind() {
    let (place, asked) = (Place::new(), Asked::default());
    let file = place.files().join("list.json");
    let items: Vec<String> = (0..200)
        .map(|at| format!("{{\"text\":\"{}\"}}", sentence(at)))
        .collect();
    fs::write(&file, format!("[{}]", items.join(","))).unwrap();
    once(&place, &asked);
    fs::write(&file, format!("[{}", items.join(","))).unwrap();
    once(&place, &asked);
    fs::write(&file, "[{\"text\":\"well again\"}]").unwrap();
    once(&place, &asked);
}

#[test]
fn a_piece_that_is_no_text_is_left_out_and_the_rest_of_the_file_is_in() {
    let (place, asked) = (Place::new(), Asked::default());
    let rows = |from: usize| {
        (from..from + 300)
            .map(|at| format!("{at},{}\n", sentence(at)))
            .collect::<String>()
    };
    fs::write(
        place.files().join("table.csv"),
        format!(
            "id,text\n{}{}",
            rows(0),
            "1,\u{1}\u{2}\u{3}\u{4}\n".repeat(60)
        ),
    )
    .unwrap();
    once(&place, &asked);
    assert!(!place.expected(&Words).lines.is_empty());
}
