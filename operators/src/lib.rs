//! Operators that keep derived data exactly as fresh as its sources, on timely and differential dataflow.
//!
//! ```text
//!  source ──▶ fingerprint ──▶ parse ──▶ chunk ──▶ upsert ──▶ dedup ──▶ expand ──▶ dedup ──▶ embed ──▶ commit
//!    ▲            hints to       └── memo ──┘     path →     distinct   content →   distinct   missing    │
//!    │            contents       parsed once      content    contents   chunks      chunks     → vectors  │
//!    └──────────────────────────────────── the committed frontier ─────────────────────────────────────────┘
//! ```
//!
//! One file is one operator. The crate does no I/O of its own: files, parsers, models and stores are traits that the
//! caller implements ([`fingerprint::Fingerprint`], [`parse::Parse`], [`chunk::Chunk`], [`embed::Embedder`],
//! [`commit::Ledger`], [`source::Feed`]). It knows no configuration and spawns no threads but those of
//! [`offload::Pool`], [`embed::Embedders`] and the ledger's. Where work changes hands there is a [`fault`] point for tests.
//!
//! What holds everywhere:
//! * time is one number, the [`keys::Epoch`], and only [`source`](mod@source) makes new ones;
//! * an operator never waits: what may take long is [`offload`]ed, with a capability for every time that is open;
//! * bytes, texts and vectors travel beside the differences, which carry 16-byte [`keys`] only;
//! * an error in the data is a value on a stream, never a panic.

pub mod batch;
pub mod chunk;
pub mod commit;
pub mod dedup;
pub mod embed;
pub mod expand;
pub mod fault;
pub mod fingerprint;
pub mod keys;
pub mod memo;
pub mod offload;
pub mod parse;
pub mod source;
pub mod upsert;
