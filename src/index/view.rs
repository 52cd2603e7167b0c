//! The view that follows a source: additions to the standing index, tombstones, and builds in the background.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use floodmark_operators::keys::Epoch;

use super::disk::{self, Draft, Manifest, Stored};
use super::faiss::Ann;
use super::policy::{Kind, Policy};
use super::snapshot::{Rows, SLICE, Snapshot, Standing};
use super::{IndexError, VectorSource, build};

/// Builds kept on the disk: the one that answers and the one before.
const KEPT: usize = 2;
/// Vectors asked of the source at a time.
const FETCH: usize = 4_096;
/// Attempts to read a source in full, each of which may end with changes that the source no longer knows.
const LOADS: usize = 3;

/// How a view behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// When to build what.
    pub policy: Policy,
    /// Writes nothing and builds nothing: for readers beside a running writer.
    pub read_only: bool,
    /// Threads of a background build. Queries use one.
    pub build_threads: usize,
    /// The clock, for `created` in a build's metadata.
    pub now: fn() -> jiff::Timestamp,
}

impl Default for Options {
    fn default() -> Self {
        let build_threads = thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        Self {
            policy: Policy::default(),
            read_only: false,
            build_threads,
            now: jiff::Timestamp::now,
        }
    }
}

/// Where a view stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// Everything up to here is in the answers.
    pub epoch: Epoch,
    /// Kind of the index that answers.
    pub kind: Kind,
    /// Live vectors.
    pub live: u64,
    /// Rows that are kept only for older snapshots, until the next build.
    pub tombstones: u64,
    /// (added + removed since the last build) ÷ live at the last build.
    pub churn: f64,
    /// Whether a build is being made.
    pub building: bool,
    /// The build that answers.
    pub last_build: Option<Manifest>,
    /// Why the last build could not be made, if it could not.
    pub last_failure: Option<String>,
}

/// Hands out the latest snapshot, on any thread, while the view goes on following.
#[derive(Clone, Debug)]
pub struct Reader(Arc<RwLock<Arc<Snapshot>>>);

impl Reader {
    /// The latest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn publish(&self, snapshot: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}

/// What a background build hands over.
struct Built {
    stored: Stored,
    origins: Vec<usize>,
    positions: HashMap<u64, usize>,
}

/// A build under way. Dropped, it is forgotten: it may still compute, but never writes again.
struct Building {
    thread: Option<JoinHandle<Result<Built, IndexError>>>,
    snapshot: Snapshot,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    cancelled: AtomicBool,
    writing: Mutex<()>,
}

impl Drop for Building {
    fn drop(&mut self) {
        self.gate.cancelled.store(true, Ordering::SeqCst);
        drop(
            self.gate
                .writing
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// The vector view of a state folder. One writer at a time: the state folder's lock sees to that.
pub struct VectorView {
    dir: PathBuf,
    options: Options,
    model: String,
    dimension: usize,
    standing: Arc<Standing>,
    /// Row of each live label.
    positions: HashMap<u64, usize>,
    applied: Epoch,
    built: Option<Manifest>,
    changed: u64,
    building: Option<Building>,
    /// The standing index is not of `model` and `dimension`: a load has failed.
    stale: bool,
    /// After a failed build: changes before the next attempt.
    retry_from: u64,
    last_failure: Option<String>,
    reader: Reader,
}

impl VectorView {
    /// Opens the view in `dir` and brings it to the source's epoch.
    ///
    /// A build that is missing, damaged or of another model costs a warning and time, never the view: the previous
    /// build answers, or the source is read in full. Errors are those of the source.
    pub fn open(
        dir: &Path,
        source: &dyn VectorSource,
        options: Options,
    ) -> Result<Self, IndexError> {
        if !options.read_only {
            // A folder that can't be made is no reason not to answer: each build will try again and say so.
            if let Err(error) = fs::create_dir_all(dir)
                .map_err(|e| IndexError::io("create", dir, e))
                .and_then(|()| disk::tidy(dir))
            {
                tracing::warn!(%error, "the folder of the vector view can't be written");
            }
        }
        let (model, dimension) = (source.model_id(), source.dimension());
        let mut view = Self::of(
            dir,
            options,
            model,
            dimension,
            Rows::new(Ann::new(Kind::Flat, dimension)?, Vec::new(), 1)?,
        );
        if !view.resume(source)? {
            view.load(source)?;
        }
        view.build_if_due();
        Ok(view)
    }

    fn of(dir: &Path, options: Options, model: String, dimension: usize, rows: Rows) -> Self {
        let standing = Standing::new(rows);
        let snapshot = Snapshot {
            standing: standing.clone(),
            epoch: 0,
            count: 0,
            live: 0,
        };
        Self {
            dir: dir.to_owned(),
            options,
            model,
            dimension,
            standing,
            positions: HashMap::new(),
            applied: 0,
            built: None,
            changed: 0,
            building: None,
            stale: false,
            retry_from: 0,
            last_failure: None,
            reader: Reader(Arc::new(RwLock::new(Arc::new(snapshot)))),
        }
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.reader.snapshot()
    }

    /// A handle for threads that query.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The epoch applied.
    pub fn epoch(&self) -> Epoch {
        self.applied
    }

    /// The source must keep the changes after this epoch, or the backup on the disk is worth nothing.
    pub fn needs_changes_after(&self) -> Epoch {
        disk::oldest_epoch(&self.dir)
            .unwrap_or(self.applied)
            .min(self.applied)
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        let (rows, live) = (self.standing.read(), self.positions.len() as u64);
        Status {
            epoch: self.applied,
            kind: rows.kind(),
            live,
            tombstones: rows.len() as u64 - live,
            churn: self
                .options
                .policy
                .churn(self.changed, self.live_at_build()),
            building: self.building.is_some(),
            last_build: self.built.clone(),
            last_failure: self.last_failure.clone(),
        }
    }

    /// Applies what the source committed since the last call and publishes a snapshot of that epoch; on an error the
    /// previous snapshot stays. Starts and adopts builds as they are due.
    pub fn follow(&mut self, source: &dyn VectorSource) -> Result<Epoch, IndexError> {
        if self
            .building
            .as_ref()
            .and_then(|b| b.thread.as_ref())
            .is_some_and(JoinHandle::is_finished)
        {
            // A build that failed has been logged and will be tried again.
            let _ = self.wait_for_build();
        }
        if source.model_id() != self.model || source.dimension() != self.dimension {
            (self.model, self.dimension) = (source.model_id(), source.dimension());
            self.stale = true;
        }
        if self.stale || !self.catch_up(source)? {
            self.load(source)?;
        }
        self.build_if_due();
        Ok(self.applied)
    }

    /// Waits for the build under way, if there is one, and lets it answer.
    pub fn wait_for_build(&mut self) -> Result<(), IndexError> {
        let Some(mut building) = self.building.take() else {
            return Ok(());
        };
        let thread = building
            .thread
            .take()
            .expect("a build is joined once: it was just taken out of the view");
        let outcome = thread
            .join()
            .unwrap_or_else(|_| Err(IndexError::faiss("build an index", "a panic".into())));
        match outcome.and_then(|built| self.adopt(&building.snapshot, built)) {
            Ok(()) => {
                (self.last_failure, self.retry_from) = (None, 0);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "no new build of the vector view; the standing one goes on");
                self.put_off(&error);
                Err(error)
            }
        }
    }

    fn put_off(&mut self, error: &IndexError) {
        self.last_failure = Some(error.to_string());
        self.retry_from = self.changed + (self.changed / 4).max(1);
    }

    /// Goes on from a build on the disk, if one can be believed.
    fn resume(&mut self, source: &dyn VectorSource) -> Result<bool, IndexError> {
        for folder in disk::candidates(&self.dir) {
            let resumed = disk::read(&folder, &self.model, self.dimension).and_then(|stored| {
                let at = source.epoch().map_err(IndexError::Source)?;
                if stored.manifest.epoch > at {
                    let what = format!(
                        "it is of epoch {}, the store only at {at}",
                        stored.manifest.epoch
                    );
                    return Err(IndexError::unusable(&folder, what));
                }
                self.stand_on(stored)?;
                Ok(self.catch_up(source)? && self.agrees(source)?)
            });
            match resumed {
                Ok(true) => return Ok(true),
                Ok(false) => {
                    tracing::warn!(folder = %folder.display(), "this build does not lead to what the store holds")
                }
                Err(error @ IndexError::Source(_)) => return Err(error),
                Err(error) => tracing::warn!(%error, "a build of the vector view is passed over"),
            }
        }
        Ok(false)
    }

    /// Makes a stored build the standing index; nothing is published yet.
    fn stand_on(&mut self, stored: Stored) -> Result<(), IndexError> {
        self.positions = stored
            .labels
            .iter()
            .enumerate()
            .map(|(row, label)| (*label, row))
            .collect();
        self.applied = stored.manifest.epoch;
        self.changed = 0;
        self.standing = Standing::new(Rows::new(
            stored.ann,
            stored.labels,
            stored.manifest.nprobe,
        )?);
        self.built = Some(stored.manifest);
        Ok(())
    }

    /// Whether what was resumed is what the source has: as many live labels, and some of the same vectors.
    /// Catches a folder that belongs to another store.
    fn agrees(&self, source: &dyn VectorSource) -> Result<bool, IndexError> {
        let live = source.live_count().map_err(IndexError::Source)?;
        if source.epoch().map_err(IndexError::Source)? == self.applied
            && live != self.positions.len() as u64
        {
            return Ok(false);
        }
        let rows = self.standing.read();
        let mut sample: Vec<u64> = rows
            .labels()
            .iter()
            .step_by((rows.len() / 32).max(1))
            .filter(|l| self.positions.contains_key(l))
            .copied()
            .collect();
        sample.sort_unstable();
        sample.dedup();
        let (mut equal, mut ours) = (0, vec![0f32; self.dimension]);
        source
            .vectors(&sample, &mut |label, theirs| {
                let read = self
                    .positions
                    .get(&label)
                    .map(|&row| rows.vector(row, &mut ours));
                equal += usize::from(matches!(read, Some(Ok(()))) && ours == theirs);
            })
            .map_err(IndexError::Source)?;
        Ok(equal == sample.len())
    }

    /// Reads the source in full into a flat index, which answers at once; a better kind is built beside it.
    fn load(&mut self, source: &dyn VectorSource) -> Result<(), IndexError> {
        self.building = None;
        for _ in 0..LOADS {
            let at = source.epoch().map_err(IndexError::Source)?;
            let mut rows = Rows::new(Ann::new(Kind::Flat, self.dimension)?, Vec::new(), 1)?;
            let (mut labels, mut vectors) = (Vec::new(), Vec::new());
            let mut outcome = Ok(());
            let read = source.live(&mut |label, vector| {
                if outcome.is_ok() {
                    outcome = self.check(vector).and_then(|()| {
                        labels.push(label);
                        vectors.extend_from_slice(vector);
                        if labels.len() == FETCH {
                            rows.append(&labels, &vectors)?;
                            labels.clear();
                            vectors.clear();
                        }
                        Ok(())
                    });
                }
            });
            outcome?;
            read.map_err(IndexError::Source)?;
            rows.append(&labels, &vectors)?;
            (0..rows.len()).for_each(|row| rows.publish(row));
            self.positions = rows
                .labels()
                .iter()
                .enumerate()
                .map(|(row, label)| (*label, row))
                .collect();
            self.standing = Standing::new(rows);
            (self.applied, self.built, self.changed) = (at, None, self.positions.len() as u64);
            (self.retry_from, self.last_failure, self.stale) = (0, None, false);
            // What was committed while it was read may be in it or not: the changes are idempotent.
            if self.catch_up(source)? {
                return Ok(());
            }
        }
        self.stale = true;
        Err(IndexError::Source(
            "its changes are dropped faster than it can be read".into(),
        ))
    }

    /// Applies the changes after the applied epoch and publishes; false when the source no longer knows them.
    pub(super) fn catch_up(&mut self, source: &dyn VectorSource) -> Result<bool, IndexError> {
        let at = source.epoch().map_err(IndexError::Source)?;
        let Some(mut changes) = source
            .changes_after(self.applied)
            .map_err(IndexError::Source)?
        else {
            return Ok(false);
        };
        let target = changes
            .iter()
            .map(|c| c.epoch)
            .max()
            .unwrap_or(0)
            .max(at)
            .max(self.applied);
        changes.sort_unstable_by_key(|c| (c.epoch, c.label));
        let mut wanted = HashMap::new();
        for of_one in changes.chunk_by(|a, b| (a.epoch, a.label) == (b.epoch, b.label)) {
            match of_one.iter().map(|c| i32::from(c.op)).sum::<i32>() {
                0 => {}
                net => drop(wanted.insert(of_one[0].label, net > 0)),
            }
        }
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for (label, live) in wanted {
            match (live, self.positions.contains_key(&label)) {
                (true, false) => added.push(label),
                (false, true) => removed.push(label),
                _ => {}
            }
        }
        added.sort_unstable();
        let first = self.standing.read().len();
        for labels in added.chunks(FETCH) {
            self.append(source, labels)?;
        }
        // From here on nothing can fail.
        let mut rows = self.standing.write();
        for row in first..rows.len() {
            rows.publish(row);
            self.positions.insert(rows.labels()[row], row);
        }
        for label in &removed {
            if let Some(row) = self.positions.remove(label) {
                rows.remove(row, target);
            }
        }
        drop(rows);
        self.changed += (added.len() + removed.len()) as u64;
        self.applied = target;
        self.publish();
        Ok(true)
    }

    /// Appends the vectors of `labels`, all of them new, as pending rows.
    fn append(&self, source: &dyn VectorSource, labels: &[u64]) -> Result<(), IndexError> {
        let mut missing: HashSet<u64> = labels.iter().copied().collect();
        let mut found = Vec::with_capacity(labels.len());
        let mut vectors = Vec::with_capacity(labels.len() * self.dimension);
        let mut outcome = Ok(());
        source
            .vectors(labels, &mut |label, vector| {
                if outcome.is_ok() && missing.remove(&label) {
                    outcome = self.check(vector);
                    found.push(label);
                    vectors.extend_from_slice(vector);
                }
            })
            .map_err(IndexError::Source)?;
        outcome?;
        if let Some(&label) = missing.iter().min() {
            return Err(IndexError::MissingVector { label });
        }
        for (labels, vectors) in found
            .chunks(SLICE)
            .zip(vectors.chunks(SLICE * self.dimension))
        {
            self.standing.write().append(labels, vectors)?;
        }
        Ok(())
    }

    fn check(&self, vector: &[f32]) -> Result<(), IndexError> {
        if vector.len() != self.dimension {
            return Err(IndexError::Dimension {
                expected: self.dimension,
                got: vector.len(),
            });
        }
        if vector.iter().all(|x| x.is_finite()) {
            Ok(())
        } else {
            Err(IndexError::NotFinite)
        }
    }

    fn publish(&self) {
        let count = self.standing.read().len();
        let standing = self.standing.clone();
        self.reader.publish(Snapshot {
            standing,
            epoch: self.applied,
            count,
            live: self.positions.len(),
        });
    }

    fn live_at_build(&self) -> u64 {
        self.built.as_ref().map_or(0, |build| build.count)
    }

    /// Starts a build in the background if the policy asks for one and none is under way.
    fn build_if_due(&mut self) {
        let due = self
            .options
            .policy
            .is_due(self.changed, self.live_at_build());
        if self.options.read_only
            || self.building.is_some()
            || !due
            || self.changed < self.retry_from
        {
            return;
        }
        let snapshot = (*self.snapshot()).clone();
        let (gate, source) = (Arc::new(Gate::default()), snapshot.clone());
        let (theirs, dir, model, options) = (
            gate.clone(),
            self.dir.clone(),
            self.model.clone(),
            self.options.clone(),
        );
        let kind = options.policy.kind(snapshot.len() as u64);
        tracing::info!(
            epoch = snapshot.epoch,
            kind = kind.name(),
            vectors = snapshot.live,
            "building the vector view anew"
        );
        let thread = thread::Builder::new()
            .name("vector-build".into())
            .spawn(move || make_and_write(&source, kind, &dir, &model, &options, &theirs));
        match thread {
            Ok(thread) => {
                self.building = Some(Building {
                    thread: Some(thread),
                    snapshot,
                    gate,
                })
            }
            Err(error) => {
                let error = IndexError::io("start a thread for", &self.dir, error);
                tracing::warn!(%error, "no new build of the vector view; the standing one goes on");
                self.put_off(&error);
            }
        }
    }

    /// Lets a build answer: what came and left since its snapshot is carried over from the standing index.
    fn adopt(&mut self, snapshot: &Snapshot, built: Built) -> Result<(), IndexError> {
        let Built {
            stored,
            origins,
            mut positions,
        } = built;
        let manifest = stored.manifest;
        let mut rows = Rows::new(stored.ann, stored.labels, manifest.nprobe)?;
        let old = self.standing.read();
        let mut changed = 0;
        for (row, &origin) in origins.iter().enumerate() {
            if !old.is_live(origin) {
                positions.remove(&rows.labels()[row]);
                rows.remove(row, 0);
                changed += 1;
            }
        }
        let since: Vec<usize> = (snapshot.count..old.len())
            .filter(|&row| old.is_live(row))
            .collect();
        let mut vectors = vec![0f32; SLICE * self.dimension];
        for slice in since.chunks(SLICE) {
            for (&row, into) in slice.iter().zip(vectors.chunks_exact_mut(self.dimension)) {
                old.vector(row, into)?;
            }
            let labels: Vec<u64> = slice.iter().map(|&row| old.labels()[row]).collect();
            let first = rows.len();
            rows.append(&labels, &vectors[..slice.len() * self.dimension])?;
            for (row, label) in (first..).zip(labels) {
                rows.publish(row);
                positions.insert(label, row);
                changed += 1;
            }
        }
        drop(old);
        tracing::info!(
            epoch = manifest.epoch,
            kind = manifest.kind.name(),
            vectors = manifest.count,
            recall = manifest.recall.recall(),
            "a new build of the vector view answers"
        );
        (self.positions, self.changed, self.built) = (positions, changed, Some(manifest));
        self.standing = Standing::new(rows);
        self.publish();
        Ok(())
    }
}

/// The background build: makes, then writes unless it was told not to.
fn make_and_write(
    snapshot: &Snapshot,
    kind: Kind,
    dir: &Path,
    model: &str,
    options: &Options,
    gate: &Gate,
) -> Result<Built, IndexError> {
    let cancelled = || gate.cancelled.load(Ordering::SeqCst);
    let made = build::make(snapshot, kind, options.build_threads, &cancelled)?;
    let writing = gate.writing.lock().unwrap_or_else(PoisonError::into_inner);
    if cancelled() {
        return Err(IndexError::Cancelled);
    }
    let draft = Draft {
        model,
        epoch: snapshot.epoch,
        ef_search: made.ef_search,
        nprobe: made.nprobe,
        created: (options.now)().to_string(),
        recall: made.recall,
    };
    let stored = disk::write(dir, made.ann, &made.labels, draft)?;
    if let Err(error) = disk::prune(dir, KEPT) {
        tracing::warn!(%error, "old builds of the vector view stay on the disk");
    }
    drop(writing);
    let positions = stored
        .labels
        .iter()
        .enumerate()
        .map(|(row, label)| (*label, row))
        .collect();
    Ok(Built {
        stored,
        origins: made.origins,
        positions,
    })
}
