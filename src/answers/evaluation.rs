//! What `floodmark eval` and `floodmark sts` answer.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::evaluate::measure::Figures;

/// How good a configuration is on a collection, or how two compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The folder.
    pub collection: String,
    /// The file of judgements.
    pub qrels: String,
    /// Documents of the corpus.
    pub documents: usize,
    /// Queries that were asked.
    pub queries: usize,
    /// One, or the two that are compared.
    pub results: Vec<Evaluated>,
    /// Empty if nothing was to be compared.
    pub comparisons: Vec<Compared>,
}

/// The figures of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// What it has of its own; empty: nothing.
    pub settings: String,
    /// By mode, in the order in which they were asked.
    pub modes: Vec<(String, Figures)>,
}

/// One figure of two configurations over the same queries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The mode, or `a → b`.
    pub mode: String,
    /// Which figure.
    pub figure: String,
    /// Mean of the first.
    #[serde(rename = "a")]
    pub first: f64,
    /// Mean of the second.
    #[serde(rename = "b")]
    pub second: f64,
    /// Second less first.
    pub difference: f64,
    /// Lower end of the middle 95 % of resampled differences.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How often chance alone makes a difference as large.
    pub p: f64,
}

impl Evaluation {
    /// `modes` of the one configuration; or `configurations`, each with its modes, and `comparisons`.
    pub fn to_json(&self) -> Value {
        let modes = |result: &Evaluated| -> Value {
            let modes = result.modes.iter();
            let modes: Map<String, Value> = modes
                .map(|(mode, figures)| (mode.clone(), json!(figures)))
                .collect();
            modes.into()
        };
        let mut answer = json!({
            "collection": self.collection,
            "qrels": self.qrels,
            "documents": self.documents,
            "queries": self.queries,
        });
        match &self.results[..] {
            [only] => answer["modes"] = modes(only),
            several => {
                let configuration = |result: &Evaluated| json!({"settings": result.settings, "modes": modes(result)});
                answer["configurations"] = several.iter().map(configuration).collect();
                answer["comparisons"] = json!(self.comparisons);
            }
        }
        answer
    }
}

/// How the cosines of sentence pairs rank against people's scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Similarity {
    /// The file.
    pub file: String,
    /// Pairs.
    pub pairs: usize,
    /// The model.
    pub model: String,
    /// Rank correlation, from −1 to 1.
    pub spearman: f64,
    /// Product-moment correlation.
    pub pearson: f64,
}
