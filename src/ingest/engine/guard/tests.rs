//! Models that misbehave in every way there is.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;

/// What happens to whoever asks for this text.
#[derive(Clone, Copy)]
enum Mood {
    Hangs,
    Panics,
    NotANumber,
    TooShort,
    TooFew,
    Refuses,
}

/// A model whose texts say how it behaves, and who keeps count. While it is out of order it fails for every text.
#[derive(Clone, Default)]
struct Moody {
    asked: Arc<Mutex<Vec<Vec<String>>>>,
    broken: Arc<Mutex<Option<Mood>>>,
}

/// A machine that is busy must not be taken for a model that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

fn mood(text: &str) -> Option<Mood> {
    match text {
        "hang" => Some(Mood::Hangs),
        "panic" => Some(Mood::Panics),
        "nan" => Some(Mood::NotANumber),
        "short" => Some(Mood::TooShort),
        "few" => Some(Mood::TooFew),
        "refuse" => Some(Mood::Refuses),
        _ => None,
    }
}

impl Oracle for Moody {
    fn vectors(&mut self, texts: &[Arc<str>]) -> Result<Vec<Vector>, String> {
        self.asked
            .lock()
            .unwrap()
            .push(texts.iter().map(|text| text.to_string()).collect());
        let mut vectors: Vec<Vector> = vec![vec![1.0, 0.0].into(); texts.len()];
        let broken = *self.broken.lock().unwrap();
        let moods = texts.iter().map(|text| broken.or(mood(text)));
        for (at, mood) in moods.enumerate() {
            match mood {
                Some(Mood::Hangs) => loop {
                    std::thread::park();
                },
                Some(Mood::Panics) => panic!("out of order"),
                Some(Mood::NotANumber) => vectors[at] = vec![f32::NAN, 0.0].into(),
                Some(Mood::TooShort) => vectors[at] = vec![1.0].into(),
                Some(Mood::TooFew) => {
                    vectors.pop();
                    return Ok(vectors);
                }
                Some(Mood::Refuses) => return Err("not this one".into()),
                None => {}
            }
        }
        Ok(vectors)
    }
}

impl Moody {
    fn guarded(&self, tries: u32) -> (Guard, Arc<Ward>) {
        self.within(PATIENCE, tries)
    }

    fn within(&self, batch: Duration, tries: u32) -> (Guard, Arc<Ward>) {
        let endurance = Endurance {
            batch,
            tries,
            pause: Duration::from_millis(1),
            pause_max: Duration::from_millis(4),
        };
        let ward = Arc::new(Ward::new(endurance, 2));
        let another = self.clone();
        let make: Make = Arc::new(move || Ok(Box::new(another.clone())));
        let guard = Guard::new(Some(Box::new(self.clone())), make, ward.clone());
        (guard, ward)
    }
}

fn texts(of: &[&str]) -> Vec<Arc<str>> {
    of.iter().map(|text| Arc::from(*text)).collect()
}

fn refused(texts: &[Arc<str>], results: &[Result<Vector, String>]) -> BTreeSet<String> {
    assert_eq!(texts.len(), results.len());
    let bad = texts
        .iter()
        .zip(results)
        .filter(|(_, result)| result.is_err());
    bad.map(|(text, _)| text.to_string()).collect()
}

/// Whatever it does, and wherever in the batch: the one text is refused, and all others have their vectors.
#[test]
fn a_bad_text_harms_nothing_but_itself() {
    for (bad, said) in [
        ("hang", "no answer within 2000 ms"),
        ("panic", "it panicked: out of order"),
        ("nan", "not finite"),
        ("short", "1 numbers, not 2"),
        ("few", "0 vectors for 1 texts"),
        ("refuse", "not this one"),
    ] {
        for place in [0, 4] {
            let mut all = ["a", "b", "c", "d", "e"];
            all[place] = bad;
            let all = texts(&all);
            let (mut guard, ward) = Moody::default().guarded(1);
            let results = guard.embed(&all);
            assert_eq!(refused(&all, &results), BTreeSet::from([bad.to_owned()]));
            let why = results[place].as_ref().unwrap_err();
            assert!(why.contains(said), "{bad}: {why}");
            assert_eq!(ward.trouble(), None, "the model is well");
        }
    }
}

#[test]
fn two_bad_texts_of_one_batch_are_both_found() {
    let all = texts(&["a", "nan", "b", "c", "panic", "d", "e", "f"]);
    let (mut guard, _) = Moody::default().guarded(1);
    let results = guard.embed(&all);
    let bad = BTreeSet::from(["nan".to_owned(), "panic".to_owned()]);
    assert_eq!(refused(&all, &results), bad);
}

/// What may pass is tried as often as the setting says before the text is given up.
#[test]
fn a_text_that_silences_the_model_is_tried_again() {
    let moody = Moody::default();
    let (mut guard, _) = moody.guarded(3);
    assert!(guard.embed(&texts(&["panic"]))[0].is_err());
    let asked = moody.asked.lock().unwrap();
    let times = |text: &str| asked.iter().filter(|batch| *batch == &[text]).count();
    assert_eq!(times("panic"), 3);
}

/// A model that is out of order refuses nothing: everything waits until it answers again.
#[test]
fn a_broken_model_costs_waiting_and_no_text() {
    for mood in [Mood::Panics, Mood::NotANumber, Mood::TooFew, Mood::Refuses] {
        let moody = Moody::default();
        *moody.broken.lock().unwrap() = Some(mood);
        let (mut guard, ward) = moody.guarded(1);
        let all = texts(&["a", "b", "c"]);
        let waiting = all.clone();
        let embedding = std::thread::spawn(move || guard.embed(&waiting));
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !ward.breaker.is_open() {
            assert!(std::time::Instant::now() < deadline, "it never opened");
            std::thread::yield_now();
        }
        assert!(ward.trouble().is_some());
        *moody.broken.lock().unwrap() = None;
        let results = embedding.join().unwrap();
        assert_eq!(refused(&all, &results), BTreeSet::new());
        assert_eq!(ward.trouble(), None);
    }
}

/// Nobody knows before whether there will be anything for it, and memory may be short for a while.
#[test]
fn a_session_is_made_when_it_is_asked_and_no_text_is_blamed_where_that_fails() {
    let model = Moody::default();
    let (_, ward) = model.guarded(1);
    let tries = Arc::new(AtomicUsize::new(0));
    let (another, counted) = (model.clone(), tries.clone());
    let make: Make = Arc::new(move || match counted.fetch_add(1, Ordering::Relaxed) {
        // An odd number: the text is asked for when it fails, and the probe when it does no longer.
        0..3 => Err("out of memory".to_owned()),
        _ => Ok(Box::new(another.clone())),
    });
    let mut guard = Guard::new(None, make, ward.clone());
    assert_eq!(tries.load(Ordering::Relaxed), 0);
    let all = texts(&["a"]);
    assert_eq!(refused(&all, &guard.embed(&all)), BTreeSet::new());
    assert_eq!(tries.load(Ordering::Relaxed), 4);
    guard.embed(&all);
    assert_eq!(tries.load(Ordering::Relaxed), 4);
    assert_eq!(ward.trouble(), None);
}

/// A thread that hangs keeps its memory: so few are made that several such texts are found.
#[test]
fn a_text_that_makes_the_model_hang_costs_two_threads() {
    let (mut guard, ward) = Moody::default().guarded(3);
    let all = texts(&["a", "b", "c", "hang", "d", "e", "f", "g"]);
    let results = guard.embed(&all);
    assert_eq!(refused(&all, &results), BTreeSet::from(["hang".to_owned()]));
    assert_eq!(ward.hanging.load(Ordering::Relaxed), 2);
}

/// Threads that hang are not piled up for ever.
#[test]
fn a_model_that_always_hangs_costs_few_threads() {
    let moody = Moody::default();
    *moody.broken.lock().unwrap() = Some(Mood::Hangs);
    let (mut guard, ward) = moody.within(Duration::from_millis(20), 1);
    for _ in 0..HANGING_MAX + 2 {
        assert!(guard.is_well().is_err());
    }
    assert_eq!(ward.hanging.load(Ordering::Relaxed), HANGING_MAX);
    assert_eq!(moody.asked.lock().unwrap().len(), HANGING_MAX);
}
