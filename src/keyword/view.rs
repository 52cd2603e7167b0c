//! The view that follows a source: commits that are searchable at once, and durable soon after.

mod recovery;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use floodmark_operators::keys::Epoch;
use tantivy::directory::META_LOCK;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{Directory, Index, IndexWriter, SegmentReader, TantivyDocument, Term};

use super::analyse::{Analyser, Languages, Terms};
use super::boxed::Boxed;
use super::few::Few;
use super::ground::Ground;
use super::held::{Held, Text};
use super::save::{self, Saved, Saving};
use super::schema::{Fields, Payload, TOKENIZER, print};
use super::segment::Segment;
use super::snapshot::Snapshot;
use super::{Change, KeywordError, TextSource};
use crate::fault;

/// Texts asked of the source at a time.
const FETCH: usize = 1_024;
/// Memory of the writer before it puts a segment away.
const WRITER_BYTES: usize = 32 << 20;
/// Share of deleted texts at which a segment is merged even if it is alone.
const DELETED_MAX: f32 = 0.2;

/// Segments of fewer texts are all the same when it comes to merging.
const LAYER_MIN: u32 = 256;
/// So many texts of a commit are few: they become a segment without the writer's thread.
pub(super) const FEW: usize = LAYER_MIN as usize;

/// What failed when a text could not be added.
const TAKING: &str = "take a text";

/// How a view behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which language texts are in.
    pub languages: Languages,
    /// Writes nothing: for readers beside a running writer.
    pub read_only: bool,
    /// Changes after which a commit is made durable. Until then it would be made again from the source.
    pub save_after: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            languages: Languages::Auto,
            read_only: false,
            save_after: 1_000,
        }
    }
}

/// Where a view stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Everything up to here is in the answers.
    pub epoch: Epoch,
    /// Live texts.
    pub live: u64,
    /// Words in them that count.
    pub words: u64,
    /// Texts that are gone and not merged away yet.
    pub tombstones: u64,
    /// Segments that a query looks into.
    pub segments: u64,
    /// Changes that would be made again from the source if the power failed now.
    pub unsaved: u64,
    /// Why the last save failed, if it did.
    pub last_failure: Option<String>,
}

/// Hands out the latest snapshot, on any thread, while the view goes on following.
#[derive(Clone, Debug)]
pub struct Reader(Arc<RwLock<Arc<Snapshot>>>);

impl Reader {
    /// The latest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let latest = self.0.read().unwrap_or_else(PoisonError::into_inner);
        latest.clone()
    }
}

/// The keyword view of a state folder. One writer at a time: the state folder's lock sees to that.
pub struct KeywordView {
    dir: PathBuf,
    options: Options,
    standing: Standing,
    /// For texts; queries have one of their own, so that neither waits for the other.
    texts: Analyser,
    queries: Arc<Mutex<Analyser>>,
    held: Held,
    applied: Epoch,
    /// Changes since the last save.
    unsaved: u64,
    saving: Option<Saving>,
    saved: Saved,
    /// After a failed save: changes before the next attempt.
    retry_from: u64,
    last_failure: Option<String>,
    latest: Reader,
}

/// What tantivy has opened.
struct Standing {
    ground: Ground,
    index: Index,
    fields: Fields,
    writer: IndexWriter<Boxed>,
    segments: Arc<Vec<Segment>>,
}

impl Standing {
    fn of(ground: Ground, index: Index, fields: Fields) -> Result<Self, KeywordError> {
        let opening = "open its files";
        index
            .tokenizers()
            .register(TOKENIZER, TextAnalyzer::from(Terms::default()));
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_BYTES)
            .build();
        let writer: IndexWriter<Boxed> =
            (index.writer_with_options(options)).map_err(KeywordError::tantivy(opening))?;
        prepare(&writer).map_err(KeywordError::tantivy(opening))?;
        let mut standing = Self {
            ground,
            index,
            fields,
            writer,
            segments: Arc::default(),
        };
        standing.reload()?;
        Ok(standing)
    }

    /// Forgets what was handed to the writer since the last commit.
    fn roll_back(&mut self) -> Result<(), KeywordError> {
        let rolling = "roll back";
        (self.writer.rollback()).map_err(KeywordError::tantivy(rolling))?;
        // It is another writer now.
        prepare(&self.writer).map_err(KeywordError::tantivy(rolling))
    }

    /// Sees the last commit. What is as it was is not opened again, as tantivy's own reader would.
    fn reload(&mut self) -> Result<(), KeywordError> {
        let open = || -> tantivy::Result<Vec<Segment>> {
            // Nothing is swept away between the list and the opening.
            let _kept = self.index.directory().acquire_lock(&META_LOCK)?;
            let mut segments = Vec::new();
            for listed in self.index.searchable_segments()? {
                let known = self.segments.iter().find(|known| known.is(listed.meta()));
                segments.push(match known {
                    Some(known) => known.clone(),
                    None => {
                        Segment::open(&SegmentReader::open(&listed)?, self.fields, &self.segments)?
                    }
                });
            }
            Ok(segments)
        };
        self.segments = Arc::new(open().map_err(KeywordError::tantivy("read its files"))?);
        Ok(())
    }

    /// A segment for so many texts, where that costs less than the writer's thread.
    fn few(&self, texts: usize) -> Result<Option<Few>, KeywordError> {
        let few = (1..=FEW).contains(&texts).then(|| Few::new(&self.index));
        few.transpose().map_err(KeywordError::tantivy(TAKING))
    }

    /// Hands a text to `few`, if there is one, or to the writer.
    fn add(
        &self,
        label: u64,
        text: &str,
        analyser: &mut Analyser,
        few: Option<&mut Few>,
    ) -> Result<Text, KeywordError> {
        let (terms, held) = analyser.text(text);
        let mut document = TantivyDocument::new();
        document.add_u64(self.fields.label, label);
        document.add_u64(self.fields.print, print(text));
        document.add_u64(self.fields.text, held.packed());
        document.add_text(self.fields.body, terms);
        let document = Boxed(Box::new(document));
        match few {
            Some(few) => few.add(document),
            None => self.writer.add_document(document).map(drop),
        }
        .map_err(KeywordError::tantivy(TAKING))?;
        Ok(held)
    }

    fn remove(&self, label: u64) {
        self.writer
            .delete_term(Term::from_field_u64(self.fields.label, label));
    }

    fn commit(&mut self, payload: &Payload, few: Option<Few>) -> Result<(), KeywordError> {
        let committing = "commit";
        fault::pass("words.commit.begin");
        if let Some(few) = few {
            (few.join(&self.writer)).map_err(KeywordError::tantivy(TAKING))?;
        }
        let mut prepared =
            (self.writer.prepare_commit()).map_err(KeywordError::tantivy(committing))?;
        prepared.set_payload(&payload.to_json());
        prepared
            .commit()
            .map_err(KeywordError::tantivy(committing))?;
        fault::pass("words.committed");
        self.reload()
    }
}

impl KeywordView {
    /// Opens the view in `dir` and brings it to the source's epoch.
    ///
    /// A folder that is missing, damaged, of another store or of another analyser costs a warning and time, never the view: the
    /// source is read in full. Errors are those of the source.
    pub fn open(
        dir: &Path,
        source: &dyn TextSource,
        options: Options,
    ) -> Result<Self, KeywordError> {
        match Self::resume(dir, source, options.clone()) {
            Ok(Some(view)) => return Ok(view),
            Ok(None) => {}
            Err(error @ KeywordError::Source(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the keyword view is made again from the store");
            }
        }
        let mut view = Self::of(dir, options.clone(), Self::blank(dir, &options)?);
        view.load(source)?;
        view.save_if_due();
        Ok(view)
    }

    fn of(dir: &Path, options: Options, standing: Standing) -> Self {
        let queries = Arc::new(Mutex::new(Analyser::new(options.languages)));
        let snapshot = Snapshot {
            epoch: 0,
            sums: Held::default().sums(),
            fields: standing.fields,
            segments: standing.segments.clone(),
            schema: standing.index.schema(),
            analyser: queries.clone(),
        };
        Self {
            dir: dir.to_owned(),
            texts: Analyser::new(options.languages),
            queries,
            options,
            standing,
            held: Held::default(),
            applied: 0,
            unsaved: 0,
            saving: None,
            saved: Saved::default(),
            retry_from: 0,
            last_failure: None,
            latest: Reader(Arc::new(RwLock::new(Arc::new(snapshot)))),
        }
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.latest.snapshot()
    }

    /// A handle for threads that query.
    pub fn reader(&self) -> Reader {
        self.latest.clone()
    }

    /// The epoch applied.
    pub fn epoch(&self) -> Epoch {
        self.applied
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        let (sums, segments) = (self.held.sums(), &self.standing.segments);
        Status {
            epoch: self.applied,
            live: sums.texts,
            words: sums.words,
            tombstones: (segments.iter())
                .map(|segment| u64::from(segment.reader.num_deleted_docs()))
                .sum(),
            segments: segments.len() as u64,
            unsaved: self.unsaved,
            last_failure: self.last_failure.clone(),
        }
    }

    /// Applies what the source committed since the last call and publishes a snapshot of that epoch; on an error the
    /// previous snapshot stays.
    pub fn follow(&mut self, source: &dyn TextSource) -> Result<Epoch, KeywordError> {
        match self.catch_up(source) {
            Ok(true) => {}
            Ok(false) => self.load(source)?,
            Err(error @ (KeywordError::Source(_) | KeywordError::MissingText { .. })) => {
                self.standing.roll_back()?;
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "the keyword view is made again from the store");
                self.load(source)?;
            }
        }
        self.save_if_due();
        Ok(self.applied)
    }

    /// Applies the changes after the applied epoch and publishes; false when the source no longer knows them.
    fn catch_up(&mut self, source: &dyn TextSource) -> Result<bool, KeywordError> {
        let at = source.epoch().map_err(KeywordError::Source)?;
        let Some(changes) = source
            .changes_after(self.applied)
            .map_err(KeywordError::Source)?
        else {
            return Ok(false);
        };
        let last = changes.iter().map(|change| change.epoch).max();
        let target = last.unwrap_or(0).max(at).max(self.applied);
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for (label, live) in outcome(changes) {
            match (live, self.held.get(label).is_some()) {
                (true, false) => added.push(label),
                (false, true) => removed.push(label),
                _ => {}
            }
        }
        added.sort_unstable();
        let mut texts = Vec::with_capacity(added.len());
        let mut few = self.standing.few(added.len())?;
        for labels in added.chunks(FETCH) {
            self.add(source, labels, &mut texts, &mut few)?;
        }
        for label in &removed {
            self.standing.remove(*label);
        }
        if !(added.is_empty() && removed.is_empty()) {
            let live = self.held.sums().texts + added.len() as u64 - removed.len() as u64;
            let payload = Payload::new(target, live, self.options.languages);
            self.standing.commit(&payload, few)?;
        }
        // From here on nothing can fail.
        for label in &removed {
            self.held.remove(*label);
        }
        for (label, text) in texts {
            self.held.insert(label, text);
        }
        self.unsaved += (added.len() + removed.len()) as u64;
        self.applied = target;
        self.publish();
        Ok(true)
    }

    /// Hands over the texts of `labels`, none of which is in the view.
    fn add(
        &mut self,
        source: &dyn TextSource,
        labels: &[u64],
        texts: &mut Vec<(u64, Text)>,
        few: &mut Option<Few>,
    ) -> Result<(), KeywordError> {
        let mut missing: HashSet<u64> = labels.iter().copied().collect();
        let mut outcome = Ok(());
        source
            .texts(labels, &mut |label, text| {
                if outcome.is_ok() && missing.remove(&label) {
                    let added = (self.standing).add(label, text, &mut self.texts, few.as_mut());
                    outcome = added.map(|held| texts.push((label, held)));
                }
            })
            .map_err(KeywordError::Source)?;
        outcome?;
        match missing.into_iter().min() {
            Some(label) => Err(KeywordError::MissingText { label }),
            None => Ok(()),
        }
    }

    /// Removes the files that nobody needs any more, which otherwise happens at some later commit.
    #[cfg(test)]
    pub(super) fn sweep(&self) {
        let swept = self.standing.writer.garbage_collect_files();
        swept.wait().expect("its files can be removed");
    }

    /// Leaves segments as they are from now on.
    #[cfg(test)]
    pub(super) fn merge_nothing(&self) {
        let never = tantivy::indexer::NoMergePolicy;
        self.standing.writer.set_merge_policy(Box::new(never));
    }

    fn publish(&self) {
        fault::pass("words.publish");
        let snapshot = Snapshot {
            epoch: self.applied,
            sums: self.held.sums(),
            fields: self.standing.fields,
            segments: self.standing.segments.clone(),
            schema: self.standing.index.schema(),
            analyser: self.queries.clone(),
        };
        let mut latest = (self.latest.0.write()).unwrap_or_else(PoisonError::into_inner);
        *latest = Arc::new(snapshot);
    }

    /// Starts a save if enough has changed and none is under way.
    fn save_if_due(&mut self) {
        if self.saving.as_ref().is_some_and(Saving::is_finished) {
            self.wait_for_save();
        }
        let due = self.unsaved >= self.options.save_after.max(self.retry_from);
        if self.saving.is_some() || !due || !self.standing.ground.writes() {
            return;
        }
        let (ground, index) = (self.standing.ground.clone(), self.standing.index.clone());
        match Saving::start(ground, index, self.saved.synced(), self.unsaved) {
            Ok(saving) => self.saving = Some(saving),
            Err(error) => self.put_off(&error.to_string()),
        }
    }

    /// Waits for the save under way, if there is one.
    pub fn wait_for_save(&mut self) {
        let Some(saving) = self.saving.take() else {
            return;
        };
        let changes = saving.changes;
        match saving.finish() {
            Ok(saved) => {
                self.saved = saved;
                self.unsaved -= changes.min(self.unsaved);
                (self.last_failure, self.retry_from) = (None, 0);
            }
            Err(error) => self.put_off(&error.to_string()),
        }
    }

    /// Makes everything durable now.
    ///
    /// # Errors
    /// What the disk says; the view goes on, and would be made again from the source.
    pub fn save(&mut self) -> Result<(), KeywordError> {
        self.wait_for_save();
        if self.unsaved == 0 || !self.standing.ground.writes() {
            return Ok(());
        }
        let synced = self.saved.synced();
        self.saved = save::save(&self.standing.ground, &self.standing.index, &synced)?;
        self.unsaved = 0;
        Ok(())
    }

    /// A save failed: not again at the next commit, but when as much again has changed.
    fn put_off(&mut self, error: &str) {
        tracing::warn!(error, dir = %self.dir.display(), "the keyword view could not be saved; it answers from what it has");
        self.last_failure = Some(error.to_owned());
        self.retry_from = self.unsaved + self.options.save_after;
    }
}

impl Drop for KeywordView {
    /// What is not saved is made again at the next start, so it is saved if it can be.
    fn drop(&mut self) {
        if let Err(error) = self.save() {
            tracing::warn!(%error, dir = %self.dir.display(), "the keyword view could not be saved; the next start makes up for it");
        }
    }
}

/// Makes a writer that was born ready for use.
fn prepare(writer: &IndexWriter<Boxed>) -> tantivy::Result<()> {
    writer.set_merge_policy(merges());
    // A writer gives the first thing it is told the number of the last commit. If that is a deletion, a merge that begins before the
    // next commit takes it for one of the last and applies it to some segments only: the text is back when they are one. So
    // nothing at all is the first thing it is told.
    writer.run(std::iter::empty()).map(drop)
}

/// When segments become one: as tantivy does, and for what was deleted alone, which it would leave for ever.
///
/// Its own lowest layer is of 10,000 texts: every few commits of one text each, up to so many would be written anew.
fn merges() -> Box<LogMergePolicy> {
    let mut merges = LogMergePolicy::default();
    merges.set_min_layer_size(LAYER_MIN);
    merges.set_del_docs_ratio_before_merge(DELETED_MAX);
    Box::new(merges)
}

/// Whether each label that changed is live in the end.
fn outcome(mut changes: Vec<Change>) -> HashMap<u64, bool> {
    changes.sort_unstable_by_key(|change| (change.epoch, change.label));
    let mut wanted = HashMap::new();
    for of_one in changes.chunk_by(|a, b| (a.epoch, a.label) == (b.epoch, b.label)) {
        match of_one
            .iter()
            .map(|change| i32::from(change.op))
            .sum::<i32>()
        {
            0 => {}
            net => drop(wanted.insert(of_one[0].label, net > 0)),
        }
    }
    wanted
}
