//! Contents of four chunks each.

use criterion::Criterion;
use differential_dataflow::AsCollection;
use floodmark_operators::expand::expand;
use floodmark_operators::memo::Memo;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;

use super::rig;

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    let record = |number| {
        let chunks: Vec<_> = (0..4).map(|at| rig::chunk_hash(number * 4 + at)).collect();
        (rig::content(number), number / rig::EPOCH, chunks)
    };
    rig::measure(criterion, "expand", record, |stream| {
        let contents = stream
            .clone()
            .map(|(content, epoch, _)| (content, epoch, 1));
        let compositions = stream.map(|(content, _, chunks)| (content, chunks.into()));
        let memo = Memo::new(ProbeHandle::new());
        expand(contents.as_collection(), compositions, memo)
            .inner
            .probe()
            .0
    });
}
