//! How fast the bare model is on this machine: texts in sorted batches, a session a thread, nothing else.
//!
//! ```text
//! cargo run --release --example model_speed -- TEXTS.jsonl [TEXTS_MAX] [BATCH_TOKENS_MAX] [SESSIONS] [MODEL_DIR]
//! ```
//!
//! `TEXTS.jsonl` holds one JSON string on a line, or objects with a `content`.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use floodmark::model::{Model, ModelOptions, TokenIds};
use floodmark_operators::batch::Planner;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = arguments.first().ok_or(
        "usage: model_speed TEXTS.jsonl [TEXTS_MAX] [BATCH_TOKENS_MAX] [SESSIONS] [MODEL_DIR]",
    )?;
    let number =
        |at: usize, otherwise: usize| arguments.get(at).map_or(Ok(otherwise), |text| text.parse());
    let (texts_max, batch_tokens_max, sessions) =
        (number(1, 1000)?, number(2, 256)?, number(3, 0)?);

    let start = Instant::now();
    let dir = arguments.get(4).map(Into::into);
    let model = Model::open(&ModelOptions {
        dir,
        sessions,
        ..ModelOptions::default()
    })?;
    let mut sessions = (0..model.sessions())
        .map(|_| model.session())
        .collect::<Result<Vec<_>, _>>()?;
    let (open_s, open_mb) = (start.elapsed().as_secs_f64(), memory_mb("VmRSS:"));

    let start = Instant::now();
    let rows = std::fs::read_to_string(file)?
        .lines()
        .take(texts_max)
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line)?;
            let text = value
                .as_str()
                .or_else(|| value["content"].as_str())
                .ok_or("a line without text")?;
            Ok(model.tokenize(text)?)
        })
        .collect::<Result<Vec<TokenIds>, Box<dyn Error>>>()?;
    let tokenise_s = start.elapsed().as_secs_f64();

    let mut planner = Planner::new(batch_tokens_max);
    for (at, row) in rows.iter().enumerate() {
        planner.insert(0, row.len(), at);
    }
    let mut batches = Vec::new();
    while !planner.is_empty() {
        batches.push(planner.next_batch());
    }
    // the first of a batch is its longest
    let padded: usize = batches
        .iter()
        .map(|batch| batch.len() * rows[batch[0]].len())
        .sum();
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|session| {
                scope.spawn(|| {
                    while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let batch: Vec<&TokenIds> = batch.iter().map(|&at| &rows[at]).collect();
                        session.embed_tokens(&batch)?;
                    }
                    Ok::<(), floodmark::model::EmbedError>(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    let embed_s = start.elapsed().as_secs_f64();

    let tokens: usize = rows.iter().map(TokenIds::len).sum();
    println!(
        "{} on {}, {} sessions, batches of {batch_tokens_max} padded tokens",
        model.key(),
        model.provider(),
        model.sessions()
    );
    println!("opened in {open_s:.2} s, {open_mb} MB resident");
    println!(
        "{} texts, {tokens} tokens ({padded} padded): tokenised in {tokenise_s:.2} s, embedded in {embed_s:.2} s",
        rows.len()
    );
    println!(
        "{:.1} texts/s, {:.0} tokens/s, peak {} MB",
        rows.len() as f64 / embed_s,
        tokens as f64 / embed_s,
        memory_mb("VmHWM:")
    );
    Ok(())
}

/// A line of /proc/self/status in MB; 0 where there is no such file.
fn memory_mb(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}
