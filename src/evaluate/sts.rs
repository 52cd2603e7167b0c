//! Semantic similarity: pairs of sentences that people have scored, against the cosines of their vectors.
//!
//! One JSON object a line. The two sentences and the score are found by their usual names, or by those that are given.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::unbounded;
use floodmark_operators::batch::Planner;
use serde_json::{Map, Value};

use super::InputError;
use super::lines::{each_object, kind, text};
use crate::model::{EmbedError, Model, ModelError, Session, TokenIds};

/// Usual names of the two sentences.
const SENTENCES: [(&str, &str); 7] = [
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_A", "sentence_B"),
    ("sentence_a", "sentence_b"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("s1", "s2"),
];

/// Usual names of the score.
const SCORES: [&str; 8] = [
    "score",
    "similarity_score",
    "relatedness_score",
    "similarity",
    "label",
    "gold",
    "rating",
    "human_score",
];

/// Two sentences, and how alike people find them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Both.
    pub sentences: [String; 2],
    /// On any scale, higher is more alike.
    pub score: f64,
}

/// Names of first sentence, second sentence and score.
pub type Fields = [String; 3];

/// `A,B,SCORE`, as a setting says it.
///
/// # Errors
/// What is wrong with it.
pub fn fields(text: &str) -> Result<Fields, String> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    match <Fields>::try_from(names) {
        Ok(names) if names.iter().all(|name| !name.is_empty()) => Ok(names),
        _ => Err(format!(
            "{text:?} must name three fields, separated by commas: the first sentence, the second, the score"
        )),
    }
}

/// Reads and checks a file of pairs.
///
/// # Errors
/// With file, line and field.
pub fn read(path: &Path, fields: Option<&Fields>) -> Result<Vec<Pair>, InputError> {
    let mut names = fields.cloned();
    let mut pairs = Vec::new();
    each_object(path, |line, object| {
        let bad = |reason| InputError::line(path, line, reason);
        // The first line decides: a file that changes its names in the middle is a mistake.
        let names = match &names {
            Some(names) => names,
            None => names.insert(detect(&object).map_err(bad)?),
        };
        let [first, second, score] = names;
        pairs.push(Pair {
            sentences: [
                text(&object, first).map_err(bad)?,
                text(&object, second).map_err(bad)?,
            ],
            score: number(&object, score).map_err(bad)?,
        });
        Ok(())
    })?;
    if pairs.len() < 2 {
        return Err(InputError::whole(
            path,
            "holds fewer than two pairs: there is nothing to rank",
        ));
    }
    Ok(pairs)
}

fn detect(object: &Map<String, Value>) -> Result<Fields, String> {
    let has = |name: &&str| object.contains_key(*name);
    let sentences = SENTENCES.iter().find(|(a, b)| has(a) && has(b));
    match (sentences, SCORES.iter().find(|name| has(name))) {
        (Some((first, second)), Some(score)) => {
            Ok([first, second, score].map(|name| (*name).to_owned()))
        }
        _ => {
            let there: Vec<&str> = object.keys().map(String::as_str).collect();
            Err(format!(
                "can't tell two sentences and a score among the fields {}; --sts-fields A,B,SCORE names them",
                there.join(", ")
            ))
        }
    }
}

fn number(object: &Map<String, Value>, field: &str) -> Result<f64, String> {
    let value = match object.get(field) {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(other) => return Err(format!("{field} must be a number, and is {}", kind(other))),
        None => return Err(format!("{field} is missing")),
    };
    value
        .filter(|value| value.is_finite())
        .ok_or_else(|| format!("{field} must be a number, and is {}", object[field]))
}

/// Why pairs can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum StsError {
    /// The model can't start.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A sentence can't be embedded.
    #[error("a sentence can't be embedded: {0}")]
    Embed(#[from] EmbedError),
    /// A thread ended before its work was done.
    #[error("the threads that embed are gone: a defect of floodmark")]
    Gone,
}

/// The cosine of each pair.
///
/// # Errors
/// See [`StsError`].
pub fn cosines(model: &Model, pairs: &[Pair], batch_tokens: usize) -> Result<Vec<f64>, StsError> {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut texts = Vec::new();
    let places: Vec<[usize; 2]> = pairs
        .iter()
        .map(|pair| {
            pair.sentences.each_ref().map(|sentence| {
                *numbers.entry(sentence).or_insert_with(|| {
                    texts.push(sentence.as_str());
                    texts.len() - 1
                })
            })
        })
        .collect();
    let vectors = embed(model, &texts, batch_tokens)?;
    let cosine = |[a, b]: [usize; 2]| {
        let products = vectors[a].iter().zip(&*vectors[b]);
        products.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    Ok(places.into_iter().map(cosine).collect())
}

/// A unit vector a text, with as many sessions as the model was opened for.
fn embed(model: &Model, texts: &[&str], batch_tokens: usize) -> Result<Vec<Arc<[f32]>>, StsError> {
    let rows = texts
        .iter()
        .map(|text| model.tokenize(text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut planner = Planner::new(batch_tokens);
    for (at, row) in rows.iter().enumerate() {
        planner.insert(0, row.len(), at);
    }
    let (batches, waiting) = unbounded();
    while !planner.is_empty() {
        batches
            .send(planner.next_batch())
            .map_err(|_| StsError::Gone)?;
    }
    drop(batches);
    let (done, results) = unbounded();
    let mut vectors: Vec<Option<Arc<[f32]>>> = vec![None; texts.len()];
    std::thread::scope(|scope| {
        for _ in 0..model.sessions().max(1) {
            let (waiting, done, rows) = (waiting.clone(), done.clone(), &rows);
            scope.spawn(move || {
                let mut session: Option<Session> = None;
                for batch in waiting {
                    let embedded = embed_batch(model, &mut session, rows, &batch);
                    let failed = embedded.is_err();
                    if done.send(embedded.map(|vectors| (batch, vectors))).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(done);
        for result in results {
            let (batch, embedded): (Vec<usize>, Vec<Arc<[f32]>>) = result?;
            for (at, vector) in batch.into_iter().zip(embedded) {
                vectors[at] = Some(vector);
            }
        }
        Ok::<_, StsError>(())
    })?;
    vectors
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or(StsError::Gone)
}

fn embed_batch(
    model: &Model,
    session: &mut Option<Session>,
    rows: &[TokenIds],
    batch: &[usize],
) -> Result<Vec<Arc<[f32]>>, StsError> {
    let session = match session {
        Some(session) => session,
        none => none.insert(model.session()?),
    };
    let rows: Vec<&TokenIds> = batch.iter().map(|&at| &rows[at]).collect();
    Ok(session.embed_tokens(&rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn usual_names_are_found_and_others_are_given() {
        let usual = file(
            "{\"sentence1\":\"a\",\"sentence2\":\"b\",\"score\":\"4.5\"}\n{\"sentence1\":\"c\",\"sentence2\":\"d\",\"score\":1}\n",
        );
        let pairs = read(usual.path(), None).unwrap();
        assert_eq!(pairs[0].sentences, ["a", "b"]);
        assert_eq!((pairs[0].score, pairs[1].score), (4.5, 1.0));
        let own = "{\"x\":\"a\",\"y\":\"b\",\"z\":0}\n{\"x\":\"c\",\"y\":\"d\",\"z\":-1}";
        let own = file(own);
        assert!(
            read(own.path(), None)
                .unwrap_err()
                .to_string()
                .contains("among the fields x, y, z")
        );
        let names = fields(" x, y ,z").unwrap();
        assert_eq!(read(own.path(), Some(&names)).unwrap()[1].score, -1.0);
        assert!(fields("x,y").is_err() && fields("x,,z").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_field() {
        let good = "{\"s1\":\"a\",\"s2\":\"b\",\"score\":1}\n";
        for (bad, expected) in [
            ("{\"s1\":\"a\",\"s2\":\"b\"}", ":2: score is missing"),
            (
                "{\"s1\":\"a\",\"s2\":\"b\",\"score\":\"high\"}",
                ":2: score must be a number, and is \"high\"",
            ),
            (
                "{\"s1\":\"a\",\"s2\":\"b\",\"score\":null}",
                ":2: score must be a number, and is null",
            ),
            (
                "{\"s1\":\"a\",\"s2\":7,\"score\":1}",
                ":2: s2 must be a text, and is a number",
            ),
            ("{\"s1\":\" \",\"s2\":\"b\",\"score\":1}", ":2: s1 is empty"),
            ("oops", ":2: is no JSON"),
            ("", "fewer than two pairs"),
        ] {
            let file = file(&format!("{good}{bad}"));
            let said = read(file.path(), None).unwrap_err().to_string();
            assert!(
                said.contains(expected),
                "{said:?} does not say {expected:?}"
            );
        }
    }
}
