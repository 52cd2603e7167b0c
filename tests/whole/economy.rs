//! What the real model is asked for: each text that is new, and nothing else.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use floodmark::ingest::engine::Engine;
use floodmark::model::Model;
use floodmark::worker::{Mode, Options, Run};
use floodmark_operators::embed::{Embedder, Vector};

use super::support::{Place, builtin};

/// The model, and how many texts it was asked for.
struct Counting(Box<dyn Embedder>, Arc<AtomicUsize>);

impl Embedder for Counting {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        self.1.fetch_add(texts.len(), Ordering::Relaxed);
        self.0.embed(texts)
    }
}

/// Indexes what is there now: the texts that the model was asked for.
fn embedded(place: &Place, model: &Model) -> usize {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let asked = Arc::new(AtomicUsize::new(0));
    let mut engine = Engine::new(model).unwrap();
    engine.embedders = engine
        .embedders
        .into_iter()
        .map(|real| Box::new(Counting(real, asked.clone())) as Box<dyn Embedder>)
        .collect();
    let options = Options {
        batch_tokens: 512,
        ..place.options(Mode::Once, 1)
    };
    let run = Run::start(options, engine, Vec::new(), Arc::new(|why| panic!("{why}")));
    run.unwrap().join().unwrap();
    place.is_right(&place.expected(model));
    asked.load(Ordering::Relaxed)
}

const PARAGRAPHS: usize = 24;

/// Paragraphs so long that hardly two share a chunk.
fn paragraph(number: usize, word: &str) -> String {
    let sentence = |at: usize| {
        format!(
            "In chapter {number} the {word} rises {at} times before the gauge of the harbour is read again. "
        )
    };
    (0..8).map(sentence).collect()
}

fn document(changed: Option<usize>) -> String {
    let word = |number| match changed {
        Some(at) if at == number => "storm",
        _ => "water",
    };
    let mut text = "# Tides\n".to_owned();
    for number in 0..PARAGRAPHS {
        text += &format!("\n{}\n", paragraph(number, word(number)));
    }
    text
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn an_edit_embeds_what_it_changed_and_a_move_a_copy_or_the_same_text_nothing() {
    let (place, model) = (Place::new(), builtin());
    let file = |name: &str| place.files().join(name);
    write(&file("tides.md"), &document(None));
    let before = place.expected(&model);
    assert!(before.texts.len() >= 12, "{} chunks", before.texts.len());
    assert_eq!(embedded(&place, &model), before.texts.len());
    assert_eq!(embedded(&place, &model), 0, "nothing has changed");

    // One word of one paragraph.
    write(&file("tides.md"), &document(Some(11)));
    let after = place.expected(&model);
    let new = after
        .texts
        .keys()
        .filter(|text| !before.texts.contains_key(text));
    assert_eq!(new.count(), 1, "the paragraph lies in one chunk");
    assert_eq!(embedded(&place, &model), 1);
    // And back again: its vector is remembered.
    write(&file("tides.md"), &document(None));
    assert_eq!(embedded(&place, &model), 0);

    fs::create_dir(file("moved")).unwrap();
    fs::rename(file("tides.md"), file("moved/tides.md")).unwrap();
    assert_eq!(embedded(&place, &model), 0, "a move");
    fs::rename(file("moved"), file("renamed")).unwrap();
    assert_eq!(embedded(&place, &model), 0, "its folder is renamed");
    fs::copy(file("renamed/tides.md"), file("copy.md")).unwrap();
    assert_eq!(embedded(&place, &model), 0, "a copy");

    write(&file("one.txt"), "A text that lies in two files.");
    write(&file("two.txt"), "A text that lies in two files.");
    assert_eq!(embedded(&place, &model), 1, "the same text in two files");
    // A record of ten, in a file of another kind too.
    let records = |changed: &str| -> String {
        (0..10)
            .map(|number| {
                let text = if number == 4 { changed } else { "reads" };
                format!("{{\"id\":{number},\"text\":\"gauge {number} {text} the tide\"}}\n")
            })
            .collect()
    };
    write(&file("gauges.jsonl"), &records("reads"));
    assert_eq!(embedded(&place, &model), 10);
    write(&file("gauges.jsonl"), &records("missed"));
    assert_eq!(embedded(&place, &model), 1, "one record of ten");
}
