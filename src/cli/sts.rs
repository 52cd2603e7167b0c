//! `floodmark sts FILE`

use std::io::Write;
use std::path::PathBuf;

use super::{CliError, Exit, print, setup};
use crate::answers::{Similarity, shown};
use crate::config::{Config, ConfigError, Origin};
use crate::evaluate::metrics::{pearson, spearman};
use crate::evaluate::sts;

/// What to compare with.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON lines with two sentences and a human score
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Ranks the pairs by the cosine of their vectors, and writes how well that agrees with people.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    let fields = match &config.sts_fields {
        None => None,
        Some(names) => Some(sts::fields(names).map_err(|message| {
            let origin = config.origin("sts-fields").cloned();
            CliError::Config(ConfigError::Conflict {
                origin: origin.unwrap_or(Origin::Default),
                message,
            })
        })?),
    };
    let pairs = sts::read(&args.file, fields.as_ref()).map_err(could_not)?;
    let model = setup::model(config)?;
    let cosines = sts::cosines(&model, &pairs, config.batch_tokens).map_err(could_not)?;
    let scores: Vec<f64> = pairs.iter().map(|pair| pair.score).collect();
    let (Some(spearman), Some(pearson)) = (spearman(&cosines, &scores), pearson(&cosines, &scores))
    else {
        return Err(CliError::CouldNotLook(format!(
            "{}: all scores, or all cosines, are the same: there is nothing to rank",
            args.file.display()
        )));
    };
    let answer = Similarity {
        file: shown(&args.file),
        pairs: pairs.len(),
        model: model.key().to_owned(),
        spearman,
        pearson,
    };
    if config.json {
        print::json(out, &answer)?;
    } else {
        print::pairs(
            out,
            &[
                ("pairs", answer.pairs.to_string()),
                ("model", answer.model),
                ("Spearman", format!("{spearman:.4}")),
                ("Pearson", format!("{pearson:.4}")),
            ],
        )?;
    }
    Ok(Exit::Done)
}

fn could_not(error: impl std::fmt::Display) -> CliError {
    CliError::CouldNotLook(error.to_string())
}
