//! An index of words that keeps up with its pages, out of two operators: `upsert` and `dedup`.
//!
//! ```text
//! cargo run -p floodmark-operators --example word_index
//! ```
//!
//! Only "this page now reads so" goes in. What leaves the index when a page changes is derived, and a word that stays on
//! the page makes no difference at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use floodmark_operators::dedup::dedup;
use floodmark_operators::keys::{Epoch, PathKey};
use floodmark_operators::upsert::upsert;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Input, Probe};

/// Word → the pages that have it.
type Index = BTreeMap<String, BTreeSet<String>>;

fn main() {
    let index = Arc::new(Mutex::new(Index::new()));
    let kept = index.clone();
    timely::execute_directly(move |worker| {
        let probe = ProbeHandle::new();
        let shown = index.clone();
        let mut pages = worker.dataflow(|scope| {
            let (pages, changes) = scope.new_input();
            let places = upsert(changes).flat_map(|(name, text): (String, String)| {
                let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
                words.into_iter().map(move |word| (word, name.clone()))
            });
            let places = dedup(places); // a word that is on a page twice is on the page
            let kept = places.inspect(move |((word, name), epoch, diff)| {
                println!("  epoch {epoch}  {diff:+}  {word:6} {name}");
                let mut index = kept.lock().unwrap();
                let names = index.entry(word.clone()).or_default();
                if *diff > 0 {
                    names.insert(name.clone())
                } else {
                    names.remove(name)
                };
            });
            kept.inner.probe_with(&probe);
            pages
        });

        let history = [
            ("log", Some("high water at noon")),
            ("plan", Some("mend the gate at noon")),
            ("log", Some("low water at noon")), // one word of four changes
            ("plan", None),
        ];
        for (epoch, (name, text)) in history.into_iter().enumerate() {
            println!("{name} now reads {text:?}");
            let page = text.map(|text| (name.to_owned(), text.to_owned()));
            pages.send(((PathKey::of(&[name.as_bytes()]), 0), page));
            pages.advance_to(epoch as Epoch + 1);
            worker.step_or_park_while(None, || probe.less_than(pages.time()));
        }
        let index = shown.lock().unwrap();
        let noon = index.get("noon").cloned().unwrap_or_default();
        println!("noon is on {noon:?}");
        assert_eq!(noon, BTreeSet::from(["log".to_owned()]));
    });
}
