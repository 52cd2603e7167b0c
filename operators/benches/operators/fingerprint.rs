//! Hints to the pool and findings back; the looking itself costs nothing here.

use std::sync::{Arc, LazyLock};

use criterion::Criterion;
use floodmark_operators::fingerprint::{Finding, Fingerprint, fingerprint};
use floodmark_operators::keys::PathKey;
use floodmark_operators::offload::Pool;
use timely::dataflow::operators::Probe;

use super::rig;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new("look", 2).expect("two threads"));

struct Look;

impl Fingerprint for Look {
    type Hint = u64;
    type Bytes = u64;
    type Place = u64;
    type Note = ();

    fn path(hint: &u64) -> PathKey {
        PathKey::of(&[&hint.to_le_bytes()])
    }

    fn look(&self, hint: u64) -> Vec<Finding<u64, u64, ()>> {
        vec![Finding::Content(rig::content(hint), hint, hint)]
    }
}

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    rig::measure(
        criterion,
        "fingerprint",
        |number| number,
        |stream| fingerprint(stream, Arc::new(Look), &POOL).probe().0,
    );
}
