//! Where files come from: a walk, a watch, a replay. They hand over hints; nothing here reads a file's bytes.

pub mod identity;

pub use identity::Identity;
