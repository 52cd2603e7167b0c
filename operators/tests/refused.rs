//! A text that the model refuses: it holds nothing back, stays out, and comes in when it is tried again.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use differential_dataflow::AsCollection;
use floodmark_operators::embed::{Embedded, Embedder, Embedders, Stored, Text, Vector, embed};
use floodmark_operators::keys::ChunkHash;
use timely::dataflow::InputHandleVec as Handle;
use timely::dataflow::operators::{Inspect, Probe};

/// Refuses "bad" until it is healed.
#[derive(Clone, Default)]
struct Picky {
    healed: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Embedder for Picky {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        self.asked.fetch_add(texts.len(), Ordering::SeqCst);
        let one = |text: &Arc<str>| match &**text {
            "bad" if !self.healed.load(Ordering::SeqCst) => Err("no".to_owned()),
            _ => Ok(vec![1.0].into()),
        };
        texts.iter().map(one).collect()
    }
}

fn hash(text: &str) -> ChunkHash {
    ChunkHash::of(&[text.as_bytes()])
}

fn text(text: &str, again: bool) -> (ChunkHash, Text) {
    let words = Text {
        text: text.into(),
        tokens: 1,
        again,
    };
    (hash(text), words)
}

/// What came out, in short.
fn short(embedded: &Embedded) -> String {
    let name = |of: &ChunkHash| ["bad", "good"].into_iter().find(|text| hash(text) == *of);
    match embedded {
        Embedded::New(hash, ..) => format!("new {}", name(hash).unwrap()),
        Embedded::Live(hash, diff) => format!("{} {diff:+}", name(hash).unwrap()),
        Embedded::Refused(hash, _, why) => format!("refused {}: {why}", name(hash).unwrap()),
    }
}

/// An epoch: what is wanted (with a text if it is to be brought along), what is tried again, whether the model has healed, and
/// what comes out.
type Step<'a> = (&'a [(&'a str, isize)], &'a [&'a str], bool, &'a [&'a str]);

fn check(stored: Vec<Stored>, steps: &[Step<'_>]) -> usize {
    let picky = Picky::default();
    let model = picky.clone();
    let steps: Vec<_> = steps
        .iter()
        .map(|(wanted, again, healed, out)| {
            (wanted.to_vec(), again.to_vec(), *healed, out.to_vec())
        })
        .map(|(wanted, again, healed, out)| {
            let owned = |of: Vec<&str>| of.into_iter().map(str::to_owned).collect::<Vec<_>>();
            let wanted: Vec<(String, isize)> = wanted
                .into_iter()
                .map(|(text, diff)| (text.to_owned(), diff))
                .collect();
            (wanted, owned(again), healed, owned(out))
        })
        .collect();
    timely::execute_directly(move |worker| {
        let (mut wants, mut texts, mut before) = (Handle::new(), Handle::new(), Handle::new());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let out = seen.clone();
        let embedders = Embedders::new(vec![model.clone()]).unwrap();
        let probe = worker.dataflow(|scope| {
            use timely::dataflow::operators::vec::Input;
            let wanted = scope.input_from(&mut wants).as_collection();
            let texts = scope.input_from(&mut texts);
            let stored = scope.input_from(&mut before);
            embed(wanted, texts, stored, embedders, 8)
                .inspect(move |row| out.borrow_mut().push(short(row)))
                .probe()
                .0
        });
        stored.into_iter().for_each(|row| before.send(row));
        drop(before);
        for (number, (wanted, again, healed, expected)) in steps.into_iter().enumerate() {
            let epoch = number as u64;
            model.healed.store(healed, Ordering::SeqCst);
            for (of, diff) in wanted {
                wants.send((hash(&of), epoch, diff));
                if diff > 0 {
                    texts.send(text(&of, false));
                }
            }
            again.iter().for_each(|of| texts.send(text(of, true)));
            wants.advance_to(epoch + 1);
            texts.advance_to(epoch + 1);
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while probe.less_than(&(epoch + 1)) {
                assert!(
                    std::time::Instant::now() < deadline,
                    "epoch {epoch} is stuck"
                );
                worker.step_or_park(Some(std::time::Duration::from_millis(10)));
            }
            let mut came = std::mem::take(&mut *seen.borrow_mut());
            came.sort();
            assert_eq!(came, expected, "epoch {epoch}");
        }
    });
    picky.asked.load(Ordering::SeqCst)
}

#[test]
fn it_stays_out_until_it_is_tried_again() {
    let asked = check(
        Vec::new(),
        &[
            (
                &[("bad", 1), ("good", 1)],
                &[],
                false,
                &["good +1", "new good", "refused bad: no"],
            ),
            // Wanted no longer, and again: nobody asks the model.
            (&[("bad", -1)], &[], true, &[]),
            (&[("bad", 1)], &[], true, &[]),
            (&[], &["bad"], false, &["refused bad: no"]),
            (&[], &["bad", "good"], true, &["bad +1", "new bad"]),
            (&[("bad", -1)], &[], true, &["bad -1"]),
        ],
    );
    assert_eq!(asked, 4);
}

#[test]
fn one_that_an_earlier_run_was_refused_is_not_asked_for() {
    let asked = check(
        vec![Stored::Refused(hash("bad")), Stored::Vector(hash("good"))],
        &[
            (&[("bad", 1), ("good", 1)], &[], true, &["good +1"]),
            (&[("bad", -1)], &[], true, &[]),
            // Nobody wants it: it is not tried, and stays among the refused.
            (&[], &["bad"], true, &[]),
            (&[("bad", 1)], &[], true, &[]),
        ],
    );
    assert_eq!(asked, 0);
}

/// What an earlier run left to be tried comes together with what is wanted.
#[test]
fn one_that_is_to_be_tried_at_the_start_is() {
    let asked = check(
        vec![Stored::Refused(hash("bad"))],
        &[(&[("bad", 1)], &["bad"], true, &["bad +1", "new bad"])],
    );
    assert_eq!(asked, 1);
}
