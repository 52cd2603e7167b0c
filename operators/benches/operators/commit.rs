//! Rows collected by epoch, to the ledger's thread, and the frontier that moves when it returns; the ledger keeps nothing.

use criterion::Criterion;
use floodmark_operators::commit::{Ledger, commit};
use floodmark_operators::keys::Epoch;
use timely::dataflow::operators::Probe;

use super::rig;

struct Nowhere;

impl Ledger<u64> for Nowhere {
    fn commit(&mut self, _upper: Epoch, rows: Vec<(Epoch, u64)>) {
        std::hint::black_box(rows);
    }
}

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    rig::measure(
        criterion,
        "commit",
        |number| number,
        |stream| commit(stream, Some(Box::new(Nowhere))).probe().0,
    );
}
