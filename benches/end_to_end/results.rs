//! A figure, the limit that was measured beside it, and where both are written.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

/// What was measured, once a round.
pub struct Row<'a> {
    /// What it is, in words; the row of the table.
    pub what: &'a str,
    /// Of the samples: `texts/s`, `ms`, `MB`.
    pub unit: &'a str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// One a round, or one a change.
    pub samples: Vec<f64>,
    /// What the machine could do on the same input in the same run, in the same unit.
    pub limit: Option<(&'a str, Vec<f64>)>,
    /// How much of what, for whoever wants to do it again.
    pub input: String,
}

/// Where figures go.
pub struct Results {
    /// The file to which rows are appended, one JSON object a line.
    pub file: Option<PathBuf>,
}

impl Results {
    /// Prints the row and keeps it.
    pub fn add(&self, section: &str, row: Row<'_>) {
        let figure = format!("{} {}", short(median(&row.samples)), row.unit);
        let beside = row.limit.as_ref().map(|(what, samples)| {
            let ratio = median(&row.samples) / median(samples);
            format!(
                "{what}: {} {}, {ratio:.3} of it",
                short(median(samples)),
                row.unit
            )
        });
        println!(
            "| {section} | {} | {figure} | {} | {} |",
            row.what,
            beside.unwrap_or_default(),
            row.input
        );
        let limit = row
            .limit
            .map(|(what, samples)| json!({ "what": what, "samples": samples }));
        let line = json!({
            "section": section, "what": row.what, "unit": row.unit, "more_is_better": row.more_is_better,
            "samples": row.samples, "limit": limit, "input": row.input,
        });
        self.keep(&line);
    }

    /// A fact about the run.
    pub fn fact(&self, what: &str, value: &str) {
        println!("| | {what} | {value} | | |");
        self.keep(&json!({ "fact": what, "value": value }));
    }

    /// A section has ended, well or not.
    pub fn ended(&self, section: &str, seconds: f64, failed: Option<&str>) {
        self.keep(&json!({ "ended": section, "seconds": seconds.round(), "failed": failed }));
    }

    fn keep(&self, line: &serde_json::Value) {
        if let Some(path) = &self.file {
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .expect("the results");
            writeln!(file, "{line}").expect("the results");
        }
    }
}

/// The one in the middle.
pub fn median(values: &[f64]) -> f64 {
    at(values, 0.5)
}

/// The value at this part of the sorted ones.
pub fn at(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * part).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
