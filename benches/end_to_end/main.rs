//! The whole program against the limits of the machine, measured side by side in one run.
//!
//! ```text
//! cargo bench --bench end_to_end -- [--only ingest,known,walk,change,restart,scaling,memory,query] [--results FILE.jsonl]
//!     [--passages FILE.jsonl] [--sentences FILE.jsonl] [--edits FILE.jsonl] [--rounds N] [--seconds N] [--texts N] [--short N] [--scaling N] [--chunks N] [--files N]
//!     [--sizes N,N,…] [--stand-in-sizes N,N,…] [--changes N] [--replay-mb N] [--query-chunks N] [--queries N]
//! ```
//!
//! FILE.jsonl of `--passages` and `--sentences` holds one JSON string a line; without it, texts are made from words. `--edits` is a stream
//! of edits of a real folder. Everything runs with the built-in model, real files and a real store in a temporary
//! folder; a row that is named "without the model" has the stand-in of [`stand_in`] for it. Figures go to standard
//! output as Markdown, and every sample to the results file. `make bench` calls this with all flags.

mod arguments;
mod bench;
mod change;
mod corpus;
mod ingest;
mod known;
mod limits;
mod memory;
mod process;
mod query;
mod restart;
mod results;
mod scaling;
mod stand_in;
mod walk;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use arguments::Arguments;
use bench::Bench;

/// A section: its name, and what it does.
type Section = (&'static str, fn(&Bench));

const SECTIONS: [Section; 8] = [
    ("ingest", ingest::measure),
    ("known", known::measure),
    ("walk", walk::measure),
    ("change", change::measure),
    ("restart", restart::measure),
    ("scaling", scaling::measure),
    ("memory", memory::measure),
    ("query", query::measure),
];

/// A section that fails is told of, and the others go on.
fn main() -> ExitCode {
    let bench = Bench::new(Arguments::read());
    let mut good = true;
    for (name, measure) in SECTIONS {
        if bench.arguments.wants(name) {
            let started = Instant::now();
            let end = catch_unwind(AssertUnwindSafe(|| measure(&bench)));
            let failed = end.err().map(|panic| reason(panic.as_ref()));
            let seconds = started.elapsed().as_secs_f64();
            bench.ended(name, seconds, failed.as_deref());
            match failed {
                None => eprintln!("{name}: {seconds:.0} s"),
                Some(reason) => {
                    eprintln!("{name}: failed after {seconds:.0} s: {reason}");
                    good = false;
                }
            }
        }
    }
    match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What a panic said.
fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
