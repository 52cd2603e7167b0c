//! The words of an epoch that has passed: an index in memory, made for the question.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use floodmark_operators::keys::Epoch;

use crate::index::{Change, SourceError};
use crate::keyword::{self, KeywordView, TextSource};
use crate::store::{Label, Snapshot};

use super::{SearchError, Searcher};

/// The texts that were in the index at an epoch.
struct Past<'a> {
    store: &'a Snapshot,
    at: Epoch,
    labels: &'a [Label],
}

impl TextSource for Past<'_> {
    fn epoch(&self) -> Result<Epoch, SourceError> {
        Ok(self.at)
    }

    fn live_count(&self) -> Result<u64, SourceError> {
        Ok(self.labels.len() as u64)
    }

    fn live(&self, each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError> {
        for label in self.labels {
            if let Some(text) = self.store.text_of(*label)? {
                each(*label as u64, &text);
            }
        }
        Ok(())
    }

    fn changes_after(&self, _epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError> {
        Ok(Some(Vec::new()))
    }

    fn texts(&self, labels: &[u64], each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError> {
        for label in labels {
            if let Some(text) = self.store.text_of(*label as Label)? {
                each(*label, &text);
            }
        }
        Ok(())
    }
}

impl Searcher {
    /// The words of these texts, which were in the index at epoch `at`. The last epoch that was asked for is kept, for the
    /// next page.
    pub(super) fn past_words(
        &self,
        store: &Snapshot,
        at: Epoch,
        labels: &[Label],
    ) -> Result<Arc<keyword::Snapshot>, SearchError> {
        // Held while it is made: whoever asks for the same at the same time waits instead of making another.
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = past.as_ref().filter(|kept| kept.epoch() == at) {
            return Ok(kept.clone());
        }
        let options = keyword::Options {
            languages: self.languages,
            read_only: true,
            ..keyword::Options::default()
        };
        // A reader writes nothing, and there is nothing to read.
        let nowhere = Path::new("");
        let view = KeywordView::open(nowhere, &Past { store, at, labels }, options)?;
        let snapshot = view.snapshot();
        *past = Some(snapshot.clone());
        Ok(snapshot)
    }
}
