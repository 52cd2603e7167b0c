//! Store and views of one epoch, whoever asks whenever.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use floodmark_operators::keys::ChunkHash;

use super::{Searcher, ViewOptions};
use crate::keyword::Syntax;
use crate::model::{Model, ModelOptions};
use crate::store::row::{EmbeddingRow, Row};
use crate::store::{ModelKey, Store};

const EPOCHS: u64 = 120;

fn text(number: u64) -> String {
    format!("steady tide, gauge{number}")
}

fn hash(number: u64) -> ChunkHash {
    ChunkHash::of(&[text(number).as_bytes()])
}

fn vector(number: u64) -> Arc<[f32]> {
    let angle = number as f32;
    Arc::new([angle.cos(), angle.sin(), 0.0, 0.0])
}

fn model() -> Model {
    Model::open(&ModelOptions {
        sessions: 1,
        ..ModelOptions::default()
    })
    .unwrap()
}

fn store(dir: &Path) -> Store {
    let key = ModelKey {
        id: "ripple".into(),
        dimension: 4,
    };
    Store::open(dir, &key, || 0).unwrap()
}

/// In every epoch one text joins and the one before leaves.
fn turn(store: &mut Store, number: u64) {
    let upper = store.upper();
    let mut rows = vec![
        (
            upper,
            Row::Embedding(EmbeddingRow {
                hash: hash(number),
                text: text(number).into(),
                vector: vector(number),
            }),
        ),
        (upper, Row::Live(hash(number), 1)),
    ];
    if number > 1 {
        rows.push((upper, Row::Live(hash(number - 1), -1)));
    }
    store.commit(upper + 1, rows).unwrap();
}

/// Ends the queries, also when their writer panics.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_query_sees_a_text_in_one_view_and_not_in_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    turn(&mut store, 1);
    let searcher = Searcher::open(dir.path(), &model(), ViewOptions::default()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let look = || {
            let mut epochs = 0;
            let mut last = 0;
            while !done.load(Ordering::Relaxed) || epochs == 0 {
                let (store, views) = searcher.snapshots().unwrap();
                let epoch = store.epoch();
                assert_eq!(views.vectors.epoch(), epoch);
                assert_eq!(views.keywords.epoch(), epoch);
                let words = (views.keywords)
                    .search("steady", 10, None, Syntax::Words)
                    .unwrap();
                let near = views.vectors.search(&vector(1), 10, None).unwrap();
                let [word] = words[..] else {
                    panic!("{words:?} at {epoch}")
                };
                let [vector] = near[..] else {
                    panic!("{near:?} at {epoch}")
                };
                assert_eq!(word.label, vector.label, "at {epoch}");
                let found = store.text_of(word.label as i64).unwrap();
                assert_eq!(found, Some(text(epoch)));
                epochs += u64::from(epoch != last);
                last = epoch;
            }
            epochs
        };
        let queries: Vec<_> = (0..2).map(|_| scope.spawn(look)).collect();
        let keep_fresh = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                searcher.follow().unwrap();
            }
        });
        let ended = Ended(&done);
        for number in 2..=EPOCHS {
            turn(&mut store, number);
        }
        drop(ended);
        keep_fresh.join().unwrap();
        for query in queries {
            assert!(query.join().unwrap() > 0);
        }
    });
    assert_eq!(searcher.follow().unwrap(), EPOCHS);
    let status = searcher.view();
    assert_eq!((status.vectors.live, status.keywords.live), (1, 1));
}
