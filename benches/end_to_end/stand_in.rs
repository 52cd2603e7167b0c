//! A stand-in for the model, for what is measured without it: chunks are cut by the real tokenizer, and vectors are
//! numbers made from the text. It has a name of its own, so that no index can mistake its vectors for the model's.

use std::sync::Arc;

use floodmark::ingest::engine::Engine;
use floodmark::model::Model;
use floodmark::store::ModelKey;
use floodmark_operators::embed::{Embedder, Vector};

/// An engine that costs next to nothing.
pub fn engine(model: &Model) -> Engine {
    let dimension = model.dimension();
    Engine {
        embedders: (0..model.sessions())
            .map(|_| Box::new(StandIn(dimension)) as Box<dyn Embedder>)
            .collect(),
        tokens: Arc::new(model.clone()),
        tokenizer: model.tokenizer_id().to_owned(),
        key: ModelKey {
            id: "stand-in for benches".into(),
            dimension,
        },
        ward: None,
    }
}

struct StandIn(usize);

impl Embedder for StandIn {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        texts.iter().map(|text| Ok(vector(text, self.0))).collect()
    }
}

/// Unit length, another for each text.
fn vector(text: &str, dimension: usize) -> Vector {
    let mut state = blake3_of(text);
    let mut numbers: Vec<f32> = (0..dimension)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    let norm = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
    numbers.iter_mut().for_each(|x| *x /= norm);
    numbers.into()
}

fn blake3_of(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let (first, _) = hash.as_bytes().split_at(8);
    u64::from_le_bytes(first.try_into().expect("eight bytes")) | 1
}
