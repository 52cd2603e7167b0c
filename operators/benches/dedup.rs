//! Distinct hashes, a tenth of them seen twice.

#[path = "shared/rig.rs"]
mod rig;

use criterion::Criterion;
use differential_dataflow::AsCollection;
use floodmark_operators::dedup::dedup;
use timely::dataflow::operators::Probe;

fn measure(criterion: &mut Criterion) {
    let record = |number| {
        (
            rig::chunk_hash(number * 9 / 10),
            number / rig::EPOCH,
            1isize,
        )
    };
    rig::measure(criterion, "dedup", record, |stream| {
        dedup(stream.as_collection()).inner.probe().0
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion);
    criterion.final_summary();
}
