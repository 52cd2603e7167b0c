//! The view that follows a source: additions to the standing index, tombstones, and builds in the background.

mod recovery;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use floodmark_operators::keys::Epoch;

use super::background::{Building, Built};
use super::disk::{self, Manifest};
use super::faiss::Ann;
use super::policy::{Kind, Policy};
use super::snapshot::{Rows, SLICE, Snapshot, Standing};
use super::{IndexError, VectorSource};
use crate::fault;

/// Vectors asked of the source at a time.
const FETCH: usize = 4_096;
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
                .and_then(|()| disk::prune(dir))
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
        view.build_if_due(false);
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
        if self.building.as_ref().is_some_and(Building::is_finished) {
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
        self.build_if_due(false);
        Ok(self.applied)
    }

    /// Nothing more is to come for now: starts the build that spares whoever opens the view next much reading from the source, if there
    /// is one.
    pub fn rest(&mut self) {
        self.build_if_due(true);
    }

    /// Waits for the build under way, if there is one, and lets it answer.
    pub fn wait_for_build(&mut self) -> Result<(), IndexError> {
        let Some(building) = self.building.take() else {
            return Ok(());
        };
        let (snapshot, outcome) = building.finish();
        match outcome.and_then(|built| self.adopt(&snapshot, built)) {
            Ok(()) => {
                (self.last_failure, self.retry_from) = (None, 0);
                Ok(())
            }
            Err(error) => {
                self.put_off(&error);
                Err(error)
            }
        }
    }

    /// A build failed: not again at the next commit, but when a quarter more has changed.
    fn put_off(&mut self, error: &IndexError) {
        tracing::warn!(%error, dir = %self.dir.display(), "no new build of the vector view; the standing one goes on");
        self.last_failure = Some(error.to_string());
        self.retry_from = self.changed + (self.changed / 4).max(1);
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
        fault::point("view.append")
            .map_err(|error| IndexError::io("follow into", &self.dir, error))?;
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
        fault::pass("view.publish");
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
    fn build_if_due(&mut self, at_rest: bool) {
        if self.options.read_only || self.building.is_some() || self.changed < self.retry_from {
            return;
        }
        let (policy, live_at_build) = (self.options.policy, self.live_at_build());
        let snapshot = self.snapshot();
        let grows = || {
            let kind = policy.kind(snapshot.len() as u64);
            snapshot.to_go_on_from(kind).is_some()
        };
        let due = policy.is_due(self.changed, live_at_build)
            || policy.is_worth_growing(self.changed, live_at_build, at_rest) && grows();
        if !due {
            return;
        }
        match Building::start(&snapshot, &self.dir, &self.model, &self.options) {
            Ok(building) => self.building = Some(building),
            Err(error) => self.put_off(&error),
        }
    }

    /// Lets a build answer: what came and left since its snapshot is carried over from the standing index.
    fn adopt(&mut self, snapshot: &Snapshot, built: Built) -> Result<(), IndexError> {
        fault::point("view.adopt")
            .map_err(|error| IndexError::io("adopt a build of", &self.dir, error))?;
        let manifest = built.stored.manifest.clone();
        let carried = built.carry_over(&self.standing.read(), snapshot.count)?;
        tracing::info!(
            epoch = manifest.epoch,
            kind = manifest.kind.name(),
            vectors = manifest.count,
            recall = manifest.recall.recall(),
            "a new build of the vector view answers"
        );
        (self.positions, self.changed) = (carried.positions, carried.changed);
        self.built = Some(manifest);
        self.standing = Standing::new(carried.rows);
        self.publish();
        Ok(())
    }
}
