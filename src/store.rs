//! The truth: one SQLite database a state folder, one writer.

pub mod row;
