//! A server and its clients over a real socket.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use super::*;
use crate::daemon::RunLock;

/// Answers from what the test knows. A wait for "slow" lasts until the test lets it go.
struct Echo {
    stopped: AtomicBool,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Handler for Echo {
    fn status(&self) -> Result<Status, Refusal> {
        Ok(Status {
            epoch: 17,
            running: true,
            ..Status::default()
        })
    }

    fn search(&self, query: &Query) -> Result<Found, Refusal> {
        if query.query.is_empty() {
            return Err(Refusal::new(RefusalKind::Invalid, "empty"));
        }
        Ok(Found {
            epoch: query.query.len() as u64,
            ..Found::default()
        })
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn wait(&self, path: &Path, timeout: Duration) -> Result<Epoch, Refusal> {
        assert_eq!(timeout, Duration::from_secs(5));
        if path == Path::new("/slow") {
            self.release.lock().unwrap().recv().unwrap();
        }
        Ok(3)
    }

    fn wait_epoch(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, Refusal> {
        if timeout < Duration::from_secs(5) {
            return Err(Refusal::new(RefusalKind::TimedOut, "not yet"));
        }
        Ok(epoch + 1)
    }

    fn forget(&self, paths: &[PathBuf]) -> Result<Forgotten, Refusal> {
        match paths {
            [only] if only == Path::new("/there") => {
                Err(Refusal::new(RefusalKind::Invalid, "/there is there"))
            }
            _ => Ok(Forgotten {
                files: paths.len() as u64,
                epoch: Some(18),
                running: true,
            }),
        }
    }

    fn retry_dead(&self, paths: &[PathBuf]) -> Result<Retried, Refusal> {
        Ok(Retried {
            files: paths.len() as u64,
            running: true,
        })
    }
}

struct Run {
    folder: tempfile::TempDir,
    lock: RunLock,
    handler: Arc<Echo>,
    release: mpsc::Sender<()>,
}

impl Run {
    fn new() -> Self {
        Self::below("")
    }

    fn below(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lock = RunLock::acquire(&folder.path().join(name)).unwrap();
        let (release, receiver) = mpsc::channel();
        let handler = Arc::new(Echo {
            stopped: AtomicBool::new(false),
            release: Mutex::new(receiver),
        });
        Self {
            folder,
            lock,
            handler,
            release,
        }
    }

    fn serve(&self) -> Server {
        Server::start(&self.lock, Arc::clone(&self.handler) as Arc<dyn Handler>).unwrap()
    }

    fn client(&self) -> Client {
        Client::connect(self.lock.state())
            .unwrap()
            .expect("a server")
    }
}

fn query(text: &str) -> Query {
    Query::new(text, 3)
}

#[test]
fn each_question_gets_its_answer() {
    let run = Run::new();
    assert!(
        Client::connect(run.lock.state()).unwrap().is_none(),
        "no server yet"
    );
    let server = run.serve();
    let mut client = run.client();
    assert_eq!(client.status().unwrap().epoch, 17);
    assert_eq!(client.search(&query("high\ntide")).unwrap().epoch, 9);
    let refused = client.search(&query("")).unwrap_err();
    assert!(
        matches!(
            refused,
            ControlError::Refused(Refusal {
                kind: RefusalKind::Invalid,
                ..
            })
        ),
        "{refused}"
    );
    assert_eq!(
        client
            .wait(Path::new("/notes"), Duration::from_secs(5))
            .unwrap(),
        3
    );
    assert_eq!(client.wait_epoch(4, Duration::from_secs(5)).unwrap(), 5);
    let early = client.wait_epoch(4, Duration::from_millis(1)).unwrap_err();
    assert!(early.to_string().contains("not yet"), "{early}");
    assert_eq!(client.retry_dead(&["/a".into()]).unwrap().files, 1);
    let forgotten = client.forget(&["/a".into(), "/b".into()]).unwrap();
    assert_eq!((forgotten.files, forgotten.epoch), (2, Some(18)));
    let there = client.forget(&["/there".into()]).unwrap_err();
    assert!(there.to_string().contains("/there is there"), "{there}");
    assert!(!run.handler.stopped.load(Ordering::SeqCst));
    client.stop().unwrap();
    assert!(run.handler.stopped.load(Ordering::SeqCst));
    let mode = std::fs::metadata(run.folder.path().join(SOCKET))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(server);
    assert!(
        Client::connect(run.lock.state()).unwrap().is_none(),
        "no server any more"
    );
}

#[test]
fn a_path_longer_than_an_address_is_served() {
    let run = Run::below(&["deep"; 60].join("/"));
    assert!(run.lock.state().as_os_str().len() > 250);
    let _server = run.serve();
    assert_eq!(run.client().status().unwrap().epoch, 17);
    let through_link =
        address::through_link(run.lock.state(), SOCKET, |path| UnixStream::connect(path));
    assert!(
        through_link.is_ok(),
        "the way of other systems: {through_link:?}"
    );
}

#[test]
fn a_leftover_socket_is_no_run_and_is_replaced() {
    let run = Run::new();
    drop(UnixListener::bind(run.folder.path().join(SOCKET)).unwrap());
    std::fs::create_dir(run.folder.path().join("control.new")).unwrap();
    assert!(Client::connect(run.lock.state()).unwrap().is_none());
    let _server = run.serve();
    assert_eq!(run.client().status().unwrap().epoch, 17);
}

#[test]
fn who_sends_or_waits_slowly_holds_up_nobody() {
    let run = Run::new();
    let _server = run.serve();
    let mut half = UnixStream::connect(run.folder.path().join(SOCKET)).unwrap();
    half.write_all(b"{\"floodmark\":1,").unwrap();
    let mut waiting = run.client();
    let waiter = std::thread::spawn(move || {
        waiting
            .wait(Path::new("/slow"), Duration::from_secs(5))
            .unwrap()
    });
    assert_eq!(run.client().status().unwrap().epoch, 17);
    run.release.send(()).unwrap();
    assert_eq!(waiter.join().unwrap(), 3);
    half.write_all(b"\"ask\":\"status\"}\n").unwrap();
    let mut first = [0; 64];
    let read = half.read(&mut first).unwrap();
    let answer = String::from_utf8_lossy(&first[..read]);
    assert!(
        answer.starts_with("{\"floodmark\":1,\"reply\":{\"status\":"),
        "{answer}"
    );
}

#[test]
fn what_is_not_a_question_is_refused_by_name() {
    let run = Run::new();
    let _server = run.serve();
    for (line, expect) in [
        (
            "{\"floodmark\":2,\"ask\":\"status\"}",
            "\"kind\":\"version\"",
        ),
        (
            "{\"floodmark\":1,\"ask\":\"dance\"}",
            "\"kind\":\"invalid\"",
        ),
        (
            "{\"floodmark\":1,\"reply\":\"stopping\"}",
            "\"kind\":\"invalid\"",
        ),
        ("hello", "\"kind\":\"invalid\""),
    ] {
        let mut stream = UnixStream::connect(run.folder.path().join(SOCKET)).unwrap();
        writeln!(stream, "{line}").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(expect), "{line}: {answer}");
    }
}

#[test]
fn a_question_without_an_end_is_refused() {
    let run = Run::new();
    let _server = run.serve();
    let long = "x".repeat(2 * wire::ASK_BYTES_MAX);
    let refused = run.client().search(&query(&long)).unwrap_err();
    assert!(
        matches!(
            refused,
            ControlError::Refused(_) | ControlError::Socket { .. }
        ),
        "{refused}"
    );
    assert_eq!(run.client().status().unwrap().epoch, 17);
}

#[test]
fn patience_ends() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut connection = wire::Connection::new(ours);
    let error = connection
        .read_line(10, Duration::from_millis(5))
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    theirs.write_all(b"one\ntwo\nthree").unwrap();
    drop(theirs);
    let mut next = || connection.read_line(10, Duration::from_secs(5)).unwrap();
    assert_eq!(
        (next(), next(), next()),
        (Some(b"one".to_vec()), Some(b"two".to_vec()), None)
    );
}
