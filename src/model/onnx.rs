//! One ONNX Runtime session: a batch in, unit vectors out.

use std::sync::Arc;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, Ix2, Ix3, s};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, ValueType};

use super::devices::Provider;
use super::folder::Graph;
use super::input::{Batch, Input};
use super::{EmbedError, ModelError, Recipe, Runtime, TokenIds, pooling};

/// A session runs one batch at a time on the calling thread. For more at once, take more of them.
pub struct Session {
    inner: ort::session::Session,
    recipe: Arc<Recipe>,
    inputs: Vec<Input>,
    output: Output,
    dimension: Option<usize>,
}

/// What of the graph's outputs is used.
struct Output {
    name: String,
    /// `[batch, tokens, d]` if so, else `[batch, d]`, pooled in the graph.
    per_token: bool,
}

/// A graph that is loaded, and what of it is used: a session but for the tokenizer, which is read meanwhile.
pub(super) struct Loaded {
    inner: ort::session::Session,
    inputs: Vec<Input>,
    output: Output,
}

impl Loaded {
    /// `steps_in_graph`: see [`Recipe`].
    pub(super) fn load(
        runtime: &Runtime,
        graph: &Graph,
        provider: Provider,
        steps_in_graph: &[String],
    ) -> Result<Self, ModelError> {
        let (inner, inputs) = load(runtime, graph, provider)?;
        let output = Output::choose(inner.outputs(), steps_in_graph).map_err(|reason| {
            ModelError::Graph {
                path: graph.path(),
                reason,
            }
        })?;
        Ok(Self {
            inner,
            inputs,
            output,
        })
    }

    pub(super) fn with(self, recipe: Arc<Recipe>) -> Session {
        let Self {
            inner,
            inputs,
            output,
        } = self;
        Session {
            inner,
            recipe,
            inputs,
            output,
            dimension: None,
        }
    }
}

impl Session {
    pub(super) fn expect_dimension(&mut self, dimension: usize) {
        self.dimension = Some(dimension);
    }

    /// `n` texts → `n` vectors of unit length, in the order of the texts. They run as one batch, padded to the longest:
    /// who has many sorts them by length first.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>, EmbedError> {
        let rows = self.tokenize(texts)?;
        self.embed_tokens(&rows.iter().collect::<Vec<_>>())
    }

    /// The same, and for each text the vectors of its own tokens, `[tokens, d]`, not of unit length: what its vector was pooled from, special
    /// tokens left out. `None`: the graph pools itself.
    ///
    /// # Errors
    /// See [`EmbedError`].
    pub fn embed_with_tokens(&mut self, texts: &[&str]) -> Result<Vec<WithTokens>, EmbedError> {
        let rows = self.tokenize(texts)?;
        let rows: Vec<&TokenIds> = rows.iter().collect();
        self.in_batches(&rows, |session, indices| {
            let expected = session.dimension;
            session.run_with(&rows, indices, |text, recipe, index| {
                let own = match &text {
                    PerText::Tokens(tokens) => {
                        let own = recipe.tokens.own(rows[index]);
                        let own: Vec<usize> = (0..own.len()).filter(|row| own[*row]).collect();
                        Some(tokens.select(Axis(0), &own))
                    }
                    PerText::Pooled(_) => None,
                };
                Ok((whole(text, recipe, expected, index)?, own))
            })
        })
    }

    fn tokenize(&self, texts: &[&str]) -> Result<Vec<TokenIds>, EmbedError> {
        let encode = |(index, text): (usize, &&str)| {
            self.recipe
                .tokens
                .encode(text)
                .map_err(|reason| EmbedError::Tokenizer { index, reason })
        };
        texts.iter().enumerate().map(encode).collect()
    }

    /// The same for texts that were tokenised before.
    pub fn embed_tokens(&mut self, rows: &[&TokenIds]) -> Result<Vec<Arc<[f32]>>, EmbedError> {
        self.in_batches(rows, |session, indices| session.run(rows, indices))
    }

    /// The vector of each token of each text, special tokens included: `[tokens, d]` a text, not of unit length. For texts that
    /// were tokenised before, as one batch.
    ///
    /// # Errors
    /// See [`EmbedError`]; [`EmbedError::Shape`] for a graph that gives sentence vectors only.
    pub fn token_vectors(&mut self, rows: &[&TokenIds]) -> Result<Vec<Array2<f32>>, EmbedError> {
        self.in_batches(rows, |session, indices| {
            session.run_with(rows, indices, |tokens, _, index| {
                Ok(match tokens {
                    PerText::Tokens(tokens) => tokens.to_owned(),
                    PerText::Pooled(vector) => {
                        return Err(EmbedError::Shape {
                            output: format!("for text {index}"),
                            found: vec![vector.len()],
                            expected: "a vector for each token".to_owned(),
                        });
                    }
                })
            })
        })
    }

    /// Runs all rows together, or, where the graph can't be told what is padding, those of one length together.
    fn in_batches<T>(
        &mut self,
        rows: &[&TokenIds],
        mut run: impl FnMut(&mut Self, &[usize]) -> Result<Vec<T>, EmbedError>,
    ) -> Result<Vec<T>, EmbedError> {
        if let Some(index) = rows.iter().position(|row| row.is_empty()) {
            return Err(EmbedError::NoTokens { index });
        }
        let indices: Vec<usize> = (0..rows.len()).collect();
        if indices.is_empty() {
            return Ok(vec![]);
        }
        if self.inputs.contains(&Input::Mask) {
            return run(self, &indices);
        }
        let mut by_length = indices;
        by_length.sort_by_key(|&index| rows[index].len());
        let mut results: Vec<Option<T>> = rows.iter().map(|_| None).collect();
        for group in by_length.chunk_by(|&a, &b| rows[a].len() == rows[b].len()) {
            for (&index, result) in group.iter().zip(run(self, group)?) {
                results[index] = Some(result);
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// One batch of the rows at `indices`, each pooled and brought to unit length.
    fn run(
        &mut self,
        rows: &[&TokenIds],
        indices: &[usize],
    ) -> Result<Vec<Arc<[f32]>>, EmbedError> {
        let expected = self.dimension;
        self.run_with(rows, indices, |text, recipe, index| {
            whole(text, recipe, expected, index)
        })
    }

    /// One batch of the rows at `indices`; `each` makes of every text's own part of the output what is wanted.
    fn run_with<T>(
        &mut self,
        rows: &[&TokenIds],
        indices: &[usize],
        each: impl Fn(PerText<'_>, &Recipe, usize) -> Result<T, EmbedError>,
    ) -> Result<Vec<T>, EmbedError> {
        let batch = Batch::of(&self.inputs, rows, indices, self.recipe.pad_id);
        let shape = batch.shape;
        let failed = |e: ort::Error| batch.failed(&e);
        let inputs = batch.tensors().map_err(failed)?;
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
        let texts = indices.iter().enumerate();
        if self.output.per_token {
            let expected = || wrong(found.shape(), format!("[{}, {}, d]", shape[0], shape[1]));
            let tokens = found
                .view()
                .into_dimensionality::<Ix3>()
                .map_err(|_| expected())?;
            if tokens.shape()[..2] != shape {
                return Err(expected());
            }
            let own = |(row, &index): (usize, &usize)| {
                let own = tokens.slice(s![row, ..rows[index].len(), ..]);
                each(PerText::Tokens(own), &self.recipe, index)
            };
            texts.map(own).collect()
        } else {
            let expected = || wrong(found.shape(), format!("[{}, d]", shape[0]));
            let pooled = found
                .view()
                .into_dimensionality::<Ix2>()
                .map_err(|_| expected())?;
            if pooled.len_of(Axis(0)) != shape[0] {
                return Err(expected());
            }
            let own = |(row, &index): (usize, &usize)| {
                each(PerText::Pooled(pooled.row(row)), &self.recipe, index)
            };
            texts.map(own).collect()
        }
    }
}

/// A text's vector, and those of its own tokens.
pub type WithTokens = (Arc<[f32]>, Option<Array2<f32>>);

/// The vector of unit length of a text, of `expected` numbers if that is known.
fn whole(
    text: PerText<'_>,
    recipe: &Recipe,
    expected: Option<usize>,
    index: usize,
) -> Result<Arc<[f32]>, EmbedError> {
    let mut vector = match text {
        PerText::Tokens(tokens) => recipe.pooling.pool(tokens),
        PerText::Pooled(vector) => vector.to_vec(),
    };
    if let Some(dimension) = expected.filter(|&dimension| dimension != vector.len()) {
        return Err(EmbedError::Shape {
            output: format!("for text {index}"),
            found: vec![vector.len()],
            expected: format!("{dimension} numbers for each text"),
        });
    }
    pooling::normalise(&mut vector).map_err(|reason| EmbedError::NotFinite { index, reason })?;
    Ok(vector.into())
}

/// What a graph gives for one text, padding left out.
enum PerText<'a> {
    /// `[tokens, d]`
    Tokens(ArrayView2<'a, f32>),
    /// `[d]`
    Pooled(ArrayView1<'a, f32>),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("output", &self.output.name)
            .finish_non_exhaustive()
    }
}

/// A graph, loaded, and what it wants to know.
pub(super) fn load(
    runtime: &Runtime,
    graph: &Graph,
    provider: Provider,
) -> Result<(ort::session::Session, Vec<Input>), ModelError> {
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
    Ok((inner, inputs))
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
