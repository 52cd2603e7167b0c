//! One byte of the state is not what was written, or a file is shorter: it is noticed, or it changes no answer.
//!
//! Each change is judged as it lies there, by all that only looks; and some are given to a run, which must mend them, refuse
//! with a reason, or leave what `verify` then names and repairs.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use floodmark::store::{Doubts, ModelKey, Reader, Store};
use floodmark::verify::forget_views;

use crate::history::{SHORT, act};
use crate::life::{Ended, Layout, Life};
use crate::random::Random;
use crate::site::{Site, files_below};
use crate::tally::Tally;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// This byte is another.
    Byte(usize, u8),
    /// It ends here.
    End(usize),
}

/// Everything that somebody may ask of the state.
#[derive(PartialEq)]
struct Answers(BTreeMap<String, String>);

/// Files up to this size are damaged at every byte.
const SMALL: usize = 4096;

/// One state, damaged in many places, one at a time.
pub fn case(seed: u64, folder: &Path, tally: &Tally, thorough: bool) -> Result<(), String> {
    let mut random = Random::new(seed);
    let site = Site::new(folder);
    for _ in 0..2 {
        (0..5).for_each(|_| act(&site.files(), &mut random, SHORT));
        fs::write(site.files().join("bad.json"), "{\"text\": ")
            .map_err(|error| error.to_string())?;
        finish(&site)?;
    }
    let whole = answers(&site)?;
    for file in files(&site.state()) {
        let bytes = fs::read(&file).map_err(|error| error.to_string())?;
        for damage in damages(&bytes, &mut random, thorough) {
            let name = kind(&file);
            let what = format!("{name} {damage:?} of {}", bytes.len());
            damage.inflict(&file, &bytes)?;
            let judged = catch_unwind(AssertUnwindSafe(|| judge(&site, &whole)));
            let run =
                random.percent(if thorough { 4 } else { 6 }) || matches!(damage, Damage::End(_));
            let ran = if run {
                after_a_run(&site, tally)
            } else {
                Ok(())
            };
            fs::write(&file, &bytes).map_err(|error| error.to_string())?;
            let way = match damage {
                Damage::Byte(..) => "byte",
                Damage::End(_) => "truncated",
            };
            match judged {
                Ok(Ok(verdict)) => tally.count(&format!("{name} {way}: {verdict}")),
                Ok(Err(why)) => return Err(format!("{what}: {why}")),
                Err(_) => return Err(format!("{what}: panic")),
            }
            ran.map_err(|why| format!("{what}: {why}"))?;
        }
    }
    Ok(())
}

/// The kind of a file: builds have numbers.
fn kind(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

impl Damage {
    fn inflict(self, file: &Path, bytes: &[u8]) -> Result<(), String> {
        let mut damaged = bytes.to_vec();
        match self {
            Self::Byte(at, by) => damaged[at] ^= by,
            Self::End(at) => damaged.truncate(at),
        }
        fs::write(file, damaged).map_err(|error| error.to_string())
    }
}

fn damages(bytes: &[u8], random: &mut Random, thorough: bool) -> Vec<Damage> {
    let length = bytes.len();
    if length == 0 {
        return Vec::new();
    }
    let mut places: Vec<usize> = match (length <= SMALL, thorough) {
        (true, true) => (0..length).collect(),
        (true, false) => (0..20)
            .map(|_| random.below(length as u64) as usize)
            .collect(),
        (false, _) => {
            let many = if thorough { 400 } else { 60 };
            // The first page says how to read all others.
            let head = (0..many / 5).map(|_| random.below(100) as usize);
            let body: Vec<usize> = head.collect();
            body.into_iter()
                .chain((0..many).map(|_| random.below(length as u64) as usize))
                .collect()
        }
    };
    places.sort_unstable();
    places.dedup();
    let flips = places
        .into_iter()
        .map(|at| Damage::Byte(at, 1 << random.below(8)));
    let mut all: Vec<Damage> = flips.collect();
    let ends = [0, length / 4, length / 2, length - 1];
    let ends = ends.into_iter().take(if thorough { 4 } else { 2 });
    all.extend(ends.map(Damage::End));
    all
}

/// Files that something is read from.
fn files(state: &Path) -> Vec<PathBuf> {
    let mut found = files_below(state);
    found.retain(|path| !path.to_string_lossy().contains("store.sqlite-"));
    found
}

/// What became of a damage, if nothing is wrong with that.
fn judge(site: &Site, whole: &Answers) -> Result<&'static str, String> {
    let verified = site.is_verified();
    let answers = answers(site);
    match (verified, answers) {
        (_, Err(_)) => Ok("refused by who reads"),
        (Err(_), Ok(same)) if same == *whole => Ok("found by verify, no answer changed"),
        (Err(_), Ok(_)) => Ok("found by verify"),
        (Ok(()), Ok(same)) if same == *whole => Ok("harmless"),
        (Ok(()), Ok(Answers(now))) => {
            let changed = now
                .iter()
                .find(|(key, value)| whole.0.get(*key) != Some(value));
            Err(format!("SILENT: nobody noticed; it is now {changed:?}"))
        }
    }
}

/// Export, texts, vectors, where files stand and why.
fn answers(site: &Site) -> Result<Answers, String> {
    let said = |error: floodmark::store::StoreError| error.to_string();
    let snapshot = Reader::open(&site.state())
        .and_then(|reader| reader.snapshot())
        .map_err(said)?;
    let mut answers = BTreeMap::new();
    let mut number = 0;
    snapshot
        .export(true, |row| {
            answers.insert(format!("line {number}"), format!("{row:?}"));
            number += 1;
            Ok(())
        })
        .map_err(said)?;
    snapshot
        .for_each_live_text(|label, text| {
            drop(answers.insert(format!("text {label}"), text.to_owned()))
        })
        .map_err(said)?;
    snapshot
        .for_each_live_vector(|label, vector| {
            drop(answers.insert(format!("vector {label}"), format!("{vector:?}")));
        })
        .map_err(said)?;
    for file in snapshot.files(None).map_err(said)? {
        let why = file
            .standing
            .failure()
            .map(|failure| failure.reason.clone());
        answers.insert(
            format!("file {}", file.path.display()),
            format!("{} {why:?}", file.standing.name()),
        );
    }
    Ok(Answers(answers))
}

fn finish(site: &Site) -> Result<(), String> {
    let (ended, _, _) = Life::start(site, "once", Layout::Threads(1), ["", ""]).wait(None);
    match ended {
        Ended::Done => site.is_complete(),
        other => Err(format!("unharmed: {other:?}")),
    }
}

/// A copy of the damaged state meets a run.
fn after_a_run(site: &Site, tally: &Tally) -> Result<(), String> {
    let ill = Site::at(&site.folder.join("ill"), &site.files());
    let _ = fs::remove_dir_all(ill.state());
    copy(&site.state(), &ill.state()).map_err(|error| error.to_string())?;
    let (ended, _, _) = Life::start(&ill, "once", Layout::Threads(1), ["", ""]).wait(None);
    match ended {
        Ended::Done => {}
        Ended::Killed => return Err("a run on it was ended by a signal".into()),
        Ended::Failed(why) if why.contains("a defect of floodmark") || why.contains("hangs") => {
            return Err(format!("a run on it ends badly: {why}"));
        }
        Ended::Failed(why)
            if why.contains("damaged")
                || why.contains("SQLite")
                || why.contains("store.sqlite") =>
        {
            tally.count("run: refused with a reason");
            return Ok(());
        }
        Ended::Failed(why) => {
            return Err(format!("a run on it ends without a clear reason: {why}"));
        }
    }
    let outcome = match ill.verify() {
        Ok(outcome) if outcome.verdict.equal => {
            tally.count("run: all is well afterwards");
            return Ok(());
        }
        Ok(outcome) => outcome,
        Err(_) => {
            tally.count("run: went on, refused by who reads");
            return Ok(());
        }
    };
    repair(&ill, &outcome.doubts)?;
    let (ended, _, _) = Life::start(&ill, "once", Layout::Threads(1), ["", ""]).wait(None);
    match (ended, ill.verify()) {
        (Ended::Done, Ok(outcome)) if outcome.verdict.equal => {
            tally.count("run: went on, verify --repair mended it");
        }
        // What no file can give back stays named: the advice is to begin anew.
        (_, after) => {
            tally.count("run: went on, verify names what it can't repair");
            let named =
                after.map_or_else(|_| true, |outcome| !outcome.verdict.differences.is_empty());
            if !named {
                return Err("neither equal nor different after a repair".into());
            }
        }
    }
    Ok(())
}

fn repair(site: &Site, doubts: &Doubts) -> Result<(), String> {
    let key = ModelKey {
        id: "hashing".into(),
        dimension: 8,
    };
    let mut store = Store::open(&site.state(), &key, || 0).map_err(|error| error.to_string())?;
    let _said_by_the_next_verify = store.forget(doubts);
    let _log = store.close();
    forget_views(&site.state()).map_err(|(path, error)| format!("{}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
