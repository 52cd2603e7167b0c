//! Locks between real processes, and launches of small programs.

use super::*;

const ROLE: &str = "DAEMON_TEST_STATE";
/// The holder goes on when it is told to stop.
const STUBBORN: &str = "DAEMON_TEST_STUBBORN";

/// What the other tests start: takes the lock, says so, and holds it until its standard input ends.
#[test]
fn holder() {
    let Some(state) = std::env::var_os(ROLE) else {
        return;
    };
    let _lock = RunLock::acquire(Path::new(&state)).unwrap();
    if std::env::var_os(STUBBORN).is_some() {
        crate::signals::install(|| {}, || {}).unwrap();
    }
    println!("held");
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn hold(state: &Path) -> Child {
    hold_by(Command::new(std::env::current_exe().unwrap()).env(ROLE, state))
}

fn hold_by(command: &mut Command) -> Child {
    let mut child = command
        .args(["--exact", "daemon::tests::holder", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("held")));
    child
}

#[test]
fn the_pid_file_does_not_outlive_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    assert_eq!(probe(&state).unwrap(), None, "no folder");
    let mut child = hold(&state);
    let running = Running { pid: child.id() };
    assert_eq!(probe(&state).unwrap(), Some(running.clone()));
    match RunLock::acquire(&state) {
        Err(DaemonError::Running { running: found, .. }) => assert_eq!(found, running),
        other => panic!("{other:?}"),
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = std::fs::read_to_string(state.join(PID_FILE)).unwrap();
    assert!(
        left.starts_with(&child.id().to_string()),
        "a killed process can't tidy up: {left:?}"
    );
    assert_eq!(probe(&state).unwrap(), None);
    assert_eq!(
        stop(&state, Duration::from_secs(5)).unwrap(),
        Stopped::NotRunning
    );
    let lock = RunLock::acquire(&state).unwrap();
    assert_eq!(
        probe(&state).unwrap(),
        Some(Running {
            pid: std::process::id()
        })
    );
    drop(lock);
    assert_eq!(probe(&state).unwrap(), None);
}

#[test]
fn a_pid_file_that_floodmark_did_not_write_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (pid_file, guard_file) = (folder.path().join(PID_FILE), folder.path().join(GUARD_FILE));
    std::fs::write(&pid_file, "1\n").unwrap();
    std::fs::write(guard_file, "").unwrap();
    assert_eq!(
        stop(folder.path(), Duration::from_secs(5)).unwrap(),
        Stopped::NotRunning
    );
    std::fs::write(&pid_file, "not a number\n").unwrap();
    let other = File::open(&pid_file).unwrap();
    other.lock().unwrap();
    assert!(matches!(
        stop(folder.path(), Duration::from_secs(5)),
        Err(DaemonError::Nameless(_))
    ));
}

#[test]
fn stop_ends_the_run_or_says_that_it_still_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = hold(folder.path());
    let pid = child.id();
    assert_eq!(
        stop(folder.path(), Duration::from_secs(30)).unwrap(),
        Stopped::Ended { pid }
    );
    child.wait().unwrap();
    let mut child = hold_by(
        Command::new(std::env::current_exe().unwrap())
            .env(ROLE, folder.path())
            .env(STUBBORN, "1"),
    );
    let pid = child.id();
    let still = Ok(Stopped::StillRunning { pid });
    assert_eq!(
        stop(folder.path(), Duration::ZERO).map_err(|error| error.to_string()),
        still
    );
    assert_eq!(probe(folder.path()).unwrap(), Some(Running { pid }));
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(probe(folder.path()).unwrap(), None);
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_launch_waits_for_the_word_and_not_longer() {
    let folder = tempfile::tempdir().unwrap();
    // Its standard input is empty: it ends by itself.
    let ready = launch(
        shell("echo starting; echo ready; cat"),
        folder.path(),
        Duration::from_secs(30),
    )
    .unwrap();
    assert!(matches!(ready, Launched::Ready { .. }), "{ready:?}");
    let late = launch(
        shell("exec sleep 2"),
        folder.path(),
        Duration::from_millis(10),
    )
    .unwrap();
    assert!(matches!(late, Launched::Starting { .. }), "{late:?}");
}

#[test]
fn a_launch_that_dies_says_why_and_not_what_an_earlier_one_said() {
    let folder = tempfile::tempdir().unwrap();
    for (word, code) in [("old", 1), ("new", 78)] {
        let script = format!("echo {word} words >&2; exit {code}");
        match launch(shell(&script), folder.path(), Duration::from_secs(30)).unwrap() {
            Launched::Died { status, why } => {
                assert_eq!((status.code(), why), (Some(code), format!("{word} words")))
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        std::fs::read_to_string(folder.path().join(LOG_FILE)).unwrap(),
        "old words\nnew words\n"
    );
}

#[test]
fn what_is_no_program_can_not_be_launched() {
    let folder = tempfile::tempdir().unwrap();
    let error = launch(
        Command::new("/no/such/program"),
        folder.path(),
        Duration::from_secs(1),
    )
    .unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

#[test]
fn a_state_folder_that_is_made_here_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("above/state");
    let _lock = RunLock::acquire(&state).unwrap();
    let mode = std::fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
