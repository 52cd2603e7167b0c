//! `floodmark man [COMMAND]`

use std::io::Write;

use clap_mangen::Man;

use super::{CliError, Exit};

/// Which page.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Command whose page is wanted, such as `search`; the page of floodmark itself if none is named
    #[arg(value_name = "COMMAND", num_args = 0..)]
    pub command: Vec<String>,
}

/// Writes a page in roff: `floodmark man | man -l -`.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let mut root = super::command();
    root.build();
    let mut page = &root;
    for name in &args.command {
        page = page.find_subcommand(name).ok_or_else(|| {
            CliError::Failed(format!(
                "there is no command {name}; see `floodmark --help`"
            ))
        })?;
    }
    Man::new(page.clone()).render(out)?;
    Ok(Exit::Done)
}
