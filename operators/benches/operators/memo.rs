//! Contents learned and looked up.

use std::sync::Arc;

use criterion::{Criterion, Throughput};
use floodmark_operators::keys::ChunkHash;
use floodmark_operators::memo::Memo;
use timely::dataflow::ProbeHandle;

use super::rig;

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    let chunks: Arc<[ChunkHash]> = (0..4).map(rig::chunk_hash).collect();
    let contents: Vec<_> = (0..rig::RECORDS).map(rig::content).collect();
    let mut group = criterion.benchmark_group("operators");
    group.throughput(Throughput::Elements(rig::RECORDS));
    group.bench_function("memo", |bencher| {
        bencher.iter(|| {
            let memo = Memo::new(ProbeHandle::new());
            for content in &contents {
                memo.learn(*content, chunks.clone(), 1);
            }
            contents
                .iter()
                .filter(|content| memo.known(content, 1).is_some())
                .count()
        });
    });
    group.finish();
}
