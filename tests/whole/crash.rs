//! The program is killed at moments that are chosen by how far it has come, and goes on from there.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::support::{Place, builtin, poll, records, wait};
use floodmark::store::row::Resume;

/// A child that does not outlive its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(place: &Place, more: &[&str]) -> Program {
    let arguments: Vec<&str> = ["run", "--epoch-target-ms", "50"]
        .iter()
        .chain(more)
        .copied()
        .collect();
    Program(
        place
            .program(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

/// Waits until so many texts have a durable vector; true if the program still runs then.
fn embedded(place: &Place, program: &mut Program, texts: u64) -> bool {
    wait(&format!("{texts} vectors"), poll, || {
        if program.0.try_wait().unwrap().is_some() {
            return Ok(false);
        }
        let count = place
            .snapshot()
            .map_or(0, |snapshot| snapshot.status().unwrap().embeddings);
        if count >= texts {
            Ok(true)
        } else {
            Err(format!("{count}"))
        }
    })
}

/// Every vector there is: the text's label, and the vector to the bit. One that were made again could not be told from the
/// first by its numbers, but by its label and by the epoch in which it joined.
fn joined(place: &Place) -> BTreeMap<i64, u64> {
    let snapshot = place.snapshot().unwrap();
    snapshot
        .changes(0)
        .unwrap()
        .into_iter()
        .map(|change| (change.label, change.epoch))
        .collect()
}

/// Runs until everything is indexed.
fn finish(place: &Place) {
    let status = start(place, &["--once"]).0.wait().unwrap();
    assert!(status.success(), "{status}");
}

fn many_files(place: &Place) {
    for number in 0..60 {
        fs::write(
            place.files().join(format!("{number:02}.jsonl")),
            records(number * 5, 5),
        )
        .unwrap();
    }
}

#[test]
fn a_program_that_is_killed_goes_on_where_it_was() {
    let (place, model) = (Place::new(), builtin());
    many_files(&place);
    let mut seen = BTreeMap::new();
    let mut kills = 0;
    for texts in [1, 40, 120, 200] {
        let mut program = start(
            &place,
            &["--once", "--workers", if texts == 40 { "3" } else { "1" }],
        );
        if embedded(&place, &mut program, texts) {
            program.0.kill().unwrap(); // SIGKILL, to its own process
            kills += 1;
        }
        drop(program);
        let now = joined(&place);
        assert!(
            seen.iter()
                .all(|(label, epoch)| now.get(label) == Some(epoch)),
            "what was durable was done again"
        );
        seen = now;
    }
    assert!(kills >= 2, "it was too fast to be killed");
    finish(&place);
    let now = joined(&place);
    assert!(
        seen.iter()
            .all(|(label, epoch)| now.get(label) == Some(epoch)),
        "what was durable was done again"
    );
    assert_eq!(now.len(), 300);
    place.is_right(&place.expected(&model));
}

#[test]
fn a_program_that_is_told_to_stop_ends_well_within_five_seconds_and_resumes() {
    let (place, model) = (Place::new(), builtin());
    many_files(&place);
    let mut program = start(&place, &[]);
    assert!(embedded(&place, &mut program, 20));
    let told = Instant::now();
    let pid = rustix::process::Pid::from_child(&program.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = program.0.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(
        told.elapsed() < Duration::from_secs(5),
        "{:?}",
        told.elapsed()
    );
    let before = joined(&place);
    finish(&place);
    let after = joined(&place);
    assert!(
        before
            .iter()
            .all(|(label, epoch)| after.get(label) == Some(epoch))
    );
    place.is_right(&place.expected(&model));
}

/// Where the reading of a file stands, and the epoch in which each of its segments took its place.
fn reading(place: &Place, name: &str) -> Option<(Option<Resume>, BTreeMap<u32, u64>)> {
    let snapshot = place.snapshot()?;
    let root = place.files().canonicalize().unwrap();
    let detail = snapshot.file(&root, name.as_ref()).unwrap()?;
    let resume = detail.file?.partial.map(|partial| partial.resume);
    Some((
        resume,
        detail
            .segments
            .into_iter()
            .map(|segment| (segment.slot, segment.added))
            .collect(),
    ))
}

/// Lets the program begin with the file, and kills it in the middle: where it was then.
fn killed_in_the_middle(place: &Place, name: &str, bytes: &str) -> (Resume, BTreeMap<u32, u64>) {
    fs::write(place.files().join(name), bytes).unwrap();
    let mut program = start(place, &["--once"]);
    let reached = wait("the middle of the file", poll, || {
        assert!(
            program.0.try_wait().unwrap().is_none(),
            "it was too fast to be killed"
        );
        match reading(place, name) {
            Some((Some(resume), segments)) if resume.offset > 0 => Ok((resume, segments)),
            _ => Err("not there yet".to_owned()),
        }
    });
    program.0.kill().unwrap();
    drop(program);
    assert!(reached.0.offset < bytes.len() as u64);
    reached
}

/// Few texts, often repeated: it is the reading that is long.
fn gauges(separator: &str) -> String {
    let record = |at: usize| format!("{{\"n\":{at},\"text\":\"gauge {}\"}}", at / 60);
    (0..6000).map(record).collect::<Vec<_>>().join(separator)
}

#[test]
fn a_large_file_resumes_in_the_middle() {
    let (place, model) = (Place::new(), builtin());
    let (resume, segments) = killed_in_the_middle(&place, "large.jsonl", &gauges("\n"));
    assert!(resume.segment as usize <= segments.len());
    finish(&place);
    let (done, after) = reading(&place, "large.jsonl").unwrap();
    assert_eq!(done, None);
    assert_eq!(after.len(), 6000 / 50);
    for (slot, added) in &segments {
        assert_eq!(
            after.get(slot),
            Some(added),
            "segment {slot} was read again"
        );
    }
    place.is_right(&place.expected(&model));
}

#[test]
fn a_large_file_that_turns_bad_in_the_middle_leaves_nothing_of_it() {
    let (place, model) = (Place::new(), builtin());
    let list = format!("[{}]", gauges(",\n"));
    killed_in_the_middle(&place, "list.json", &list);
    fs::write(place.files().join("list.json"), "{\"text\": ").unwrap();
    finish(&place);
    assert_eq!(
        reading(&place, "list.json").unwrap(),
        (None, BTreeMap::new())
    );
    place.is_right(&place.expected(&model));
}

/// For a moment after a kill the socket still takes calls. A search then answers from the index itself.
#[test]
fn a_search_answers_although_the_run_has_just_died() {
    use std::os::unix::net::UnixListener;
    use std::process::Command;
    let place = Place::new();
    fs::write(
        place.files().join("note.txt"),
        "The grey hose leaked behind the cabinet.",
    )
    .unwrap();
    finish(&place);
    let socket = UnixListener::bind(place.state().join("control.sock")).unwrap();
    let dying = std::thread::spawn(move || drop(socket.accept().unwrap()));
    let mut search = Command::new(env!("CARGO_BIN_EXE_floodmark"));
    search
        .args(["search", "a hose that leaks", "--json", "--state"])
        .arg(place.state())
        .current_dir(place.0.path());
    let output = search.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("note.txt"));
    dying.join().unwrap();
}
