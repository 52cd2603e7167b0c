//! Fresh contents of four chunks to the pool and back; the cutting itself costs little more than the hashes.

use std::sync::{Arc, LazyLock};

use criterion::Criterion;
use floodmark_operators::chunk::{Chunk, Chunks, chunk};
use floodmark_operators::embed::Text;
use floodmark_operators::keys::ContentKey;
use floodmark_operators::memo::Memo;
use floodmark_operators::offload::Pool;
use floodmark_operators::parse::{Parsed, Reading};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;

use super::rig;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new("chunk", 2).expect("two threads"));

struct Four(Text);

impl Chunk for Four {
    type Documents = u64;
    type Row = u64;
    type Refusal = String;

    fn chunk(&self, _content: ContentKey, documents: &u64) -> Result<Chunks<u64>, String> {
        let text = |at| (rig::chunk_hash(documents * 4 + at), self.0.clone());
        Ok(Chunks {
            row: *documents,
            texts: (0..4).map(text).collect(),
        })
    }
}

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    let record = |number| Parsed {
        content: rig::content(number),
        place: number,
        reading: Reading::Fresh(Arc::new(number)),
    };
    rig::measure(criterion, "chunk", record, |stream| {
        let memo = Memo::new(ProbeHandle::new());
        let text = Text {
            text: "a text".into(),
            tokens: 2,
            again: false,
        };
        chunk(stream, memo, Arc::new(Four(text)), &POOL).probe().0
    });
}
