//! The operators wired as a program wires them.

use std::sync::Arc;

use floodmark_operators::chunk::chunk;
use floodmark_operators::commit::{Ledger, commit};
use floodmark_operators::dedup::dedup;
use floodmark_operators::embed::{Embedded, Embedders, Stored as Kept, embed};
use floodmark_operators::expand::{Composition, expand, remember};
use floodmark_operators::fingerprint::{Finding, fingerprint};
use floodmark_operators::keys::{ContentKey, Epoch};
use floodmark_operators::memo::Memo;
use floodmark_operators::offload::Pool;
use floodmark_operators::parse::{Found, parse};
use floodmark_operators::source::{Admission, Feed, source};
use floodmark_operators::upsert::{Slot, upsert};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, OkErr, Probe, ToStream};
use timely::dataflow::{ProbeHandle, Scope};

use super::ends::{Memory, Script};
use super::world::{Change, Hands, Out, Stored, chunks_of, content_key, hash, path_key};

/// What only one worker has.
pub struct Ends {
    pub feed: Script,
    pub ledger: Memory,
    pub stored: Stored,
}

pub fn build(
    scope: Scope<'_, Epoch>,
    hands: Arc<Hands>,
    pool: &Pool,
    embedders: Embedders,
    admission: Admission,
    ends: Option<Ends>,
    committed: &ProbeHandle<Epoch>,
) {
    let memo = Memo::new(committed.clone());
    let recovered = ends.is_some().then_some(Out::Recovered).to_stream(scope);
    let (feed, ledger, stored) = match ends {
        Some(ends) => (
            Some(Box::new(ends.feed) as Box<dyn Feed<Change>>),
            Some(Box::new(ends.ledger) as Box<dyn Ledger<Out>>),
            ends.stored,
        ),
        None => (None, None, Stored::default()),
    };
    let composition = |content: &u8| -> Composition {
        (
            content_key(*content),
            chunks_of(*content).into_iter().map(hash).collect(),
        )
    };
    let contents: Vec<Composition> = stored.contents.iter().map(composition).collect();
    let slots: Vec<(Slot, Option<ContentKey>)> = stored
        .slots
        .iter()
        .filter(|(_, content)| stored.contents.contains(*content))
        .map(|(path, content)| ((path_key(*path), 0), Some(content_key(*content))))
        .collect();
    let known = remember(contents.to_stream(scope), memo.clone());

    let hints = source(scope, feed, admission, committed.clone());
    let findings = fingerprint(hints, hands.clone(), pool);
    let (found, gone) = findings.ok_err(|finding| match finding {
        Finding::Content(content, bytes, place) => Ok(Found {
            content,
            bytes,
            place,
        }),
        Finding::Note(path) => Err(path),
    });
    let chunked = chunk(
        parse(found, memo.clone(), hands.clone(), pool),
        memo.clone(),
        hands,
        pool,
    );

    let emptied = gone.clone().map(|path| ((path_key(path), 0), None));
    let placed = chunked.clone().flat_map(|found| {
        let usable = found.verdict.is_ok();
        usable.then_some(((path_key(found.place.0), 0), Some(found.content)))
    });
    let contents = dedup(upsert(
        slots.to_stream(scope).concat(emptied).concat(placed),
    ));
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
    let persisted: Vec<Kept> = stored.vectors.into_iter().map(Kept::Vector).collect();
    let embedded = embed(chunks, texts, persisted.to_stream(scope), embedders, 9);

    let of_gone = gone.map(|path| Out::File(path, None, true));
    let of_findings = chunked.flat_map(|found| {
        let content = found.fresh.map(|fresh| Out::Content(fresh.row));
        let (path, id) = found.place;
        content
            .into_iter()
            .chain([Out::File(path, id, found.verdict.is_ok())])
    });
    let of_texts = embedded.flat_map(|embedded| match embedded {
        Embedded::New(hash, ..) => Some(Out::New(hash)),
        Embedded::Live(hash, diff) => Some(Out::Live(hash, diff)),
        Embedded::Refused(..) => None,
    });
    commit(
        recovered
            .concat(of_gone)
            .concat(of_findings)
            .concat(of_texts),
        ledger,
    )
    .probe_with(committed);
}
