//! Indexes the files that a list names, and answers one question. The list's folder is the input.
//!
//! ```text
//! cargo run --example manifest -- LIST STATE "QUESTION"
//! ```

mod manifest;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use floodmark::answers::Query;
use floodmark::ingest::engine::Engine;
use floodmark::model::{Model, ModelOptions};
use floodmark::search::{Searcher, ViewOptions};
use floodmark::worker::{Mode, Options, Run};
use manifest::Manifest;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [list, state, question] = &arguments[..] else {
        return Err("usage: manifest LIST STATE QUESTION".into());
    };
    let list = std::path::absolute(list)?;
    let folder = list.parent().unwrap_or(Path::new("/")).to_owned();

    let model = Model::open(&ModelOptions::default())?;
    let source = Manifest {
        list,
        every: Duration::from_secs(5),
    };
    let run = Run::start_from(
        Some(Box::new(source)),
        Options::new(Mode::Once, state, vec![folder]),
        Engine::new(&model)?,
        Vec::new(),
        Arc::new(|reason| panic!("{reason}")),
    )?;
    run.join()?;

    let searcher = Searcher::open(Path::new(state), &model, ViewOptions::default())?;
    let query = Query::new(question.clone(), 3);
    for hit in searcher.search(&query)?.hits {
        println!("{:.3}  {}", hit.score, hit.path);
    }
    Ok(())
}
