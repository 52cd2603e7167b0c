//! A cross-encoder: a question and a text in one row, and out comes how well the one answers the other.
//!
//! The folder is that of any sequence classification exported to ONNX: the graph, `tokenizer.json`, `config.json`. One number a
//! row is taken as the score; of two, the second less the first (irrelevant, relevant).

use std::path::Path;
use std::sync::Arc;

use ndarray::{Axis, Ix2};

use super::devices::{self, Device, Provider};
use super::folder::{Folder, Graph};
use super::input::{Batch, Input};
use super::onnx::load;
use super::runtime::{self, Runtime};
use super::tokens::Tokens;
use super::{EmbedError, ModelError, TokenIds};

/// What the graph's output may be called.
const OUTPUT: &str = "logits";

/// An opened cross-encoder. Cheap to clone.
#[derive(Clone)]
pub struct CrossEncoder(Arc<Inner>);

struct Inner {
    name: String,
    graph: Graph,
    tokens: Tokens,
    pad_id: i64,
    provider: Provider,
    runtime: &'static Runtime,
}

/// One batch at a time, on the calling thread.
pub struct CrossSession {
    inner: ort::session::Session,
    inputs: Vec<Input>,
    output: String,
    pad_id: i64,
}

impl CrossEncoder {
    /// Reads the folder, loads the runtime, and scores one pair to see that it works.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn open(dir: &Path, device: Device, runtime: Option<&Path>) -> Result<Self, ModelError> {
        let Folder {
            name,
            graph,
            tokenizer,
            tokenizer_path,
            lowercase,
            input_tokens_max,
            pad_id,
            ..
        } = Folder::open(dir)?;
        let tokens = Tokens::new(&tokenizer, lowercase, input_tokens_max).map_err(|reason| {
            ModelError::Invalid {
                path: tokenizer_path,
                reason,
            }
        })?;
        let pad_id = pad_id.or_else(|| tokens.pad_id()).unwrap_or(0);
        let runtime = runtime::load(runtime)?;
        let (provider, mut session) = devices::choose(device, |provider| {
            CrossSession::build(runtime, &graph, provider, pad_id)
        })?;
        let probe = |source| ModelError::Probe {
            path: graph.path(),
            source,
        };
        let pair = tokens
            .encode_pair("flood", "mark")
            .map_err(|reason| probe(EmbedError::Tokenizer { index: 0, reason }))?;
        session.score(&[&pair]).map_err(probe)?;
        Ok(Self(Arc::new(Inner {
            name,
            graph,
            tokens,
            pad_id,
            provider,
            runtime,
        })))
    }

    /// The folder's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// One more session: a copy of the weights, and one thread of work, the caller's.
    ///
    /// # Errors
    /// When ONNX Runtime can't make one.
    pub fn session(&self) -> Result<CrossSession, ModelError> {
        let Inner {
            runtime,
            graph,
            provider,
            pad_id,
            ..
        } = &*self.0;
        CrossSession::build(runtime, graph, *provider, *pad_id)
    }

    /// A pair as one row. What does not fit is cut from the end of the longer text.
    ///
    /// # Errors
    /// [`EmbedError::Tokenizer`].
    pub fn tokenize(&self, query: &str, text: &str) -> Result<TokenIds, EmbedError> {
        self.0
            .tokens
            .encode_pair(query, text)
            .map_err(|reason| EmbedError::Tokenizer { index: 0, reason })
    }
}

impl CrossSession {
    fn build(
        runtime: &Runtime,
        graph: &Graph,
        provider: Provider,
        pad_id: i64,
    ) -> Result<Self, ModelError> {
        let (inner, inputs) = load(runtime, graph, provider)?;
        let outlets = inner.outputs();
        let output = outlets
            .iter()
            .find(|outlet| outlet.name() == OUTPUT)
            .or_else(|| outlets.first().filter(|_| outlets.len() == 1))
            .map(|outlet| outlet.name().to_owned());
        let Some(output) = output else {
            let names: Vec<&str> = outlets.iter().map(|outlet| outlet.name()).collect();
            return Err(ModelError::Graph {
                path: graph.path(),
                reason: format!(
                    "it has no output {OUTPUT}, but {}: name a cross-encoder, exported with \
                     `optimum-cli export onnx --task text-classification`",
                    names.join(", ")
                ),
            });
        };
        Ok(Self {
            inner,
            inputs,
            output,
            pad_id,
        })
    }

    /// `n` pairs → `n` scores, higher is better, in no particular unit. They run as one batch, padded to the longest.
    ///
    /// # Errors
    /// See [`EmbedError`].
    pub fn score(&mut self, rows: &[&TokenIds]) -> Result<Vec<f32>, EmbedError> {
        if rows.is_empty() {
            return Ok(vec![]);
        }
        // A graph that can't be told what is padding gets none.
        if !self.inputs.contains(&Input::Mask) && rows.iter().any(|row| row.len() != rows[0].len())
        {
            return rows
                .iter()
                .map(|row| Ok(self.score(&[row])?.swap_remove(0)))
                .collect();
        }
        let indices: Vec<usize> = (0..rows.len()).collect();
        let batch = Batch::of(&self.inputs, rows, &indices, self.pad_id);
        let failed = |e: ort::Error| batch.failed(&e);
        let inputs = batch.tensors().map_err(failed)?;
        let outputs = self.inner.run(inputs).map_err(failed)?;
        let wrong = |found: &[usize]| EmbedError::Shape {
            output: self.output.clone(),
            found: found.to_vec(),
            expected: format!("[{0}, 1] or [{0}, 2], a score a pair", rows.len()),
        };
        let value = outputs.get(&self.output).ok_or_else(|| wrong(&[]))?;
        let found = value.try_extract_array::<f32>().map_err(failed)?;
        let logits = found
            .view()
            .into_dimensionality::<Ix2>()
            .map_err(|_| wrong(found.shape()))?;
        if logits.len_of(Axis(0)) != rows.len() || !(1..=2).contains(&logits.len_of(Axis(1))) {
            return Err(wrong(found.shape()));
        }
        let score = |(index, row): (usize, ndarray::ArrayView1<'_, f32>)| {
            let score = match row.len() {
                1 => row[0],
                _ => row[1] - row[0],
            };
            match score.is_finite() {
                true => Ok(score),
                false => Err(EmbedError::NotFinite {
                    index,
                    reason: "its score is NaN or infinity",
                }),
            }
        };
        logits.rows().into_iter().enumerate().map(score).collect()
    }
}

impl std::fmt::Debug for CrossEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CrossEncoder")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
