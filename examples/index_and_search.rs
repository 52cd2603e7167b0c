//! floodmark as a library: indexes a folder, waits until all of it is searchable, and asks it a question.
//!
//! ```text
//! cargo run --example index_and_search -- examples/corpus /tmp/state "clients paid two times for one purchase"
//! ```
//!
//! A second time it embeds nothing: the state holds what is known, and only what changed is looked at.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use floodmark::answers::Query;
use floodmark::ingest::engine::Engine;
use floodmark::model::{Model, ModelOptions};
use floodmark::search::{Searcher, ViewOptions};
use floodmark::worker::{Mode, Options, Run};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, state, question] = &arguments[..] else {
        return Err("usage: index_and_search FOLDER STATE QUESTION".into());
    };

    // The model that is built in; as many sessions as there are cores.
    let model = Model::open(&ModelOptions::default())?;

    // `Once` ends when everything that is there now is durable. `Watch` goes on until `run.handle().stop()`.
    let options = Options::new(Mode::Once, state, vec![PathBuf::from(folder)]);
    // Called if something could not be made durable. It must not return: nothing may go on as if it had been.
    let stop = Arc::new(|reason: String| {
        eprintln!("{reason}");
        std::process::exit(1)
    });
    let run = Run::start(options, Engine::new(&model)?, Vec::new(), stop)?;
    run.join()?;

    // One snapshot of the store and one of the vector view, of the same epoch.
    let searcher = Searcher::open(Path::new(state), &model, ViewOptions::default())?;
    let query = Query::new(question.clone(), 3);
    let found = searcher.search(&query)?;
    println!("epoch {}", found.epoch);
    for hit in found.hits {
        println!("{:.3}  {}:{}-{}", hit.score, hit.path, hit.start, hit.end);
        println!("       {}", hit.text.lines().next().unwrap_or_default());
    }
    Ok(())
}
