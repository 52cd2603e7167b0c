//! Texts in, unit vectors out: a sentence-transformers model run by ONNX Runtime.
//!
//! ```text
//!  text ──▶ tokens ──▶ one padded batch ──▶ onnx ──▶ [batch, tokens, d] ──▶ pooling over own tokens ──▶ unit length
//! ```
//!
//! The vector of a text does not depend on the batch it travels in: alone, among others or behind padding it is the
//! same bit for bit. Three things make it so: one thread per session, a mask that gives padding a weight of exactly
//! zero, and pooling that never looks at a padded row. (Models that only offer a vector pooled inside their own graph,
//! and graphics processors, do not promise it.)
//!
//! This module reads the model's files and the runtime's library, and nothing else; it opens no connection and sends
//! nothing anywhere.

pub mod devices;
pub mod runtime;

mod ascii;
mod builtin;
mod cross;
mod folder;
mod input;
mod key;
mod onnx;
mod pooling;
mod scripts;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

pub use builtin::NAME as BUILTIN_NAME;
pub use cross::{CrossEncoder, CrossSession};
pub use devices::{Device, Provider};
pub use onnx::{Session, WithTokens};
pub use pooling::Pooling;
pub use runtime::{Runtime, RuntimeError};
pub use tokens::TokenIds;

use folder::{Folder, Graph};
use onnx::Loaded;
use tokens::Tokens;

/// Which model, and how it is run. The default is the built-in model on the best device there is.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// A sentence-transformers folder, or one of its `.onnx` files; `None` is the built-in model.
    pub dir: Option<PathBuf>,
    /// Where it runs.
    pub device: Device,
    /// Sessions that run at the same time, one thread each; 0 means one for each core.
    pub sessions: usize,
    /// The library of ONNX Runtime; `None` looks for it (see [`runtime`]).
    pub runtime: Option<PathBuf>,
    /// Tokens of one text, special tokens included, instead of what the model says. Longer texts are cut.
    pub max_tokens: Option<usize>,
}

/// Why a model can't be opened. All of these want a person: another folder, another option, or the runtime.
#[derive(Debug, Error)]
pub enum ModelError {
    /// A file that a model needs is not there.
    #[error("{}: not found; {advice}", path.display())]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
        /// What to do.
        advice: String,
    },
    /// A file could not be read.
    #[error("{}: can't be read: {source}; check that it is there and that you may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not say what it must say.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// More tokens were asked for than the model has positions.
    #[error(
        "{asked} tokens were asked for, but the model {model} reads {least} to {most}; choose a number in between"
    )]
    MaxTokens {
        /// The model's name.
        model: String,
        /// What was asked for.
        asked: usize,
        /// Special tokens and one of the text's own.
        least: usize,
        /// What the model has positions for.
        most: usize,
    },
    /// ONNX Runtime refused the model.
    #[error("{}: ONNX Runtime does not load this model: {reason}", path.display())]
    Graph {
        /// The `.onnx` file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The model loaded and can't embed a short text.
    #[error("{}: the model does not work: {source}", path.display())]
    Probe {
        /// The `.onnx` file.
        path: PathBuf,
        /// What happened.
        source: EmbedError,
    },
    /// ONNX Runtime could not be found or loaded.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// Why texts can't be embedded. None of these passes by trying again.
#[derive(Debug, Error)]
pub enum EmbedError {
    /// The tokenizer refused a text.
    #[error("text {index} of the batch can't be tokenised: {reason}")]
    Tokenizer {
        /// Which text.
        index: usize,
        /// What the tokenizer said.
        reason: String,
    },
    /// A text has no token at all, so that there is nothing to pool.
    #[error("text {index} of the batch has no tokens; this model has no vector for it")]
    NoTokens {
        /// Which text.
        index: usize,
    },
    /// ONNX Runtime failed in the middle of a run.
    #[error("ONNX Runtime failed on a batch of {texts} texts of up to {tokens} tokens: {reason}")]
    Run {
        /// Texts of the batch.
        texts: usize,
        /// Tokens of its longest.
        tokens: usize,
        /// What it said.
        reason: String,
    },
    /// The output has not the shape that the input asks for.
    #[error("the model's output {output} has shape {found:?}, where {expected} was expected")]
    Shape {
        /// Name of the output.
        output: String,
        /// Its shape.
        found: Vec<usize>,
        /// What would be right.
        expected: String,
    },
    /// A vector holds NaN or infinity, or has no length. One such vector can hang an index: it is refused here.
    #[error("the model gave no usable vector for text {index} of the batch: {reason}")]
    NotFinite {
        /// Which text.
        index: usize,
        /// What is wrong with the vector.
        reason: &'static str,
    },
}

/// What turns a text into a vector, beside the graph: shared by all sessions of a model.
#[derive(Debug)]
pub(crate) struct Recipe {
    tokens: Tokens,
    pooling: Pooling,
    steps_in_graph: Vec<String>,
    pad_id: i64,
}

/// An opened model. Cheap to clone.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    name: String,
    key: String,
    recipe: Arc<Recipe>,
    graph: Graph,
    dimension: usize,
    sessions: usize,
    provider: Provider,
    runtime: &'static Runtime,
    /// The session that opening the model made; the first caller of [`Model::session`] gets it.
    first: Mutex<Option<Session>>,
}

impl Model {
    /// Reads the folder, loads the runtime, and embeds one short text to see that it works.
    pub fn open(options: &ModelOptions) -> Result<Self, ModelError> {
        let folder = folder_of(options)?;
        // Two things that take long and need nothing of each other.
        let (named, (runtime, first)) = beside(
            || name(&folder, options.max_tokens),
            || {
                let runtime = runtime::load(options.runtime.as_deref())?;
                Ok((runtime, First::make(runtime, &folder, options.device)?))
            },
        )?;
        Self::of(options, folder, named, runtime, first)
    }

    /// The same for whoever may find nothing to embed. `known` gives the length of the vectors of a model, named by its
    /// [key](Self::key), that has worked before. Such a one makes its first session when somebody asks for it, as it does any other,
    /// and nothing is embedded to see that it works: the key says that not a byte of it has changed.
    pub fn open_sparingly(
        options: &ModelOptions,
        known: impl FnOnce(&str) -> Option<usize>,
    ) -> Result<Self, ModelError> {
        let folder = folder_of(options)?;
        let (named, runtime) = beside(
            || name(&folder, options.max_tokens),
            || Ok(runtime::load(options.runtime.as_deref())?),
        )?;
        // Whether a graphics processor can be used shows only when a session is made.
        let dimension = known(&named.1).filter(|_| options.device.only_processor());
        let first = match dimension {
            Some(dimension) => First::Later { dimension },
            None => First::make(runtime, &folder, options.device)?,
        };
        Self::of(options, folder, named, runtime, first)
    }

    fn of(
        options: &ModelOptions,
        folder: Folder,
        (tokens, key): (Tokens, String),
        runtime: &'static Runtime,
        first: First,
    ) -> Result<Self, ModelError> {
        let Folder {
            name,
            graph,
            pooling,
            steps_in_graph,
            ..
        } = folder;
        let recipe = Arc::new(Recipe {
            pad_id: folder.pad_id.or_else(|| tokens.pad_id()).unwrap_or(0),
            tokens,
            pooling,
            steps_in_graph,
        });
        let (provider, dimension, first) = match first {
            First::Made(provider, loaded) => {
                let mut session = loaded.with(recipe.clone());
                let path = graph.path();
                let probe = session
                    .embed(&["flood mark"])
                    .map_err(|source| ModelError::Probe { path, source })?;
                let dimension = probe.first().map_or(0, |vector| vector.len());
                session.expect_dimension(dimension);
                (provider, dimension, Some(session))
            }
            First::Later { dimension } => (Provider::Cpu, dimension, None),
        };
        let sessions = match (options.sessions, provider) {
            (0, Provider::Cpu) => std::thread::available_parallelism().map_or(1, usize::from),
            (0, _) => 1, // one session fills a graphics processor
            (sessions, _) => sessions,
        };
        let tried = first.is_some();
        tracing::debug!(model = %key, %provider, sessions, tried, runtime = %runtime.path().display(), "model opened");
        Ok(Self(Arc::new(Inner {
            name,
            key,
            recipe,
            graph,
            dimension,
            sessions,
            provider,
            runtime,
            first: Mutex::new(first),
        })))
    }

    /// One more session: a copy of the weights (some 30 MB for the built-in model) and one thread of work, the caller's.
    pub fn session(&self) -> Result<Session, ModelError> {
        if let Some(first) = self
            .0
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            return Ok(first);
        }
        let Inner {
            runtime,
            graph,
            provider,
            recipe,
            ..
        } = &*self.0;
        let mut session =
            Loaded::load(runtime, graph, *provider, &recipe.steps_in_graph)?.with(recipe.clone());
        session.expect_dimension(self.0.dimension);
        Ok(session)
    }

    /// The folder's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What embeddings are kept under: the name and a hash of everything that decides a vector — weights, tokenizer,
    /// pooling, length limit. Another key means other vectors.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Hash of the tokenizer: what chunk boundaries depend on. A model of the same family often shares it.
    pub fn tokenizer_id(&self) -> &str {
        self.0.recipe.tokens.id()
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.0.dimension
    }

    /// Sessions worth running at the same time.
    pub fn sessions(&self) -> usize {
        self.0.sessions
    }

    /// What it runs on.
    pub fn provider(&self) -> Provider {
        self.0.provider
    }

    /// The library that runs it.
    pub fn runtime(&self) -> &'static Runtime {
        self.0.runtime
    }

    /// How token vectors become one.
    pub fn pooling(&self) -> &Pooling {
        &self.0.recipe.pooling
    }

    /// Tokens of a text's own that fit, special tokens already subtracted: what a chunk may have.
    pub fn max_tokens(&self) -> usize {
        self.0.recipe.tokens.own_tokens_max()
    }

    /// Tokens that one row of a batch may have, special tokens included.
    pub fn max_input_tokens(&self) -> usize {
        self.0.recipe.tokens.input_tokens_max()
    }

    /// Tokenises once, for planning batches and for [`Session::embed_tokens`]. What does not fit is cut off, as
    /// sentence-transformers does, and [`TokenIds::truncated`] says so.
    pub fn tokenize(&self, text: &str) -> Result<TokenIds, EmbedError> {
        self.0
            .recipe
            .tokens
            .encode(text)
            .map_err(|reason| EmbedError::Tokenizer { index: 0, reason })
    }

    /// Tokens that a text costs in a batch: special tokens included, cut at the limit.
    pub fn count_tokens(&self, text: &str) -> Result<usize, EmbedError> {
        self.tokenize(text).map(|tokens| tokens.len())
    }

    /// How much of a text is in scripts that the model reads: the share of its letters, 0 to 1. Told from the vocabulary, so
    /// that languages of one script are not told apart.
    pub fn reads(&self, text: &str) -> f64 {
        self.0.recipe.tokens.reads(text)
    }

    /// Which tokens of a row are the text's own, and not the marks that the tokenizer adds.
    pub fn own_tokens(&self, row: &TokenIds) -> Vec<bool> {
        self.0.recipe.tokens.own(row)
    }

    /// For each own token of [`Self::tokenize`]'s row, in order: the bytes of the word that the token is part of.
    pub fn words(&self, text: &str) -> Result<Vec<std::ops::Range<usize>>, EmbedError> {
        self.0
            .recipe
            .tokens
            .words(text)
            .map_err(|reason| EmbedError::Tokenizer { index: 0, reason })
    }

    /// The byte behind every token of a text, in order and on character boundaries: no special tokens, nothing cut.
    pub fn token_ends(&self, text: &str) -> Vec<u32> {
        self.0.recipe.tokens.ends(text)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("key", &self.key())
            .field("provider", &self.provider())
            .finish_non_exhaustive()
    }
}

/// The first session of a model.
enum First {
    /// Loaded, and not tried yet.
    Made(Provider, Loaded),
    /// Made by whoever needs it, on the processor.
    Later { dimension: usize },
}

impl First {
    fn make(runtime: &Runtime, folder: &Folder, device: Device) -> Result<Self, ModelError> {
        let load =
            |provider| Loaded::load(runtime, &folder.graph, provider, &folder.steps_in_graph);
        devices::choose(device, load).map(|(provider, loaded)| Self::Made(provider, loaded))
    }
}

fn folder_of(options: &ModelOptions) -> Result<Folder, ModelError> {
    match &options.dir {
        Some(dir) => Folder::open(dir),
        None => builtin::folder(),
    }
}

/// The folder's tokenizer, and what its model's vectors are kept under.
fn name(folder: &Folder, max_tokens: Option<usize>) -> Result<(Tokens, String), ModelError> {
    let tokens = read_tokenizer(folder, max_tokens)?;
    let key = key::of(folder, tokens.id(), tokens.input_tokens_max())?;
    Ok((tokens, key))
}

/// The folder's tokenizer, which cuts at `asked` tokens instead of where the folder says, if it is asked to.
fn read_tokenizer(folder: &Folder, asked: Option<usize>) -> Result<Tokens, ModelError> {
    let tokens = Tokens::new(&folder.tokenizer, folder.lowercase, folder.input_tokens_max)
        .map_err(|reason| ModelError::Invalid {
            path: folder.tokenizer_path.clone(),
            reason,
        })?;
    let Some(asked) = asked else {
        return Ok(tokens);
    };
    let (least, most) = (
        tokens.special_tokens() + 1,
        folder.positions_max.unwrap_or(usize::MAX),
    );
    if !(least..=most).contains(&asked) {
        return Err(ModelError::MaxTokens {
            model: folder.name.clone(),
            asked,
            least,
            most,
        });
    }
    Ok(tokens.with_input_tokens_max(asked))
}

/// Both, at the same time if the system gives a thread. If both fail, `aside` says why.
fn beside<A: Send, B>(
    aside: impl Fn() -> Result<A, ModelError> + Sync,
    here: impl FnOnce() -> Result<B, ModelError>,
) -> Result<(A, B), ModelError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("tokenizer".into())
            .spawn_scoped(scope, &aside);
        let here = here();
        let aside = match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_no_thread) => aside(),
        };
        Ok((aside?, here?))
    })
}

/// Reads a file, with its name in the error.
fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|source| ModelError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
pub(crate) mod tests;
