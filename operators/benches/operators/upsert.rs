//! Slots that get a content, half of them for the second time.

use criterion::Criterion;
use floodmark_operators::keys::PathKey;
use floodmark_operators::upsert::upsert;
use timely::dataflow::operators::Probe;

use super::rig;

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    let record = |number: u64| {
        let path = PathKey::of(&[&(number % (rig::RECORDS / 2)).to_le_bytes()]);
        ((path, 0), Some(rig::content(number)))
    };
    rig::measure(criterion, "upsert", record, |stream| {
        upsert(stream).inner.probe().0
    });
}
