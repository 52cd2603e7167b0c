//! How much memory this process holds, and what that allows: above the soft limit work is admitted slowly, above the hard
//! one not at all. What is under way is finished either way.
//!
//! A file is read in slices and an epoch has a budget, so what is under way is bounded; what grows is what is known: the
//! vectors of the view, some hundred bytes a file and a chunk. The limits are for the day on which that is more than the
//! machine was meant to give.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much the process may hold, in bytes of resident memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Above it, one small epoch at a time.
    pub soft_bytes: u64,
    /// Above it, nothing. `None`: there is no such limit.
    pub hard_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            soft_bytes: 2 << 30,
            hard_bytes: None,
        }
    }
}

/// What the memory allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// All.
    #[default]
    None,
    /// One small epoch at a time.
    Soft,
    /// Nothing more.
    Hard,
}

/// Time between two looks: they cost some microseconds each, and memory does not jump far meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks at the process now and then.
#[derive(Debug)]
pub struct Gauge {
    limits: Limits,
    measure: fn() -> Option<u64>,
    looked: Mutex<Option<Instant>>,
    /// 0: the system does not say.
    rss_bytes: AtomicU64,
    pressure: AtomicU8,
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Gauge {
    /// For this process.
    pub fn new(limits: Limits) -> Self {
        Self::measuring(limits, rss_bytes)
    }

    fn measuring(limits: Limits, measure: fn() -> Option<u64>) -> Self {
        Self {
            limits,
            measure,
            looked: Mutex::new(None),
            rss_bytes: AtomicU64::new(0),
            pressure: AtomicU8::new(0),
        }
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What the process held when it was last looked at; `None` where the system does not say.
    pub fn rss_bytes(&self) -> Option<u64> {
        Some(self.rss_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// What that allows.
    pub fn pressure(&self) -> Pressure {
        match self.pressure.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::Soft,
            _ => Pressure::Hard,
        }
    }

    /// Looks again, if it is time, and says in the log what has changed.
    pub fn look(&self) -> Pressure {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return self.pressure();
        }
        *looked = Some(Instant::now());
        let Some(rss) = (self.measure)() else {
            return Pressure::None;
        };
        self.rss_bytes.store(rss, Ordering::Relaxed);
        let (before, now) = (self.pressure(), self.judge(rss));
        if before != now {
            self.pressure.store(now as u8, Ordering::Relaxed);
            self.tell(rss, before, now);
        }
        now
    }

    /// A limit that was exceeded counts until a twentieth of it is free, lest it be announced ten times a second.
    fn judge(&self, rss: u64) -> Pressure {
        let before = self.pressure();
        let over = |limit: u64, level| match before >= level {
            true => rss > limit - limit / 20,
            false => rss > limit,
        };
        let Limits {
            soft_bytes,
            hard_bytes,
        } = self.limits;
        if hard_bytes.is_some_and(|hard| over(hard, Pressure::Hard)) {
            Pressure::Hard
        } else if over(soft_bytes, Pressure::Soft) {
            Pressure::Soft
        } else {
            Pressure::None
        }
    }

    fn tell(&self, rss: u64, before: Pressure, now: Pressure) {
        let mb = |bytes: u64| bytes / 1_000_000;
        let (rss_mb, soft_mb) = (mb(rss), mb(self.limits.soft_bytes));
        match now {
            Pressure::Hard => tracing::error!(
                rss_mb,
                hard_mb = self.limits.hard_bytes.map(mb),
                "memory-hard is exceeded: nothing more is admitted until memory is free again; raise it, or index less"
            ),
            Pressure::Soft if before == Pressure::None => tracing::warn!(
                rss_mb,
                soft_mb,
                "memory-soft is exceeded: work is admitted slowly, one small epoch at a time; raise it if the machine has more"
            ),
            _ => tracing::info!(rss_mb, soft_mb, ?now, "there is memory again"),
        }
    }
}

/// Resident memory of this process, as the kernel counts it; `None` on a system that has no `/proc`.
pub fn rss_bytes() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = told.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_until_there_is_some_room_below_it() {
        let gauge = Gauge::new(Limits {
            soft_bytes: 1000,
            hard_bytes: Some(2000),
        });
        let steps = [
            (1000, Pressure::None),
            (1001, Pressure::Soft),
            (960, Pressure::Soft),
            (950, Pressure::None),
            (2001, Pressure::Hard),
            (1901, Pressure::Hard),
            (1900, Pressure::Soft),
            (960, Pressure::Soft),
            (0, Pressure::None),
        ];
        for (rss, expect) in steps {
            let now = gauge.judge(rss);
            assert_eq!(now, expect, "{rss}");
            gauge.pressure.store(now as u8, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_system_that_does_not_say_sets_no_limit() {
        let limits = Limits {
            soft_bytes: 1,
            hard_bytes: Some(1),
        };
        let gauge = Gauge::measuring(limits, || None);
        assert_eq!((gauge.look(), gauge.rss_bytes()), (Pressure::None, None));
        let gauge = Gauge::measuring(limits, || Some(5));
        assert_eq!((gauge.look(), gauge.rss_bytes()), (Pressure::Hard, Some(5)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_something() {
        assert!(rss_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
