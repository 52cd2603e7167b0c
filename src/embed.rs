//! Code snippets in, unit vectors out: the work of `floodmark embed`.
//!
//! ```text
//!  JSONL ──▶ lines ──▶ record: check, tokenise ──▶ window, batches by length ──▶ sessions ──▶ the same order ──▶ JSONL
//! ```
//!
//! A record is one JSON object on one line. `id`, `file_path`, `language` and `content` must be there; `version`,
//! `git_hash`, `chunk_name`, `chunk_type` and `metadata` may be. Every field is kept as it was written, known or not, in
//! its order; behind them stand `embedding`, `model` and `normalized`, which replace fields of these names. Content
//! longer than the model's limit is cut at the limit for its vector (not in the output), as sentence-transformers does,
//! and counted in [`Summary::truncated`].
//!
//! Memory does not grow with the input: at most two windows of records are in flight, one being embedded while the next
//! is read.

pub mod files;
mod lines;
mod record;

use std::collections::VecDeque;
use std::io::{BufRead, Write};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use floodmark_operators::batch::Planner;
use thiserror::Error;

use crate::model::{EmbedError, Model, ModelError, TokenIds};
use lines::{Line, Lines};
use record::Record;
pub use record::RecordError;

/// How the work is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedOptions {
    /// Tokens of a batch, padding included.
    pub batch_tokens_max: usize,
    /// Records that are sorted by length together.
    pub window_records_max: usize,
    /// Bytes of input of a window.
    pub window_bytes_max: usize,
    /// Bytes of a line; a longer one is a bad record.
    pub line_bytes_max: usize,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self {
            batch_tokens_max: 256,
            window_records_max: 512,
            window_bytes_max: 8 << 20,
            line_bytes_max: 64 << 20,
        }
    }
}

/// What happens to a record that is not one.
#[derive(Debug)]
pub enum OnError<S> {
    /// The job ends with an error; records before it are written.
    Stop,
    /// It goes there, as `{"file", "line", "field", "reason", "record"}` on a line, and the job goes on.
    Skip(S),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records written.
    pub records: u64,
    /// Records that were none.
    pub skipped: u64,
    /// Records longer than the model's limit, of which only the beginning is in the vector.
    pub truncated: u64,
    /// Tokens that the model read, special tokens included.
    pub tokens: u64,
}

/// Why a job ended early.
#[derive(Debug, Error)]
pub enum EmbedJobError {
    /// A bad record, where bad records stop the job.
    #[error("{file}, {error}; mend it, or skip such records with --on-error skip")]
    Record {
        /// The input.
        file: String,
        /// Line, field and reason.
        error: RecordError,
    },
    /// The input can't be read.
    #[error("{file}: can't be read behind line {line}: {source}")]
    Read {
        /// The input.
        file: String,
        /// Lines read so far.
        line: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// The output can't be written.
    #[error("{file}: can't be written: {source}; nothing of it is kept")]
    Write {
        /// The output.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A session could not be made.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The threads that embed are gone: one of them panicked.
    #[error(
        "the embedding threads ended before their work was done; this is an error in the program"
    )]
    ThreadsGone,
}

/// Embeds every record of `input`. `file` is the input's name in messages; `progress` hears the state after every window.
pub fn run<R: BufRead, W: Write, S: Write>(
    file: &str,
    input: R,
    output: W,
    on_error: OnError<S>,
    model: &Model,
    options: &EmbedOptions,
    progress: &dyn Fn(&Summary),
) -> Result<Summary, EmbedJobError> {
    let (jobs, jobs_in) = unbounded();
    let (done, done_in) = unbounded();
    std::thread::scope(|scope| {
        for _ in 0..model.sessions().max(1) {
            let (jobs_in, done) = (jobs_in.clone(), done.clone());
            scope.spawn(move || work(model, &jobs_in, &done));
        }
        drop(done);
        let job = Job {
            file,
            lines: Lines::new(input, options.line_bytes_max),
            output,
            on_error,
            model,
            options,
            jobs,
            done: done_in,
            windows: VecDeque::new(),
            first_window: 0,
            summary: Summary::default(),
        };
        let result = job.run(progress);
        // after an error nobody waits for what is still queued
        while jobs_in.try_recv().is_ok() {}
        result
    })
}

/// The text that `bytes`, line `line` of an input, asks to embed.
///
/// # Errors
/// What is wrong with the record.
pub fn text_of(line: u64, bytes: &[u8]) -> Result<String, RecordError> {
    Record::parse(line, bytes).map(|(_, text)| text)
}

/// A record's vector, or why it has none.
type Vector = Result<Arc<[f32]>, EmbedError>;

/// A batch on its way to a session: the window, and rows with their place in it.
struct Batch {
    window: u64,
    rows: Vec<(usize, TokenIds)>,
}

/// A batch on its way back.
struct Embedded {
    window: u64,
    vectors: Result<Vec<(usize, Vector)>, ModelError>,
}

/// One thread: a session of its own, made when the first batch comes.
fn work(model: &Model, jobs: &Receiver<Batch>, done: &Sender<Embedded>) {
    let mut session = None;
    for Batch { window, rows } in jobs {
        let session = match &mut session {
            Some(session) => session,
            none => match model.session() {
                Ok(new) => none.insert(new),
                Err(e) => {
                    let _ = done.send(Embedded {
                        window,
                        vectors: Err(e),
                    }); // the job may have ended
                    return;
                }
            },
        };
        let tokens: Vec<&TokenIds> = rows.iter().map(|(_, tokens)| tokens).collect();
        let vectors = match session.embed_tokens(&tokens) {
            Ok(vectors) => rows
                .iter()
                .zip(vectors)
                .map(|((at, _), vector)| (*at, Ok(vector)))
                .collect(),
            // one bad text must not take its neighbours with it
            Err(_) => {
                let mut alone = |tokens| {
                    session
                        .embed_tokens(&[tokens])
                        .map(|mut vectors| vectors.swap_remove(0))
                };
                rows.iter()
                    .map(|(at, tokens)| (*at, alone(tokens)))
                    .collect()
            }
        };
        if done
            .send(Embedded {
                window,
                vectors: Ok(vectors),
            })
            .is_err()
        {
            return;
        }
    }
}

/// Records in input order, waiting for their vectors.
#[derive(Default)]
struct Window {
    records: Vec<(Record, Option<Vector>)>,
    missing: usize,
}

struct Job<'a, R, W, S> {
    file: &'a str,
    lines: Lines<R>,
    output: W,
    on_error: OnError<S>,
    model: &'a Model,
    options: &'a EmbedOptions,
    jobs: Sender<Batch>,
    done: Receiver<Embedded>,
    windows: VecDeque<Window>,
    first_window: u64,
    summary: Summary,
}

impl<R: BufRead, W: Write, S: Write> Job<'_, R, W, S> {
    fn run(mut self, progress: &dyn Fn(&Summary)) -> Result<Summary, EmbedJobError> {
        loop {
            // what stops the reading is reported behind what was read before it
            let read = self.read_window();
            let last = !matches!(read, Ok(true));
            while self.windows.len() > usize::from(!last) {
                self.finish_window()?;
                progress(&self.summary);
            }
            if last {
                self.output
                    .flush()
                    .map_err(|e| self.write_failed("output", e))?;
                if let OnError::Skip(side) = &mut self.on_error {
                    side.flush()
                        .map_err(|e| self.write_failed("side file", e))?;
                }
                return read.map(|_| self.summary);
            }
        }
    }

    fn write_failed(&self, file: &str, source: std::io::Error) -> EmbedJobError {
        EmbedJobError::Write {
            file: file.to_owned(),
            source,
        }
    }

    /// Reads and sends off one window; whether there may be more.
    fn read_window(&mut self) -> Result<bool, EmbedJobError> {
        let (mut window, mut rows) = (Window::default(), Vec::new());
        let read = self.fill(&mut window, &mut rows);
        window.missing = rows.len();
        let number = self.first_window + self.windows.len() as u64;
        let mut planner = Planner::new(self.options.batch_tokens_max);
        for (at, row) in rows.iter().enumerate() {
            planner.insert(number, row.len(), at);
        }
        let mut rows: Vec<Option<TokenIds>> = rows.into_iter().map(Some).collect();
        while !planner.is_empty() {
            let batch = planner.next_batch().into_iter();
            let taken = batch.filter_map(|at| rows[at].take().map(|row| (at, row)));
            let batch = Batch {
                window: number,
                rows: taken.collect(),
            };
            self.jobs
                .send(batch)
                .map_err(|_| EmbedJobError::ThreadsGone)?;
        }
        self.windows.push_back(window);
        read
    }

    fn fill(
        &mut self,
        window: &mut Window,
        rows: &mut Vec<TokenIds>,
    ) -> Result<bool, EmbedJobError> {
        let mut bytes = 0;
        while rows.len() < self.options.window_records_max && bytes < self.options.window_bytes_max
        {
            let line = self.lines.next().map_err(|source| EmbedJobError::Read {
                file: self.file.to_owned(),
                line: self.lines.number(),
                source,
            })?;
            let Some(line) = line else { return Ok(false) };
            let number = self.lines.number();
            let parsed = match &line {
                Line::Whole(text) if text.trim_ascii().is_empty() => continue,
                Line::Whole(text) => Record::parse(number, text).and_then(|(record, content)| {
                    let tokens = self.model.tokenize(&content);
                    tokens
                        .map(|tokens| (record, tokens))
                        .map_err(|e| RecordError::content(number, e.to_string()))
                }),
                Line::TooLong(_) => {
                    let reason = format!("longer than {} bytes", self.options.line_bytes_max);
                    Err(RecordError {
                        line: number,
                        field: None,
                        reason,
                    })
                }
            };
            match parsed {
                Ok((record, tokens)) => {
                    bytes += record.bytes();
                    self.summary.tokens += tokens.len() as u64;
                    self.summary.truncated += u64::from(tokens.truncated());
                    window.records.push((record, None));
                    rows.push(tokens);
                }
                Err(error) => self.bad(error, line.bytes())?,
            }
        }
        Ok(true)
    }

    /// Waits for the oldest window and writes it.
    fn finish_window(&mut self) -> Result<(), EmbedJobError> {
        while self
            .windows
            .front()
            .is_some_and(|window| window.missing > 0)
        {
            let Embedded { window, vectors } =
                self.done.recv().map_err(|_| EmbedJobError::ThreadsGone)?;
            let place = usize::try_from(window - self.first_window).unwrap_or(usize::MAX);
            let window = self
                .windows
                .get_mut(place)
                .ok_or(EmbedJobError::ThreadsGone)?;
            for (at, vector) in vectors? {
                window.records[at].1 = Some(vector);
                window.missing -= 1;
            }
        }
        let Some(window) = self.windows.pop_front() else {
            return Ok(());
        };
        self.first_window += 1;
        for (record, vector) in window.records {
            match vector.ok_or(EmbedJobError::ThreadsGone)? {
                Ok(vector) => {
                    record
                        .write(&mut self.output, &vector, self.model.key())
                        .map_err(|e| self.write_failed("output", e))?;
                    self.summary.records += 1;
                }
                Err(e) => self.bad(
                    RecordError::content(record.line(), e.to_string()),
                    record.text().as_bytes(),
                )?,
            }
        }
        Ok(())
    }

    fn bad(&mut self, error: RecordError, text: &[u8]) -> Result<(), EmbedJobError> {
        match &mut self.on_error {
            OnError::Stop => Err(EmbedJobError::Record {
                file: self.file.to_owned(),
                error,
            }),
            OnError::Skip(side) => {
                self.summary.skipped += 1;
                let written = error.write(side, self.file, text);
                written.map_err(|e| self.write_failed("side file", e))
            }
        }
    }
}

#[cfg(test)]
mod tests;
