//! The side of the run: accepts, reads a question, asks the handler, writes its answer.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use floodmark_operators::keys::Epoch;

use super::wire::{ASK_BYTES_MAX, Body, Connection, Line};
use super::{Ask, PROTOCOL, Refusal, RefusalKind, Reply, SOCKET, address, read_ask};
use crate::answers::{Forgotten, Found, Query, Retried, Status};
use crate::daemon::RunLock;
use crate::fault;

/// What a run can say. Called from several threads at a time, none of which is a worker's.
pub trait Handler: Send + Sync + 'static {
    /// How far the index has come.
    fn status(&self) -> Result<Status, Refusal>;
    /// What matches.
    fn search(&self, query: &Query) -> Result<Found, Refusal>;
    /// Begins to end the run, and does not wait for it.
    fn stop(&self);
    /// Blocks until the file is searchable as it is on the disk, at most for `timeout`.
    fn wait(&self, path: &Path, timeout: Duration) -> Result<Epoch, Refusal>;
    /// Blocks until the epoch is searchable, at most for `timeout`; the epoch that is then.
    fn wait_epoch(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, Refusal>;
    /// Begins to look again at what failed at or below these absolute paths; at all of it if there are none.
    fn retry_dead(&self, paths: &[PathBuf]) -> Result<Retried, Refusal>;
    /// Takes the files at or below these absolute paths out of the index.
    fn forget(&self, paths: &[PathBuf]) -> Result<Forgotten, Refusal>;
}

/// Connections served at a time; one more is told to come back.
const CONNECTIONS_MAX: usize = 64;
/// Time to send a question, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for a file.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Server {
    state: PathBuf,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the folder whose lock is held. The lock shows that a socket lying there has no server: it is replaced.
    ///
    /// # Errors
    /// The socket can't be made, or there is no thread for it; the error names the folder.
    pub fn start(lock: &RunLock, handler: Arc<dyn Handler>) -> io::Result<Self> {
        let listener = bind(lock.state()).map_err(|error| {
            let (socket, folder) = (SOCKET, lock.state().display());
            let what = format!("can't make the socket {socket} in {folder}: {error}");
            io::Error::new(error.kind(), what)
        })?;
        let stopping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopping);
        let acceptor = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&listener, &handler, &flag))?;
        Ok(Self {
            state: lock.state().to_owned(),
            stopping,
            acceptor: Some(acceptor),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // The acceptor is woken by one last connection. If that fails, it is left to the end of the process.
        let woken = address::connect(&self.state, SOCKET).is_ok();
        fault::pass("control.unlink");
        let _ = std::fs::remove_file(self.state.join(SOCKET));
        if woken && let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// The socket is made where nobody else can reach it, gets its rights, and only then its name.
fn bind(state: &Path) -> io::Result<UnixListener> {
    let private = state.join("control.new");
    fault::point("control.begin")?;
    match std::fs::remove_dir_all(&private) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    fault::point("control.folder")?;
    let listener = address::bind(&private, "s")?;
    fault::point("control.bound")?;
    std::fs::set_permissions(private.join("s"), std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(private.join("s"), state.join(SOCKET))?;
    fault::point("control.named")?;
    std::fs::remove_dir(&private)?;
    Ok(listener)
}

/// One connection's place among those served.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn accept(listener: &UnixListener, handler: &Arc<dyn Handler>, stopping: &AtomicBool) {
    let served = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't accept a control connection");
                // Out of descriptors: they come back when others end, not by asking faster.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        fault::pass("control.accept");
        let before = served.fetch_add(1, Ordering::SeqCst);
        let place = Place(Arc::clone(&served));
        if before >= CONNECTIONS_MAX {
            refuse_busy(stream);
            continue;
        }
        let handler = Arc::clone(handler);
        let serve = move || {
            serve(stream, handler.as_ref());
            drop(place);
        };
        if let Err(error) = std::thread::Builder::new()
            .name("control client".into())
            .spawn(serve)
        {
            tracing::warn!(%error, "can't serve a control connection");
        }
    }
}

/// Said without waiting: it fits the buffer of a new socket, and the acceptor has others to serve.
fn refuse_busy(mut stream: UnixStream) {
    let refusal = Refusal::new(
        RefusalKind::Busy,
        format!("{CONNECTIONS_MAX} others are being served; ask again"),
    );
    if let (Ok(()), Ok(bytes)) = (stream.set_nonblocking(true), line(Reply::Refused(refusal))) {
        let _ = stream.write(&bytes);
    }
}

fn serve(stream: UnixStream, handler: &dyn Handler) {
    let mut connection = Connection::new(stream);
    fault::pass("control.serve");
    loop {
        let reply = match connection.read_line(ASK_BYTES_MAX, PATIENCE) {
            Ok(Some(line)) => match read_ask(&line) {
                Ok(ask) => reply(handler, ask),
                Err(refusal) => Reply::Refused(refusal),
            },
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let message = format!("a question has at most {ASK_BYTES_MAX} bytes");
                // The rest of the line would be taken for further questions.
                let _ = answer(
                    &mut connection,
                    Reply::Refused(Refusal::new(RefusalKind::Invalid, message)),
                );
                return;
            }
            Ok(None) | Err(_) => return,
        };
        if answer(&mut connection, reply).is_err() {
            return;
        }
    }
}

fn answer(connection: &mut Connection, reply: Reply) -> io::Result<()> {
    connection.write(&line(reply)?, PATIENCE)
}

fn line(reply: Reply) -> serde_json::Result<Vec<u8>> {
    Line {
        floodmark: PROTOCOL,
        body: Body::Reply(reply),
    }
    .to_bytes()
}

fn reply(handler: &dyn Handler, ask: Ask) -> Reply {
    let answer = match ask {
        Ask::Status => handler.status().map(Box::new).map(Reply::Status),
        Ask::Search(query) => handler.search(&query).map(Reply::Found),
        Ask::Wait(wait) => handler
            .wait(
                &wait.path,
                Duration::from_millis(wait.timeout_ms).min(WAIT_MAX),
            )
            .map(Reply::Searchable),
        Ask::WaitEpoch(wait) => handler
            .wait_epoch(
                wait.epoch,
                Duration::from_millis(wait.timeout_ms).min(WAIT_MAX),
            )
            .map(Reply::Searchable),
        Ask::RetryDead(paths) => handler.retry_dead(&paths).map(Reply::Retried),
        Ask::Forget(paths) => handler.forget(&paths).map(Reply::Forgotten),
        Ask::Stop => {
            handler.stop();
            Ok(Reply::Stopping)
        }
    };
    answer.unwrap_or_else(Reply::Refused)
}
