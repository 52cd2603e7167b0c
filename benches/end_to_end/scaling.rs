//! One worker, two workers, two processes: the program as its user starts it. Beside it the bare model with one session and with two:
//! what two cores have to give is not twice what one has, if they share caches, memory or a host.

use std::net::TcpListener;

use super::bench::Bench;
use super::corpus;
use super::process;
use super::results::Row;

/// One and two of everything.
pub fn measure(bench: &Bench) {
    let mut texts = corpus::passages(&bench.arguments);
    texts.truncate(bench.arguments.scaling);
    let input = bench.path("scaling");
    corpus::write_many(&input, &texts);
    let flags = |workers: usize, sessions: usize| {
        let pairs = [("--workers", workers), ("--sessions", sessions)];
        pairs
            .map(|(name, value)| [name.to_owned(), value.to_string()])
            .concat()
    };
    let (mut alone, mut threads, mut processes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bare_alone, mut bare_threads) = (Vec::new(), Vec::new());
    let rate = |seconds: f64| texts.len() as f64 / seconds;
    let bare = |sessions: usize| rate(bench.embed_alone(&texts, sessions).0);
    for round in bench.rounds() {
        bare_alone.push(bare(1));
        bare_threads.push(bare(2));
        let state = |name: &str| bench.path(&format!("scaling-{name}-{round}"));
        alone.push(rate(
            process::once(&input, &state("1"), &flags(1, 1)).seconds,
        ));
        threads.push(rate(
            process::once(&input, &state("2"), &flags(2, 2)).seconds,
        ));
        let (hosts, state) = (bench.path("hosts"), state("2p"));
        std::fs::write(&hosts, free_addresses()).expect("a file of hosts");
        let cluster = |number: usize| {
            let mut all = flags(1, 1);
            all.extend(["--processes", "2", "--hosts"].map(str::to_owned));
            all.push(hosts.display().to_string());
            all.extend(["--process".to_owned(), number.to_string()]);
            all.extend(["--input".to_owned(), input.display().to_string()]);
            process::start(&["run", "--once"], &state, &all)
        };
        let mut second = cluster(1);
        let first = process::watch(cluster(0));
        assert!(second.wait().expect("a child").success());
        processes.push(rate(first.seconds));
    }
    let one = ("1 worker, 1 session", alone);
    for (what, samples, limit) in [
        ("2 workers, 2 sessions", threads, one.clone()),
        ("2 processes, 1 worker and 1 session each", processes, one),
        (
            "bare embed loop, 2 sessions",
            bare_threads,
            ("1 session", bare_alone),
        ),
    ] {
        bench.row(
            "scaling",
            Row {
                what,
                unit: "texts/s",
                more_is_better: true,
                samples,
                limit: Some(limit),
                input: format!("{} passages, whole processes", texts.len()),
            },
        );
    }
}

/// Two ports that nobody has now, a line each.
fn free_addresses() -> String {
    let free = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (first, second) = (free(), free());
    let line = |listener: &TcpListener| format!("{}\n", listener.local_addr().expect("an address"));
    line(&first) + &line(&second)
}
