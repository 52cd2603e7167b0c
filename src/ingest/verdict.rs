//! What follows from the verdict on a finding: which slots change, and which rows are written.

use std::sync::Arc;

use floodmark_operators::chunk::Chunked;
use floodmark_operators::embed::Embedded;
use floodmark_operators::keys::ContentKey;
use floodmark_operators::upsert::Slot;

use crate::ingest::ledger::Record;
use crate::ingest::reader::Place;
use crate::store::row::{ContentRow, EmbeddingRow, Failure, FileRow, FileState, RefusalRow, Row};

/// A finding with its verdict.
pub type Verdict = Chunked<Arc<ContentRow>, Failure, Place>;

/// What happens to the good version of a file that turned bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBad {
    /// It stays in the index, marked stale.
    Keep,
    /// It leaves the index.
    Drop,
}

/// A file's row, given that the content which it came with can't be used.
fn turned_bad(row: FileRow, failure: &Failure, given_up: Vec<u32>) -> FileRow {
    let state = FileState::Dead {
        failure: failure.clone(),
        attempts: 1,
    };
    FileRow {
        state,
        retire: given_up,
        ..row
    }
}

type Change = (Slot, Option<ContentKey>);

/// The slots that a file's row empties.
pub fn retired(row: &FileRow) -> impl Iterator<Item = Change> + use<> {
    let key = row.key;
    row.retire
        .clone()
        .into_iter()
        .map(move |slot| ((key, slot), None))
}

/// The slots that a finding changes.
pub fn placed(verdict: Verdict) -> impl Iterator<Item = Change> {
    let Place {
        segment,
        file,
        if_bad,
    } = verdict.place;
    let placed = verdict
        .verdict
        .is_ok()
        .then_some(((segment.key, segment.slot), Some(verdict.content)));
    let file = match &verdict.verdict {
        Ok(_) => file,
        Err(failure) => file.map(|row| turned_bad(row, failure, if_bad)),
    };
    placed
        .into_iter()
        .chain(file.into_iter().flat_map(|row| retired(&row)))
}

/// The rows that a finding writes.
pub fn rows(verdict: Verdict) -> impl Iterator<Item = Record> {
    let Place {
        segment,
        file,
        if_bad,
    } = verdict.place;
    let content = verdict.fresh.map(|fresh| Row::Content(fresh.row.clone()));
    let (segment, file) = match &verdict.verdict {
        Ok(_) => (Some(Row::Segment(segment)), file),
        Err(failure) => (None, file.map(|row| turned_bad(row, failure, if_bad))),
    };
    content
        .into_iter()
        .chain(segment)
        .chain(file.map(Row::File))
        .map(Some)
}

/// The rows that a text writes.
pub fn embedded(embedded: Embedded) -> Option<Record> {
    match embedded {
        Embedded::New(hash, text, vector) => {
            Some(Some(Row::Embedding(EmbeddingRow { hash, text, vector })))
        }
        Embedded::Live(hash, diff) => Some(Some(Row::Live(hash, diff.signum() as i8))),
        Embedded::Refused(hash, text, reason) => {
            let start: String = text.chars().take(80).collect();
            tracing::warn!(%hash, %reason, text = %start, "the model has no vector for a text; it stays out of the index");
            let failure = Failure {
                reason: "no-vector".into(),
                message: format!("the model has no vector for this text: {reason}"),
                advice: "change the text or leave it out, or try another model; `floodmark dead retry` asks once more"
                    .into(),
                record: None,
                line: None,
            };
            let row = RefusalRow {
                hash,
                text,
                failure,
            };
            Some(Some(Row::Refusal(row)))
        }
    }
}
