//! Operators that keep derived data exactly as fresh as its sources.

pub mod keys;
