//! One worker, four threads and two processes: the same index to the last bit, and each goes on where another stopped.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::support::{ExportLine, Place, builtin, copy_corpus, exported, poll, records, wait};

/// Who works on it.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Worker,
    Threads,
    Processes,
}

const ALL: [Layout; 3] = [Layout::Worker, Layout::Threads, Layout::Processes];

/// Two addresses that are free now.
fn hosts(place: &Place) -> PathBuf {
    let sockets: Vec<TcpListener> = (0..2)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let lines: String = sockets
        .iter()
        .map(|socket| socket.local_addr().unwrap().to_string() + "\n")
        .collect();
    let file = place.0.path().join("hosts");
    fs::write(&file, lines).unwrap();
    file
}

fn ends_well(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn spawn(mut command: Command) -> Child {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Indexes the folder as it is.
fn index(place: &Place, layout: Layout) {
    match layout {
        Layout::Worker => ends_well(spawn(place.program(&["run", "--once", "--workers", "1"]))),
        Layout::Threads => ends_well(spawn(place.program(&["run", "--once", "--workers", "4"]))),
        Layout::Processes => {
            let hosts = hosts(place);
            let start = |process: &str| {
                let hosts = hosts.to_str().unwrap();
                spawn(place.program(&[
                    "run",
                    "--once",
                    "--processes",
                    "2",
                    "--process",
                    process,
                    "--hosts",
                    hosts,
                ]))
            };
            let children = [start("0"), start("1")];
            children.into_iter().for_each(ends_well);
        }
    }
}

fn fill(folder: &Path) {
    copy_corpus(&folder.join("corpus"));
    fs::write(folder.join("gauge.jsonl"), records(0, 200)).unwrap();
}

/// Something of everything: an edit, an append, a move, a copy, a deletion, a new file.
fn change(folder: &Path, round: usize) {
    fs::write(
        folder.join("corpus/new.txt"),
        format!("A boat came in on the flood of day {round}."),
    )
    .unwrap();
    let gauge = folder.join("gauge.jsonl");
    let longer = fs::read_to_string(&gauge).unwrap() + &records(1000 * round, 7);
    fs::write(&gauge, longer).unwrap();
    let (old, new) = (
        format!("moved-{}.jsonl", round - 1),
        format!("moved-{round}.jsonl"),
    );
    match round {
        1 => fs::copy(&gauge, folder.join(new)).map(drop).unwrap(),
        _ => fs::rename(folder.join(old), folder.join(new)).unwrap(),
    }
    let gone = [
        "corpus/code/lru.rs",
        "corpus/travel/packing.txt",
        "corpus/recipes/box.json",
    ];
    fs::remove_file(folder.join(gone[round % 3])).unwrap();
}

type Export = (Vec<ExportLine>, Vec<Option<String>>);

fn export(place: &Place) -> Export {
    exported(&place.snapshot().expect("a store"))
}

#[test]
fn every_layout_gives_the_same_index_and_takes_over_from_every_other() {
    let model = builtin();
    let places = ALL.map(|_| Place::new());
    let mut exports: Vec<Export> = Vec::new();
    for (place, layout) in places.iter().zip(ALL) {
        fill(&place.files());
        index(place, layout);
        place.is_right(&place.expected(&model));
        exports.push(export(place));
    }
    assert!(
        exports.iter().all(|export| *export == exports[0]),
        "vectors included"
    );
    // Each folder goes from hand to hand.
    for round in 1..=2 {
        let mut exports: Vec<Export> = Vec::new();
        for (number, place) in places.iter().enumerate() {
            change(&place.files(), round);
            index(place, ALL[(number + round) % 3]);
            place.is_right(&place.expected(&model));
            exports.push(export(place));
        }
        assert!(
            exports.iter().all(|export| *export == exports[0]),
            "round {round}, vectors included"
        );
    }
}

/// A process of a cluster of two that goes on watching.
fn member(place: &Place, hosts: &Path, process: &str, more: &[&str]) -> Child {
    let mut command = place.program(&["run", "--processes", "2", "--process", process]);
    command.arg("--hosts").arg(hosts).args(more);
    spawn(command)
}

/// The last words of a process that must end by itself.
fn last_words(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_process_whose_cluster_never_comes_together_ends_and_says_so() {
    let place = Place::new();
    let hosts = hosts(&place);
    for process in ["0", "1"] {
        let alone = member(&place, &hosts, process, &["--cluster-timeout", "1s"]);
        let said = last_words(alone);
        let expected = format!("did not come together within 1 s: process {process} of 127.0.0.1:");
        assert!(said.contains(&expected), "{said}");
        assert!(said.contains("cluster-timeout"), "{said}");
    }
}

#[test]
fn a_process_that_dies_ends_the_whole_cluster() {
    for dies in [0, 1] {
        let place = Place::new();
        fs::write(place.files().join("gauge.jsonl"), records(0, 20)).unwrap();
        let hosts = hosts(&place);
        let mut members = vec![
            member(&place, &hosts, "0", &[]),
            member(&place, &hosts, "1", &[]),
        ];
        wait("both to work together", poll, || {
            let live = place
                .snapshot()
                .map(|snapshot| snapshot.status().unwrap().live);
            (live == Some(20)).then_some(()).ok_or(format!("{live:?}"))
        });
        let mut dead = members.remove(dies);
        dead.kill().unwrap();
        dead.wait().unwrap();
        let said = last_words(members.remove(0));
        assert!(
            said.contains("another process of the cluster has ended"),
            "{said}"
        );
        assert!(!said.contains("a defect of floodmark"), "{said}");
    }
}
