//! Distinct hashes, a tenth of them seen twice.

use criterion::Criterion;
use differential_dataflow::AsCollection;
use floodmark_operators::dedup::dedup;
use timely::dataflow::operators::Probe;

use super::rig;

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
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
