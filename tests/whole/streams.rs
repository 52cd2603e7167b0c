//! A folder as it really changed: a recorded stream of edits, applied while a run watches.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use floodmark::store::escape_path;
use floodmark::worker::Mode;

use super::support::{Asked, Place, Words, difference, wait};

#[derive(serde::Deserialize)]
struct Event {
    op: String,
    path: PathBuf,
    old_path: Option<PathBuf>,
    text: Option<String>,
}

/// Where the stream is, if it is anywhere.
fn stream() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/streams/slatedb-md");
    let folder = std::env::var_os("SLATEDB_MD").map_or(default, PathBuf::from);
    folder.join("events.jsonl").is_file().then_some(folder)
}

fn apply(event: &Event, root: &Path) {
    let at = root.join(&event.path);
    if let Some(old) = &event.old_path {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let _ = fs::rename(root.join(old), &at);
    }
    match (event.op.as_str(), &event.text) {
        ("delete", _) => fs::remove_file(at).unwrap(),
        (_, Some(text)) => {
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, text).unwrap();
        }
        _ => {}
    }
}

#[test]
fn the_recorded_stream_ends_in_its_final_state() {
    let Some(folder) = stream() else {
        // Not through the captured output: nobody should think that it ran.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED the_recorded_stream_ends_in_its_final_state: no stream; name its folder in SLATEDB_MD"
        );
        return;
    };
    let events: Vec<Event> = fs::read_to_string(folder.join("events.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (place, asked) = (Place::new(), Asked::default());
    let mut options = place.options(Mode::Watch, 2);
    options.sources.hidden = true;
    let sources = options.sources.clone();
    let run = place.start(options, &asked);
    let handle = run.handle();
    for batch in events.chunks(events.len().div_ceil(6)) {
        batch.iter().for_each(|event| apply(event, &place.files()));
        let expected =
            super::support::oracle(&sources, &place.state(), &Default::default(), &Words);
        wait(
            "the index to follow",
            |until| handle.progress().wait_for_commit(until),
            || match place.snapshot() {
                _ if !handle.progress().scanned() || handle.progress().files() > 0 => {
                    Err("behind".to_owned())
                }
                None => Err("nothing is committed".to_owned()),
                Some(snapshot) => difference(&snapshot, &expected).map_or(Ok(()), Err),
            },
        );
    }
    handle.stop();
    run.join().unwrap();

    let table = fs::read_to_string(folder.join("final_state.tsv")).unwrap();
    let rows: BTreeMap<&str, (u64, &str)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (columns[0], (columns[1].parse().unwrap(), columns[2]))
        })
        .collect();
    let snapshot = place.snapshot().unwrap();
    let indexed = snapshot.files(Some("indexed")).unwrap();
    let paths: BTreeSet<String> = indexed
        .iter()
        .map(|file| escape_path(&file.path).to_string())
        .collect();
    assert_eq!(paths, rows.keys().map(|path| (*path).to_owned()).collect());
    for file in &indexed {
        let path = escape_path(&file.path).to_string();
        assert_eq!(file.identity.unwrap().size, rows[path.as_str()].0, "{path}");
    }
    // What the index was compared with is what the table says.
    let sums: String = rows
        .iter()
        .map(|(path, (_, sum))| format!("{sum}  {path}\n"))
        .collect();
    let mut check = Command::new("sha256sum")
        .args(["--check", "--quiet", "-"])
        .current_dir(place.files())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    check
        .stdin
        .take()
        .unwrap()
        .write_all(sums.as_bytes())
        .unwrap();
    assert!(check.wait().unwrap().success());
}
