//! One ONNX Runtime session: a batch in, unit vectors out.

use std::borrow::Cow;
use std::sync::Arc;

use ndarray::{Axis, Ix2, Ix3, s};
use ort::session::SessionInputValue;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use super::devices::Provider;
use super::folder::Graph;
use super::{EmbedError, ModelError, Recipe, Runtime, TokenIds, pooling};

/// A session runs one batch at a time on the calling thread. For more at once, take more of them.
pub struct Session {
    inner: ort::session::Session,
    recipe: Arc<Recipe>,
    inputs: Vec<Input>,
    output: Output,
    dimension: Option<usize>,
}

/// What the graph wants to know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Ids,
    Mask,
    Types,
}

/// What of the graph's outputs is used.
struct Output {
    name: String,
    /// `[batch, tokens, d]` if so, else `[batch, d]`, pooled in the graph.
    per_token: bool,
}

impl Session {
    pub(super) fn build(
        runtime: &Runtime,
        graph: &Graph,
        provider: Provider,
        recipe: Arc<Recipe>,
    ) -> Result<Self, ModelError> {
        let refused = |reason: String| ModelError::Graph {
            path: graph.path(),
            reason,
        };
        let mut builder = configure(runtime, provider).map_err(refused)?;
        let inner = match graph {
            Graph::File(path) => builder.commit_from_file(path),
            Graph::BuiltIn(bytes) => builder.commit_from_memory(bytes),
        };
        let inner = inner.map_err(|e| refused(e.to_string()))?;
        let inputs = inner
            .inputs()
            .iter()
            .map(Input::of)
            .collect::<Result<Vec<_>, _>>()
            .map_err(refused)?;
        if !inputs.contains(&Input::Ids) {
            return Err(refused("it has no input input_ids".to_owned()));
        }
        let output = Output::choose(inner.outputs(), &recipe.steps_in_graph).map_err(refused)?;
        Ok(Self {
            inner,
            recipe,
            inputs,
            output,
            dimension: None,
        })
    }

    pub(super) fn expect_dimension(&mut self, dimension: usize) {
        self.dimension = Some(dimension);
    }

    /// `n` texts → `n` vectors of unit length, in the order of the texts. They run as one batch, padded to the longest:
    /// who has many sorts them by length first.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>, EmbedError> {
        let encode = |(index, text): (usize, &&str)| {
            self.recipe
                .tokens
                .encode(text)
                .map_err(|reason| EmbedError::Tokenizer { index, reason })
        };
        let rows = texts
            .iter()
            .enumerate()
            .map(encode)
            .collect::<Result<Vec<_>, _>>()?;
        self.embed_tokens(&rows.iter().collect::<Vec<_>>())
    }

    /// The same for texts that were tokenised before.
    pub fn embed_tokens(&mut self, rows: &[&TokenIds]) -> Result<Vec<Arc<[f32]>>, EmbedError> {
        if let Some(index) = rows.iter().position(|row| row.is_empty()) {
            return Err(EmbedError::NoTokens { index });
        }
        let indices: Vec<usize> = (0..rows.len()).collect();
        if self.inputs.contains(&Input::Mask) {
            return self.run(rows, &indices);
        }
        // A graph that can't be told what is padding gets none: one run for each length.
        let mut by_length = indices;
        by_length.sort_by_key(|&index| rows[index].len());
        let mut vectors = vec![None; rows.len()];
        for group in by_length.chunk_by(|&a, &b| rows[a].len() == rows[b].len()) {
            for (&index, vector) in group.iter().zip(self.run(rows, group)?) {
                vectors[index] = Some(vector);
            }
        }
        Ok(vectors.into_iter().flatten().collect())
    }

    /// One batch of the rows at `indices`.
    fn run(
        &mut self,
        rows: &[&TokenIds],
        indices: &[usize],
    ) -> Result<Vec<Arc<[f32]>>, EmbedError> {
        let Some(width) = indices.iter().map(|&index| rows[index].len()).max() else {
            return Ok(vec![]);
        };
        let shape = [indices.len(), width];
        let failed = |e: ort::Error| EmbedError::Run {
            texts: shape[0],
            tokens: width,
            reason: e.to_string(),
        };
        let batch = |padding: i64, value: fn(&TokenIds, usize) -> i64| -> Vec<i64> {
            let row = |&index: &usize| {
                let row = rows[index];
                (0..width).map(move |at| {
                    if at < row.len() {
                        value(row, at)
                    } else {
                        padding
                    }
                })
            };
            indices.iter().flat_map(row).collect()
        };
        let batches: Vec<(&str, Vec<i64>)> = self
            .inputs
            .iter()
            .map(|input| match input {
                Input::Ids => (
                    "input_ids",
                    batch(self.recipe.pad_id, |row, at| i64::from(row.ids()[at])),
                ),
                Input::Mask => ("attention_mask", batch(0, |_, _| 1)),
                Input::Types => (
                    "token_type_ids",
                    batch(0, |row, at| i64::from(row.types()[at])),
                ),
            })
            .collect();
        let inputs = batches
            .iter()
            .map(|(name, values)| {
                let tensor = TensorRef::from_array_view((shape, values.as_slice()))?;
                Ok((Cow::Borrowed(*name), SessionInputValue::from(tensor)))
            })
            .collect::<Result<Vec<(Cow<'_, str>, SessionInputValue<'_>)>, ort::Error>>()
            .map_err(failed)?;
        let outputs = self.inner.run(inputs).map_err(failed)?;
        let wrong = |found: &[usize], expected: String| EmbedError::Shape {
            output: self.output.name.clone(),
            found: found.to_vec(),
            expected,
        };
        let value = outputs
            .get(&self.output.name)
            .ok_or_else(|| wrong(&[], "a tensor".to_owned()))?;
        let found = value.try_extract_array::<f32>().map_err(failed)?;
        let pooled: Vec<Vec<f32>> = if self.output.per_token {
            let expected = || wrong(found.shape(), format!("[{}, {width}, d]", shape[0]));
            let tokens = found
                .view()
                .into_dimensionality::<Ix3>()
                .map_err(|_| expected())?;
            if tokens.shape()[..2] != shape {
                return Err(expected());
            }
            let own = |(row, &index): (usize, &usize)| {
                self.recipe
                    .pooling
                    .pool(tokens.slice(s![row, ..rows[index].len(), ..]))
            };
            indices.iter().enumerate().map(own).collect()
        } else {
            let expected = || wrong(found.shape(), format!("[{}, d]", shape[0]));
            let texts = found
                .view()
                .into_dimensionality::<Ix2>()
                .map_err(|_| expected())?;
            if texts.len_of(Axis(0)) != shape[0] {
                return Err(expected());
            }
            texts.rows().into_iter().map(|row| row.to_vec()).collect()
        };
        let mut vectors = Vec::with_capacity(pooled.len());
        for (mut vector, &index) in pooled.into_iter().zip(indices) {
            if let Some(dimension) = self
                .dimension
                .filter(|&dimension| dimension != vector.len())
            {
                return Err(wrong(
                    found.shape(),
                    format!("{dimension} numbers for each text"),
                ));
            }
            pooling::normalise(&mut vector)
                .map_err(|reason| EmbedError::NotFinite { index, reason })?;
            vectors.push(vector.into());
        }
        Ok(vectors)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("output", &self.output.name)
            .finish_non_exhaustive()
    }
}

/// One thread, which is the caller's, and none that spins: sessions side by side are faster than threads inside one
/// (docs/decisions/0003-default-model.md), and the order of additions does not depend on how work was divided.
fn configure(runtime: &Runtime, provider: Provider) -> Result<SessionBuilder, String> {
    let said = |e: ort::Error<SessionBuilder>| e.to_string();
    let mut builder = ort::session::Session::builder(runtime.environment())
        .map_err(|e| e.to_string())?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(said)?
        .with_intra_threads(1)
        .map_err(said)?
        .with_inter_threads(1)
        .map_err(said)?
        .with_intra_op_spinning(false)
        .map_err(said)?
        // a pattern is kept for every shape that was ever run, and shapes here never end
        .with_memory_pattern(false)
        .map_err(said)?
        // Where AVX2 multiplies bytes, pairs of products are added in 16 bits and saturate without a word: cosine .988 to
        // fp32 instead of .997. This takes exact products there, and changes nothing on processors with VNNI.
        .with_config_entry("session.x64quantprecision", "1")
        .map_err(said)?;
    provider.attach(&mut builder).map_err(|e| e.to_string())?;
    Ok(builder)
}

impl Input {
    fn of(outlet: &Outlet) -> Result<Self, String> {
        let input = match outlet.name() {
            "input_ids" => Self::Ids,
            "attention_mask" => Self::Mask,
            "token_type_ids" => Self::Types,
            other => {
                return Err(format!(
                    "it wants an input {other}; known are input_ids, attention_mask and token_type_ids"
                ));
            }
        };
        match outlet.dtype() {
            ValueType::Tensor {
                ty: TensorElementType::Int64,
                ..
            } => Ok(input),
            other => Err(format!(
                "its input {} is {other}, and must be a tensor of int64",
                outlet.name()
            )),
        }
    }
}

impl Output {
    /// Token vectors before pooled ones: only over those can pooling leave the padding out.
    fn choose(outlets: &[Outlet], steps_in_graph: &[String]) -> Result<Self, String> {
        let rank = |outlet: &Outlet| match outlet.dtype() {
            ValueType::Tensor {
                ty: TensorElementType::Float32,
                shape,
                ..
            } => Some(shape.len()),
            _ => None,
        };
        let named = |name: &str, wanted: usize| {
            outlets
                .iter()
                .find(|outlet| outlet.name() == name && rank(outlet) == Some(wanted))
        };
        let per_token = (named("last_hidden_state", 3))
            .or_else(|| named("token_embeddings", 3))
            .or_else(|| outlets.first().filter(|outlet| rank(outlet) == Some(3)));
        let pooled = (named("sentence_embedding", 2)).or_else(|| {
            outlets
                .first()
                .filter(|outlet| outlets.len() == 1 && rank(outlet) == Some(2))
        });
        let found = match (per_token, pooled) {
            (_, None) if !steps_in_graph.is_empty() => {
                return Err(format!(
                    "modules.json asks for {}, which only an export with the output sentence_embedding can do; \
                     `optimum-cli export onnx --library sentence_transformers` makes one",
                    steps_in_graph.join(" and ")
                ));
            }
            (Some(outlet), _) if steps_in_graph.is_empty() => Some((outlet, true)),
            (_, Some(outlet)) => Some((outlet, false)),
            _ => None,
        };
        let list = || {
            let described = outlets
                .iter()
                .map(|outlet| format!("{}: {}", outlet.name(), outlet.dtype()));
            described.collect::<Vec<_>>().join(", ")
        };
        found
            .map(|(outlet, per_token)| Self {
                name: outlet.name().to_owned(),
                per_token,
            })
            .ok_or_else(|| {
                format!(
                    "it has no output of f32 token or sentence vectors; it has {}",
                    list()
                )
            })
    }
}
