//! `floodmark plan`

use std::io::Write;

use super::{CliError, Exit, print, setup};
use crate::answers::{Change, Plan};
use crate::config::Config;
use crate::plan::Planner;
use crate::verify;

/// Files that are listed for people; `--json` has all.
const LISTED: usize = 20;

/// Compares the inputs with the store, reads what is new or changed, changes nothing.
pub fn run(config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    let could_not_look = CliError::CouldNotLook;
    let selection =
        verify::selection(&setup::sources(config), &config.state).map_err(could_not_look)?;
    if let Some(root) = selection.roots().iter().find(|root| !root.path.is_dir()) {
        return Err(could_not_look(format!(
            "the input {} is not there",
            root.given.display()
        )));
    }
    let model = setup::model(config).map_err(|error| could_not_look(error.to_string()))?;
    let planner = Planner {
        state: &config.state,
        selection: &selection,
        reading: &setup::reading(config, &model),
        model: &model,
        batch_tokens: config.batch_tokens,
    };
    let plan = planner
        .plan()
        .map_err(|error| could_not_look(error.to_string()))?;
    write(&plan, config.json, out)?;
    Ok(Exit::Done)
}

/// Writes it for people or for programs.
pub fn write(plan: &Plan, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    if json {
        return print::json(out, plan);
    }
    let files = &plan.files;
    print::pairs(
        out,
        &[
            (
                "files",
                format!(
                    "{} new, {} changed, {} moved, {} gone, {} unchanged",
                    files.new, files.changed, files.moved, files.gone, files.unchanged
                ),
            ),
            ("to read", print::count(plan.bytes, "byte")),
            ("to embed", print::count(plan.chunks_to_embed, "chunk")),
            ("time", format!("about {} s", plan.estimated_seconds.ceil())),
        ],
    )?;
    for file in plan.changes.iter().take(LISTED) {
        let change = match file.change {
            Change::New => "new",
            Change::Changed => "changed",
            Change::Moved => "moved",
            Change::Gone => "gone",
        };
        writeln!(out, "  {change:8} {}", print::plain(&file.path))?;
    }
    if let Some(more @ 1..) = plan.changes.len().checked_sub(LISTED) {
        writeln!(out, "  and {} more (--json lists all)", more)?;
    }
    Ok(())
}
