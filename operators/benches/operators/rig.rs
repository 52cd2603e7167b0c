//! Records through one operator on one worker, start to end: what nearly every bench here measures.

use criterion::{BatchSize, Criterion, Throughput};
use floodmark_operators::keys::{ChunkHash, ContentKey, Epoch};
use timely::dataflow::operators::Input;
use timely::dataflow::{ProbeHandle, StreamVec};

/// Records in a measurement.
pub const RECORDS: u64 = 10_000;
/// Records in an epoch.
pub const EPOCH: u64 = 1_000;

/// The numbered content.
pub fn content(number: u64) -> ContentKey {
    ContentKey::of(&[&number.to_le_bytes()])
}

/// The numbered chunk.
pub fn chunk_hash(number: u64) -> ChunkHash {
    ChunkHash::of(&[&number.to_le_bytes()])
}

/// Sends the records that `make` numbers through what `build` makes, and waits until its probe has passed them all.
pub fn measure<I, B>(criterion: &mut Criterion, name: &str, make: impl Fn(u64) -> I, build: B)
where
    I: Clone + Send + Sync + 'static,
    B: for<'scope> Fn(StreamVec<'scope, Epoch, I>) -> ProbeHandle<Epoch>
        + Copy
        + Send
        + Sync
        + 'static,
{
    let records: Vec<I> = (0..RECORDS).map(make).collect();
    let mut group = criterion.benchmark_group("operators");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || records.clone(),
            |records| pass(records, build),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn pass<I, B>(records: Vec<I>, build: B)
where
    I: Clone + Send + Sync + 'static,
    B: for<'scope> Fn(StreamVec<'scope, Epoch, I>) -> ProbeHandle<Epoch>
        + Copy
        + Send
        + Sync
        + 'static,
{
    timely::execute_directly(move |worker| {
        let (mut input, probe) = worker.dataflow(|scope| {
            let (input, stream) = scope.new_input();
            let probe = build(stream);
            (input, probe)
        });
        for (epoch, part) in records.chunks(EPOCH as usize).enumerate() {
            for record in part {
                input.send(record.clone());
            }
            input.advance_to(epoch as Epoch + 1);
            worker.step();
        }
        let end = *input.time();
        worker.step_or_park_while(None, || probe.less_than(&end));
    });
}
