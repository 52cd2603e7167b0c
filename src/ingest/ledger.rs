//! From closed epochs to the store, and back to the queue what was made durable.

use std::collections::HashSet;
use std::sync::Arc;

use floodmark_operators::commit::Ledger;
use floodmark_operators::keys::{ChunkHash, Epoch};

use crate::fault;
use crate::store::Store;
use crate::store::row::{FileRow, Row};

/// What flows to the commit: a row, or at epoch 0 the word that everything which the store held has come through again.
pub type Record = Option<Row>;

/// Hears of what is durable.
pub trait Witness: Send {
    /// These files' rows are durable, and with them every epoch before `upper`.
    fn committed(&mut self, upper: Epoch, files: &[FileRow]);

    /// So many chunks joined the live index in what is durable.
    fn joined(&mut self, _chunks: u64) {}
}

/// The ledger of worker 0.
pub struct StoreLedger {
    /// `None` only while it is dropped.
    store: Option<Store>,
    /// What the store says is live, until epoch 0 has said what should be.
    recovered: Option<HashSet<ChunkHash>>,
    /// The epoch at which recovery's corrections are made.
    corrections: Epoch,
    witnesses: Vec<Box<dyn Witness>>,
    /// Called instead of returning when something could not be made durable.
    stop: Arc<dyn Fn(String) + Send + Sync>,
}

impl StoreLedger {
    /// Writes to `store`, whose live chunks are `live`.
    pub fn new(
        store: Store,
        live: Vec<ChunkHash>,
        witnesses: Vec<Box<dyn Witness>>,
        stop: Arc<dyn Fn(String) + Send + Sync>,
    ) -> Self {
        let corrections = store.upper();
        Self {
            store: Some(store),
            recovered: Some(live.into_iter().collect()),
            corrections,
            witnesses,
            stop,
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("there until it is dropped")
    }

    /// Turns what recovery derived into the difference to what the store says: nothing, as a rule.
    fn correct(&mut self, rows: &mut Vec<(Epoch, Row)>) {
        let Some(mut stored) = self.recovered.take() else {
            return;
        };
        fault::pass("ledger.correct");
        let corrections = self.corrections;
        let mut missing = Vec::new();
        rows.retain(|(epoch, row)| match row {
            Row::Live(hash, diff) if *epoch == 0 => {
                debug_assert_eq!(*diff, 1, "at epoch 0 everything joins");
                if !stored.remove(hash) {
                    missing.push((corrections, Row::Live(*hash, 1)));
                }
                false
            }
            _ => true,
        });
        let surplus = stored
            .into_iter()
            .map(|hash| (corrections, Row::Live(hash, -1)));
        let corrected: Vec<_> = missing.into_iter().chain(surplus).collect();
        if !corrected.is_empty() {
            tracing::info!(
                chunks = corrected.len(),
                "the live index was corrected at recovery"
            );
        }
        rows.splice(0..0, corrected);
    }
}

impl Ledger<Record> for StoreLedger {
    fn commit(&mut self, upper: Epoch, records: Vec<(Epoch, Record)>) {
        let mut rows: Vec<(Epoch, Row)> = records
            .into_iter()
            .filter_map(|(epoch, record)| Some((epoch, record?)))
            .collect();
        self.correct(&mut rows);
        // Time 0 is not an epoch of the store: what recovery had to add counts as the first new one.
        for (epoch, _) in &mut rows {
            *epoch = (*epoch).max(self.corrections);
        }
        let files: Vec<FileRow> = rows
            .iter()
            .filter_map(|(_, row)| match row {
                Row::File(row) => Some(row.clone()),
                _ => None,
            })
            .collect();
        let joined = rows
            .iter()
            .filter(|(_, row)| matches!(row, Row::Live(_, 1)));
        let joined = joined.count() as u64;
        fault::pass("ledger.commit");
        let upper = upper.max(self.corrections + 1);
        if !rows.is_empty() {
            let started = std::time::Instant::now();
            let count = rows.len();
            if let Err(error) = self.store().commit(upper, rows) {
                (self.stop)(format!("the index could not be made durable: {error}"));
                unreachable!("a ledger that failed stops the program");
            }
            tracing::debug!(
                upper,
                rows = count,
                ms = started.elapsed().as_millis() as u64,
                "committed"
            );
        }
        fault::pass("ledger.durable");
        for witness in &mut self.witnesses {
            witness.committed(upper, &files);
            witness.joined(joined);
        }
        fault::pass("ledger.told");
    }
}

/// The run is over: the log goes into the database, so that one file is the whole of it.
impl Drop for StoreLedger {
    fn drop(&mut self) {
        if let Some(store) = self.store.take()
            && let Err(error) = store.close()
        {
            tracing::warn!(%error, "the store's log could not be folded in; nothing is lost, the next run reads it");
        }
    }
}
