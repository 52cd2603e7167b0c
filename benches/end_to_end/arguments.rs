//! The flags.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// What to measure, and how much of it. The defaults end within minutes.
pub struct Arguments {
    /// One JSON string a line.
    pub passages: Option<PathBuf>,
    /// The same, of single sentences, for the index that is asked.
    pub sentences: Option<PathBuf>,
    /// A stream of edits of a real folder: JSON objects with `op`, `path`, `old_path`, `text`.
    pub edits: Option<PathBuf>,
    only: Option<BTreeSet<String>>,
    /// Where every sample is appended.
    pub results: Option<PathBuf>,
    /// How often what is compared is taken in turn, at most.
    pub rounds: usize,
    /// After so many seconds a section begins no further round.
    pub seconds: u64,
    /// Passages at most.
    pub texts: usize,
    /// Short records that are embedded by the model.
    pub short: usize,
    /// Passages that are taken by one and by two of everything.
    pub scaling: usize,
    /// Chunks that go through without the model.
    pub chunks: usize,
    /// Files of a folder in which nothing has changed.
    pub files: usize,
    /// Chunks in the index when a file changes.
    pub sizes: Vec<usize>,
    /// The same, without the model.
    pub stand_in_sizes: Vec<usize>,
    /// Files that change, one after the other.
    pub changes: usize,
    /// Size of the folder that is replayed.
    pub replay_mb: usize,
    /// Chunks in the index that is asked.
    pub query_chunks: usize,
    /// How many queries.
    pub queries: usize,
    /// Where the index that is asked is kept, and taken from where there is one: for a profiler.
    pub query_index: Option<PathBuf>,
}

impl Arguments {
    /// From the command line.
    pub fn read() -> Self {
        let mut read = Self {
            passages: None,
            sentences: None,
            edits: None,
            only: None,
            results: None,
            rounds: 3,
            seconds: 600,
            texts: 4000,
            short: 5000,
            scaling: 1000,
            chunks: 20_000,
            files: 10_000,
            sizes: vec![1000, 5000],
            stand_in_sizes: vec![1000, 10_000, 100_000],
            changes: 100,
            replay_mb: 50,
            query_chunks: 100_000,
            queries: 500,
            query_index: None,
        };
        let (benching, given): (Vec<_>, Vec<_>) = std::env::args()
            .skip(1)
            .partition(|argument| argument == "--bench");
        if benching.is_empty() {
            // `cargo test --all-targets` runs this too: then only to see that it runs.
            read.at_least();
        }
        let mut arguments = given.into_iter();
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .unwrap_or_else(|| panic!("{name} wants a value"));
            let number = || value.parse().expect("a number");
            let numbers = || {
                let sizes = value.split(',').filter(|size| !size.is_empty());
                sizes.map(|size| size.parse().expect("a number")).collect()
            };
            match name.as_str() {
                "--passages" => read.passages = Some(value.into()),
                "--sentences" => read.sentences = Some(value.into()),
                "--edits" => read.edits = Some(value.into()),
                "--only" => read.only = Some(value.split(',').map(str::to_owned).collect()),
                "--results" => read.results = Some(value.into()),
                "--rounds" => read.rounds = number(),
                "--seconds" => read.seconds = value.parse().expect("a number"),
                "--texts" => read.texts = number(),
                "--short" => read.short = number(),
                "--scaling" => read.scaling = number(),
                "--chunks" => read.chunks = number(),
                "--files" => read.files = number(),
                "--sizes" => read.sizes = numbers(),
                "--stand-in-sizes" => read.stand_in_sizes = numbers(),
                "--changes" => read.changes = number(),
                "--replay-mb" => read.replay_mb = number(),
                "--query-chunks" => read.query_chunks = number(),
                "--query-index" => read.query_index = Some(value.into()),
                "--queries" => read.queries = number(),
                _ => panic!("{name}: not known"),
            }
        }
        read
    }

    /// So little of everything that only running is tried.
    fn at_least(&mut self) {
        (self.rounds, self.texts, self.short, self.scaling) = (1, 30, 60, 30);
        (self.chunks, self.files, self.changes, self.replay_mb) = (100, 100, 3, 1);
        (self.query_chunks, self.queries) = (100, 5);
        (self.sizes, self.stand_in_sizes) = (vec![20, 60], vec![50]);
    }

    /// Whether a section is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }
}
