//! How a view begins: from a build that can be believed, or from the source in full.

use std::path::Path;

use super::{FETCH, Options, VectorView};
use crate::fault;
use crate::index::disk::{self, Stored};
use crate::index::faiss::Ann;
use crate::index::policy::Kind;
use crate::index::snapshot::{Rows, Standing};
use crate::index::{IndexError, VectorSource};

/// Attempts to read a source in full, each of which may end with changes that the source no longer knows.
const LOADS: usize = 3;

impl VectorView {
    /// The view that the current build on the disk leads to, without any of what would make up for a bad one. `None`: there
    /// is no build for this model, and nothing depends on one.
    pub(in crate::index) fn of_current_build(
        dir: &Path,
        source: &dyn VectorSource,
        options: Options,
    ) -> Result<Option<Self>, IndexError> {
        let Some(folder) = disk::candidates(dir).into_iter().next() else {
            return Ok(None);
        };
        let made_by = disk::model_of(&folder)?;
        let (model, dimension) = (source.model_id(), source.dimension());
        if made_by != model {
            return Ok(None); // its day may come again, and until then nobody reads it
        }
        let stored = disk::read(&folder, &model, dimension)?;
        let at = source.epoch().map_err(IndexError::Source)?;
        if stored.manifest.epoch > at {
            let what = format!(
                "it is of epoch {}, the store only at {at}",
                stored.manifest.epoch
            );
            return Err(IndexError::unusable(&folder, what));
        }
        let empty = Rows::new(Ann::new(Kind::Flat, dimension)?, Vec::new(), 1)?;
        let mut view = Self::of(dir, options, model, dimension, empty);
        view.stand_on(stored)?;
        Ok(view.catch_up(source)?.then_some(view))
    }

    /// Goes on from a build on the disk, if one can be believed.
    pub(super) fn resume(&mut self, source: &dyn VectorSource) -> Result<bool, IndexError> {
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
    pub(super) fn load(&mut self, source: &dyn VectorSource) -> Result<(), IndexError> {
        self.building = None;
        fault::pass("view.load");
        for _ in 0..LOADS {
            let at = source.epoch().map_err(IndexError::Source)?;
            let mut ann = Ann::new(Kind::Flat, self.dimension)?;
            let (mut labels, mut vectors) = (Vec::new(), Vec::new());
            let mut outcome = Ok(());
            let read = source.live(&mut |label, vector| {
                if outcome.is_ok() {
                    outcome = self.check(vector).and_then(|()| {
                        labels.push(label);
                        vectors.extend_from_slice(vector);
                        if vectors.len() == FETCH * self.dimension {
                            ann.add(&vectors, 1)?;
                            vectors.clear();
                        }
                        Ok(())
                    });
                }
            });
            outcome?;
            read.map_err(IndexError::Source)?;
            ann.add(&vectors, 1)?;
            let numbered = labels.iter().enumerate();
            self.positions = numbered.map(|(row, label)| (*label, row)).collect();
            self.standing = Standing::new(Rows::new(ann, labels, 1)?);
            (self.applied, self.built) = (at, None);
            self.changed = self.positions.len() as u64;
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
}
