//! What the dataflow's operators ask of the program: looking at files, parsing, chunking, ordering, making durable.

pub mod engine;
pub mod failed;
pub mod hint;
pub mod kept;
pub mod ledger;
pub mod line;
pub mod memory;
pub mod parser;
pub mod progress;
pub mod queue;
pub mod reader;
pub mod reading;
pub mod scout;
pub mod verdict;
