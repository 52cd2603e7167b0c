//! The key of a segment of 64 KiB, and of a path.

use criterion::{Criterion, Throughput};
use floodmark_operators::keys::{ContentHash, PathKey};

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    let bytes = vec![7u8; 64 * 1024];
    let mut group = criterion.benchmark_group("operators");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("keys, a segment of 64 KiB", |bencher| {
        bencher.iter(|| ContentHash::of(&[&bytes]));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("keys, a path", |bencher| {
        bencher.iter(|| PathKey::of(&[b"/home/someone/notes", b"2025/tides.md"]));
    });
    group.finish();
}
