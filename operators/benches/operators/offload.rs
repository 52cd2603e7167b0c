//! Records to a pool and back, one job each.

use std::sync::LazyLock;

use criterion::Criterion;
use floodmark_operators::offload::{Pool, offload};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;

use super::rig;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new("squares", 2).expect("two threads"));

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    rig::measure(
        criterion,
        "offload",
        |number| number,
        |stream| {
            offload(stream, Pipeline, "Square", &POOL, |n| [n * n])
                .probe()
                .0
        },
    );
}
