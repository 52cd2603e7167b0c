//! Beside a run that goes on: what was just written, and both arms of one epoch.

use super::{CORPUS, names, refuses};
use crate::place::Place;

#[test]
fn what_a_script_has_just_written_is_found() {
    let place = Place::with(CORPUS);
    place.says(&["start"], 0);
    for number in 0..3 {
        let name = format!("fresh{number}.txt");
        place.write(
            &name,
            &format!(
                "Message {number}: the password of the harbour master is kittiwake{number}.\n"
            ),
        );
        let query = format!("kittiwake{number}");
        let path = format!("raw/{name}");
        let found = place.json(&["search", &query, "--wait", &path, "-k1"], 0);
        assert_eq!(names(&found), std::slice::from_ref(&name));
        place.write(&name, &format!("Now it says something else, {number}.\n"));
        let found = place.json(
            &[
                "search",
                "something else",
                "--mode=keyword",
                "--wait",
                &path,
                "-k9",
            ],
            0,
        );
        assert!(
            names(&found).contains(&name),
            "the present content, not the one before"
        );
    }
    let gone = place.path("raw/fresh0.txt");
    std::fs::remove_file(&gone).unwrap();
    let found = place.json(
        &[
            "search",
            "something else",
            "--mode=keyword",
            "--wait",
            "raw/fresh0.txt",
        ],
        0,
    );
    assert!(!names(&found).contains(&"fresh0.txt".to_owned()));
    let epoch = found["epoch"].as_u64().unwrap();
    let later = place.json(&["search", "tide", "--wait-epoch", &epoch.to_string()], 0);
    assert!(later["epoch"].as_u64().unwrap() >= epoch);

    refuses(
        &place,
        &["search", "x", "--wait", "floodmark.toml"],
        2,
        "lies in none of the folders that the run indexes",
    );
    refuses(
        &place,
        &["search", "x", "--wait", "raw/never.txt"],
        2,
        "neither on the disk nor was it ever in the index",
    );
    refuses(&place, &["search", "x", "--wait", "raw"], 2, "is a folder");
    place.write("bad.json", "{\"text\": ");
    refuses(
        &place,
        &["search", "x", "--wait", "raw/bad.json"],
        2,
        "is not in the index as it is:",
    );
    let far = (epoch + 1_000_000).to_string();
    refuses(
        &place,
        &[
            "search",
            "x",
            "--wait-epoch",
            &far,
            "--wait-timeout",
            "50ms",
        ],
        2,
        "is not committed yet, the last one is",
    );
    place.says(&["stop"], 0);

    assert!(!place.log().contains("ERROR"), "{}", place.log());

    // Without a run: what is indexed as it is on the disk needs none.
    assert_eq!(
        names(&place.json(&["search", "pump", "-k1", "--wait", "raw/log.jsonl"], 0)),
        ["log.jsonl"]
    );
    place.write("tide.md", "Changed.\n");
    refuses(
        &place,
        &["search", "x", "--wait", "raw/tide.md"],
        2,
        "in an older version, and no run is under way",
    );
    place.write("new.md", "New.\n");
    refuses(
        &place,
        &["search", "x", "--wait", "raw/new.md"],
        2,
        "is not in the index, and no run is under way",
    );
    refuses(
        &place,
        &["search", "x", "--wait-epoch", &far],
        2,
        "no run is under way that could bring it",
    );
    place.json(&["search", "pump", "--wait-epoch", "1"], 0);
}

/// While files come and go, every answer is of one epoch, with the same texts in both arms.
#[test]
fn no_text_is_ever_found_in_one_arm_only() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use floodmark::answers::Query;
    use floodmark::ingest::engine::Engine;
    use floodmark::model::{Model, ModelOptions};
    use floodmark::search::{Searcher, ViewOptions};
    use floodmark::service::{follower, keep_fresh};
    use floodmark::worker::{Mode, Options, Run};

    /// Ends the run also when the test fails: dropping a run waits for it.
    struct Stop(floodmark::worker::Handle);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.stop();
        }
    }

    let place = Place::with(&[]);
    let model = Model::open(&ModelOptions {
        sessions: 1,
        ..ModelOptions::default()
    })
    .unwrap();
    let state = place.path("state");
    let mut options = Options::new(Mode::Watch, &state, vec![place.path("raw")]);
    options.epoch_target_ms = 20;
    let (witness, commits) = follower();
    let run = Run::start(
        options,
        Engine::new(&model).unwrap(),
        vec![witness],
        Arc::new(|why| panic!("{why}")),
    )
    .unwrap();
    let _stop = Stop(run.handle());
    let searcher = Arc::new(Searcher::open(&state, &model, ViewOptions::default()).unwrap());
    let _followed = keep_fresh(searcher.clone(), commits).unwrap();

    let (handle, done) = (run.handle(), AtomicBool::new(false));
    let enough = AtomicBool::new(false);
    let (mut answers, mut epochs) = (0, std::collections::BTreeSet::new());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let patience = std::time::Instant::now() + std::time::Duration::from_secs(120);
            for round in 0.. {
                // A busy machine has looked at less meanwhile: then there is more to come.
                let looked = enough.load(Ordering::SeqCst);
                if round >= 60 && (looked || std::time::Instant::now() >= patience) {
                    break;
                }
                let seen = handle.progress().upper();
                place.write(
                    &format!("f{}.txt", round % 9),
                    &format!("tide gauge {round} reads {}", round * 37 % 100),
                );
                if round % 4 == 3 {
                    let _ = std::fs::remove_file(
                        place.path("raw").join(format!("f{}.txt", (round * 5) % 9)),
                    );
                }
                std::thread::yield_now();
                // The next one comes when this one is in the index, so that there are many epochs to look at.
                let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
                while handle.progress().upper() == seen && std::time::Instant::now() < deadline {
                    handle.progress().wait_for_commit(
                        deadline
                            .min(std::time::Instant::now() + std::time::Duration::from_millis(50)),
                    );
                    if (40..60).contains(&round) {
                        break;
                    }
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) && !writer.is_finished() {
            let found = searcher.search(&Query::new("tide gauge", 100)).unwrap();
            for hit in &found.hits {
                // Every text has both words, so that there is no score of 0 but for a text that the arm does not have.
                let (vector, keyword) = (hit.scores.vector.unwrap(), hit.scores.keyword.unwrap());
                assert!(
                    vector > 0.1 && keyword > 0.0,
                    "epoch {}: {hit:?}",
                    found.epoch
                );
            }
            // Each arm alone has as many: of the same epoch, which is now perhaps past.
            for mode in [
                floodmark::answers::Mode::Vector,
                floodmark::answers::Mode::Keyword,
            ] {
                let query = Query {
                    mode,
                    as_of: Some(found.epoch),
                    ..Query::new("tide gauge", 100)
                };
                let alone = searcher.search(&query).unwrap();
                assert_eq!(
                    (alone.epoch, alone.hits.len()),
                    (found.epoch, found.hits.len()),
                    "{mode:?}"
                );
            }
            // From now on out of memory, which follows.
            searcher.remember().unwrap();
            answers += 1;
            epochs.insert(found.epoch);
            enough.store(answers >= 10 && epochs.len() >= 5, Ordering::SeqCst);
        }
        writer.join().unwrap();
    });
    // What one has remembered and followed, another reads from the store.
    run.handle().stop();
    run.join().unwrap();
    let afresh = Searcher::open(&state, &model, ViewOptions::default()).unwrap();
    let query = Query::new("tide gauge", 100);
    let found = searcher.search(&query).unwrap();
    assert!(!found.hits.is_empty());
    assert_eq!(found, afresh.search(&query).unwrap());
    assert!(
        answers >= 10 && epochs.len() >= 5,
        "{answers} answers of {} epochs",
        epochs.len()
    );
}
