//! Is the model well? One answer for all threads that ask it.
//!
//! ```text
//!  closed ── failed ──▶ a pause, then one asks ── failed, the third time in a row ──▶ open
//!    ▲                       │                                                         │ a longer pause
//!    └────── well ───────────┴──────────────── well ◀── half open: one asks the probe ◀┘
//! ```

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row after which it is open.
pub const OPEN_AFTER: u32 = 3;

/// Keeps everybody from asking a model that does not answer.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
    changed: Condvar,
    pause: Duration,
    pause_max: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    reason: String,
    /// Nobody asks before.
    until: Option<Instant>,
    /// Somebody has been let through, and has not said how it went.
    asking: bool,
}

/// What whoever was let through may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Ask.
    Ask,
    /// Ask the probe first: the model did not answer for a long time.
    Probe,
}

impl Breaker {
    /// Pauses `pause` after the first failure, and twice as long after each further one, up to `pause_max`.
    pub fn new(pause: Duration, pause_max: Duration) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            pause,
            pause_max,
        }
    }

    /// Waits until the model may be asked.
    pub fn leave(&self) -> Leave {
        let mut state = self.state();
        loop {
            if state.failures == 0 {
                return Leave::Ask;
            }
            let left = state.until.map_or(Duration::ZERO, |at| {
                at.saturating_duration_since(Instant::now())
            });
            if left.is_zero() && !state.asking {
                state.asking = true;
                return if state.failures < OPEN_AFTER {
                    Leave::Ask
                } else {
                    Leave::Probe
                };
            }
            // Whoever asks says how it went, and wakes the others.
            let wait = if state.asking { self.pause_max } else { left };
            state = match self.changed.wait_timeout(state, wait) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// It has answered.
    pub fn well(&self) {
        let mut state = self.state();
        if state.failures > 0 {
            tracing::info!(failures = state.failures, "the model answers again");
        }
        *state = State::default();
        self.changed.notify_all();
    }

    /// It did not answer, for whatever text.
    pub fn failed(&self, reason: &str) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let doubled = self.pause.saturating_mul(1 << (state.failures - 1).min(16));
        let pause = doubled.min(self.pause_max);
        reason.clone_into(&mut state.reason);
        state.until = Some(Instant::now() + pause);
        state.asking = false;
        let (failures, pause_ms) = (state.failures, pause.as_millis() as u64);
        if failures == OPEN_AFTER {
            tracing::error!(%reason, pause_ms, "the model does not work; files wait for it, and what is in the index is still found");
        } else {
            tracing::warn!(%reason, failures, pause_ms, "the model failed; it is asked again after a pause");
        }
        self.changed.notify_all();
    }

    /// What it fails with, if it does.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        (state.failures > 0).then(|| state.reason.clone())
    }

    /// Whether it is open.
    #[cfg(test)]
    pub fn is_open(&self) -> bool {
        self.state().failures >= OPEN_AFTER
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is made in one piece.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_three_failures_in_a_row_and_closes_with_an_answer() {
        let breaker = Breaker::new(Duration::ZERO, Duration::ZERO);
        assert_eq!(breaker.leave(), Leave::Ask);
        for _ in 0..2 {
            breaker.failed("it hangs");
            assert_eq!(breaker.leave(), Leave::Ask);
        }
        breaker.well();
        assert_eq!(breaker.trouble(), None);
        for _ in 0..3 {
            breaker.failed("it hangs");
        }
        assert_eq!(breaker.leave(), Leave::Probe);
        assert_eq!(breaker.trouble().as_deref(), Some("it hangs"));
        breaker.failed("it still hangs");
        assert_eq!(breaker.leave(), Leave::Probe);
        breaker.well();
        assert_eq!(breaker.leave(), Leave::Ask);
        assert_eq!(breaker.trouble(), None);
    }

    /// Others wait while one asks; the answer lets them all through.
    #[test]
    fn while_one_asks_the_others_wait() {
        let hour = Duration::from_secs(3600);
        let breaker = Breaker::new(Duration::ZERO, hour);
        breaker.failed("it hangs");
        assert_eq!(breaker.leave(), Leave::Ask);
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| breaker.leave())).collect();
            breaker.well();
            for thread in waiting {
                assert_eq!(thread.join().unwrap(), Leave::Ask);
            }
        });
    }
}
