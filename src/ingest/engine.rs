//! What makes vectors, as the dataflow needs it: threads that embed, and the tokenizer that measures.

use std::sync::Arc;

use floodmark_operators::embed::{Embedder, Vector};

use crate::formats::TokenOffsets;
use crate::model::{EmbedError, Model, ModelError, Session};
use crate::store::ModelKey;

/// A model, ready to run.
pub struct Engine {
    /// One for each thread that embeds.
    pub embedders: Vec<Box<dyn Embedder>>,
    /// Measures texts.
    pub tokens: Arc<dyn TokenOffsets>,
    /// What decides where a text is cut, beside the options.
    pub tokenizer: String,
    /// What decides what a vector is.
    pub key: ModelKey,
}

impl Engine {
    /// As many sessions as the model was opened for.
    ///
    /// # Errors
    /// When ONNX Runtime can't make a session.
    pub fn new(model: &Model) -> Result<Self, ModelError> {
        let session = |_| Ok(Box::new(OneByOne(model.session()?)) as Box<dyn Embedder>);
        Ok(Self {
            embedders: (0..model.sessions())
                .map(session)
                .collect::<Result<_, ModelError>>()?,
            tokens: Arc::new(model.clone()),
            tokenizer: model.tokenizer_id().to_owned(),
            key: ModelKey {
                id: model.key().to_owned(),
                dimension: model.dimension(),
            },
        })
    }
}

/// A session that answers for each text alone when it can't answer for all together.
struct OneByOne(Session);

impl Embedder for OneByOne {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        let all: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        match self.0.embed(&all) {
            Ok(vectors) => vectors.into_iter().map(Ok).collect(),
            Err(error) => {
                tracing::warn!(%error, texts = texts.len(), "a batch failed; its texts are tried one by one");
                all.iter()
                    .map(|text| self.one(text).map_err(|error| error.to_string()))
                    .collect()
            }
        }
    }
}

impl OneByOne {
    fn one(&mut self, text: &str) -> Result<Vector, EmbedError> {
        let mut vectors = self.0.embed(&[text])?;
        Ok(vectors.swap_remove(0))
    }
}

impl TokenOffsets for Model {
    fn token_ends(&self, text: &str) -> Vec<u32> {
        Model::token_ends(self, text)
    }

    fn max_tokens(&self) -> usize {
        Model::max_tokens(self)
    }
}
