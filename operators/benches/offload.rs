//! Records to a pool and back, one job each.

#[path = "shared/rig.rs"]
mod rig;

use std::sync::LazyLock;

use criterion::Criterion;
use floodmark_operators::offload::{Pool, offload};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new("squares", 2).expect("two threads"));

fn measure(criterion: &mut Criterion) {
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

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion);
    criterion.final_summary();
}
