//! What each operator costs, one after the other: one program, so that it is compiled and linked once.
//!
//! ```text
//! cargo bench -p floodmark-operators -- [embed]
//! ```

mod batch;
mod chunk;
mod commit;
mod dedup;
mod embed;
mod expand;
mod fingerprint;
mod keys;
mod memo;
mod offload;
mod parse;
mod rig;
mod source;
mod upsert;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let all = [
        batch::measure,
        chunk::measure,
        commit::measure,
        dedup::measure,
        embed::measure,
        expand::measure,
        fingerprint::measure,
        keys::measure,
        memo::measure,
        offload::measure,
        parse::measure,
        source::measure,
        upsert::measure,
    ];
    for measure in all {
        measure(&mut criterion);
    }
    criterion.final_summary();
}
