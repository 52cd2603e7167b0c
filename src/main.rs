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

/// Replaces this process by itself with the environment that keeps ONNX Runtime off the network, and with what the C library
/// reads at its start, unless it has both.
fn in_its_environment() -> std::io::Result<()> {
    let given = |name: &str| std::env::var_os(name).is_some();
    let missing: Vec<_> = memory_settings().filter(|(name, _)| !given(name)).collect();
    if missing.is_empty() && std::env::var_os(QUIET).is_some_and(|value| value == "1") {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let program = std::env::current_exe()?;
    Err(std::process::Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(QUIET, "1")
        .envs(missing)
        .exec())
}

/// For glibc (docs/decisions/0017-memory.md); other C libraries don't read these. Its own choice is eight arenas a core and thresholds
/// that grow: whichever arenas the threads were given keep their buffers. And vectors that lie in pages of 2 MB are found sooner.
fn memory_settings() -> impl Iterator<Item = (&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let mib = || (1 << 20).to_string();
    [
        ("MALLOC_ARENA_MAX", cores.to_string()),
        ("MALLOC_MMAP_THRESHOLD_", mib()),
        ("MALLOC_TRIM_THRESHOLD_", mib()),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1".to_owned()),
    ]
    .into_iter()
}
