//! What is said on standard error: logs, progress, and the last words of a program that can't go on.

use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::config::{Config, LogFormat};
use crate::contain::contained;

/// Bars and log lines share one terminal: a line is written while the bars are away.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
/// Whether standard error is read by a program, which gets JSON to the very end.
static JSON: AtomicBool = AtomicBool::new(false);

/// Exchanges the filter of the log that was set up; its own type names the log's format.
static REFILTER: OnceLock<Box<dyn Fn(EnvFilter) -> bool + Send + Sync>> = OnceLock::new();

/// Time between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Sets the log up as the configuration says. A second call changes nothing.
pub fn init(config: &Config) {
    // The configuration lets only well-formed filters through.
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines)
        .with_target(false)
        .with_timer(Clock);
    // An error means that a log is set up already, as in tests.
    let _ = match config.log_format {
        LogFormat::Json => {
            JSON.store(true, Ordering::Relaxed);
            let builder = builder
                .json()
                .with_target(true)
                .flatten_event(true)
                .with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = REFILTER.set(Box::new(move |filter| handle.reload(filter).is_ok()));
            builder.try_init()
        }
        LogFormat::Text => {
            let colours = io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let builder = builder.compact().with_ansi(colours).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = REFILTER.set(Box::new(move |filter| handle.reload(filter).is_ok()));
            builder.try_init()
        }
    };
}

/// From now on logs what `config` says. The format stays.
pub fn refilter(config: &Config) -> bool {
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    REFILTER.get().is_some_and(|refilter| refilter(filter))
}

/// RFC 3339 in UTC, to the millisecond.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:.3}", jiff::Timestamp::now())
    }
}

struct Lines;

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// Says why the program ends. It is said in the form of the log, and also where the log is switched off.
pub fn last_words(message: &str) {
    let line = match JSON.load(Ordering::Relaxed) {
        true => serde_json::json!({
            "timestamp": jiff::Timestamp::now().to_string(),
            "level": "ERROR",
            "message": message,
        })
        .to_string(),
        false => format!("floodmark: {message}"),
    };
    // Nobody is left to tell that standard error is closed.
    let _ = writeln!(Lines, "{line}");
}

/// How timely says that the connection to another process broke.
const PEER_GONE: &str = "timely communication error: ";

/// From now on a panic in any thread ends the process with status 101. A worker that is gone would freeze the frontier for
/// ever while everything else looks alive; what was committed is safe, and the next run goes on from there.
pub fn fate_sharing() {
    std::panic::set_hook(Box::new(|panic| {
        if contained() {
            return; // whoever caught it says what follows
        }
        if let Some(cause) = panic
            .payload_as_str()
            .and_then(|what| what.strip_prefix(PEER_GONE))
        {
            last_words(&format!(
                "another process of the cluster has ended ({cause}), and so does this one. What was committed is safe: see why \
                 in the other's log, then start all of them again."
            ));
            signal_hook::low_level::exit(1);
        }
        last_words(&epitaph(panic));
        signal_hook::low_level::exit(101);
    }));
}

fn epitaph(panic: &PanicHookInfo<'_>) -> String {
    let what = panic
        .payload_as_str()
        .unwrap_or("a panic without a message");
    let place = panic
        .location()
        .map(|place| format!(" at {}:{}", place.file(), place.line()))
        .unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let trace = std::backtrace::Backtrace::capture();
    let trace = match trace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
        _ => " (RUST_BACKTRACE=1 shows the way there)".into(),
    };
    format!(
        "a defect of floodmark, thread {thread}{place}: {what}. What was committed is safe; run it again.{trace}"
    )
}

/// How far long work has come: a bar on a terminal, a log line every few seconds elsewhere.
#[derive(Debug)]
pub struct Progress {
    label: &'static str,
    bar: Option<ProgressBar>,
    pace: Mutex<Pace>,
}

impl Progress {
    /// `label` says what is done to how many of what: `("embedding", "texts", Some(4000))`. No total: as far as one knows.
    pub fn start(label: &'static str, noun: &'static str, total: Option<u64>) -> Self {
        let bar = (io::stderr().is_terminal() && !JSON.load(Ordering::Relaxed)).then(|| {
            let bar = BARS.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
            let counts = if total.is_some() {
                "{wide_bar} {pos}/{len}"
            } else {
                "{spinner} {pos}"
            };
            // Without an end there is no time left to speak of.
            let pace = if total.is_some() {
                "{per_sec} {eta} {msg}"
            } else {
                "{per_sec} {msg}"
            };
            let style = ProgressStyle::with_template(&format!("{label} {counts} {noun} {pace}"));
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            label,
            bar,
            pace: Mutex::new(Pace::new(Instant::now(), noun, total)),
        }
    }

    /// So much is done by now.
    pub fn set(&self, done: u64) {
        self.update(|pace| pace.done = done);
    }

    /// So much more is done.
    pub fn add(&self, done: u64) {
        self.update(|pace| pace.done += done);
    }

    /// What else there is to say of it; replaces what was said before.
    pub fn note(&self, note: String) {
        match &self.bar {
            Some(bar) => bar.set_message(note),
            None => self.update(|pace| pace.note = note),
        }
    }

    /// So much is to be done, as is known by now.
    pub fn set_total(&self, total: u64) {
        self.update(|pace| pace.total = Some(total));
    }

    fn update(&self, change: impl FnOnce(&mut Pace)) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut pace);
        if let Some(bar) = &self.bar {
            if let Some(total) = pace.total {
                bar.set_length(total);
            }
            bar.set_position(pace.done);
        } else if let Some(line) = pace.line(Instant::now()) {
            tracing::info!("{}: {line}", self.label);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// When a line of progress is due, and what it says.
#[derive(Debug)]
struct Pace {
    started: Instant,
    said: Instant,
    noun: &'static str,
    done: u64,
    total: Option<u64>,
    note: String,
}

impl Pace {
    fn new(now: Instant, noun: &'static str, total: Option<u64>) -> Self {
        Self {
            started: now,
            said: now,
            noun,
            done: 0,
            total,
            note: String::new(),
        }
    }

    fn line(&mut self, now: Instant) -> Option<String> {
        if now.duration_since(self.said) < LINE_EVERY {
            return None;
        }
        self.said = now;
        let per_second = self.done as f64 / now.duration_since(self.started).as_secs_f64();
        let (done, noun) = (self.done, self.noun);
        let mut line = match self.total {
            Some(total) if per_second > 0.0 => {
                let left_s = total.saturating_sub(done) as f64 / per_second;
                format!(
                    "{done} of {total} {noun}, {per_second:.0} a second, about {left_s:.0} s left"
                )
            }
            Some(total) => format!("{done} of {total} {noun}"),
            None => format!("{done} {noun}, {per_second:.0} a second"),
        };
        if !self.note.is_empty() {
            line = format!("{line}; {}", self.note);
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_comes_every_few_seconds_and_says_when_it_is_over() {
        let start = Instant::now();
        let mut pace = Pace::new(start, "texts", Some(100));
        assert_eq!(
            pace.line(start + LINE_EVERY - Duration::from_millis(1)),
            None
        );
        assert_eq!(
            pace.line(start + LINE_EVERY).as_deref(),
            Some("0 of 100 texts")
        );
        pace.done = 40;
        assert_eq!(pace.line(start + LINE_EVERY), None);
        assert_eq!(
            pace.line(start + 2 * LINE_EVERY).as_deref(),
            Some("40 of 100 texts, 4 a second, about 15 s left")
        );
        pace.total = None;
        assert_eq!(
            pace.line(start + 4 * LINE_EVERY).as_deref(),
            Some("40 texts, 2 a second")
        );
        pace.note = "7 chunks".into();
        assert_eq!(
            pace.line(start + 8 * LINE_EVERY).as_deref(),
            Some("40 texts, 1 a second; 7 chunks")
        );
    }
}
