//! Figures as people read them.

use std::io::Write;

use crate::answers::Evaluation;
use crate::cli::CliError;

/// A table of modes, and below it what was compared.
pub(super) fn write(answer: &Evaluation, out: &mut dyn Write) -> Result<(), CliError> {
    let Evaluation {
        collection,
        documents,
        queries,
        ..
    } = answer;
    writeln!(
        out,
        "{collection}: {documents} documents, {queries} judged queries"
    )?;
    for (number, result) in answer.results.iter().enumerate() {
        if answer.results.len() > 1 {
            let settings = match result.settings.as_str() {
                "" => "the settings as they are",
                settings => settings,
            };
            writeln!(out, "\n{}: {settings}", ["A", "B"][number.min(1)])?;
        }
        writeln!(
            out,
            "{:10} {:>8} {:>8} {:>11} {:>9} {:>9}",
            "mode", "nDCG@10", "MRR@10", "Recall@100", "p50", "p99"
        )?;
        for (mode, figures) in &result.modes {
            writeln!(
                out,
                "{mode:10} {:8.4} {:8.4} {:11.4} {:6.1} ms {:6.1} ms",
                figures.ndcg_10, figures.mrr_10, figures.recall_100, figures.p50_ms, figures.p99_ms
            )?;
            if figures.out_of_time > 0 {
                writeln!(
                    out,
                    "           {} queries ran out of time and kept the order that they had",
                    figures.out_of_time
                )?;
            }
        }
    }
    if !answer.comparisons.is_empty() {
        writeln!(
            out,
            "\n{:20} {:10} {:>8} {:>8} {:>8}   {:18} {:>6}",
            "compared", "figure", "A", "B", "B − A", "95 % of resamples", "p"
        )?;
    }
    for compared in &answer.comparisons {
        let interval = format!("{:+.4} to {:+.4}", compared.low, compared.high);
        writeln!(
            out,
            "{:20} {:10} {:8.4} {:8.4} {:+8.4}   {interval:18} {:6.4}",
            compared.mode,
            compared.figure,
            compared.first,
            compared.second,
            compared.difference,
            compared.p
        )?;
    }
    Ok(())
}
