//! Rows collected by epoch, to the ledger's thread, and the frontier that moves when it returns; the ledger keeps nothing.

#[path = "shared/rig.rs"]
mod rig;

use criterion::Criterion;
use floodmark_operators::commit::{Ledger, commit};
use floodmark_operators::keys::Epoch;
use timely::dataflow::operators::Probe;

struct Nowhere;

impl Ledger<u64> for Nowhere {
    fn commit(&mut self, _upper: Epoch, rows: Vec<(Epoch, u64)>) {
        std::hint::black_box(rows);
    }
}

fn measure(criterion: &mut Criterion) {
    rig::measure(
        criterion,
        "commit",
        |number| number,
        |stream| commit(stream, Some(Box::new(Nowhere))).probe().0,
    );
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion);
    criterion.final_summary();
}
