//! What makes vectors, as the dataflow needs it: threads that embed, and the tokenizer that measures.

use std::sync::Arc;

use floodmark_operators::embed::{Embedder, Vector};

use crate::formats::TokenOffsets;
use crate::model::{EmbedError, Model, ModelError, Session};
use crate::store::ModelKey;
use crate::token_store::Keeper;

mod breaker;
mod guard;
mod keeping;

pub use guard::{Endurance, Guard, Make, Oracle, Ward};

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
    /// How the model is, where somebody looks after it.
    pub ward: Option<Arc<Ward>>,
}

impl Engine {
    /// As many sessions as the model was opened for, each behind a [`Guard`].
    ///
    /// # Errors
    /// When ONNX Runtime can't make a session.
    pub fn new(model: &Model) -> Result<Self, ModelError> {
        Self::enduring(model, Endurance::default())
    }

    /// The same, with other limits to what is put up with.
    ///
    /// # Errors
    /// When ONNX Runtime can't make a session.
    pub fn enduring(model: &Model, endurance: Endurance) -> Result<Self, ModelError> {
        Self::keeping(model, endurance, None)
    }

    /// The same; `keeper` is given the token vectors of all that is embedded.
    ///
    /// # Errors
    /// When ONNX Runtime can't make a session.
    pub fn keeping(
        model: &Model,
        endurance: Endurance,
        keeper: Option<Arc<Keeper>>,
    ) -> Result<Self, ModelError> {
        let made = |_| Ok(Some(keeping::oracle(model.session()?, keeper.as_ref())));
        let sessions = (0..model.sessions())
            .map(made)
            .collect::<Result<_, ModelError>>()?;
        Ok(Self::with(model, endurance, keeper, sessions))
    }

    /// The same for a run that may find nothing to embed, and ends then. Each session is made by the thread that is to use it, when
    /// there is something for it; the first to ask gets the one that opening the model has made.
    pub fn sparing(model: &Model, endurance: Endurance, keeper: Option<Arc<Keeper>>) -> Self {
        let sessions = (0..model.sessions()).map(|_| None).collect();
        Self::with(model, endurance, keeper, sessions)
    }

    /// A thread for each of `sessions`, which makes its own where there is none.
    fn with(
        model: &Model,
        endurance: Endurance,
        keeper: Option<Arc<Keeper>>,
        sessions: Vec<Option<Box<dyn Oracle>>>,
    ) -> Self {
        let ward = Arc::new(Ward::new(endurance, model.dimension()));
        let another = model.clone();
        let make: Make = Arc::new(move || match another.session() {
            Ok(session) => Ok(keeping::oracle(session, keeper.as_ref())),
            Err(error) => Err(error.to_string()),
        });
        let guarded =
            |first| Box::new(Guard::new(first, make.clone(), ward.clone())) as Box<dyn Embedder>;
        Self {
            embedders: sessions.into_iter().map(guarded).collect(),
            tokens: Arc::new(model.clone()),
            tokenizer: model.tokenizer_id().to_owned(),
            key: ModelKey {
                id: model.key().to_owned(),
                dimension: model.dimension(),
            },
            ward: Some(ward),
        }
    }
}

impl Oracle for Session {
    fn vectors(&mut self, texts: &[Arc<str>]) -> Result<Vec<Vector>, String> {
        let all: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        self.embed(&all).map_err(reason)
    }
}

/// Which text of the batch it is found out by asking for each.
fn reason(error: EmbedError) -> String {
    match error {
        EmbedError::Tokenizer { reason, .. } => format!("it can't be tokenised: {reason}"),
        EmbedError::NoTokens { .. } => "it has no tokens".into(),
        EmbedError::NotFinite { reason, .. } => format!("its vector is not usable: {reason}"),
        error => error.to_string(),
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
