//! The dataflow. Everything that floodmark does to a file happens between the first and the last line of [`build`].
//!
//! ```text
//!  queue            files                     contents                   chunks                     vectors
//!  ─────            ─────                     ────────                   ──────                     ───────
//!  ┌──────┐ hints ┌───────────┐ bytes ┌─────┐ ┌─────┐ path → ┌──────┐ ┌─────┐ ┌──────┐ ┌─────┐ ┌─────┐ hash ┌──────┐
//!  │source├──────▶│fingerprint├──────▶│parse├▶│chunk├───────▶│upsert├▶│dedup├▶│expand├▶│dedup├▶│embed├─────▶│commit│
//!  └──▲───┘       └───────┬───┘       └──┬──┘ └─┬─┬─┘ content└──────┘ └─────┘ └──▲───┘ └─────┘ └──▲──┘      └─▲──┬─┘
//!     │                   │ notes        └─memo─┘ │ compositions ────────────────┘                │           │  │
//!     │                   │                       ├ texts ────────────────────────────────────────┘           │  │
//!     │                   └───────────────────────┴ rows ─────────────────────────────────────────────────────┘  │
//!     └──────────────────────────────── the committed frontier ◀─────────────────────────────────────────────────┘
//! ```
//!
//! Epoch 0 replays what the store holds: files, contents and vectors come back as if they had just been found, without a
//! file being read. What comes out of it differs from the store only where a crash, another model or a repair left
//! something to mend, and that difference is then the first commit. New epochs begin when epoch 0 is through.

use std::sync::Arc;

use floodmark_operators::chunk::chunk;
use floodmark_operators::commit::{Ledger, commit};
use floodmark_operators::dedup::dedup;
use floodmark_operators::embed::{Embedders, Stored, Text, embed};
use floodmark_operators::expand::{Composition, expand, remember};
use floodmark_operators::fingerprint::{Finding, fingerprint};
use floodmark_operators::keys::{ChunkHash, ContentKey, Epoch};
use floodmark_operators::memo::Memo;
use floodmark_operators::offload::Pool;
use floodmark_operators::parse::parse;
use floodmark_operators::source::{Admission, Feed, source};
use floodmark_operators::upsert::{Slot, upsert};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Probe, ToStream};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};

use crate::ingest::hint::Hint;
use crate::ingest::ledger::Record;
use crate::ingest::parser::{Chunker, Parser};
use crate::ingest::reader::Reader;
use crate::ingest::verdict;
use crate::store::row::Row;

/// What every worker brings.
#[derive(Clone)]
pub struct Stages {
    /// Looks at files.
    pub reader: Arc<Reader>,
    /// Parses contents.
    pub parser: Arc<Parser>,
    /// Chunks documents.
    pub chunker: Arc<Chunker>,
    /// Threads for the three.
    pub pool: Pool,
    /// Threads that embed.
    pub embedders: Embedders,
    /// Tokens in a batch, padding included.
    pub batch_tokens: usize,
    /// Where epochs begin and how many are under way.
    pub admission: Admission,
}

/// What only worker 0 brings: the ends of the dataflow, and what the store holds.
#[derive(Default)]
pub struct Ends {
    /// Says what to look at.
    pub feed: Option<Box<dyn Feed<Hint> + Send>>,
    /// Makes it durable.
    pub ledger: Option<Box<dyn Ledger<Record>>>,
    /// What lies where.
    pub slots: Vec<(Slot, ContentKey)>,
    /// Contents all of whose chunks have vectors.
    pub contents: Vec<Composition>,
    /// Texts that have vectors, or that the model refused.
    pub texts: Vec<Stored>,
    /// Of those that were refused: what is to be tried again.
    pub again: Vec<(ChunkHash, Text)>,
}

/// Builds the dataflow; `committed` becomes the durable frontier.
pub fn build(scope: Scope<'_, Epoch>, stages: Stages, ends: Ends, committed: &ProbeHandle<Epoch>) {
    let Stages {
        reader,
        parser,
        chunker,
        pool,
        embedders,
        batch_tokens,
        admission,
    } = stages;
    let memo = Memo::new(committed.clone());
    let recovered = ends
        .ledger
        .is_some()
        .then_some(Record::None)
        .to_stream(scope);
    let known = remember(ends.contents.to_stream(scope), memo.clone());

    let feed = ends.feed.map(|feed| feed as Box<dyn Feed<Hint>>);
    let hints = source(scope, feed, admission, committed.clone());
    let retried = hints.clone().flat_map(|hint| hint.again);
    let findings = fingerprint(hints, reader, &pool);
    let found = findings.clone().flat_map(Finding::content);
    let notes = findings.flat_map(Finding::note);
    let parsed = parse(found, memo.clone(), parser, &pool);
    let chunked = chunk(parsed, memo.clone(), chunker, &pool);

    let stored = ends
        .slots
        .to_stream(scope)
        .map(|(slot, content)| (slot, Some(content)));
    let emptied = notes.clone().flat_map(|file| verdict::retired(&file));
    let placed = chunked.clone().flat_map(verdict::placed);
    let contents = dedup(upsert(stored.concat(emptied).concat(placed)));

    let compositions = chunked
        .clone()
        .flat_map(|found| Some((found.content, found.verdict.ok()?)));
    let chunks = dedup(expand(contents, known.concat(compositions), memo));

    let texts = chunked.clone().flat_map(|found| {
        found
            .fresh
            .map(|fresh| fresh.texts.clone())
            .unwrap_or_default()
    });
    let again = ends.again.to_stream(scope).concat(retried);
    let embedded = embed(
        chunks,
        texts.concat(again),
        ends.texts.to_stream(scope),
        embedders,
        batch_tokens,
    );

    let of_files = notes.map(|file| Some(Row::File(file)));
    let of_findings = chunked.flat_map(verdict::rows);
    let of_texts = embedded.flat_map(verdict::embedded);
    let rows: StreamVec<_, Record> = recovered
        .concat(of_files)
        .concat(of_findings)
        .concat(of_texts);
    commit(rows, ends.ledger).probe_with(committed);
}
