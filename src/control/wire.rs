//! Lines over a stream, bounded in length and in time: whoever sends a byte a second does not get for ever.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Ask, PROTOCOL, Refusal, RefusalKind, Reply};

/// Longest question.
pub const ASK_BYTES_MAX: usize = 1 << 20;
/// Longest answer.
pub const REPLY_BYTES_MAX: usize = 256 << 20;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// Version of the protocol.
    pub floodmark: u32,
    /// The rest.
    #[serde(flatten)]
    pub body: Body,
}

/// What a line carries.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// A question.
    Ask(Ask),
    /// An answer.
    Reply(Reply),
}

impl Line {
    /// As it is sent. Fails for a path that is no UTF-8, which JSON has no form for.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Reads a line; the version is looked at before anything that may have changed with it.
pub fn parse(line: &[u8]) -> Result<Body, Refusal> {
    #[derive(Deserialize)]
    struct Version {
        floodmark: u32,
    }
    let invalid = |error: serde_json::Error| {
        Refusal::new(RefusalKind::Invalid, format!("not understood: {error}"))
    };
    let version: Version = serde_json::from_slice(line).map_err(invalid)?;
    if version.floodmark != PROTOCOL {
        return Err(Refusal::new(
            RefusalKind::Version,
            format!(
                "the other side speaks version {} of the control protocol, this one version {PROTOCOL}: \
                 stop the run and start it with this floodmark",
                version.floodmark
            ),
        ));
    }
    serde_json::from_slice::<Line>(line)
        .map(|line| line.body)
        .map_err(invalid)
}

/// A stream and what was read beyond the last line.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    rest: Vec<u8>,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    /// The next line without its end; `None` at the end of the stream. `FileTooLarge` past `bytes_max`; `TimedOut` after `patience`.
    pub fn read_line(
        &mut self,
        bytes_max: usize,
        patience: Duration,
    ) -> io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now().checked_add(patience);
        let mut searched = 0;
        let mut block = vec![0; 64 * 1024];
        loop {
            if let Some(end) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
                let after = self.rest.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.rest, after);
                line.pop();
                return Ok(Some(line));
            }
            searched = self.rest.len();
            if searched > bytes_max {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.stream.set_read_timeout(left(deadline)?)?;
            match self.stream.read(&mut block) {
                Ok(0) => return Ok(None),
                Ok(read) => self.rest.extend_from_slice(&block[..read]),
                Err(error) => retry(error)?,
            }
        }
    }

    /// All of it or an error.
    pub fn write(&mut self, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
        let deadline = Instant::now().checked_add(patience);
        while !bytes.is_empty() {
            self.stream.set_write_timeout(left(deadline)?)?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) => retry(error)?,
            }
        }
        Ok(())
    }
}

/// An interruption or a time-out of the system call: the deadline decides.
fn retry(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(()),
        _ => Err(error),
    }
}

/// Time until the deadline; `None` is for ever.
fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}
