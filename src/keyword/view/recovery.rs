//! How a view begins: from what was saved, if it can be believed, or from the source in full.

use std::path::Path;

use tantivy::{Index, IndexSettings};

use super::{KeywordView, Options, Standing};
use crate::fault;
use crate::keyword::ground::Ground;
use crate::keyword::held::Held;
use crate::keyword::save::Saved;
use crate::keyword::schema::{Payload, print, schema};
use crate::keyword::{KeywordError, TextSource, analyse};

/// Attempts to read a source in full, each of which may end with changes that the source no longer knows.
const LOADS: usize = 3;
/// Texts that are compared with the source's.
const SAMPLE: usize = 32;

impl KeywordView {
    /// The view that the folder leads to; `None` when nothing was ever saved there.
    pub(in crate::keyword) fn resume(
        dir: &Path,
        source: &dyn TextSource,
        options: Options,
    ) -> Result<Option<Self>, KeywordError> {
        let Some(ground) = Ground::saved(dir, !options.read_only)? else {
            return Ok(None);
        };
        let reading = "read what was saved";
        let index = Index::open(ground.clone()).map_err(KeywordError::tantivy(reading))?;
        let (schema, fields) = schema();
        if index.schema() != schema {
            return Err(KeywordError::unusable(dir, "it has other fields"));
        }
        let meta = index.load_metas().map_err(KeywordError::tantivy(reading))?;
        let payload: Payload = (meta.payload.as_deref())
            .and_then(|payload| serde_json::from_str(payload).ok())
            .ok_or_else(|| KeywordError::unusable(dir, "it does not say of which epoch it is"))?;
        let expected = analyse::version(options.languages);
        if payload.analyser != expected {
            let what = format!(
                "its words were made by analyser {}, not {expected}",
                payload.analyser
            );
            return Err(KeywordError::unusable(dir, what));
        }
        let at = source.epoch().map_err(KeywordError::Source)?;
        if payload.epoch > at {
            let what = format!("it is of epoch {}, the store only at {at}", payload.epoch);
            return Err(KeywordError::unusable(dir, what));
        }
        let damaged = (index.validate_checksum()).map_err(KeywordError::tantivy(reading))?;
        if let Some(file) = damaged.into_iter().min() {
            return Err(KeywordError::unusable(
                &dir.join(file),
                "its checksum differs",
            ));
        }
        fault::pass("words.resume");
        let mut view = Self::of(dir, options, Standing::of(ground, index, fields)?);
        view.saved = Saved::found(meta.segments);
        view.held = view.hold(dir)?;
        if view.held.sums().texts != payload.live {
            return Err(KeywordError::unusable(
                dir,
                "it has not as many texts as it says",
            ));
        }
        view.applied = payload.epoch;
        if !view.catch_up(source)? {
            return Err(KeywordError::unusable(
                dir,
                "the store no longer knows what changed since",
            ));
        }
        if !view.agrees(source)? {
            return Err(KeywordError::unusable(
                dir,
                "it does not lead to what the store holds",
            ));
        }
        Ok(Some(view))
    }

    /// What the segments hold.
    fn hold(&self, dir: &Path) -> Result<Held, KeywordError> {
        let mut held = Held::default();
        let mut sound = true;
        for segment in &*self.standing.segments {
            segment.for_each(|label, text, _| {
                sound &= text.is_some_and(|text| held.insert(label, text));
            });
        }
        if sound {
            Ok(held)
        } else {
            Err(KeywordError::unusable(dir, "a text is in it twice"))
        }
    }

    /// Whether what was resumed is what the source has: as many live labels, and some of the same texts.
    /// Catches a folder that belongs to another store.
    fn agrees(&self, source: &dyn TextSource) -> Result<bool, KeywordError> {
        let live = source.live_count().map_err(KeywordError::Source)?;
        if source.epoch().map_err(KeywordError::Source)? == self.applied
            && live != self.held.sums().texts
        {
            return Ok(false);
        }
        let sample = self.held.sample(SAMPLE);
        let mut prints = std::collections::HashMap::new();
        for segment in &*self.standing.segments {
            segment.for_each(|label, _, print| {
                if sample.binary_search(&label).is_ok() {
                    prints.insert(label, print);
                }
            });
        }
        let mut equal = 0;
        source
            .texts(&sample, &mut |label, text| {
                equal += usize::from(prints.get(&label) == Some(&print(text)));
            })
            .map_err(KeywordError::Source)?;
        Ok(equal == sample.len())
    }

    /// An empty view. In memory if it may not write, or can't.
    pub(super) fn blank(dir: &Path, options: &Options) -> Result<Standing, KeywordError> {
        let ground = if options.read_only {
            Ground::memory(dir)
        } else {
            Ground::empty(dir).unwrap_or_else(|error| {
                tracing::warn!(%error, "the folder of the keyword view can't be written: it is kept in memory");
                Ground::memory(dir)
            })
        };
        let (schema, fields) = schema();
        // Nothing is stored, so a thread a segment that compresses it would have nothing to do but to begin and to end.
        let settings = IndexSettings {
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let index = Index::create(ground.clone(), schema, settings)
            .map_err(KeywordError::tantivy("begin"))?;
        Standing::of(ground, index, fields)
    }

    /// Reads the source in full.
    pub(super) fn load(&mut self, source: &dyn TextSource) -> Result<(), KeywordError> {
        self.wait_for_save();
        for _ in 0..LOADS {
            let at = source.epoch().map_err(KeywordError::Source)?;
            let mut standing = Self::blank(&self.dir, &self.options)?;
            let mut held = Held::default();
            let mut outcome = Ok(());
            source
                .live(&mut |label, text| {
                    if outcome.is_ok() {
                        let added = standing.add(label, text, &mut self.texts, None);
                        outcome = added.map(|text| {
                            held.insert(label, text);
                        });
                    }
                })
                .map_err(KeywordError::Source)?;
            outcome?;
            fault::pass("words.loaded");
            let live = held.sums().texts;
            standing.commit(&Payload::new(at, live, self.options.languages), None)?;
            self.saved = Default::default();
            self.unsaved = live.max(self.options.save_after);
            (self.standing, self.held, self.applied) = (standing, held, at);
            // The source may have gone on while it was read.
            if self.catch_up(source)? {
                return Ok(());
            }
        }
        let why = "it forgets its changes faster than they can be read";
        Err(KeywordError::Source(why.into()))
    }
}
