//! Asking the model for a query's vector, with an end to waiting.
//!
//! The model is foreign code and may hang. It is asked on a thread of its own; one question that is not answered in time fails,
//! and so does each that follows, at once, until the thread is back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, unbounded};

use super::SearchError;
use crate::contain::contain;
use crate::model::{Model, Session};

/// How long a query waits for its vector. Opening a model takes a second or two, a vector some milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

type Answer = Result<Arc<[f32]>, SearchError>;

/// What is asked, and where the answer goes.
type Question = (String, Sender<Answer>);

/// The thread that asks the model, from the first query on: a run that nobody asks anything does without.
#[derive(Default)]
pub(super) struct Asking(Mutex<Hand>);

#[derive(Default)]
struct Hand {
    questions: Option<Sender<Question>>,
    /// The answer that did not come in time.
    late: Option<Receiver<Answer>>,
}

impl Asking {
    /// The vector of `text`; `meanwhile` is called once the model has the question, before anybody waits for its answer.
    ///
    /// # Errors
    /// [`SearchError::NoAnswer`] when it takes too long, or took too long for an earlier query and does so still.
    pub(super) fn vector(&self, model: &Model, text: &str, meanwhile: impl FnOnce()) -> Answer {
        let model = model.clone();
        let mut session: Option<Session> = None;
        let embed = move |text: &str| {
            let session = match &mut session {
                Some(session) => session,
                none => none.insert(model.session()?),
            };
            Ok(session.embed(&[text])?.swap_remove(0))
        };
        self.ask(text, LIMIT, embed, meanwhile)
    }

    /// Asks `embed`, or the one that was asked first, which is kept.
    fn ask(
        &self,
        text: &str,
        limit: Duration,
        embed: impl FnMut(&str) -> Answer + Send + 'static,
        meanwhile: impl FnOnce(),
    ) -> Answer {
        let no_answer = || {
            Err(SearchError::NoAnswer {
                secs: limit.as_secs(),
            })
        };
        // Who waits for this lock waits no longer than the one who holds it.
        let mut hand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(late) = &hand.late {
            match late.try_recv() {
                Err(TryRecvError::Empty) => return no_answer(),
                Ok(_) => {}
                Err(TryRecvError::Disconnected) => hand.questions = None,
            }
            hand.late = None;
        }
        let questions = match &hand.questions {
            Some(questions) => questions,
            None => &*hand
                .questions
                .insert(start(embed).map_err(SearchError::Thread)?),
        };
        let (answer, answers) = bounded(1);
        // If the thread is gone, `answer` is dropped with the question, and that is seen below.
        let _ = questions.send((text.to_owned(), answer));
        meanwhile();
        match answers.recv_timeout(limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                hand.late = Some(answers);
                no_answer()
            }
            Err(RecvTimeoutError::Disconnected) => {
                hand.questions = None;
                Err(SearchError::Panicked)
            }
        }
    }
}

/// The thread. It ends when nobody can ask any more, or with a panic of the model.
fn start(
    mut embed: impl FnMut(&str) -> Answer + Send + 'static,
) -> std::io::Result<Sender<Question>> {
    let (questions, asked) = unbounded::<Question>();
    std::thread::Builder::new()
        .name("query".into())
        .spawn(move || {
            for (text, answer) in asked {
                match contain(|| embed(&text)) {
                    // An error means that nobody waits any more.
                    Ok(vector) => drop(answer.send(vector)),
                    Err(panic) => {
                        tracing::error!(%panic, "the model panicked on a query");
                        return;
                    }
                }
            }
        })?;
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for what answers at once, on any machine.
    const PATIENT: Duration = Duration::from_secs(60);

    fn one() -> Arc<[f32]> {
        Arc::from([1.0])
    }

    #[test]
    fn a_query_that_hangs_fails_and_so_do_those_behind_it_until_it_is_back() {
        let asking = Asking::default();
        let (go, gone) = bounded::<()>(0);
        let (told, heard) = unbounded();
        let embed = move |text: &str| {
            told.send(text.to_owned()).unwrap();
            if text == "hangs" {
                gone.recv().unwrap();
            }
            Ok(one())
        };
        let never = |_: &str| -> Answer { unreachable!("the first one is kept") };
        let hung = asking.ask("hangs", Duration::from_millis(1), embed, || {});
        assert!(matches!(hung, Err(SearchError::NoAnswer { .. })));
        // With all the time there is: it does not wait.
        let behind = asking.ask("next", PATIENT, never, || {});
        let said = behind.unwrap_err().to_string();
        assert!(said.contains("--mode keyword"), "{said}");
        go.send(()).unwrap();
        // The thread is on its way back; then it answers, and what was late is nobody's answer.
        let vector = loop {
            match asking.ask("after", PATIENT, never, || {}) {
                Err(SearchError::NoAnswer { .. }) => std::thread::yield_now(),
                answer => break answer.unwrap(),
            }
        };
        assert_eq!(vector, one());
        let heard: Vec<String> = heard.try_iter().collect();
        assert_eq!(heard, ["hangs", "after"]);
    }

    #[test]
    fn a_model_that_panics_is_made_anew() {
        let asking = Asking::default();
        let panicked = asking.ask("a", PATIENT, |_| panic!("out of order"), || {});
        assert!(matches!(panicked, Err(SearchError::Panicked)));
        let vector = asking.ask("b", PATIENT, |_| Ok(one()), || {});
        assert_eq!(vector.unwrap(), one());
    }
}
