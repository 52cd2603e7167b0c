//! Parse, call, exit code.

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use floodmark::cli::{self, CliError, Exit};
use floodmark::telemetry;

fn main() -> ExitCode {
    telemetry::fate_sharing();
    let mut out = BufWriter::new(std::io::stdout());
    let result = cli::main(std::env::args_os(), std::env::vars_os(), &mut out)
        .and_then(|exit| Ok(out.flush().map(|()| exit)?));
    match result {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => Exit::Done.into(),
        Err(error) => {
            // What was found before the failure is still a result.
            let _ = out.flush();
            let exit = error.exit();
            match error {
                CliError::Usage(usage) => drop(usage.print()),
                error => telemetry::last_words(&format!("{:#}", anyhow::Error::new(error))),
            }
            exit.into()
        }
    }
}
