//! Random histories: the store says of them what the world, computed from scratch, says.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::world::{World, exported};
use super::{model, now};
use crate::store::{Label, Layout, Reader, Snapshot, Store};

#[derive(Clone, Debug)]
enum Op {
    Write(u8, Vec<usize>),
    Slice(u8, usize),
    Gone(u8),
    Touch(u8),
    Fail(u8, bool),
    Tick,
    Commit,
    /// The same rows once more, as after a crash of whoever sent them.
    CommitTwice,
    /// Files leave without a dataflow: in an epoch of their own, after what was made so far.
    Retract(Vec<u8>),
    Reopen,
    /// Rows that were made are lost with the process, before they were committed.
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let (file, content) = (0..4u8, 0..super::world::CONTENTS.len());
    prop_oneof![
        4 => (file.clone(), prop::collection::vec(content.clone(), 1..4)).prop_map(|(f, c)| Op::Write(f, c)),
        3 => (file.clone(), content).prop_map(|(f, c)| Op::Slice(f, c)),
        2 => file.clone().prop_map(Op::Gone),
        1 => file.clone().prop_map(Op::Touch),
        2 => (file, any::<bool>()).prop_map(|(f, dead)| Op::Fail(f, dead)),
        2 => Just(Op::Tick),
        3 => Just(Op::Commit),
        1 => Just(Op::CommitTwice),
        1 => prop::collection::vec(0..4u8, 1..4).prop_map(Op::Retract),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
    ]
}

fn check(ops: Vec<Op>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), &model(), now).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let mut world = World::new(store.upper());
    let mut durable = world.clone();
    // A view that follows the changelog, and falls behind now and then.
    let (mut view, mut applied) = (BTreeSet::<Label>::new(), 0);
    let mut layout = Layout::default();
    for (i, op) in ops.into_iter().chain([Op::Commit]).enumerate() {
        let path = |file: u8| format!("deep/{file}.jsonl");
        match op {
            Op::Write(file, contents) => world.write(&path(file), &contents),
            Op::Slice(file, content) => world.slice(&path(file), content),
            Op::Gone(file) => world.gone(&path(file)),
            Op::Touch(file) => world.touch(&path(file)),
            Op::Fail(file, dead) => world.fail(&path(file), dead),
            Op::Tick => world.tick(),
            Op::Retract(files) => {
                world.tick();
                store
                    .commit(world.epoch, std::mem::take(&mut world.rows))
                    .unwrap();
                let mut leaving = Vec::new();
                for file in files {
                    let held = reader
                        .snapshot()
                        .unwrap()
                        .file_of(super::world::key(&path(file)))
                        .unwrap();
                    let twice = held.as_ref().is_some_and(|held| leaving.contains(held));
                    leaving.extend(held.filter(|_| !twice));
                    world.gone(&path(file));
                }
                world.tick();
                world.rows.clear();
                assert_eq!(store.retract(&leaving).unwrap() + 1, world.epoch);
                durable = world.clone();
                assert_same(&store, &reader, &world);
            }
            Op::Reopen => {
                store.close().unwrap();
                store = Store::open(dir.path(), &model(), now).unwrap();
            }
            Op::Crash => {
                drop(store);
                store = Store::open(dir.path(), &model(), now).unwrap();
                world = durable.clone();
            }
            Op::Commit | Op::CommitTwice => {
                world.tick();
                let mut rows = std::mem::take(&mut world.rows);
                // Rows of an epoch come in any order.
                rows.reverse();
                store.commit(world.epoch, rows.clone()).unwrap();
                if matches!(op, Op::CommitTwice) {
                    store.commit(world.epoch, rows).unwrap();
                }
                durable = world.clone();
                assert_same(&store, &reader, &world);
                if i % 3 != 0 {
                    let snapshot = reader.snapshot().unwrap();
                    for change in snapshot.changes(applied).unwrap() {
                        let changed = match change.op {
                            1 => view.insert(change.label),
                            _ => view.remove(&change.label),
                        };
                        assert!(changed, "{change:?} changes nothing");
                    }
                    applied = snapshot.epoch();
                    assert_eq!(
                        view.iter().copied().collect::<Vec<_>>(),
                        snapshot.live_labels().unwrap()
                    );
                    layout.follow(layout.news(&snapshot).unwrap());
                    assert_laid_out(&layout, &snapshot);
                }
            }
        }
    }
}

/// What is kept in memory answers as the tables do.
fn assert_laid_out(layout: &Layout, store: &Snapshot) {
    assert_eq!(layout.epoch(), store.epoch());
    // Also texts that left, and labels that nothing has.
    let labels: Vec<Label> = (0..20).collect();
    let sorted = |mut homes: Vec<_>| {
        homes.sort();
        homes
    };
    let homes = sorted(store.homes(&labels, store.epoch()).unwrap());
    assert_eq!(sorted(layout.homes(store, &labels).unwrap()), homes);
    for most in [0, 1, 2, 64] {
        let sorted = |mut texts: Vec<Vec<Label>>| {
            texts.iter_mut().for_each(|labels| labels.sort());
            texts
        };
        let expected = store.texts_of_documents(&homes, store.epoch(), most);
        let texts = layout.texts_of_documents(store, &homes, most);
        assert_eq!(sorted(texts.unwrap()), sorted(expected.unwrap()), "{most}");
    }
}

fn assert_same(store: &Store, reader: &Reader, world: &World) {
    let recovery = store.recover(&|_| true).unwrap();
    assert_eq!(recovery.upper, world.epoch);
    world.assert_files(&recovery.files);
    let sorted = |mut hashes: Vec<_>| {
        hashes.sort();
        hashes
    };
    assert_eq!(sorted(recovery.live), world.live());
    assert_eq!(sorted(recovery.embedded), world.embedded());
    let snapshot = reader.snapshot().unwrap();
    assert_eq!(snapshot.epoch() + 1, world.epoch);
    for (&epoch, expected) in &world.exports {
        assert_eq!(&exported(&snapshot, epoch), expected, "as of epoch {epoch}");
    }
    assert_eq!(
        snapshot.status().unwrap().chunks,
        world.export().len() as u64
    );
    let faults = store.check().unwrap();
    // A reading that was given up leaves pieces of the other generation until the file is read again.
    let faults: Vec<_> = faults
        .iter()
        .filter(|fault| fault.name != "segments-incomplete")
        .collect();
    assert_eq!(faults, Vec::<&crate::store::Difference>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_back(ops in prop::collection::vec(op(), 1..40)) {
        check(ops);
    }
}
