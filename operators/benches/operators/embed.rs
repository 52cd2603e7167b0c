//! Texts planned into batches, to the embedders' threads and back; the model itself costs nothing here.

use std::sync::{Arc, LazyLock};

use criterion::Criterion;
use differential_dataflow::AsCollection;
use floodmark_operators::embed::{Embedder, Embedders, Stored, Text, Vector, embed};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Probe, ToStream};

use super::rig;

struct Same(Vector);

impl Embedder for Same {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        texts.iter().map(|_| Ok(self.0.clone())).collect()
    }
}

static EMBEDDERS: LazyLock<Embedders> = LazyLock::new(|| {
    let vector: Vector = vec![0.5; 384].into();
    Embedders::new(vec![Same(vector.clone()), Same(vector)]).expect("two threads")
});

/// Adds it to what is measured.
pub fn measure(criterion: &mut Criterion) {
    let record = |number| {
        let text = Text {
            text: "a text of some tokens".into(),
            tokens: 5 + number as u32 % 100,
            again: false,
        };
        (rig::chunk_hash(number), number / rig::EPOCH, text)
    };
    rig::measure(criterion, "embed", record, |stream| {
        let scope = stream.scope();
        let wanted = stream.clone().map(|(hash, epoch, _)| (hash, epoch, 1));
        let texts = stream.map(|(hash, _, text)| (hash, text));
        let persisted = None::<Stored>.to_stream(scope);
        embed(
            wanted.as_collection(),
            texts,
            persisted,
            EMBEDDERS.clone(),
            512,
        )
        .probe()
        .0
    });
}
