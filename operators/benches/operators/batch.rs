//! Texts of mixed lengths planned into batches of 512 tokens.

use criterion::{Criterion, Throughput};
use floodmark_operators::batch::Planner;

const TEXTS: u64 = 10_000;

fn plan() -> usize {
    let mut planner = Planner::new(512);
    for number in 0..TEXTS {
        planner.insert(number / 1000, 5 + (number * 7919 % 250) as usize, number);
    }
    let mut batches = 0;
    while !planner.is_empty() {
        std::hint::black_box(planner.next_batch());
        batches += 1;
    }
    batches
}

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("operators");
    group.throughput(Throughput::Elements(TEXTS));
    group.bench_function("batch", |bencher| bencher.iter(plan));
    group.finish();
}
