//! A folder with files, a state folder beside it, and what must hold of the two. One routine for every scenario.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use floodmark::formats;
use floodmark::ingest::reader::Patience;
use floodmark::ingest::reading::Reading;
use floodmark::ingest::verdict::OnBad;
use floodmark::sources::{Identity, SourceOptions, key};
use floodmark::store::{Reader, Snapshot, Standing, StoreError};
use floodmark::token_store;
use floodmark::verify::{Outcome, Verifier, selection};
use floodmark::worker::{Layout, Mode, Options};
use floodmark_operators::keys::{ChunkHash, Epoch};

use crate::child::{MODEL, tokens, view_options};
use crate::history::{act, spoil};
use crate::kept::{Lines, Versions, standing};
use crate::random::Random;
use crate::support::{Words, difference, oracle};

/// How the child works on `folder`.
pub fn options(folder: &Path, mode: Mode, threads: usize) -> Options {
    Options {
        sources: SourceOptions {
            settle_ms: 5,
            ..sources(folder)
        },
        batch_tokens: 64,
        epoch_target_ms: 20,
        patience: Patience {
            tries: 3,
            base_ms: 5,
        },
        on_bad: match folder.join(KEEPS).exists() {
            true => OnBad::Keep,
            false => OnBad::Drop,
        },
        layout: Layout::Threads(threads),
        clock: || 0,
        ..Options::new(mode, folder.join("state"), vec![folder.join("files")])
    }
}

/// A file that no history touches.
const STAYS: &str = "stays.txt";
/// Says, beside the folder of the files, that nobody confirms that it is empty.
const ASKS: &str = "asks";
/// Says, beside the folder of the files, that what turns bad stays in the index as it was.
const KEEPS: &str = "keeps";

fn sources(folder: &Path) -> SourceOptions {
    SourceOptions {
        inputs: vec![folder.join("files")],
        // Histories delete everything too, and the oracle goes by what lies there. Where something stays, nobody confirms.
        confirm_empty: !folder.join(ASKS).exists(),
        ..SourceOptions::default()
    }
}

/// Everything that may lie in a state folder once nobody works on it.
const TIDY: &[&str] = &[
    "keywords",
    "lock",
    "run.lock",
    "run.pid",
    "store.sqlite",
    token_store::FILE,
    "vectors",
];
/// What a process that was killed may leave beside that, until the next one.
const LEFT_BY_THE_DEAD: &[&str] = &[
    "store.sqlite-wal",
    "store.sqlite-shm",
    "token-vectors.sqlite-wal",
    "token-vectors.sqlite-shm",
    "control.sock",
    "control.new",
];

/// What a process has said, and what was known before it.
#[derive(Default)]
pub struct Told {
    /// The last commit with rows that it was told of.
    pub upper: Epoch,
    /// By path: what was last told to be durable, and of which kind.
    pub files: BTreeMap<String, (String, String)>,
    /// How often it embedded each text.
    pub embedded: BTreeMap<String, usize>,
}

impl Told {
    /// Reads what was said, by any process of one life.
    pub fn read(said: &str) -> Self {
        let mut told = Self::default();
        let mut upper = 0;
        for line in said.lines() {
            if let Some(hash) = line.strip_prefix("embedded ") {
                *told.embedded.entry(hash.to_owned()).or_default() += 1;
            } else if let Some(number) = line.strip_prefix("durable ") {
                upper = number.parse().unwrap_or(upper);
            } else if let Some(rest) = line.strip_prefix("file\t")
                && let [kind, path, identity] = *rest.split('\t').collect::<Vec<_>>()
                && kind != "Moving"
            {
                told.upper = upper; // an epoch without rows moves nothing in the store
                told.files
                    .insert(path.to_owned(), (kind.to_owned(), identity.to_owned()));
            }
        }
        told
    }
}

/// What the store holds, as far as it may never be taken back.
#[derive(Default, PartialEq)]
pub struct Durable {
    /// Epoch, text, and whether it joined or left.
    pub changes: BTreeSet<(i64, i64, i64)>,
    embedded: HashSet<String>,
    upper: Epoch,
    /// What stands in the index, where a file that turns bad is kept as it was.
    stood: Option<Lines>,
}

/// Every file below a folder, sorted.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// A folder with files, and its state.
pub struct Site {
    pub folder: PathBuf,
    /// Where what its processes say is kept.
    pub logs: PathBuf,
    /// What there was, where a file that turns bad is kept as it was.
    versions: Option<Versions>,
}

impl Site {
    pub fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        fs::create_dir_all(folder.join("files")).expect("a folder for the files");
        Self {
            logs: folder.clone(),
            folder,
            versions: None,
        }
    }

    /// What turns bad stays in the index as it was, which is what floodmark does unless told otherwise.
    pub fn keeping(mut self) -> Self {
        fs::write(self.folder.join(KEEPS), "").expect("a mark");
        self.versions = Some(Versions::default());
        self
    }

    /// Does one thing to the files.
    pub fn act(&self, random: &mut Random, counts: &[usize]) {
        let Some(versions) = &self.versions else {
            return act(&self.files(), random, counts);
        };
        match random.percent(20) {
            true => spoil(&self.files(), random),
            false => act(&self.files(), random, counts),
        }
        versions.look(&self.files());
    }

    /// Lays a file beside the others that stays, so that the input is never empty and `confirm-empty` is off.
    pub fn with_what_stays(self) -> Self {
        fs::write(self.files().join(STAYS), "The lighthouse stays.").expect("a file that stays");
        fs::write(self.folder.join(ASKS), "").expect("a mark");
        self
    }

    /// Whether the input may be away without anything being forgotten.
    pub fn may_be_away(&self) -> bool {
        self.folder.join(ASKS).exists()
    }

    /// Takes the input away, or with `emptied` all that is in it.
    pub fn leave(&self, emptied: bool) -> std::io::Result<()> {
        fs::rename(self.files(), self.folder.join("away"))?;
        match emptied {
            true => fs::create_dir(self.files()),
            false => Ok(()),
        }
    }

    /// Brings back what was taken away.
    pub fn return_to(&self) -> std::io::Result<()> {
        if self.files().exists() {
            fs::remove_dir(self.files())?;
        }
        fs::rename(self.folder.join("away"), self.files())
    }

    /// A site in `folder` over the files of another one.
    pub fn at(folder: &Path, files: &Path) -> Self {
        let _again = fs::create_dir_all(folder);
        let _again = std::os::unix::fs::symlink(files, folder.join("files"));
        Self {
            folder: folder.to_owned(),
            logs: folder.to_owned(),
            versions: None,
        }
    }

    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn snapshot(&self) -> Result<Option<Snapshot>, String> {
        match Reader::open(&self.state()).and_then(|reader| reader.snapshot()) {
            Ok(snapshot) => Ok(Some(snapshot)),
            // Older: killed between two steps of a migration.
            Err(StoreError::Missing { .. } | StoreError::Older { .. }) => Ok(None),
            Err(error) => Err(format!("the store can't be read: {error}")),
        }
    }

    /// What is in the store now.
    pub fn durable(&self) -> Result<Durable, String> {
        let Some(snapshot) = self.snapshot()? else {
            return Ok(Durable::default());
        };
        let said = |error: StoreError| error.to_string();
        let embedded = snapshot.recover(&|_| true).map_err(said)?.embedded;
        let stood = (self.versions.as_ref()).map(|_| standing(&snapshot));
        Ok(Durable {
            stood: stood.transpose().map_err(said)?,
            changes: self.changes().map_err(|error| error.to_string())?,
            embedded: embedded.iter().map(ChunkHash::to_string).collect(),
            upper: snapshot.epoch() + 1,
        })
    }

    /// The changelog as it is written, which the store itself gives net only.
    fn changes(&self) -> rusqlite::Result<BTreeSet<(i64, i64, i64)>> {
        let store = self.store()?;
        let mut changes = store.prepare("SELECT epoch, text_id, op FROM changelog")?;
        let rows = changes.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect()
    }

    /// What holds at any moment, also right after a process was killed. Gives what is durable now.
    ///
    /// I2 and I6: what was told to be durable is there, and what was there before still is. I3: nothing was embedded that had
    /// a vector. And the store agrees with itself.
    pub fn holds(&self, before: &Durable, told: &Told) -> Result<Durable, String> {
        let now = self.durable()?;
        if now.upper < told.upper {
            return Err(format!(
                "I6: epochs below {} were acknowledged, durable is {}",
                told.upper, now.upper
            ));
        }
        if let Some(lost) = before.changes.difference(&now.changes).next() {
            return Err(format!("I2: change {lost:?} was durable and is not there"));
        }
        if let Some(late) = now
            .changes
            .difference(&before.changes)
            .find(|change| (change.0 as u64) < before.upper)
        {
            return Err(format!(
                "I2: change {late:?} came into an epoch that was closed, below {}",
                before.upper
            ));
        }
        for (hash, times) in &told.embedded {
            if *times > 1 {
                return Err(format!(
                    "I3: text {hash} was embedded {times} times in one run"
                ));
            }
            if before.embedded.contains(hash) {
                return Err(format!(
                    "I3: text {hash} had a vector and was embedded again"
                ));
            }
        }
        let Some(snapshot) = self.snapshot()? else {
            return Ok(now);
        };
        let wrong = snapshot.check().map_err(|error| error.to_string())?;
        if !wrong.is_empty() {
            return Err(format!("the store disagrees with itself: {wrong:?}"));
        }
        if now.upper == told.upper {
            self.files_as_told(&snapshot, told)?;
        }
        drop(snapshot);
        self.kept_tokens()?;
        Ok(now)
    }

    /// Of which texts of the store the tokens' vectors are kept. A cache may miss any, and none may be another's.
    pub fn kept_tokens(&self) -> Result<BTreeSet<String>, String> {
        let cache = token_store::Place::new(&self.state(), MODEL).look(None);
        let texts = self.texts().map_err(|error| error.to_string())?;
        let mut kept = BTreeSet::new();
        for text in texts {
            match cache.find(&text) {
                Some(found) if found == tokens(&text) => {
                    kept.insert(token_store::hash(&text).to_string());
                }
                Some(_) => return Err(format!("the kept tokens of {text:?} are another's")),
                None => {}
            }
        }
        Ok(kept)
    }

    fn texts(&self) -> rusqlite::Result<Vec<String>> {
        let store = self.store()?;
        let mut texts = store.prepare("SELECT text FROM texts WHERE text IS NOT NULL")?;
        let rows = texts.query_map([], |row| row.get(0))?;
        rows.collect()
    }

    fn store(&self) -> rusqlite::Result<rusqlite::Connection> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        rusqlite::Connection::open_with_flags(self.state().join("store.sqlite"), flags)
    }

    /// Nothing was committed after the last that was told: each file stands as it was told.
    fn files_as_told(&self, snapshot: &Snapshot, told: &Told) -> Result<(), String> {
        let root = self
            .files()
            .canonicalize()
            .map_err(|error| error.to_string())?;
        for (path, (kind, identity)) in &told.files {
            let file = snapshot
                .file_of(key(&root, Path::new(path)))
                .map_err(|error| error.to_string())?;
            let stored = file.as_ref().and_then(|file| file.identity);
            let stored =
                stored.map_or("-".to_owned(), |identity: Identity| format!("{identity:?}"));
            let as_told = match kind.as_str() {
                "Gone" => file.is_none(),
                "Retrying" => file.is_some(),
                _ => file.is_some() && stored == *identity,
            };
            if !as_told {
                return Err(format!(
                    "I2: {path} was told to be {kind} {identity}, in the store: {file:?}"
                ));
            }
        }
        Ok(())
    }

    /// What holds when a run has ended by itself.
    ///
    /// I1: the index is what a computation from scratch gives, and store, files and view are equal. I4: the view of the disk
    /// leads to the store's epoch. I5: each file is indexed or dead with a reason. I8: nothing is left lying about.
    pub fn is_complete(&self) -> Result<(), String> {
        self.is_complete_after(&Durable::default()).map(drop)
    }

    /// The same after a run during which nobody did anything to the files, and `before` it. How many files are there as they were
    /// before they turned bad.
    pub fn is_complete_after(&self, before: &Durable) -> Result<u64, String> {
        let Some(snapshot) = self.snapshot()? else {
            return Err("there is no store".into());
        };
        let mut expected = oracle(
            &sources(&self.folder),
            &self.state(),
            &formats::Options::default(),
            &Words,
        );
        let mut dead = BTreeSet::new();
        for file in snapshot.files(None).map_err(|error| error.to_string())? {
            match &file.standing {
                Standing::Indexed => {}
                Standing::Dead { failure, .. } if !failure.message.is_empty() => {
                    dead.insert(floodmark::store::escape_path(&file.path).to_string());
                }
                other => return Err(format!("I5: {} is {other:?}", file.path.display())),
            }
        }
        if dead != expected.dead {
            return Err(format!("I5: dead are {dead:?}, not {:?}", expected.dead));
        }
        let kept = match &self.versions {
            Some(versions) => {
                versions.stand_in(&snapshot, &dead, before.stood.as_ref(), &mut expected)?
            }
            None => 0,
        };
        if let Some(difference) = difference(&snapshot, &expected) {
            return Err(format!("I1: {difference}"));
        }
        drop(snapshot);
        self.is_verified()?;
        self.is_tidy()?;
        Ok(kept)
    }

    /// Whether files, store and view are equal.
    pub fn is_verified(&self) -> Result<(), String> {
        let verdict = self.verify()?.verdict;
        match verdict.equal {
            true => Ok(()),
            false => Err(format!(
                "I1, I4: {:?} {:?}",
                verdict.differences, verdict.not_looked
            )),
        }
    }

    /// What `verify` says.
    pub fn verify(&self) -> Result<Outcome, String> {
        let (state, options) = (self.state(), options(&self.folder, Mode::Once, 1));
        let selection = selection(&options.sources, &state)?;
        let reading = Reading::new(&options.formats, Arc::new(Words), "words");
        let verifier = Verifier {
            state: &state,
            selection: &selection,
            reading: &reading,
            model: MODEL,
            views: view_options(),
        };
        verifier.verify(None).map_err(|error| error.to_string())
    }

    fn is_tidy(&self) -> Result<(), String> {
        let names = |folder: PathBuf| -> Result<Vec<String>, String> {
            match fs::read_dir(&folder) {
                Ok(entries) => Ok(entries
                    .flatten()
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .collect()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error.to_string()),
            }
        };
        for name in names(self.state())? {
            // A reader makes the log's files again, for as long as it reads; the log itself is empty.
            let log = self.state().join(&name);
            let of_a_log = ["store.sqlite-", "token-vectors.sqlite-"];
            let empty_log = of_a_log.iter().any(|log| name.starts_with(log))
                && (name.ends_with("-shm") || fs::metadata(&log).is_ok_and(|log| log.len() == 0));
            if !TIDY.contains(&name.as_str()) && !empty_log {
                let known = LEFT_BY_THE_DEAD.contains(&name.as_str());
                return Err(format!(
                    "I8: {name} was left in the state folder (of a killed process: {known})"
                ));
            }
        }
        let builds = names(self.state().join("vectors/builds"))?;
        let unfinished = builds.iter().any(|name| name.starts_with("unfinished"));
        match builds.len() > 2 || unfinished {
            true => Err(format!("I8: builds were left: {builds:?}")),
            false => Ok(()),
        }
    }
}
