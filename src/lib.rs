//! floodmark keeps a vector and keyword index over files exactly as fresh as it says.
//!
//! Imports run downward only: `cli` → `dataflow` → `sources`, `formats`, `model`, `store`, `index` → `floodmark_operators`.

pub mod embed;
pub mod error;
pub mod formats;
pub mod index;
pub mod model;
pub mod sources;
pub mod store;
