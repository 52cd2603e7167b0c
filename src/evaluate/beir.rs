//! A test collection in the layout of BEIR: documents, queries, and which document is how relevant to which query.
//!
//! ```text
//! corpus.jsonl      {"_id", "title", "text", …} a line
//! queries.jsonl     {"_id", "text", …} a line
//! qrels/NAME.tsv    query-id, corpus-id, score, separated by tabs; the first line names the columns
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::InputError;
use super::lines::{each_line, each_object, text};
use super::metrics::Grades;

/// The split that is taken when there are several and none is named.
pub const DEFAULT_SPLIT: &str = "test";

/// A query that people judged documents for.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedQuery {
    /// Its id.
    pub id: String,
    /// What is asked.
    pub text: String,
    /// Document → grade.
    pub grades: Grades,
}

/// A collection, without the texts of its documents: those are for the index.
#[derive(Clone, Debug)]
pub struct Collection {
    /// The file that is indexed.
    pub corpus: PathBuf,
    /// The judgements that were read.
    pub qrels: PathBuf,
    /// Documents of the corpus.
    pub documents: usize,
    /// Queries with judgements, in the order of `queries.jsonl`.
    pub queries: Vec<JudgedQuery>,
    /// Judged documents that the corpus does not have. They can't be found, and count as missed.
    pub absent: usize,
}

impl Collection {
    /// Reads and checks the folder. `split`: the name of the file of judgements without `.tsv`.
    ///
    /// # Errors
    /// With file, line and field.
    pub fn open(folder: &Path, split: Option<&str>) -> Result<Self, InputError> {
        let file = |name: &str| {
            let path = folder.join(name);
            match path.is_file() {
                true => Ok(path),
                false => Err(InputError::whole(
                    folder,
                    format!(
                        "has no {name}: a collection is a folder with corpus.jsonl, queries.jsonl and qrels/*.tsv"
                    ),
                )),
            }
        };
        let (corpus, queries) = (file("corpus.jsonl")?, file("queries.jsonl")?);
        let qrels = qrels(folder, split)?;
        let documents = ids(&corpus, |_, _| Ok(()))?;
        let mut texts = Vec::new();
        let known = ids(&queries, |id, object| {
            texts.push((id.to_owned(), text(object, "text")?));
            Ok(())
        })?;
        let mut judged = judgements(&qrels, &known)?;
        let absent = (judged.values())
            .flat_map(|grades| grades.keys())
            .filter(|document| !documents.contains_key(*document))
            .count();
        let judged_query = |(id, text)| {
            judged
                .remove(&id)
                .map(|grades| JudgedQuery { id, text, grades })
        };
        let queries: Vec<JudgedQuery> = texts.into_iter().filter_map(judged_query).collect();
        if queries.is_empty() {
            return Err(InputError::whole(&qrels, "holds no judgement"));
        }
        Ok(Self {
            corpus,
            qrels,
            documents: documents.len(),
            queries,
            absent,
        })
    }
}

/// The ids of a JSONL file and their lines; `each` sees every record.
fn ids(
    path: &Path,
    mut each: impl FnMut(&str, &serde_json::Map<String, serde_json::Value>) -> Result<(), String>,
) -> Result<HashMap<String, usize>, InputError> {
    let mut ids = HashMap::new();
    each_object(path, |line, object| {
        let bad = |reason| InputError::line(path, line, reason);
        let id = text(&object, "_id").map_err(bad)?;
        each(&id, &object).map_err(bad)?;
        match ids.insert(id, line) {
            None => Ok(()),
            Some(before) => Err(bad(format!("_id is the same as in line {before}"))),
        }
    })?;
    Ok(ids)
}

/// Which file of judgements.
fn qrels(folder: &Path, split: Option<&str>) -> Result<PathBuf, InputError> {
    let folder = folder.join("qrels");
    let read = |source| InputError::Read {
        path: folder.clone(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|extension| extension == "tsv")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    let wanted = split.unwrap_or(DEFAULT_SPLIT);
    match names.as_slice() {
        [] => Err(InputError::whole(&folder, "has no .tsv file of judgements")),
        [only] if split.is_none() => Ok(folder.join(format!("{only}.tsv"))),
        names if names.iter().any(|name| name == wanted) => {
            Ok(folder.join(format!("{wanted}.tsv")))
        }
        names => Err(InputError::whole(
            &folder,
            format!(
                "has no {wanted}.tsv; --qrels names one of {}",
                names.join(", ")
            ),
        )),
    }
}

/// Query → document → grade.
fn judgements(
    path: &Path,
    queries: &HashMap<String, usize>,
) -> Result<HashMap<String, Grades>, InputError> {
    let mut judged: HashMap<String, Grades> = HashMap::new();
    each_line(path, |line, text| {
        let bad = |reason: String| Err(InputError::line(path, line, reason));
        let fields: Vec<&str> = text.split('\t').map(str::trim).collect();
        let [query, document, score] = fields[..] else {
            return bad(format!(
                "has {} fields, where query-id, corpus-id and score are expected, separated by tabs",
                fields.len()
            ));
        };
        let Ok(score) = score.parse::<i64>() else {
            // What has no number in its first line has names there.
            return match line {
                1 => Ok(()),
                _ => bad(format!("score must be a whole number, and is {score:?}")),
            };
        };
        if !queries.contains_key(query) {
            return bad(format!("query-id {query:?} is not in queries.jsonl"));
        }
        if document.is_empty() {
            return bad("corpus-id is empty".to_owned());
        }
        let grades = judged.entry(query.to_owned()).or_default();
        match grades.insert(document.to_owned(), score) {
            Some(before) if before != score => bad(format!(
                "corpus-id {document:?} has the score {before} for this query in an earlier line"
            )),
            _ => Ok(()),
        }
    })?;
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPUS: &str =
        "{\"_id\":\"a\",\"title\":\"\",\"text\":\"tide\"}\n{\"_id\":7,\"text\":\"mark\"}\n";
    const QUERIES: &str =
        "{\"_id\":\"q1\",\"text\":\"high water\"}\n\n{\"_id\":\"q2\",\"text\":\"low\"}\n";

    fn folder(corpus: &str, queries: &str, qrels: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("corpus.jsonl", corpus);
        write("queries.jsonl", queries);
        std::fs::create_dir(folder.path().join("qrels")).unwrap();
        qrels
            .iter()
            .for_each(|(name, text)| write(&format!("qrels/{name}.tsv"), text));
        folder
    }

    #[test]
    fn only_judged_queries_count_and_absent_documents_are_known() {
        let qrels = "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\t7\t0\r\nq1\tgone\t1\n";
        let folder = folder(CORPUS, QUERIES, &[("dev", qrels)]);
        let collection = Collection::open(folder.path(), None).unwrap();
        assert_eq!((collection.documents, collection.absent), (2, 1));
        let [query] = &collection.queries[..] else {
            panic!("{:?}", collection.queries)
        };
        assert_eq!(
            (query.id.as_str(), query.text.as_str()),
            ("q1", "high water")
        );
        assert_eq!(query.grades["a"], 2);
        assert_eq!(query.grades["7"], 0);
    }

    #[test]
    fn the_split_is_the_one_that_was_named_or_test_or_the_only_one() {
        let named = |name: &str| format!("q1\t{name}\t1\n");
        let (dev, test) = (named("dev"), named("test"));
        let both = folder(CORPUS, QUERIES, &[("dev", &dev), ("test", &test)]);
        let chosen = |split: Option<&str>| {
            let collection = Collection::open(both.path(), split).unwrap();
            collection.queries[0].grades.keys().next().unwrap().clone()
        };
        assert_eq!(chosen(None), "test");
        assert_eq!(chosen(Some("dev")), "dev");
        let refused = Collection::open(both.path(), Some("train")).unwrap_err();
        assert!(
            refused.to_string().contains("one of dev, test"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_and_field() {
        let good = "q1\ta\t1\n";
        let cases: &[(&str, &str, &str, &str)] = &[
            (
                "{\"_id\":\"a\"}\n{\"title\":1}",
                QUERIES,
                good,
                "corpus.jsonl:2: _id is missing",
            ),
            ("[]\n", QUERIES, good, "corpus.jsonl:1: is no JSON object"),
            (
                "{\"_id\":\"a\"}\n{\"_id\":\"a\"}\n",
                QUERIES,
                good,
                "corpus.jsonl:2: _id is the same as in line 1",
            ),
            (
                CORPUS,
                "{\"_id\":\"q1\",\"text\":3}",
                good,
                "queries.jsonl:1: text must be a text, and is a number",
            ),
            (
                CORPUS,
                "{\"_id\":\"q1\",\"text\":\" \"}",
                good,
                "queries.jsonl:1: text is empty",
            ),
            (
                CORPUS,
                "{\"_id\":\"q1\"",
                good,
                "queries.jsonl:1: is no JSON",
            ),
            (
                CORPUS,
                QUERIES,
                "q1\ta\t1\nq1\ta\tbad\n",
                "test.tsv:2: score must be a whole number, and is \"bad\"",
            ),
            (CORPUS, QUERIES, "q1 a 1\n", "test.tsv:1: has 1 fields"),
            (
                CORPUS,
                QUERIES,
                "q9\ta\t1\n",
                "test.tsv:1: query-id \"q9\" is not in queries.jsonl",
            ),
            (
                CORPUS,
                QUERIES,
                "q1\ta\t1\nq1\ta\t0\n",
                "test.tsv:2: corpus-id \"a\" has the score 1",
            ),
            (
                CORPUS,
                QUERIES,
                "query-id\tcorpus-id\tscore\n",
                "test.tsv: holds no judgement",
            ),
        ];
        for (corpus, queries, qrels, expected) in cases {
            let folder = folder(corpus, queries, &[("test", qrels)]);
            let said = Collection::open(folder.path(), None)
                .unwrap_err()
                .to_string();
            assert!(
                said.contains(expected),
                "{said:?} does not say {expected:?}"
            );
        }
        let empty = tempfile::tempdir().unwrap();
        let said = Collection::open(empty.path(), None)
            .unwrap_err()
            .to_string();
        assert!(said.contains("has no corpus.jsonl"), "{said}");
    }
}
