//! How a command ends.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::control::ControlError;
use crate::daemon::DaemonError;
use crate::search::filter::FilterError;
use crate::store::StoreError;

/// For `--help` and the manual.
pub const EXIT_STATUS: &str = "\
Exit status:
  0   done; the answer is yes: hits were found, nothing differs, nothing is to be mended
  1   the answer is no: no hit, a difference, something to mend; or a command that does something could not do it
  2   a command that answers a question (search, status, explain, plan, verify, export, dead list, doctor)
      could not look
  78  the configuration or the command line is wrong
  101 a defect of floodmark itself; 130 and 143: stopped by a second SIGINT or SIGTERM";

/// The exit status of a command that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or: the answer is yes.
    Done = 0,
    /// The answer is no, or: could not be done.
    No = 1,
    /// Could not look.
    CouldNotLook = 2,
    /// The configuration or the command line is wrong (`EX_CONFIG` of sysexits.h).
    BadConfiguration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line can't be understood. Its text names the usage.
    #[error("{0}")]
    Usage(clap::Error),
    /// A flag before the command that the command does not use.
    #[error("--{flag} means nothing to this command; see its --help")]
    Unused {
        /// The flag, without its dashes.
        flag: &'static str,
    },
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A filter can't be understood.
    #[error(transparent)]
    Filter(FilterError),
    /// There is no index where the state should be.
    #[error("there is no index in {}: `floodmark run` makes one; --state names another folder", .0.display())]
    NoState(PathBuf),
    /// Starting, stopping or finding a run failed.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The run that is under way could not be asked.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Results could not be written.
    #[error("can't write the results: {0}")]
    Output(#[from] io::Error),
    /// A result could not be put into JSON.
    #[error("can't write the results as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A command that answers a question could not look.
    #[error("{0}")]
    CouldNotLook(String),
    /// A command that does something could not do it.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// Of a command that changes the store: without one there is nothing to look at.
    pub fn of_store(error: StoreError) -> Self {
        match error {
            StoreError::Missing { .. } => Self::CouldNotLook(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }

    /// The exit status that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            CliError::Usage(_)
            | CliError::Unused { .. }
            | CliError::Config(_)
            | CliError::Filter(_) => Exit::BadConfiguration,
            CliError::NoState(_) | CliError::CouldNotLook(_) | CliError::Control(_) => {
                Exit::CouldNotLook
            }
            CliError::Daemon(_) | CliError::Output(_) | CliError::Json(_) | CliError::Failed(_) => {
                Exit::No
            }
        }
    }

    /// Whether the reader of the results has gone (`floodmark export | head`): nothing to complain about.
    pub fn is_closed_pipe(&self) -> bool {
        let closed = |kind: Option<io::ErrorKind>| kind == Some(io::ErrorKind::BrokenPipe);
        match self {
            CliError::Output(error) => closed(Some(error.kind())),
            CliError::Json(error) => closed(error.io_error_kind()),
            _ => false,
        }
    }
}
