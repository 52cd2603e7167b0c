//! How well a configuration finds what people judged: the work of `floodmark eval` and `floodmark sts`.
//!
//! ```text
//!  folder ──▶ beir: queries, judgements ─────────────────┐
//!     └─────▶ scratch: a run over corpus.jsonl ──▶ measure: each query in each mode ──▶ metrics ──▶ significance
//! ```
//!
//! The index is made by the run that makes every index, and asked by the searcher that answers every search: what is measured here
//! is the program, not a model of it.

pub mod beir;
pub mod measure;
pub mod metrics;
pub mod scratch;
pub mod significance;
pub mod sts;

mod lines;

pub use lines::InputError;
