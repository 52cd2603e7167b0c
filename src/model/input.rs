//! Tokenised texts as the tensors that a graph asks for.

use std::borrow::Cow;

use ort::session::SessionInputValue;
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use super::{EmbedError, TokenIds};

/// What the graph wants to know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Ids,
    Mask,
    Types,
}

impl Input {
    pub(super) fn of(outlet: &Outlet) -> Result<Self, String> {
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

/// One rectangle of tokens, as wide as its longest text.
pub(super) struct Batch {
    /// Texts and tokens.
    pub(super) shape: [usize; 2],
    tensors: Vec<(&'static str, Vec<i64>)>,
}

impl Batch {
    /// The rows at `indices`, of which there is at least one.
    pub(super) fn of(inputs: &[Input], rows: &[&TokenIds], indices: &[usize], pad_id: i64) -> Self {
        let width = indices.iter().map(|&index| rows[index].len()).max();
        let width = width.unwrap_or(0);
        let fill = |padding: i64, value: fn(&TokenIds, usize) -> i64| -> Vec<i64> {
            let row = |&index: &usize| {
                let row = rows[index];
                let token = move |at| match at < row.len() {
                    true => value(row, at),
                    false => padding,
                };
                (0..width).map(token)
            };
            indices.iter().flat_map(row).collect()
        };
        let tensor = |input: &Input| match input {
            Input::Ids => (
                "input_ids",
                fill(pad_id, |row, at| i64::from(row.ids()[at])),
            ),
            Input::Mask => ("attention_mask", fill(0, |_, _| 1)),
            Input::Types => (
                "token_type_ids",
                fill(0, |row, at| i64::from(row.types()[at])),
            ),
        };
        Self {
            shape: [indices.len(), width],
            tensors: inputs.iter().map(tensor).collect(),
        }
    }

    /// By name, for a run.
    pub(super) fn tensors(&self) -> Result<Vec<(Cow<'_, str>, SessionInputValue<'_>)>, ort::Error> {
        self.tensors
            .iter()
            .map(|named| {
                let (name, values) = named;
                let tensor = TensorRef::from_array_view((self.shape, values.as_slice()))?;
                Ok((Cow::Borrowed(*name), SessionInputValue::from(tensor)))
            })
            .collect()
    }

    /// A run that failed.
    pub(super) fn failed(&self, error: &ort::Error) -> EmbedError {
        EmbedError::Run {
            texts: self.shape[0],
            tokens: self.shape[1],
            reason: error.to_string(),
        }
    }
}
