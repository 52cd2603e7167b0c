//! Threads that each own a session, and a caller who waits no longer than it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use floodmark_operators::batch::Planner;

use super::RerankError;
use crate::model::{EmbedError, TokenIds};

/// Tokens of a batch, padding included.
const BATCH_TOKENS: usize = 512;

/// What a thread does with a batch: a result a row.
pub(super) type Work<T> = Box<dyn FnMut(&[&TokenIds]) -> Result<Vec<T>, EmbedError> + Send>;

/// The results of a batch, each with its place among all rows.
type Answer<T> = Result<Vec<(usize, T)>, EmbedError>;

struct Batch<T> {
    rows: Vec<(usize, TokenIds)>,
    answer: Sender<Answer<T>>,
    given_up: Arc<AtomicBool>,
}

/// The threads. They end when the crew is dropped.
pub(super) struct Crew<T> {
    batches: Sender<Batch<T>>,
}

impl<T: Send + 'static> Crew<T> {
    /// A thread for each.
    pub(super) fn start(works: Vec<Work<T>>) -> std::io::Result<Self> {
        let (batches, waiting) = unbounded::<Batch<T>>();
        for work in works {
            let waiting = waiting.clone();
            std::thread::Builder::new()
                .name("rerank".into())
                .spawn(move || run(work, &waiting))?;
        }
        Ok(Self { batches })
    }

    /// A result a row, in their order; `None` when the deadline came first. What is not begun by then is not done.
    pub(super) fn run(
        &self,
        rows: Vec<TokenIds>,
        deadline: Instant,
    ) -> Result<Option<Vec<T>>, RerankError> {
        let mut results: Vec<Option<T>> = rows.iter().map(|_| None).collect();
        let mut planner = Planner::new(BATCH_TOKENS);
        for (at, row) in rows.iter().enumerate() {
            planner.insert(0, row.len(), at);
        }
        let mut rows: Vec<Option<TokenIds>> = rows.into_iter().map(Some).collect();
        let (answer, answers) = unbounded();
        let given_up = Arc::new(AtomicBool::new(false));
        while !planner.is_empty() {
            let batch = planner.next_batch().into_iter();
            let rows = batch.filter_map(|at| rows[at].take().map(|row| (at, row)));
            let batch = Batch {
                rows: rows.collect(),
                answer: answer.clone(),
                given_up: given_up.clone(),
            };
            self.batches.send(batch).map_err(|_| RerankError::Gone)?;
        }
        drop(answer);
        let mut missing = results.len();
        while missing > 0 {
            // What lies ready behind the deadline would be taken all the same.
            let answer = match Instant::now() < deadline {
                true => answers.recv_deadline(deadline),
                false => Err(RecvTimeoutError::Timeout),
            };
            let batch = match answer {
                Ok(batch) => batch,
                Err(RecvTimeoutError::Timeout) => {
                    given_up.store(true, Ordering::Relaxed);
                    return Ok(None);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(RerankError::Gone),
            };
            let batch = batch.inspect_err(|_| given_up.store(true, Ordering::Relaxed))?;
            missing -= batch.len();
            for (at, result) in batch {
                results[at] = Some(result);
            }
        }
        Ok(results.into_iter().collect())
    }
}

fn run<T>(mut work: Work<T>, batches: &Receiver<Batch<T>>) {
    for Batch {
        rows,
        answer,
        given_up,
    } in batches
    {
        if given_up.load(Ordering::Relaxed) {
            continue;
        }
        let tokens: Vec<&TokenIds> = rows.iter().map(|(_, row)| row).collect();
        let results = work(&tokens);
        let results = results.map(|results| rows.iter().map(|(at, _)| *at).zip(results).collect());
        // Whoever asked may have gone: past its deadline.
        let _ = answer.send(results);
    }
}
