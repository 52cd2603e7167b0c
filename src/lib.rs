//! floodmark keeps a vector and keyword index over files exactly as fresh as it says.
//!
//! Imports run downward only: `cli` → `dataflow` → `sources`, `formats`, `model`, `store`, `index`, `keyword` → `floodmark_operators`.

pub mod answers;
pub mod cli;
pub mod config;
pub mod contain;
pub mod control;
pub mod cpu;
pub mod daemon;
pub mod dataflow;
pub mod dead;
pub mod doctor;
pub mod embed;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod fault;
pub mod forget;
pub mod formats;
pub mod index;
pub mod ingest;
pub mod keyword;
pub mod model;
pub mod plan;
pub mod rerank;
pub mod search;
pub mod service;
pub mod signals;
pub mod sources;
pub mod store;
pub mod telemetry;
pub mod token_store;
pub mod verify;
pub mod worker;
