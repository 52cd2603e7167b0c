//! `run --once` over the same folder again, as a timer or a hook calls it.

use std::fs;

use super::{Place, stderr, stdout};

fn run_once(place: &Place) -> String {
    let output = place.run(&["run", "--once", "--input", "notes", "--log", "debug"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_run_tries_the_model_only_if_it_has_not_worked_here_before() {
    let place = Place::new();
    let note = place.path().join("notes/note.md");
    fs::create_dir(note.parent().unwrap()).unwrap();
    fs::write(&note, "The ferry does not cross on Sundays.").unwrap();
    assert!(run_once(&place).contains("tried=true"));
    let again = run_once(&place);
    assert!(again.contains("tried=false"), "{again}");
    // What there is to embed is embedded all the same.
    fs::write(&note, "The lighthouse is painted red and white.").unwrap();
    assert!(run_once(&place).contains("tried=false"));
    let search = |mode: &str, query: &str| {
        let found = place.run(&["search", "--mode", mode, query, "--log", "debug"]);
        assert!(stdout(&found).contains("red and white"), "{found:?}");
        stderr(&found)
    };
    assert!(search("vector", "colours of the tower").contains("tried=true"));
    assert!(search("keyword", "painted lighthouse").contains("tried=false"));
}
