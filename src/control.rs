//! Talking to a run that is under way: one JSON object a line over `STATE/control.sock`.
//!
//! ```text
//! → {"floodmark":1,"ask":{"search":{"query":"high tide","hits":3}}}
//! ← {"floodmark":1,"reply":{"found":{"epoch":17,"hits":[…]}}}
//! ```
//!
//! A connection may ask several things, one after the other. Only the owner of the state may connect (mode 0600).
//! Whoever serves holds the run's lock, so a socket without a server behind it is known to be a leftover.

mod address;
mod server;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use floodmark_operators::keys::Epoch;

use crate::answers::{Forgotten, Found, Query, Retried, Status};

pub use server::{Handler, Server};

/// Version of the protocol; both sides must speak the same.
pub const PROTOCOL: u32 = 1;
/// The socket's name in the state folder.
pub const SOCKET: &str = "control.sock";

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// How far the index has come.
    Status,
    /// What matches.
    Search(Query),
    /// End gracefully.
    Stop,
    /// Answer when this file is searchable as it is now on the disk.
    Wait(Wait),
    /// Answer when this epoch is searchable.
    WaitEpoch(WaitEpoch),
    /// Look again at what failed: at or below these absolute paths, or all of it if none is named.
    RetryDead(Vec<PathBuf>),
    /// Take the files at or below these absolute paths out of the index; they must not be there any more.
    Forget(Vec<PathBuf>),
}

/// For what, and how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The file, as an absolute path.
    pub path: PathBuf,
    /// Give up after so many milliseconds.
    pub timeout_ms: u64,
}

/// For which epoch, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// Give up after so many milliseconds.
    pub timeout_ms: u64,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Ask::Status`].
    Status(Box<Status>),
    /// To [`Ask::Search`].
    Found(Found),
    /// To [`Ask::Stop`].
    Stopping,
    /// To [`Ask::Wait`] and [`Ask::WaitEpoch`]: the epoch that answers now.
    Searchable(Epoch),
    /// To [`Ask::RetryDead`].
    Retried(Retried),
    /// To [`Ask::Forget`].
    Forgotten(Forgotten),
    /// To anything.
    Refused(Refusal),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What the asker can do.
    pub kind: RefusalKind,
    /// What happened.
    pub message: String,
}

/// What the asker can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// Ask again later.
    Busy,
    /// Ask something else: this can't be understood or answered.
    Invalid,
    /// Ask with the same version of floodmark.
    Version,
    /// Nothing: it failed, and the log of the run says why.
    Failed,
    /// Wait longer.
    TimedOut,
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// Why a run could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket is there and can't be used.
    #[error("can't talk to the run through {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The run does not answer this.
    #[error("the run refuses: {0}")]
    Refused(#[from] Refusal),
    /// The run answered something else.
    #[error("the run's answer can't be understood ({0}); is it of another version?")]
    Garbled(String),
}

impl ControlError {
    /// Whether the other end hung up without an answer, as a run does that was killed.
    pub fn is_silence(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let gone = [
            BrokenPipe,
            ConnectionAborted,
            ConnectionReset,
            UnexpectedEof,
        ];
        matches!(self, Self::Socket { source, .. } if gone.contains(&source.kind()))
    }
}

/// A connection to the run on a state folder.
#[derive(Debug)]
pub struct Client {
    connection: wire::Connection,
    path: PathBuf,
}

/// How long a run may take to answer what it need not wait for.
const PATIENCE: Duration = Duration::from_secs(30);

impl Client {
    /// Connects; `None` where no run serves the folder.
    pub fn connect(state: &Path) -> Result<Option<Self>, ControlError> {
        let path = state.join(SOCKET);
        match address::connect(state, SOCKET) {
            Ok(stream) => Ok(Some(Self {
                connection: wire::Connection::new(stream),
                path,
            })),
            // No socket, or the leftover of a run that was killed.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(ControlError::Socket { path, source }),
        }
    }

    /// How far the index has come.
    pub fn status(&mut self) -> Result<Status, ControlError> {
        match self.ask(&Ask::Status, PATIENCE)? {
            Reply::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// What matches.
    pub fn search(&mut self, query: &Query) -> Result<Found, ControlError> {
        match self.ask(&Ask::Search(query.clone()), PATIENCE)? {
            Reply::Found(found) => Ok(found),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks the run to end; it answers before it does.
    pub fn stop(&mut self) -> Result<(), ControlError> {
        match self.ask(&Ask::Stop, PATIENCE)? {
            Reply::Stopping => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until the file is searchable as it is on the disk now. [`RefusalKind::TimedOut`]: not yet.
    pub fn wait(&mut self, path: &Path, timeout: Duration) -> Result<Epoch, ControlError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let ask = Ask::Wait(Wait {
            path: path.to_owned(),
            timeout_ms,
        });
        match self.ask(&ask, timeout.saturating_add(PATIENCE))? {
            Reply::Searchable(epoch) => Ok(epoch),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until the epoch is searchable, and says which is. [`RefusalKind::TimedOut`]: not yet.
    pub fn wait_epoch(&mut self, epoch: Epoch, timeout: Duration) -> Result<Epoch, ControlError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let ask = Ask::WaitEpoch(WaitEpoch { epoch, timeout_ms });
        match self.ask(&ask, timeout.saturating_add(PATIENCE))? {
            Reply::Searchable(epoch) => Ok(epoch),
            other => Err(unexpected(&other)),
        }
    }

    /// Has the run look again at what failed at or below these paths, or at all of it if none is named.
    pub fn retry_dead(&mut self, paths: &[PathBuf]) -> Result<Retried, ControlError> {
        match self.ask(&Ask::RetryDead(paths.to_vec()), PATIENCE)? {
            Reply::Retried(retried) => Ok(retried),
            other => Err(unexpected(&other)),
        }
    }

    /// Has the run take the files at or below these paths out of the index. [`RefusalKind::Invalid`]: one is there.
    pub fn forget(&mut self, paths: &[PathBuf]) -> Result<Forgotten, ControlError> {
        match self.ask(&Ask::Forget(paths.to_vec()), PATIENCE)? {
            Reply::Forgotten(forgotten) => Ok(forgotten),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&mut self, ask: &Ask, patience: Duration) -> Result<Reply, ControlError> {
        let socket = |source| ControlError::Socket {
            path: self.path.clone(),
            source,
        };
        let line = wire::Line {
            floodmark: PROTOCOL,
            body: wire::Body::Ask(ask.clone()),
        }
        .to_bytes()
        .map_err(|error| {
            Refusal::new(
                RefusalKind::Invalid,
                format!("this can't be asked: {error}"),
            )
        })?;
        // Whoever refuses before it has read hangs up: what it said comes before the error of our writing.
        let written = self.connection.write(&line, PATIENCE);
        let line = match self.connection.read_line(wire::REPLY_BYTES_MAX, patience) {
            Ok(Some(line)) => line,
            Ok(None) => {
                return Err(socket(
                    written.err().unwrap_or(io::ErrorKind::UnexpectedEof.into()),
                ));
            }
            Err(error) => return Err(socket(written.err().unwrap_or(error))),
        };
        match wire::parse(&line)? {
            wire::Body::Reply(Reply::Refused(refusal)) => Err(refusal.into()),
            wire::Body::Reply(reply) => Ok(reply),
            wire::Body::Ask(_) => Err(ControlError::Garbled("a question".into())),
        }
    }
}

/// The question that a line from a client holds, without its line end.
///
/// # Errors
/// [`RefusalKind::Invalid`] for what is none, [`RefusalKind::Version`] for one in another version of the protocol.
pub fn read_ask(line: &[u8]) -> Result<Ask, Refusal> {
    match wire::parse(line)? {
        wire::Body::Ask(ask) => Ok(ask),
        wire::Body::Reply(_) => Err(Refusal::new(RefusalKind::Invalid, "not a question")),
    }
}

fn unexpected(reply: &Reply) -> ControlError {
    ControlError::Garbled(format!("{reply:?}").chars().take(80).collect())
}
