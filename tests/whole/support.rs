//! A folder, a way to index it, and the oracle: what the index must be, computed from the files alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use floodmark::formats::{self, ChunkOptions, Piece, Segmenter, TokenOffsets};
use floodmark::ingest::engine::Engine;
use floodmark::ingest::memory::Limits;
use floodmark::ingest::reader::Patience;
use floodmark::ingest::verdict::OnBad;
use floodmark::model::{Model, ModelOptions};
use floodmark::sources::{Roots, Scope, Selection, SourceOptions, scan};
use floodmark::store::row::Resume;
use floodmark::store::{ModelKey, Reader, Snapshot, StoreError, escape_path};
use floodmark::worker::{Handle, Layout, Mode, Options, Run};
use floodmark_operators::embed::{Embedder, Vector};
use floodmark_operators::keys::ChunkHash;

/// Nothing that these tests wait for takes so long.
pub const STUCK: Duration = Duration::from_secs(120);

/// A chunk of the index, as far as it follows from the files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ExportLine {
    pub path: String,
    pub document: String,
    pub record: u64,
    pub chunk: u32,
    pub start: u64,
    pub end: u64,
    pub text_hash: String,
}

/// What the index must be.
#[derive(Debug, Default, PartialEq)]
pub struct Expected {
    /// Its lines, in the order of the export.
    pub lines: Vec<ExportLine>,
    /// Its texts by their hashes.
    pub texts: BTreeMap<ChunkHash, String>,
    /// Files that can't be indexed, escaped.
    pub dead: BTreeSet<String>,
}

/// Reads every file under the inputs from its first byte: no dataflow, no store, no memory.
pub fn oracle(
    sources: &SourceOptions,
    state: &Path,
    options: &formats::Options,
    tokens: &dyn TokenOffsets,
) -> Expected {
    let roots = Roots::resolve(sources, state).unwrap();
    let selection = Selection::new(sources, roots.clone(), state).unwrap();
    let mut files = BTreeMap::new();
    let report = scan(&selection, None, &Scope::All, &mut |found| {
        files.insert(
            (escape_path(&found.path).to_string(), found.root),
            roots[found.root].path.join(&found.path),
        );
        ControlFlow::Continue(())
    });
    assert!(report.complete && report.errors.is_empty(), "{report:?}");
    let mut expected = Expected::default();
    for ((path, _), file) in files {
        let bytes = fs::read(&file).unwrap();
        let before = expected.lines.len();
        if read(&path, &bytes, options, tokens, &mut expected).is_none() {
            expected.lines.truncate(before);
            expected.dead.insert(path);
        }
    }
    let live: BTreeSet<&String> = expected.lines.iter().map(|line| &line.text_hash).collect();
    expected
        .texts
        .retain(|hash, _| live.contains(&hash.to_string()));
    expected
}

/// Adds the lines of one file; `None`: it can't be indexed.
pub fn read(
    path: &str,
    bytes: &[u8],
    options: &formats::Options,
    tokens: &dyn TokenOffsets,
    into: &mut Expected,
) -> Option<()> {
    let format = formats::detect(Path::new(path), &bytes[..bytes.len().min(4096)]).ok()?;
    let mut segmenter = Segmenter::new(
        Cursor::new(bytes),
        format,
        bytes.len() as u64,
        options,
        &Resume::default(),
    );
    let mut first = true;
    while let Some(segment) = segmenter.next_segment().ok()? {
        let alone = first && segment.last;
        first = false;
        let parsed = match formats::parse(&segment.bytes, format, &segment.piece, options) {
            Ok(parsed) => parsed,
            Err(_) if alone && segment.piece == Piece::Whole => return None,
            Err(_) => continue,
        };
        for document in &parsed.documents {
            let record = segment.record_base + document.record;
            let name = document.id.clone().unwrap_or_else(|| record.to_string());
            for (number, chunk) in formats::split(document, &options.chunk, tokens)
                .into_iter()
                .enumerate()
            {
                let hash = ChunkHash::of(&[chunk.text.as_bytes()]);
                let in_file = |at: usize| (segment.byte_base + at as i64).max(0) as u64;
                into.lines.push(ExportLine {
                    path: path.to_owned(),
                    document: name.clone(),
                    record,
                    chunk: number as u32,
                    start: in_file(chunk.start),
                    end: in_file(chunk.end),
                    text_hash: hash.to_string(),
                });
                into.texts.insert(hash, chunk.text);
            }
        }
    }
    Some(())
}

/// The index as the store has it, and the hash of each line's vector.
pub fn exported(snapshot: &Snapshot) -> (Vec<ExportLine>, Vec<Option<String>>) {
    let (mut lines, mut vectors) = (Vec::new(), Vec::new());
    snapshot
        .export(false, |row| {
            lines.push(ExportLine {
                path: escape_path(row.path).to_string(),
                document: row.document.to_owned(),
                record: row.record,
                chunk: row.chunk,
                start: row.start,
                end: row.end,
                text_hash: row.text_hash.to_string(),
            });
            vectors.push(row.vector_hash.map(str::to_owned));
            Ok(())
        })
        .unwrap();
    (lines, vectors)
}

/// The first difference, if there is one, in words.
pub fn difference(snapshot: &Snapshot, expected: &Expected) -> Option<String> {
    let (lines, vectors) = exported(snapshot);
    if lines != expected.lines {
        let (has, wants): (BTreeSet<_>, BTreeSet<_>) =
            (lines.iter().collect(), expected.lines.iter().collect());
        let surplus: Vec<_> = has.difference(&wants).take(3).collect();
        let missing: Vec<_> = wants.difference(&has).take(3).collect();
        return Some(format!(
            "{} lines for {}: surplus {surplus:?}, missing {missing:?}",
            lines.len(),
            expected.lines.len()
        ));
    }
    if let Some(at) = vectors.iter().position(Option::is_none) {
        return Some(format!("no vector for {:?}", lines[at]));
    }
    let live: BTreeSet<ChunkHash> = snapshot
        .live_labels()
        .unwrap()
        .into_iter()
        .map(|label| snapshot.hash_of(label).unwrap().unwrap())
        .collect();
    let wanted: BTreeSet<ChunkHash> = expected.texts.keys().copied().collect();
    if live != wanted {
        let (surplus, missing) = (
            live.difference(&wanted).count(),
            wanted.difference(&live).count(),
        );
        return Some(format!(
            "the live index has {surplus} texts too many and {missing} too few"
        ));
    }
    None
}

/// Whole words, and few of them: a document soon has several chunks.
pub struct Words;

impl TokenOffsets for Words {
    fn token_ends(&self, text: &str) -> Vec<u32> {
        let mut ends = Vec::new();
        let mut inside = false;
        for (at, char) in text.char_indices() {
            if inside && char.is_whitespace() {
                ends.push(at as u32);
            }
            inside = !char.is_whitespace();
        }
        if inside {
            ends.push(text.len() as u32);
        }
        ends
    }

    fn max_tokens(&self) -> usize {
        12
    }
}

/// How often each text was embedded.
pub type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

struct Hashing(Asked);

impl Embedder for Hashing {
    fn embed(&mut self, texts: &[Arc<str>]) -> Vec<Result<Vector, String>> {
        let mut asked = self.0.lock().unwrap();
        texts
            .iter()
            .map(|text| {
                *asked.entry(text.to_string()).or_default() += 1;
                let hash = blake3::hash(text.as_bytes());
                let numbers: Vec<f32> = hash.as_bytes()[..8]
                    .iter()
                    .map(|byte| f32::from(*byte) - 127.5)
                    .collect();
                let norm = numbers
                    .iter()
                    .map(|number| number * number)
                    .sum::<f32>()
                    .sqrt();
                Ok(numbers.into_iter().map(|number| number / norm).collect())
            })
            .collect()
    }
}

/// A model of eight dimensions that costs nothing and keeps count.
pub fn fake_engine(asked: &Asked) -> Engine {
    Engine {
        embedders: (0..2)
            .map(|_| Box::new(Hashing(asked.clone())) as Box<dyn Embedder>)
            .collect(),
        tokens: Arc::new(Words),
        tokenizer: "words".into(),
        key: ModelKey {
            id: "hashing".into(),
            dimension: 8,
        },
        ward: None,
    }
}

/// Ends a run also when its test fails: dropping a run waits for it.
pub struct Stop(pub Handle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A folder with files, and a state folder beside it.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.files()).unwrap();
        place
    }

    pub fn files(&self) -> PathBuf {
        self.0.path().join("files")
    }

    pub fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    pub fn sources(&self) -> SourceOptions {
        SourceOptions {
            inputs: vec![self.files()],
            // Histories delete everything too, and the oracle goes by what lies there.
            confirm_empty: true,
            ..SourceOptions::default()
        }
    }

    pub fn options(&self, mode: Mode, workers: usize) -> Options {
        Options {
            mode,
            state: self.state(),
            sources: self.sources(),
            formats: formats::Options {
                chunk: ChunkOptions::default(),
                ..formats::Options::default()
            },
            batch_tokens: 64,
            epochs_in_flight: 4,
            epoch_target_ms: 50,
            patience: Patience {
                tries: 3,
                base_ms: 20,
            },
            on_bad: OnBad::Drop,
            failed_dir: None,
            memory: Limits::default(),
            layout: Layout::Threads(workers),
            cluster_timeout: STUCK,
            clock: || 0,
        }
    }

    pub fn start(&self, options: Options, asked: &Asked) -> Run {
        Run::start(
            options,
            fake_engine(asked),
            Vec::new(),
            Arc::new(|why| panic!("{why}")),
        )
        .unwrap()
    }

    pub fn expected(&self, tokens: &dyn TokenOffsets) -> Expected {
        oracle(
            &self.sources(),
            &self.state(),
            &formats::Options::default(),
            tokens,
        )
    }

    /// The store as it is; `None` before there is one.
    pub fn snapshot(&self) -> Option<Snapshot> {
        match Reader::open(&self.state()).and_then(|reader| reader.snapshot()) {
            Ok(snapshot) => Some(snapshot),
            Err(StoreError::Missing { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The index is what it must be, and the store agrees with itself.
    #[track_caller]
    pub fn is_right(&self, expected: &Expected) {
        let snapshot = self.snapshot().expect("a store");
        assert_eq!(difference(&snapshot, expected), None);
        let wrong = snapshot.check().unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    /// The program, with no settings but those of the test.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = self.ask(arguments);
        command.arg("--input").arg(self.files());
        command
    }

    /// The program, for a command that looks at no input.
    pub fn ask(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floodmark"));
        command.args(arguments).arg("--state").arg(self.state());
        command.current_dir(self.0.path()).stdin(Stdio::null());
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOODMARK_"))
        {
            command.env_remove(name);
        }
        command
    }
}

/// The tokens of the model that is built in.
pub fn builtin() -> Model {
    Model::open(&ModelOptions {
        sessions: 1,
        ..ModelOptions::default()
    })
    .unwrap()
}

/// Looks again and again, at once after `changed` says that there may be something new, until `look` has an answer.
pub fn wait<T>(
    what: &str,
    mut changed: impl FnMut(Instant),
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + STUCK;
    loop {
        let why = match look() {
            Ok(answer) => return answer,
            Err(why) => why,
        };
        assert!(
            Instant::now() < deadline,
            "waited too long for {what}: {why}"
        );
        changed(deadline.min(Instant::now() + Duration::from_millis(50)));
    }
}

/// For [`wait`], where another process works and nothing tells.
pub fn poll(until: Instant) {
    std::thread::park_timeout(
        until
            .saturating_duration_since(Instant::now())
            .min(Duration::from_millis(10)),
    );
}

/// `count` records of a JSONL file, from number `first` on; short, and no two alike.
pub fn records(first: usize, count: usize) -> String {
    (first..first + count)
        .map(|number| {
            format!(
                "{{\"id\":\"r{number}\",\"text\":\"tide gauge {number} at the quay reads {}\"}}\n",
                number * 37 % 1000
            )
        })
        .collect()
}

/// Copies the sample corpus.
pub fn copy_corpus(to: &Path) {
    copy_folder(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/corpus"),
        to,
    );
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
