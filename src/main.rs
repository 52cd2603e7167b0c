//! Parse, call, exit code.

use std::io::{BufWriter, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use floodmark::cli::{self, CliError, Exit};
use floodmark::model::runtime::QUIET;
use floodmark::telemetry;

fn main() -> ExitCode {
    if let Err(error) = in_its_environment() {
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

/// Replaces this process by itself with the environment that keeps ONNX Runtime off the network, unless it has it. What the C
/// library reads at its start goes along.
fn in_its_environment() -> std::io::Result<()> {
    if std::env::var_os(QUIET).is_some_and(|value| value == "1") {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let program = std::env::current_exe()?;
    let given = |name: &str| std::env::var_os(name).is_some();
    let settings = memory_settings().filter(|(name, _)| !given(name));
    Err(std::process::Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(QUIET, "1")
        .envs(settings)
        .exec())
}

/// For glibc, whose own choice is eight arenas a core and a threshold that grows: buffers of ONNX Runtime, SQLite and tantivy then stay
/// behind in each arena that one of their threads was ever given, 15 MB in each. Other C libraries don't read these.
fn memory_settings() -> impl Iterator<Item = (&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let mib = || (1 << 20).to_string();
    [
        ("MALLOC_ARENA_MAX", cores.to_string()),
        ("MALLOC_MMAP_THRESHOLD_", mib()),
        ("MALLOC_TRIM_THRESHOLD_", mib()),
    ]
    .into_iter()
}
