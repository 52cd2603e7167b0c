//! Parse, call, exit code.

use std::io::{BufWriter, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use floodmark::cli::{self, CliError, Exit};
use floodmark::model::runtime::QUIET;
use floodmark::telemetry;

fn main() -> ExitCode {
    if let Err(error) = without_telemetry() {
        telemetry::last_words(&format!("can't start anew without telemetry: {error}"));
        return Exit::No.into();
    }
    telemetry::fate_sharing();
    if let Err(error) = floodmark::fault::arm() {
        telemetry::last_words(&error);
        return Exit::BadConfiguration.into();
    }
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

/// Replaces this process by itself with the environment that keeps ONNX Runtime off the network, unless it has it.
fn without_telemetry() -> std::io::Result<()> {
    if std::env::var_os(QUIET).is_some_and(|value| value == "1") {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let program = std::env::current_exe()?;
    Err(std::process::Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(QUIET, "1")
        .exec())
}
