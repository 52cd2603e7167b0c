//! `floodmark completions SHELL`

use std::io::Write;

use super::{CliError, Exit};

/// Which shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Shell that is to complete
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Writes the script.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    // clap_complete panics where it can't write: a closed pipe is no defect.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "floodmark", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Done)
}
