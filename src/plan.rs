//! What a run would do, found out by doing all of it but the embedding and the writing.
//!
//! Files that changed are read, cut and chunked by the functions of the run itself; what has a vector already is known from
//! the store; and how long the rest takes is measured on a few of those very texts. Nothing is changed, and a run may be
//! under way meanwhile.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use floodmark_operators::embed::Text;
use floodmark_operators::keys::{ChunkHash, ContentHash, ContentKey};

use crate::answers::{Change, Plan, PlannedFile, shown};
use crate::ingest::hint::Known;
use crate::ingest::kept::Kept as Away;
use crate::ingest::queue::{Remembered, Standpoint};
use crate::ingest::reading::{OpenFile, Reading, Trouble};
use crate::model::{EmbedError, Model, ModelError, Session};
use crate::sources::{Fate, Found, Identity, Scope, Selection, key, scan};
use crate::store::{Reader, Recovery, StoreError};
use crate::telemetry::Progress;
use crate::worker::{CurrentContents, Recovered, recovered};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No session of the model could be made.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model could not be measured.
    #[error("the model could not be measured: {0}")]
    Embed(#[from] EmbedError),
}

/// Texts on which the model is measured.
const SAMPLE: usize = 128;
/// Longest measurement.
const MEASURE: Duration = Duration::from_secs(2);

/// What a run would go by.
pub struct Planner<'a> {
    /// The state folder.
    pub state: &'a Path,
    /// Which files.
    pub selection: &'a Selection,
    /// How they are read.
    pub reading: &'a Reading,
    /// What embeds.
    pub model: &'a Model,
    /// Padded tokens in a batch.
    pub batch_tokens: usize,
}

type Name = (usize, PathBuf);

/// What the store has of a file.
struct Kept {
    known: Known,
    standpoint: Standpoint,
    /// Hash of its last whole version.
    content: Option<ContentHash>,
    /// `stat` when it was read.
    identity: Option<Identity>,
}

impl Planner<'_> {
    /// Looks at everything.
    ///
    /// # Errors
    /// See [`PlanError`]. A file that can't be read is no error: a run would make a dead letter of it.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        let (mut kept, mut texts) = self.kept()?;
        let mut plan = Plan::default();
        let mut to_read: Vec<(Name, Option<Kept>)> = Vec::new();
        let report = scan(self.selection, None, &Scope::All, &mut |found: Found| {
            let name = (found.root, found.path);
            match kept.remove(&name) {
                Some(kept) if kept.settled_as(found.identity) => plan.files.unchanged += 1,
                kept => to_read.push((name, kept)),
            }
            ControlFlow::Continue(())
        });
        let fates = report.fates();
        let mut gone: HashMap<ContentHash, Vec<Name>> = HashMap::new();
        let (mut lost, mut away) = (Vec::new(), Vec::new());
        for (name, kept) in kept {
            let fate = kept
                .identity
                .map_or(Fate::Gone, |identity| fates(name.0, &name.1, &identity));
            if let Fate::Unknown(doubt) = fate {
                Away::count(&mut away, &self.selection.roots()[name.0].path, &doubt);
                plan.files.unchanged += 1; // a disk may be away: its files stay in the index
                continue;
            }
            match kept.content {
                Some(content) => gone.entry(content).or_default().push(name),
                None => lost.push(name),
            }
        }
        for error in &report.errors {
            tracing::warn!(%error, "not looked at");
        }
        for kept in &away {
            tracing::warn!(
                input = %kept.input.display(),
                files = kept.files,
                "files are not there and would stay in the index: {}",
                kept.doubt.advice()
            );
        }
        let progress = Progress::start("planning", "files", Some(to_read.len() as u64));
        to_read.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, kept) in to_read {
            progress.add(1);
            let (bytes, content) = self.read(&name, &mut texts);
            plan.bytes += bytes;
            let change = match (&kept, content) {
                (Some(kept), Some(content)) if kept.content == Some(content) => {
                    plan.files.unchanged += 1; // touched, or read in another way than before
                    continue;
                }
                (Some(_), _) => {
                    plan.files.changed += 1;
                    Change::Changed
                }
                (None, content) => {
                    match content.and_then(|content| gone.get_mut(&content)?.pop()) {
                        Some(_) => {
                            plan.files.moved += 1;
                            Change::Moved
                        }
                        None => {
                            plan.files.new += 1;
                            Change::New
                        }
                    }
                }
            };
            plan.changes.push(self.change(&name, change));
        }
        for name in gone.into_values().flatten().chain(lost) {
            plan.files.gone += 1;
            plan.changes.push(self.change(&name, Change::Gone));
        }
        plan.changes.sort_by(|a, b| a.path.cmp(&b.path));
        plan.chunks_to_embed = texts.missing;
        if texts.missing > 0 {
            let rate = tokens_per_second(self.model, &texts.sample, self.batch_tokens)?;
            plan.estimated_seconds = texts.tokens as f64 / rate;
        }
        Ok(plan)
    }

    fn change(&self, (root, path): &Name, change: Change) -> PlannedFile {
        let path = shown(&self.selection.roots()[*root].path.join(path));
        PlannedFile { path, change }
    }

    /// What the next run would begin with.
    fn kept(&self) -> Result<(HashMap<Name, Kept>, Texts), PlanError> {
        let reader = match Reader::open(self.state) {
            Ok(reader) => reader,
            Err(StoreError::Missing { .. }) => return Ok(Default::default()),
            Err(error) => return Err(error.into()),
        };
        let mut current = CurrentContents {
            recipe: &self.reading.recipe,
            keys: HashSet::new(),
        };
        let snapshot = reader.snapshot()?;
        let mut recovery = {
            let current = std::cell::RefCell::new(&mut current);
            snapshot.recover(&|content| {
                current.borrow_mut().judge(content);
                true
            })?
        };
        if snapshot.model().id != self.model.key() {
            // Vectors by another model are none for this one, and what has no vectors is read again.
            (recovery.contents, recovery.embedded) = Default::default();
            recovery.refused.clear();
        }
        drop(snapshot);
        let roots: Vec<PathBuf> = self
            .selection
            .roots()
            .iter()
            .map(|root| root.path.clone())
            .collect();
        let Recovered { files, .. } = recovered(
            recovery.files.clone(),
            &recovery.contents,
            &current.keys,
            &roots,
        );
        let Recovery {
            files: stored,
            contents,
            embedded,
            refused,
            ..
        } = recovery;
        let mut stored: HashMap<_, _> = stored
            .into_iter()
            .map(|stored| (stored.file.key, stored.file))
            .collect();
        let mut kept = HashMap::new();
        for Remembered {
            root,
            path,
            known,
            standpoint,
            ..
        } in files
        {
            let Some(number) = roots.iter().position(|input| **input == *root) else {
                continue;
            };
            let file = stored.remove(&key(&root, &path));
            let entry = Kept {
                known,
                standpoint,
                content: file
                    .as_ref()
                    .and_then(|file| file.version)
                    .map(|version| version.content),
                identity: file.and_then(|file| file.identity),
            };
            kept.insert((number, path), entry);
        }
        let texts = Texts {
            contents: contents.into_iter().map(|(key, _)| key).collect(),
            hashes: embedded.into_iter().chain(refused).collect(),
            ..Texts::default()
        };
        Ok((kept, texts))
    }

    /// Reads a file as a run would: bytes read, and its hash if all of it could be had.
    fn read(&self, (root, path): &Name, texts: &mut Texts) -> (u64, Option<ContentHash>) {
        let mut bytes = 0;
        let mut read = || -> Result<Option<ContentHash>, Trouble> {
            let mut file = OpenFile::open(&self.selection.roots()[*root].path, path)?;
            let (options, recipe) = (&self.reading.options, &self.reading.recipe);
            let mut contents = file.contents(options, recipe, Default::default());
            while let Some(cut) = contents.next_content()? {
                bytes += cut.bytes.bytes.len() as u64;
                if !texts.contents.insert(cut.key) {
                    continue;
                }
                // What can't be indexed has no texts.
                let chunks = self.reading.chunks(cut);
                for (hash, text) in chunks.map(|chunks| chunks.texts).unwrap_or_default() {
                    texts.add(hash, text);
                }
            }
            Ok(contents.reached().content)
        };
        let content = read().unwrap_or_else(|trouble| {
            tracing::debug!(path = %path.display(), ?trouble, "can't be read");
            None
        });
        (bytes, content)
    }
}

impl Kept {
    /// Whether a run would pass by a file that looks like this.
    fn settled_as(&self, identity: Identity) -> bool {
        let at_rest = self.standpoint != Standpoint::Retrying && self.known.filling.is_none();
        at_rest && self.known.identity == Some(identity)
    }
}

/// Contents that were read, texts that have a vector or are counted already, and those that are to get one.
#[derive(Default)]
struct Texts {
    contents: HashSet<ContentKey>,
    hashes: HashSet<ChunkHash>,
    missing: u64,
    tokens: u64,
    sample: Vec<Text>,
    /// One of so many texts is sampled.
    every: u64,
}

impl Texts {
    fn add(&mut self, hash: ChunkHash, text: Text) {
        if !self.hashes.insert(hash) {
            return;
        }
        self.missing += 1;
        self.tokens += u64::from(text.tokens);
        // Evenly over all of them: whenever the sample is full, every other one goes, and half as many come in.
        if self.missing.is_multiple_of(self.every.max(1)) {
            self.sample.push(text);
        }
        if self.sample.len() == SAMPLE {
            let mut odd = false;
            self.sample.retain(|_| {
                odd = !odd;
                odd
            });
            self.every = self.every.max(1) * 2;
        }
    }
}

/// How many of these texts' tokens the model embeds a second, with all its sessions, in batches as a run makes them.
///
/// # Errors
/// What the model says.
pub fn tokens_per_second(
    model: &Model,
    texts: &[Text],
    batch_tokens: usize,
) -> Result<f64, PlanError> {
    let mut texts: Vec<&Text> = texts.iter().collect();
    texts.sort_by_key(|text| text.tokens);
    let mut batches: Vec<Vec<&Text>> = Vec::new();
    for text in texts {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * text.tokens as usize <= batch_tokens => {
                batch.push(text)
            }
            _ => batches.push(vec![text]),
        }
    }
    let sessions = model.sessions().min(batches.len()).max(1);
    let mut made = (0..sessions)
        .map(|_| model.session())
        .collect::<Result<Vec<_>, _>>()?;
    let (next, done, failed) = (
        AtomicUsize::new(0),
        AtomicU64::new(0),
        AtomicBool::new(false),
    );
    let started = Instant::now();
    let work = |session: &mut Session| {
        // From the longest batch on, as the last to end decides.
        while let Some(batch) = batches
            .iter()
            .rev()
            .nth(next.fetch_add(1, Ordering::Relaxed))
        {
            let of: Vec<&str> = batch.iter().map(|text| &*text.text).collect();
            session
                .embed(&of)
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            let tokens: u64 = batch.iter().map(|text| u64::from(text.tokens)).sum();
            done.fetch_add(tokens, Ordering::Relaxed);
            if started.elapsed() >= MEASURE || failed.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    };
    let work = &work;
    let outcomes: Vec<Result<(), EmbedError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = made
            .iter_mut()
            .map(|session| scope.spawn(move || work(session)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a panic ends the process"))
            .collect()
    });
    outcomes.into_iter().collect::<Result<(), _>>()?;
    let seconds = started.elapsed().as_secs_f64().max(1e-6);
    Ok((done.into_inner() as f64 / seconds).max(1.0))
}
