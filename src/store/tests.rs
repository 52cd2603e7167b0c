//! What the store promises, one promise a test.

mod opening;
mod property;
mod reading;
mod speed;
mod world;
mod writing;

use std::path::Path;

use super::*;
use world::*;

fn now() -> i64 {
    1_763_000_000_000
}

fn model() -> ModelKey {
    ModelKey {
        id: "ripple".into(),
        dimension: DIMENSION,
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &model(), now).unwrap()
}

/// A store with one commit of a small world.
fn small(dir: &Path) -> (Store, World) {
    let mut store = open(dir);
    let mut world = World::new(store.upper());
    world.write("a.jsonl", &[0, 1]);
    world.write("b.jsonl", &[2]);
    world.tick();
    store
        .commit(world.epoch, std::mem::take(&mut world.rows))
        .unwrap();
    (store, world)
}

fn lines(dir: &Path) -> Vec<String> {
    let snapshot = Reader::open(dir).unwrap().snapshot().unwrap();
    exported(&snapshot, snapshot.epoch())
}
