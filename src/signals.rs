//! SIGTERM and SIGINT end the run gracefully, the second one at once; SIGHUP reads the configuration again.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Handles the signals from now on. The flag that comes back is true once the run is to stop; `on_stop` wakes whoever waits
/// and is called once, `on_reload` at each SIGHUP, both on a thread of their own where nothing is forbidden. A second
/// SIGTERM or SIGINT ends the process with 143 or 130 without asking any thread. Call it once in a process.
pub fn install(
    on_stop: impl FnOnce() + Send + 'static,
    on_reload: impl Fn() + Send + 'static,
) -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let reload = Arc::new(AtomicBool::new(false));
    let (mut wake, write) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        // First the exit, then the flag: the first signal finds the flag unset. The byte comes last, when the flag is set.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
        low_level::pipe::register(signal, write.try_clone()?)?;
    }
    flag::register(SIGHUP, Arc::clone(&reload))?;
    low_level::pipe::register(SIGHUP, write)?;

    let stopping = Arc::clone(&stop);
    let mut on_stop = Some(on_stop);
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut byte = [0];
            while wake.read_exact(&mut byte).is_ok() {
                if stopping.load(Ordering::SeqCst)
                    && let Some(on_stop) = on_stop.take()
                {
                    tracing::info!("stopping; a second signal ends at once");
                    on_stop();
                }
                if reload.swap(false, Ordering::SeqCst) {
                    on_reload();
                }
            }
        })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;

    const ROLE: &str = "SIGNALS_TEST_CHILD";

    /// What the other test starts: signals belong to a process, and the test harness is one.
    #[test]
    fn child() {
        if std::env::var_os(ROLE).is_none() {
            return;
        }
        let stop = install(|| println!("asked to stop"), || println!("asked to reload")).unwrap();
        println!("installed {}", stop.load(Ordering::SeqCst));
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn the_first_signal_asks_and_the_second_ends() {
        for (signal, status) in [("-TERM", 143), ("-INT", 130)] {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "signals::tests::child", "--nocapture"])
                .env(ROLE, "1")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let send = |signal: &str, pid: u32| {
                assert!(
                    Command::new("kill")
                        .args([signal, &pid.to_string()])
                        .status()
                        .unwrap()
                        .success()
                );
            };
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut expect = |text: &str| {
                assert!(
                    lines
                        .by_ref()
                        .map_while(Result::ok)
                        .any(|line| line.ends_with(text)),
                    "{text}"
                );
            };
            expect("installed false");
            send("-HUP", child.id());
            expect("asked to reload");
            send(signal, child.id());
            expect("asked to stop");
            send("-HUP", child.id());
            expect("asked to reload");
            send(signal, child.id());
            let ended = child.wait().unwrap();
            assert_eq!((ended.code(), ended.signal()), (Some(status), None));
        }
    }
}
