//! The keyword view on a collection: how good its answers are, and what they and its commits cost.
//!
//! ```text
//! cargo bench --bench keyword_view -- FOLDER...
//! ```
//!
//! A FOLDER is in the layout of BEIR: corpus.jsonl, queries.jsonl, qrels/test.tsv. The texts are whole documents, so that figures
//! can be held against published ones. Figures go to standard output as Markdown.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use floodmark::index::{Change, SourceError};
use floodmark::keyword::{KeywordView, Options, Syntax, TextSource};
use floodmark_operators::keys::Epoch;
use serde_json::Value;

/// Commits of one text each that are timed.
const COMMITS: usize = 300;

fn main() {
    let folders = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--bench");
    println!(
        "| collection | texts | nDCG@10 | R@100 | built s | reopened ms | search p50 ms | p99 ms | commit p50 ms | p99 ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for folder in folders.map(PathBuf::from) {
        println!("{}", measured(&folder));
    }
}

fn measured(folder: &Path) -> String {
    let corpus = lines(&folder.join("corpus.jsonl"));
    let texts: Vec<String> = corpus
        .iter()
        .map(|document| {
            let field = |name: &str| document[name].as_str().unwrap_or_default();
            format!("{}\n{}", field("title"), field("text"))
        })
        .collect();
    let ids: Vec<&str> = corpus
        .iter()
        .map(|document| document["_id"].as_str().unwrap_or_default())
        .collect();
    let wanted = qrels(folder);
    let mut source = Source {
        texts,
        ..Source::default()
    };
    let dir = tempfile::tempdir().expect("a folder");
    let count = source.texts.len();
    source.commit(0..count);
    let started = Instant::now();
    let mut view = KeywordView::open(dir.path(), &source, Options::default()).expect("a view");
    view.save().expect("room on the disk");
    let built = started.elapsed();
    drop(view);
    let started = Instant::now();
    let mut view = KeywordView::open(dir.path(), &source, Options::default()).expect("a view");
    let opened = started.elapsed();

    let (mut gain, mut recall, mut judged) = (0.0, 0.0, 0.0f64);
    let (mut searches, snapshot) = (Vec::new(), view.snapshot());
    for query in lines(&folder.join("queries.jsonl")) {
        let Some(relevant) = query["_id"].as_str().and_then(|id| wanted.get(id)) else {
            continue;
        };
        let text = query["text"].as_str().unwrap_or_default();
        let started = Instant::now();
        let hits = snapshot
            .search(text, 100, None, Syntax::Words)
            .expect("an answer");
        searches.push(started.elapsed());
        let found: Vec<&str> = hits.iter().map(|hit| ids[hit.label as usize - 1]).collect();
        judged += 1.0;
        gain += ndcg(&found, relevant);
        let all = relevant.values().filter(|grade| **grade > 0.0).count();
        let hit = found
            .iter()
            .filter(|id| relevant.get(**id).is_some_and(|grade| *grade > 0.0));
        recall += hit.count() as f64 / all.max(1) as f64;
    }
    let mut commits = Vec::new();
    for n in 0..COMMITS {
        source.texts.push(source.texts[n % count].clone());
        source.commit([source.texts.len() - 1]);
        let started = Instant::now();
        view.follow(&source).expect("a fresh view");
        commits.push(started.elapsed());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "| {name} | {count} | {:.3} | {:.3} | {:.1} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
        gain / judged,
        recall / judged,
        built.as_secs_f64(),
        ms(opened),
        ms(quantile(&mut searches, 0.5)),
        ms(quantile(&mut searches, 0.99)),
        ms(quantile(&mut commits, 0.5)),
        ms(quantile(&mut commits, 0.99)),
    )
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn quantile(times: &mut [Duration], at: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * at) as usize]
}

fn ndcg(found: &[&str], relevant: &HashMap<String, f64>) -> f64 {
    let discounted = |grades: &mut dyn Iterator<Item = f64>| -> f64 {
        grades
            .take(10)
            .enumerate()
            .map(|(rank, grade)| grade / (rank as f64 + 2.0).log2())
            .sum()
    };
    let mut best: Vec<f64> = relevant.values().copied().collect();
    best.sort_by(|a, b| b.total_cmp(a));
    let ideal = discounted(&mut best.into_iter());
    let got = discounted(
        &mut found
            .iter()
            .map(|id| relevant.get(*id).copied().unwrap_or(0.0)),
    );
    if ideal > 0.0 { got / ideal } else { 0.0 }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect()
}

/// Grades by query and document.
fn qrels(folder: &Path) -> HashMap<String, HashMap<String, f64>> {
    let mut grades: HashMap<String, HashMap<String, f64>> = HashMap::new();
    let path = folder.join("qrels/test.tsv");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [query, document, grade] = fields[..]
            && let Ok(grade) = grade.trim().parse()
        {
            let of_query = grades.entry(query.to_owned()).or_default();
            of_query.insert(document.to_owned(), grade);
        }
    }
    grades
}

/// Texts in memory; label `n` is text `n − 1`.
#[derive(Default)]
struct Source {
    texts: Vec<String>,
    history: Vec<Change>,
    live: HashSet<u64>,
    epoch: Epoch,
}

impl Source {
    fn commit(&mut self, texts: impl IntoIterator<Item = usize>) {
        self.epoch += 1;
        for text in texts {
            let label = text as u64 + 1;
            self.live.insert(label);
            self.history.push(Change {
                epoch: self.epoch,
                label,
                op: 1,
            });
        }
    }
}

impl TextSource for Source {
    fn epoch(&self) -> Result<Epoch, SourceError> {
        Ok(self.epoch)
    }

    fn live_count(&self) -> Result<u64, SourceError> {
        Ok(self.live.len() as u64)
    }

    fn live(&self, each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError> {
        let mut labels: Vec<u64> = self.live.iter().copied().collect();
        labels.sort_unstable();
        self.texts(&labels, each)
    }

    fn changes_after(&self, epoch: Epoch) -> Result<Option<Vec<Change>>, SourceError> {
        let from = self.history.partition_point(|change| change.epoch <= epoch);
        Ok(Some(self.history[from..].to_vec()))
    }

    fn texts(&self, labels: &[u64], each: &mut dyn FnMut(u64, &str)) -> Result<(), SourceError> {
        for label in labels {
            each(*label, &self.texts[*label as usize - 1]);
        }
        Ok(())
    }
}
