//! Distinct contents to the pool and back, none known; the parsing itself costs nothing here.

use std::sync::{Arc, LazyLock};

use criterion::Criterion;
use floodmark_operators::keys::ContentKey;
use floodmark_operators::memo::Memo;
use floodmark_operators::offload::Pool;
use floodmark_operators::parse::{Found, Parse, parse};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;

use super::rig;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new("parse", 2).expect("two threads"));

struct Same;

impl Parse for Same {
    type Bytes = u64;
    type Documents = u64;

    fn parse(&self, _content: ContentKey, bytes: u64) -> u64 {
        bytes
    }
}

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    let record = |number| Found {
        content: rig::content(number),
        bytes: number,
        place: number,
    };
    rig::measure(criterion, "parse", record, |stream| {
        let memo = Memo::new(ProbeHandle::new());
        parse(stream, memo, Arc::new(Same), &POOL).probe().0
    });
}
