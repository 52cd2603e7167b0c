//! The sample corpus as it was indexed when this was written. A difference means that the same bytes now give other
//! documents or other chunks: then PARSER_VERSION or CHUNKER_VERSION must be raised, and the file written again (`BLESS=1`).

use std::fs;
use std::path::Path;

use super::support::{Expected, Place, builtin, copy_corpus, exported};
use floodmark::ingest::engine::Engine;
use floodmark::worker::{Mode, Run};

#[test]
fn the_sample_corpus_is_cut_as_ever() {
    let place = Place::new();
    copy_corpus(&place.files());
    let model = builtin();
    let options = place.options(Mode::Once, 2);
    let run = Run::start(
        options,
        Engine::new(&model).unwrap(),
        Vec::new(),
        std::sync::Arc::new(|why| panic!("{why}")),
    )
    .unwrap();
    run.join().unwrap();
    let expected: Expected = place.expected(&model);
    place.is_right(&expected);
    let (lines, _) = exported(&place.snapshot().unwrap());
    let now: String = lines
        .iter()
        .map(|line| serde_json::to_string(line).unwrap() + "\n")
        .collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/examples_corpus.jsonl");
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &now).unwrap();
    }
    let then = fs::read_to_string(&golden).unwrap();
    for (number, (now, then)) in now.lines().zip(then.lines()).enumerate() {
        assert_eq!(now, then, "line {}", number + 1);
    }
    assert_eq!(now.lines().count(), then.lines().count());
}
