//! `floodmark doctor`

use std::io::Write;

use super::{CliError, Exit, print, setup};
use crate::answers::{Diagnosis, Health};
use crate::config::Config;
use crate::doctor::{self, Patient};
use crate::keyword::Languages;

/// Looks at everything a run needs.
pub fn run(config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    let diagnosis = doctor::diagnose(&Patient {
        state: &config.state,
        sources: &setup::sources(config),
        model: &setup::model_options(config),
        batch_tokens: config.batch_tokens,
        languages: Languages::of_name(config.language.word()).unwrap_or_default(),
        configuration: config.file.as_deref(),
    });
    write(&diagnosis, config.json, out)
}

/// Writes it for people or for programs; yes means that nothing is bad.
pub fn write(diagnosis: &Diagnosis, json: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
    let worst = diagnosis
        .checks
        .iter()
        .map(|check| check.verdict)
        .max()
        .unwrap_or(Health::Good);
    let exit = if worst == Health::Bad {
        Exit::No
    } else {
        Exit::Done
    };
    if json {
        print::json(out, diagnosis)?;
        return Ok(exit);
    }
    for check in &diagnosis.checks {
        let verdict = match check.verdict {
            Health::Good => "good",
            Health::Warning => "warning",
            Health::Bad => "BAD",
        };
        writeln!(
            out,
            "{verdict:7}  {}: {}",
            check.name,
            print::plain(&check.found)
        )?;
        if !check.advice.is_empty() {
            writeln!(out, "         → {}", print::plain(&check.advice))?;
        }
    }
    Ok(exit)
}
