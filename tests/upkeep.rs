//! What keeps an index honest: plan, verify, repair, doctor, a run in the background and its configuration.

#[path = "shared/place.rs"]
mod place;

use std::process::Command;

use place::{Place, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};

const CORPUS: &[(&str, &str)] = &[
    (
        "tide.md",
        "# The tide\n\nTwice a day the sea comes up to the wall.\n\n## Why\n\nThe moon pulls at the water.\n",
    ),
    (
        "notes/bread.txt",
        "Knead the dough for ten minutes and let it rest overnight.\n",
    ),
    (
        "log.jsonl",
        "{\"id\":\"a\",\"title\":\"First\",\"text\":\"the pump failed at noon\"}\n\
         {\"id\":\"b\",\"text\":\"the level rose by a metre\"}\n\
         {\"id\":\"c\",\"text\":\"the gate was closed by hand\"}\n",
    ),
];

fn store(place: &Place) -> Connection {
    Connection::open(place.path(".floodmark/store.sqlite")).unwrap()
}

fn signal(name: &str, pid: u64) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// The last part of each path and what the plan says of it.
fn changes(plan: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let last = |path: String| path.rsplit('/').next().unwrap().to_owned();
    let changes = plan["changes"].as_array().unwrap();
    changes
        .iter()
        .map(|one| (last(text(&one["path"])), text(&one["change"])))
        .collect()
}

#[test]
fn a_plan_says_what_the_run_then_does() {
    let place = Place::with(CORPUS);
    let plan = place.json(&["plan"], 0);
    assert_eq!(
        plan["files"],
        json!({"new": 3, "changed": 0, "moved": 0, "gone": 0, "unchanged": 0})
    );
    assert!(!place.path(".floodmark").exists(), "a plan makes no state");
    assert!(plan["estimated_seconds"].as_f64().unwrap() > 0.0);
    place.says(&["run", "--once"], 0);
    let status = place.json(&["status"], 0);
    assert_eq!(plan["chunks_to_embed"], status["embeddings"]);

    let settled = place.json(&["plan"], 0);
    assert_eq!(settled["files"]["unchanged"], 3);
    assert_eq!(
        (
            &settled["chunks_to_embed"],
            &settled["changes"],
            &settled["bytes"]
        ),
        (&json!(0), &json!([]), &json!(0))
    );

    let raw = |name: &str| place.path("raw").join(name);
    std::fs::rename(raw("notes/bread.txt"), raw("loaf.txt")).unwrap();
    std::fs::copy(raw("tide.md"), raw("copy.md")).unwrap();
    std::fs::remove_file(raw("log.jsonl")).unwrap();
    place.write("new.txt", "A heron stands in the reeds.\n");
    place.write(
        "tide.md",
        "# The tide\n\nThree times a day, since Tuesday.\n",
    );
    let plan = place.json(&["plan"], 0);
    let expected = [
        ("copy.md", "new"),
        ("loaf.txt", "moved"),
        ("log.jsonl", "gone"),
        ("new.txt", "new"),
        ("tide.md", "changed"),
    ];
    let expected: Vec<(String, String)> = expected
        .iter()
        .map(|(path, change)| ((*path).to_owned(), (*change).to_owned()))
        .collect();
    assert_eq!(changes(&plan), expected);
    assert_eq!(
        plan["chunks_to_embed"], 2,
        "a move and a copy embed nothing: {plan}"
    );
    assert_eq!(place.json(&["status"], 0)["epoch"], status["epoch"]);
    let vectors = |place: &Place| -> i64 {
        let count = "SELECT count(*) FROM embeddings";
        store(place).query_row(count, [], |row| row.get(0)).unwrap()
    };
    let before = vectors(&place);
    place.says(&["run", "--once"], 0);
    assert_eq!(
        vectors(&place) - before,
        2,
        "the run did what the plan said"
    );

    let people = place.says(&["plan"], 0);
    assert!(
        people.contains("0 new, 0 changed, 0 moved, 0 gone, 4 unchanged"),
        "{people}"
    );
}

#[test]
fn a_plan_of_other_settings_reads_again_and_embeds_what_they_change() {
    let place = Place::with(CORPUS);
    place.says(&["run", "--once"], 0);
    let plan = place.json(&["plan", "--max-tokens", "8"], 0);
    assert_eq!(
        plan["files"]["unchanged"], 3,
        "the files are as they were: {plan}"
    );
    assert!(plan["chunks_to_embed"].as_u64().unwrap() > 0, "{plan}");
    std::fs::remove_dir_all(place.path("raw")).unwrap();
    place.says(&["plan"], 2);
}

#[track_caller]
fn differs(verdict: &Value, between: &str, subject: &str, message: &str) {
    let found = verdict["differences"].as_array().unwrap();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    assert!(
        found.iter().any(|one| text(one, "between") == between
            && text(one, "subject").ends_with(subject)
            && text(one, "message").contains(message)),
        "no {between} of {subject} with {message:?} in {verdict:#}"
    );
}

#[test]
fn verify_names_every_difference_between_files_and_store() {
    let place = Place::with(CORPUS);
    place.write("bad.json", "{\"text\": ");
    place.write("empty.txt", "");
    place.says(&["run", "--once"], 0);
    let verdict = place.json(&["verify"], 0);
    assert_eq!(
        (&verdict["equal"], &verdict["files"]),
        (&json!(true), &json!(5))
    );
    assert_eq!(
        verdict["embeddings"],
        place.json(&["status"], 0)["embeddings"]
    );
    assert_eq!(verdict["not_looked"], json!([]));

    std::fs::remove_file(place.path("raw/notes/bread.txt")).unwrap();
    place.write("tide.md", "# The tide\n\nIt stays out.\n");
    place.write("more.txt", "One more.\n");
    place.write("bad.json", "{\"text\": \"mended\"}");
    let verdict = place.json(&["verify"], 1);
    assert_eq!(
        verdict["differences"].as_array().unwrap().len(),
        4,
        "{verdict:#}"
    );
    differs(
        &verdict,
        "sources-store",
        "raw/notes/bread.txt",
        "not (or no longer selected) on the disk",
    );
    differs(&verdict, "sources-store", "raw/tide.md", "other bytes");
    differs(
        &verdict,
        "sources-store",
        "raw/more.txt",
        "not in the store",
    );
    differs(
        &verdict,
        "sources-store",
        "raw/bad.json",
        "it can be read, and the store says that it can't",
    );
    let people = place.says(&["verify"], 1);
    assert!(
        people.ends_with("vectors\n") && people.contains("\ndifferent at epoch "),
        "{people}"
    );
    place.says(&["run", "--once"], 0);
    place.says(&["verify"], 0);
    std::fs::rename(place.path("raw"), place.path("away")).unwrap();
    let verdict = place.json(&["verify"], 2);
    assert!(
        verdict["not_looked"][0]["subject"]
            .as_str()
            .unwrap()
            .ends_with("raw"),
        "{verdict}"
    );
}

#[test]
fn verify_sees_bytes_that_changed_behind_the_same_stat_and_repairs_the_store() {
    let place = Place::with(CORPUS);
    place.says(&["run", "--once"], 0);
    let before = place.json(&["search", "who closed the gate"], 0);
    let text = |part: &str| format!("(SELECT id FROM texts WHERE text LIKE '%{part}%')");
    let damages = [
        // Another title than the bytes give.
        "UPDATE documents SET title = 'Second' WHERE title = 'First'".to_owned(),
        // A hash that stands for other bytes, and the stat that hides it.
        "UPDATE contents SET hash = randomblob(16), key = randomblob(16) WHERE format = 'markdown'".to_owned(),
        format!("UPDATE embeddings SET vector = zeroblob(length(vector)) WHERE text_id = {}", text("closed by hand")),
        format!("DELETE FROM live WHERE text_id = {}", text("Knead")),
        "DELETE FROM segments WHERE path_id = (SELECT id FROM paths WHERE path = 'notes/bread.txt')".to_owned(),
    ];
    let damaged = store(&place);
    for damage in damages {
        assert!(damaged.execute(&damage, []).unwrap() > 0, "{damage}");
    }
    drop(damaged);
    let verdict = place.json(&["verify"], 1);
    differs(
        &verdict,
        "sources-store",
        "log.jsonl",
        "documents or chunks",
    );
    differs(&verdict, "sources-store", "tide.md", "other bytes");
    differs(
        &verdict,
        "sources-store",
        "notes/bread.txt",
        "segment 0 is missing",
    );
    differs(&verdict, "store", "vector-unfit", "its norm is 0");
    differs(&verdict, "store", "segments-incomplete", "notes/bread.txt");
    differs(
        &verdict,
        "store",
        "changelog-differs-from-index",
        "in the index: 0",
    );

    let verdict = place.json(&["verify", "--repair"], 0);
    assert_eq!(verdict["equal"], true);
    let found = verdict["differences"].as_array().unwrap();
    assert!(
        !found.is_empty() && found.iter().all(|one| one["repaired"] == true),
        "{verdict:#}"
    );
    place.says(&["verify"], 0);
    // What was mended is what it was, but for the epoch in which it came to its place.
    let settled = |mut found: serde_json::Value| {
        for hit in found["hits"].as_array_mut().unwrap() {
            hit["since"].take();
        }
        found["hits"].take()
    };
    let after = place.json(&["search", "who closed the gate"], 0);
    assert_eq!(settled(before), settled(after));
    place.says(&["verify", "--repair"], 0);
}

#[test]
fn verify_sees_a_bad_view_and_repairs_it() {
    let place = Place::with(CORPUS);
    place.says(&["start", "--changes-min", "1"], 0);
    wait_until("a build of the view", || {
        place.json(&["status"], 0)["last_build"].is_string()
    });
    place.says(&["verify"], 0);
    place.says(&["stop"], 0);
    place.says(&["verify"], 0);
    let view = place.path(".floodmark/vectors");
    let current = std::fs::read_to_string(view.join("current")).unwrap();
    let index = view.join("builds").join(current.trim()).join("index.faiss");
    let mut bytes = std::fs::read(&index).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&index, bytes).unwrap();
    let verdict = place.json(&["verify"], 1);
    differs(
        &verdict,
        "store-vectors",
        "build",
        "index.faiss is not usable: its checksum differs",
    );
    place.says(&["verify", "--repair"], 0);
    place.says(&["verify"], 0);
}

#[test]
fn verify_is_honest_while_a_run_is_alive() {
    let place = Place::with(CORPUS);
    place.says(&["start"], 0);
    for round in 0..3 {
        for file in 0..20 {
            place.write(
                &format!("f{file}.txt"),
                &format!("Round {round}, file {file}.\n"),
            );
        }
        std::fs::remove_file(place.path(format!("raw/f{round}.txt"))).unwrap();
        let output = place.run(&["verify", "--json"]);
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            verdict["differences"],
            json!([]),
            "round {round}: what is on its way is no difference"
        );
        assert_ne!(output.status.code(), Some(1));
    }
    let refused = place.run(&["verify", "--repair"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop it first"));
    place.json(&["plan"], 0);
    wait_until("everything is settled", || {
        place.run(&["verify"]).status.code() == Some(0)
    });
    place.says(&["stop"], 0);
    place.says(&["verify"], 0);
}

#[test]
fn a_run_in_the_background_is_killed_and_goes_on() {
    let place = Place::with(CORPUS);
    let started = place.says(&["start"], 0);
    let status = place.json(&["status"], 0);
    let pid = status["pid"].as_u64().unwrap();
    assert!(
        started.starts_with(&format!("running: process {pid},")),
        "{started}"
    );
    assert_eq!(status["running"], true);
    wait_until("the corpus is indexed", || {
        place.json(&["status"], 0)["files"]["indexed"] == 3
    });
    assert_eq!(
        place.json(&["search", "baking"], 0)["hits"][0]["other_paths"],
        json!([])
    );
    place.write("late.txt", "Written just before the end.\n");
    signal("-KILL", pid);
    wait_until("the process is gone", || {
        place.json(&["status"], 0)["running"] == false
    });
    let dead = place.json(&["status"], 0);
    assert_eq!(
        (&dead["pid"], &dead["lag"]["files"]),
        (&Value::Null, &Value::Null)
    );
    assert!(
        dead["files"]["indexed"].as_u64().unwrap() >= 3,
        "what was committed is there: {dead}"
    );
    place.says(&["search", "baking"], 0);

    let started = place.says(&["start"], 0);
    assert!(!started.contains(&pid.to_string()), "{started}");
    wait_until("what came meanwhile is indexed", || {
        place.json(&["status"], 0)["files"]["indexed"] == 4
    });
    assert!(
        place
            .says(&["start"], 0)
            .starts_with("already running: process ")
    );
    assert!(place.says(&["stop"], 0).starts_with("stopped: process "));
    assert_eq!(place.says(&["stop"], 0), "not running\n");
    assert_eq!(place.json(&["status"], 0)["running"], false);
    place.says(&["verify"], 0);
}

#[test]
fn a_configuration_is_read_again_on_sighup_and_a_bad_one_is_not_taken_up() {
    let place = Place::with(&[]);
    place.says(&["start"], 0);
    let pid = place.json(&["status"], 0)["pid"].as_u64().unwrap();
    let reload = |settings: &str, logged: &str| {
        let settings = format!("input = [\"raw\"]\n{settings}");
        std::fs::write(place.path("floodmark.toml"), settings).unwrap();
        signal("-HUP", pid);
        wait_until(logged, || place.log().contains(logged));
    };
    reload(
        "[chunks]\nmax-tokns = 3\n",
        "the run goes on by the old one",
    );
    assert!(
        place.log().contains("did you mean max-tokens?"),
        "{}",
        place.log()
    );
    reload(
        "[index]\nthreshold = 0.5\n",
        "taken up by the next start only",
    );
    assert!(place.log().contains("threshold"), "{}", place.log());
    assert!(!place.log().contains("DEBUG"));
    reload(
        "[logs]\nlog = \"debug\"\n[sources]\nrescan = \"600s\"\n",
        "rescan, log",
    );
    place.write("one.txt", "A commit is worth a line at this level.\n");
    wait_until("a line of the new level", || place.log().contains("DEBUG"));
    place.says(&["stop"], 0);
}

fn check<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let checks = diagnosis["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {diagnosis:#}"))
}

#[test]
fn doctor_looks_at_everything_and_says_what_to_mend() {
    let place = Place::with(CORPUS);
    let diagnosis = place.json(&["doctor"], 0);
    for name in [
        "configuration",
        "cpu",
        "runtime",
        "model",
        "inputs",
        "watches",
        "disk",
        "state",
    ] {
        let check = check(&diagnosis, name);
        assert_ne!(check["verdict"], "bad", "{check}");
        assert_eq!(check["advice"] == "", check["verdict"] == "good", "{check}");
    }
    let model = check(&diagnosis, "model")["found"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        model.contains("384 numbers a vector") && model.contains("tokens/s"),
        "{model}"
    );
    assert!(!place.path(".floodmark").exists(), "a look changes nothing");

    place.says(&["start"], 0);
    let pid = place.json(&["status"], 0)["pid"].to_string();
    let diagnosis = place.json(&["doctor"], 0);
    let state = check(&diagnosis, "state")["found"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        state.contains("schema 3") && state.contains(&format!("process {pid}")),
        "{state}"
    );
    place.says(&["stop"], 0);

    let diagnosis = place.json(
        &["doctor", "--model", "no-such-model", "--input", "none"],
        1,
    );
    for name in ["model", "inputs"] {
        let check = check(&diagnosis, name);
        assert_eq!(check["verdict"], "bad");
        assert_ne!(check["advice"], "");
    }
    for rest in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(place.path(format!(".floodmark/store.sqlite{rest}")));
    }
    std::fs::write(place.path(".floodmark/store.sqlite"), [7; 8192]).unwrap();
    let people = place.says(&["doctor"], 1);
    assert!(
        people.contains("BAD      state: ") && people.contains("         → "),
        "{people}"
    );
    let diagnosis = place.json(&["doctor", "--runtime", "floodmark.toml"], 1);
    assert_eq!(check(&diagnosis, "runtime")["verdict"], "bad");
}
