//! The whole job with the built-in model.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::model::tests::builtin;

fn record(id: usize, content: &str) -> String {
    json!({"id": id, "file_path": "a/b.rs", "language": "rust", "content": content, "own": {"kept": [1, 2]}}).to_string()
}

fn embed(
    input: &str,
    on_error: OnError<&mut Vec<u8>>,
    options: &EmbedOptions,
) -> (Vec<Value>, Result<Summary, EmbedJobError>) {
    let mut output = Vec::new();
    let result = run(
        "in.jsonl",
        input.as_bytes(),
        &mut output,
        on_error,
        builtin(),
        options,
        &|_| (),
    );
    let lines = str::from_utf8(&output)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    (lines, result)
}

/// Small windows and batches, so that order has to be restored.
const SMALL: EmbedOptions = EmbedOptions {
    batch_tokens_max: 40,
    window_records_max: 7,
    window_bytes_max: 1 << 20,
    line_bytes_max: 2000,
};

#[test]
fn records_come_out_whole_in_order_and_with_the_vector_of_their_content() {
    let contents: Vec<String> = (0..40)
        .map(|k| "tide gauge ".repeat(1 + (k * 17) % 23))
        .collect();
    let input: String = contents
        .iter()
        .enumerate()
        .map(|(k, content)| record(k, content) + "\n")
        .collect();
    let (lines, result) = embed(&input, OnError::Stop, &SMALL);
    let summary = result.unwrap();
    assert_eq!(
        (
            summary.records,
            summary.skipped,
            summary.truncated,
            lines.len()
        ),
        (40, 0, 0, 40)
    );
    let mut session = builtin().session().unwrap();
    for (k, (line, content)) in lines.iter().zip(&contents).enumerate() {
        let fields: Vec<_> = line
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            fields,
            [
                "id",
                "file_path",
                "language",
                "content",
                "own",
                "embedding",
                "model",
                "normalized"
            ]
        );
        assert_eq!(
            (&line["id"], &line["own"], &line["normalized"]),
            (&json!(k), &json!({"kept": [1, 2]}), &json!(true))
        );
        assert_eq!(line["model"], builtin().key());
        let vector: Vec<f32> = serde_json::from_value(line["embedding"].clone()).unwrap();
        assert_eq!(vector, *session.embed(&[content]).unwrap()[0], "record {k}");
    }
}

#[test]
fn nothing_in_gives_nothing_out() {
    for input in ["", "\n", "\n  \r\n\n"] {
        let (lines, result) = embed(input, OnError::Stop, &SMALL);
        assert_eq!(
            (lines.len(), result.unwrap()),
            (0, Summary::default()),
            "{input:?}"
        );
    }
}

#[test]
fn a_bad_record_stops_the_job_behind_what_came_before_it() {
    let input = [
        &record(0, "one"),
        "",
        &record(1, "two"),
        "{\"id\": 3, \"file_path\": \"x\"}",
        &record(4, "no"),
    ]
    .join("\n");
    let (lines, result) = embed(&input, OnError::Stop, &SMALL);
    assert_eq!(lines.len(), 2);
    let said = result.unwrap_err().to_string();
    assert!(
        said.starts_with("in.jsonl, line 4, field language: missing"),
        "{said}"
    );
}

#[test]
fn skipped_records_go_to_the_side_and_the_others_go_on() {
    let long = record(5, &"x ".repeat(1500));
    let input = [&record(0, "one"), "{]", &long, "[1]", &record(1, "two")].join("\n");
    let mut side = Vec::new();
    let (lines, result) = embed(&input, OnError::Skip(&mut side), &SMALL);
    let summary = result.unwrap();
    assert_eq!((lines.len(), summary.records, summary.skipped), (2, 2, 3));
    let side: Vec<Value> = str::from_utf8(&side)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(
        side.iter()
            .map(|s| s["line"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [2, 3, 4]
    );
    assert_eq!(
        (&side[0]["record"], &side[0]["file"]),
        (&json!("{]"), &json!("in.jsonl"))
    );
    assert_eq!(side[1]["reason"], "longer than 2000 bytes");
}

#[test]
fn long_content_is_cut_for_its_vector_and_counted() {
    let content = "water ".repeat(400);
    let options = EmbedOptions::default();
    let (lines, result) = embed(&record(0, &content), OnError::Stop, &options);
    let summary = result.unwrap();
    assert_eq!((summary.truncated, summary.tokens), (1, 256));
    assert_eq!(lines[0]["content"], content);
}

fn files(
    input: &Path,
    output: &Path,
    on_error: OnError<std::path::PathBuf>,
) -> Result<Summary, EmbedJobError> {
    files::run(
        Some(input),
        Some(output),
        on_error,
        builtin(),
        &SMALL,
        &|_| (),
    )
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("out.jsonl"), "what was there").unwrap();
    fs::write(path("bad.jsonl"), record(0, "one") + "\nnot json\n").unwrap();
    let said = files(&path("bad.jsonl"), &path("out.jsonl"), OnError::Stop)
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("bad.jsonl, line 2: not a JSON object"),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(path("out.jsonl")).unwrap(),
        "what was there"
    );
    let names = || {
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names(),
        ["bad.jsonl", "out.jsonl"],
        "nothing unfinished is left"
    );
    files(
        &path("bad.jsonl"),
        &path("out.jsonl"),
        OnError::Skip(path("side.jsonl")),
    )
    .unwrap();
    assert_eq!(
        fs::read_to_string(path("out.jsonl"))
            .unwrap()
            .lines()
            .count(),
        1
    );
    assert_eq!(
        fs::read_to_string(path("side.jsonl"))
            .unwrap()
            .lines()
            .count(),
        1
    );
    assert_eq!(names(), ["bad.jsonl", "out.jsonl", "side.jsonl"]);
    fs::write(path("empty.jsonl"), "").unwrap();
    files(&path("empty.jsonl"), &path("out.jsonl"), OnError::Stop).unwrap();
    assert_eq!(fs::read_to_string(path("out.jsonl")).unwrap(), "");
    let said = files(&path("none.jsonl"), &path("out.jsonl"), OnError::Stop)
        .unwrap_err()
        .to_string();
    assert!(said.contains("none.jsonl: can't be read"), "{said}");
}

#[test]
fn output_that_fails_stops_the_job() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let input = record(0, "one");
    let windows = Cell::new(0);
    let progress = |_: &Summary| windows.set(windows.get() + 1);
    let stop = OnError::<Vec<u8>>::Stop;
    let result = run(
        "in.jsonl",
        input.as_bytes(),
        Full,
        stop,
        builtin(),
        &SMALL,
        &progress,
    );
    assert!(
        matches!(result, Err(EmbedJobError::Write { .. })),
        "{result:?}"
    );
    assert_eq!(windows.get(), 0);
}
