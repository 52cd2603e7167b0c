//! A model that may hang, panic or talk nonsense, behind a face that does none of that.
//!
//! ```text
//!  texts ─▶ breaker ─▶ the session's own thread, with a time limit ─── vectors, and all of them usable ──▶ done
//!              ▲                         │ no answer, a panic, nonsense
//!              │ no                      ▼
//!              └── pause ◀── does the model answer for the probe? ── yes: it is the texts. Halve them, and at last
//!                                                                    refuse the one
//! ```
//!
//! A text is blamed only while the model answers for another one. So a model that is out of order costs waiting and no
//! text, and one bad text costs itself and nothing beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use floodmark_operators::embed::{Embedder, Vector};

use super::breaker::{Breaker, Leave};
use crate::contain::contain;
use crate::store::vector_fault;

/// Something that makes vectors, as it is.
pub trait Oracle: Send + 'static {
    /// `n` texts → `n` vectors, or why not. It may take for ever, and it may panic: then it is never asked again.
    fn vectors(&mut self, texts: &[Arc<str>]) -> Result<Vec<Vector>, String>;
}

/// Makes another one, in the place of one that hangs or has panicked.
pub type Make = Arc<dyn Fn() -> Result<Box<dyn Oracle>, String> + Send + Sync>;

/// How much is put up with.
#[derive(Clone, Copy, Debug)]
pub struct Endurance {
    /// How long a batch may take, and the making of a session.
    pub batch: Duration,
    /// How often a text may make the model hang or panic before it is refused.
    pub tries: u32,
    /// Pause after the first failure of the model; twice as long after each further one.
    pub pause: Duration,
    /// Longest pause.
    pub pause_max: Duration,
}

impl Default for Endurance {
    fn default() -> Self {
        Self {
            batch: Duration::from_secs(60),
            tries: 3,
            pause: Duration::from_millis(500),
            pause_max: Duration::from_secs(60),
        }
    }
}

/// Every model has a vector for this.
const PROBE: &str = "flood mark";

/// So many threads may hang at the same time. Each keeps its session's memory.
const HANGING_MAX: usize = 8;

/// So often may a text make the model hang, the first time perhaps among others, whatever the setting says.
const HANGS_MAX: u32 = 2;

/// What the sessions of a model share.
#[derive(Debug)]
pub struct Ward {
    breaker: Breaker,
    hanging: AtomicUsize,
    endurance: Endurance,
    dimension: usize,
}

impl Ward {
    /// For a model whose vectors have `dimension` numbers.
    pub fn new(endurance: Endurance, dimension: usize) -> Self {
        Self {
            breaker: Breaker::new(endurance.pause, endurance.pause_max),
            hanging: AtomicUsize::new(0),
            endurance,
            dimension,
        }
    }

    /// What the model fails with at the moment, if it does.
    pub fn trouble(&self) -> Option<String> {
        self.breaker.trouble()
    }
}

/// One session of a model, kept in order.
pub struct Guard {
    make: Make,
    ward: Arc<Ward>,
    first: Option<Box<dyn Oracle>>,
    hand: Option<Hand>,
}

/// A thread with a session.
struct Hand {
    batches: Sender<Vec<Arc<str>>>,
    answers: Receiver<Answer>,
}

enum Answer {
    Vectors(Vec<Vector>),
    Refused(String),
    Panicked(String),
    NotMade(String),
}

/// How an attempt went.
enum Attempt {
    Good(Vec<Vector>),
    /// It answered, and not what it was asked for.
    Nonsense(String),
    /// There is no session to ask: no text has anything to do with that.
    Nobody(String),
    /// It did not answer. It may have been waited for in vain, which costs a thread for as long as it hangs.
    Silence {
        why: String,
        hung: bool,
    },
}

impl Attempt {
    fn silence(why: String) -> Self {
        Self::Silence { why, hung: false }
    }
}

impl Guard {
    /// `first` is asked for as long as it answers, then what `make` makes; without a first one `make` makes that too, when there
    /// is something to ask.
    pub fn new(first: Option<Box<dyn Oracle>>, make: Make, ward: Arc<Ward>) -> Self {
        Self {
            make,
            ward,
            first,
            hand: None,
        }
    }

    fn attempt(&mut self, texts: &[Arc<str>]) -> Attempt {
        let hand = match self.hand.take() {
            Some(hand) => hand,
            None => {
                let hanging = self.ward.hanging.load(Ordering::Relaxed);
                if hanging >= HANGING_MAX {
                    return Attempt::silence(format!(
                        "{hanging} sessions of it hang, and no further one is made until one of them ends; restart floodmark"
                    ));
                }
                match Hand::start(self.make.clone(), self.first.take()) {
                    Ok(hand) => hand,
                    Err(error) => {
                        return Attempt::silence(format!("the system refuses a thread: {error}"));
                    }
                }
            }
        };
        let limit = self.ward.endurance.batch;
        let answer = match hand.batches.send(texts.to_vec()) {
            Ok(()) => hand.answers.recv_timeout(limit),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        match answer {
            Ok(Answer::Vectors(vectors)) => {
                self.hand = Some(hand);
                match self.fault(texts.len(), &vectors) {
                    None => Attempt::Good(vectors),
                    Some(fault) => Attempt::Nonsense(fault),
                }
            }
            Ok(Answer::Refused(reason)) => {
                self.hand = Some(hand);
                Attempt::Nonsense(reason)
            }
            Ok(Answer::NotMade(reason)) => {
                self.hand = Some(hand);
                Attempt::Nobody(format!("no session of it can be made: {reason}"))
            }
            Ok(Answer::Panicked(said)) => Attempt::silence(format!("it panicked: {said}")),
            Err(RecvTimeoutError::Disconnected) => {
                Attempt::silence("its thread ended without a word".into())
            }
            Err(RecvTimeoutError::Timeout) => {
                self.ward.hanging.fetch_add(1, Ordering::Relaxed);
                hand.abandon(self.ward.clone());
                let why = format!(
                    "it gave no answer within {} ms (setting model-timeout)",
                    limit.as_millis()
                );
                Attempt::Silence { why, hung: true }
            }
        }
    }

    /// What is wrong with these vectors of `texts` texts.
    fn fault(&self, texts: usize, vectors: &[Vector]) -> Option<String> {
        if vectors.len() != texts {
            return Some(format!("{} vectors for {texts} texts", vectors.len()));
        }
        vectors
            .iter()
            .find_map(|vector| vector_fault(vector, self.ward.dimension))
            .map(|fault| format!("its vector is not usable: {fault}"))
    }

    /// Whether the model answers at all.
    fn is_well(&mut self) -> Result<(), String> {
        match self.attempt(&[PROBE.into()]) {
            Attempt::Good(_) => Ok(()),
            Attempt::Nonsense(why) | Attempt::Nobody(why) | Attempt::Silence { why, .. } => {
                Err(why)
            }
        }
    }
}

impl Embedder for Guard {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        let ward = self.ward.clone();
        let mut results: Vec<Option<Result<Vector, String>>> = vec![None; texts.len()];
        // From where to where, and how often that one text has silenced the model.
        let mut todo = vec![(0..texts.len(), 0)];
        while let Some((part, silenced)) = todo.pop() {
            if ward.breaker.leave() == Leave::Probe
                && let Err(why) = self.is_well()
            {
                ward.breaker.failed(&why);
                todo.push((part, silenced));
                continue;
            }
            let (reason, silence, tries) = match self.attempt(&texts[part.clone()]) {
                Attempt::Good(vectors) => {
                    ward.breaker.well();
                    for (result, vector) in results[part].iter_mut().zip(vectors) {
                        *result = Some(Ok(vector));
                    }
                    continue;
                }
                Attempt::Nobody(why) => {
                    ward.breaker.failed(&why);
                    todo.push((part, silenced));
                    continue;
                }
                Attempt::Nonsense(reason) => (reason, false, 1),
                Attempt::Silence { why, hung: false } => (why, true, ward.endurance.tries),
                Attempt::Silence { why, hung: true } => {
                    (why, true, ward.endurance.tries.min(HANGS_MAX))
                }
            };
            // Nonsense about several texts may be about any of them, and costs little to find out.
            if silence || part.len() == 1 {
                if let Err(why) = self.is_well() {
                    ward.breaker.failed(&why);
                    todo.push((part, silenced));
                    continue;
                }
                ward.breaker.well();
            }
            if part.len() > 1 {
                tracing::debug!(%reason, texts = part.len(), "a batch failed; it is divided");
                // Halves find the one with few questions; one by one finds it with one silence more, and that is dear.
                let middle = part.start + part.len() / 2;
                let parts = match silence {
                    true => part.map(|at| at..at + 1).collect(),
                    false => vec![part.start..middle, middle..part.end],
                };
                todo.extend(
                    parts
                        .into_iter()
                        .rev()
                        .map(|part| (part, u32::from(silence))),
                );
            } else if silence && silenced + 1 < tries {
                todo.push((part, silenced + 1));
            } else {
                results[part.start] = Some(Err(reason));
            }
        }
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err("it was not asked".into())))
            .collect()
    }
}

impl Hand {
    /// A thread with `oracle`, or else with one that it makes itself: also that may take for ever.
    fn start(make: Make, oracle: Option<Box<dyn Oracle>>) -> std::io::Result<Self> {
        let (batches, to_do) = bounded::<Vec<Arc<str>>>(1);
        let (done, answers) = bounded(1);
        let work = move || {
            let mut oracle = oracle;
            for texts in to_do {
                let answered = contain(|| {
                    let oracle = match &mut oracle {
                        Some(oracle) => oracle,
                        none => match make() {
                            Ok(made) => none.insert(made),
                            Err(reason) => return Answer::NotMade(reason),
                        },
                    };
                    match oracle.vectors(&texts) {
                        Ok(vectors) => Answer::Vectors(vectors),
                        Err(reason) => Answer::Refused(reason),
                    }
                });
                let (answer, lost) = match answered {
                    Ok(answer) => (answer, false),
                    Err(said) => (Answer::Panicked(said), true),
                };
                if done.send(answer).is_err() || lost {
                    // What has panicked may panic again where it is dropped.
                    let _dropped = contain(|| drop(oracle));
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("model".into())
            .spawn(work)?;
        Ok(Self { batches, answers })
    }

    /// Nobody waits for it any more. It counts as hanging until it has ended.
    fn abandon(self, ward: Arc<Ward>) {
        let Self { batches, answers } = self;
        drop(batches);
        let watch = move || {
            // Whether it answers at last or just ends: it is gone then.
            let _late = answers.recv();
            ward.hanging.fetch_sub(1, Ordering::Relaxed);
        };
        // Without a thread to see its end it counts for ever, which errs on the safe side.
        let _ = std::thread::Builder::new()
            .name("model-lost".into())
            .spawn(watch);
    }
}

#[cfg(test)]
mod tests;
