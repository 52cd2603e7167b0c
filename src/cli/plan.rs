//! `floodmark plan`

use std::io::Write;

use super::{CliError, Exit, print};
use crate::answers::{Change, Plan};
use crate::config::Config;

/// Files that are listed for people; `--json` has all.
const LISTED: usize = 20;

/// Compares the inputs with the store, reads what is new or changed, changes nothing.
pub fn run(_config: &Config, _out: &mut dyn Write) -> Result<Exit, CliError> {
    Err(CliError::NotBuilt("plan"))
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
