//! One resolved configuration: defaults < `floodmark.toml` < environment < flags.
//!
//! A setting is declared once, in `settings!` below, with its sentence, type, default and rule. The struct, the parser of the file,
//! the environment's names, `--help`, the manual and `docs/configuration.md` all come from that table.

mod declare;
mod error;
mod key;
mod layers;
mod reference;
mod rule;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use declare::{settings, short, spell, text};
pub use error::{ConfigError, Origin};
pub use key::{Group, Key};
pub use layers::{FILE_NAME, Flags, Layers, PREFIX};
pub use reference::reference;
pub use rule::{AutoOr, Rule, Setting};
pub use words::{Device, Fusion, Language, LogFormat, OnBad, OnError, Poll, SearchMode, Symlinks};

settings! {
    /// Where floodmark keeps what it knows.
    "state" in [""] {
        /// Folder of the store, the views, the log and the pid file; made if missing.
        state: PathBuf = [".floodmark"], Rule::Path("DIR");
    }
    /// What is indexed.
    "input" in [""] {
        /// Folder to index, with all below it; may be given several times.
        input: Vec<PathBuf> = ["data/raw"], Rule::Path("DIR");
    }
    /// Whether to go on watching.
    "once" in [""] {
        /// Index what is there, then exit instead of watching.
        once: bool = ["false"], Rule::Switch;
    }
    /// How many work on it.
    "workers" in [""] {
        /// Worker threads of the dataflow in each process.
        workers: usize = ["1"], Rule::Count(1, 256);
        /// Processes of the cluster; all get the same settings but `process`.
        processes: usize = ["1"], Rule::Count(1, 256);
        /// This process's number in the cluster, from 0; process 0 owns the state.
        process: usize = ["0"], Rule::Count(0, 255);
        /// File with one HOST:PORT a line, a line a process. The connections are not encrypted and not authenticated:
        /// private interfaces only.
        hosts: Option<PathBuf> = [], Rule::Path("FILE");
        /// How long a process waits for the others of the cluster before it gives up.
        cluster_timeout: Duration = ["2m"], Rule::Time;
    }
    /// Which files are read, and when they are looked at again.
    "sources" in ["sources"] {
        /// Index only what matches this line, written as in a .gitignore (`*.md`, `docs/`, `/src/**/*.rs`); none means all.
        include: Vec<String> = [], Rule::Text("PATTERN");
        /// Leave out what matches this line, folders with all they contain; a later line with `!` takes back an earlier one.
        exclude: Vec<String> = [], Rule::Text("PATTERN");
        /// Leave out what .gitignore and .floodmarkignore name, and the folders of version control itself.
        gitignore: bool = ["true"], Rule::Switch;
        /// Index names that begin with a dot too.
        hidden: bool = ["false"], Rule::Switch;
        /// What becomes of symbolic links: `files` takes links to files below an input, `follow` takes all.
        symlinks: Symlinks = ["skip"], Rule::OneOf(Symlinks::WORDS);
        /// Leave out larger files; unset means no limit.
        max_file_size: Option<u64> = [], Rule::Bytes;
        /// Time between two complete scans, which find what the operating system did not report.
        rescan: Duration = ["300s"], Rule::Time;
        /// How long a file that is written to and never closed must rest before it is read.
        settle: Duration = ["500ms"], Rule::Time;
        /// Take an input that held files and is empty now for emptied on purpose, and forget its files. Else they are kept
        /// until this or `floodmark forget` says so: it may be a disk that is away.
        confirm_empty: bool = ["false"], Rule::Switch;
        /// Whether to scan periodically instead of watching: `auto` does so on file systems that report no changes (NFS, SMB,
        /// FUSE).
        poll: Poll = ["auto"], Rule::OneOf(Poll::WORDS);
        /// Time between two scans of an input that is not watched.
        poll_interval: Duration = ["5s"], Rule::Time;
    }
    /// How files become documents.
    "formats" in ["formats"] {
        /// Field of a JSON, JSONL or CSV record that is part of the text, in this order; none means the title and the first
        /// of text, content, body, …, or else all strings but the id.
        text_fields: Vec<String> = [], Rule::Text("FIELD");
        /// Field that may hold the title; none means title, headline, subject, name.
        title_fields: Vec<String> = [], Rule::Text("FIELD");
        /// Field that may hold the id; none means id, _id, uuid, doc_id, key.
        id_fields: Vec<String> = [], Rule::Text("FIELD");
        /// A large file is committed in pieces of at most this many documents.
        segment_documents: usize = ["50"], Rule::Count(1, 1_000_000);
        /// A large file is committed in pieces of about this size.
        segment_bytes: usize = ["64KiB"], Rule::Bytes;
        /// A larger file of a kind that must be read whole (HTML, text that is not UTF-8) is a dead letter.
        max_whole_size: u64 = ["64MiB"], Rule::Bytes;
        /// A larger record is a dead letter.
        max_record_size: usize = ["16MiB"], Rule::Bytes;
        /// JSON that is nested deeper is a dead letter.
        max_depth: usize = ["127"], Rule::Count(1, 127);
    }
    /// How documents become chunks.
    "chunks" in ["chunks"] {
        /// Most tokens in a chunk, without the model's special tokens; 0 means as many as the model reads.
        max_tokens: usize = ["0"], Rule::Count(0, 1_000_000);
        /// Tokens at the end of a chunk that are repeated at the start of the next.
        overlap_tokens: usize = ["0"], Rule::Count(0, 1_000_000);
    }
    /// What turns text into vectors.
    "model" in ["model"] {
        /// Folder of a sentence-transformers model in ONNX form, or one of its .onnx files; unset means the one that is built in.
        model: Option<PathBuf> = [], Rule::Path("DIR");
        /// Where the model runs.
        device: Device = ["auto"], Rule::OneOf(Device::WORDS);
        /// Sessions of the model, one thread each; 0 means one a core.
        sessions: usize = ["0"], Rule::Count(0, 1024);
        /// The ONNX Runtime library; unset means the one that is built in.
        runtime: Option<PathBuf> = [], Rule::Path("FILE");
        /// How long the model may take for a batch. Then it counts as hanging: another session takes its place, and the text
        /// that makes each of them hang becomes a dead letter.
        model_timeout: Duration = ["60s"], Rule::Time;
        /// Padded tokens in a batch.
        batch_tokens: usize = ["256"], Rule::Count(1, 1_000_000);
    }
    /// How much is under way at a time.
    "dataflow" in ["dataflow"] {
        /// Epochs that may be uncommitted before the sources wait.
        epochs_in_flight: u64 = ["4"], Rule::Count(1, 1024);
        /// Milliseconds from an epoch's beginning to its commit that it is sized for: how long a change may wait for what is ahead of it.
        epoch_target_ms: u64 = ["400"], Rule::Count(1, 60_000);
        /// Resident memory above which work is admitted slowly, one small epoch at a time, and a warning is logged.
        memory_soft: u64 = ["2GiB"], Rule::Bytes;
        /// Resident memory above which nothing more is admitted; unset means no limit.
        memory_hard: Option<u64> = [], Rule::Bytes;
    }
    /// How the views are made: when the vector view is built, and what a word is to the keyword view.
    "index" in ["index"] {
        /// Build the vector view anew when added and removed since the last build exceed this part of it.
        threshold: f64 = ["0.2"], Rule::Number(0.0, 1.0);
        /// Fewer changes than this never make a new build due.
        changes_min: u64 = ["1000"], Rule::Count(0, u64::MAX);
        /// Up to this many vectors every one is looked at: exact.
        flat_max: u64 = ["50000"], Rule::Count(0, u64::MAX);
        /// Above flat-max, up to this many vectors: a graph (HNSW). Above: cells (IVF).
        hnsw_max: u64 = ["2000000"], Rule::Count(0, u64::MAX);
        /// Threads of a build in the background; 0 means half of the cores.
        build_threads: usize = ["0"], Rule::Count(0, 1024);
        /// Language of the texts, for stemming and stop words: `auto` looks at each text, `none` leaves words as they are. Another
        /// one than before makes the keyword view anew from the store.
        language: Language = ["auto"], Rule::OneOf(Language::WORDS);
        /// Keep the token vectors of what is embedded in a file of their own, so that `--rerank maxsim` encodes the query alone: some
        /// 400 bytes a token, 70 kB a chunk.
        token_vectors: bool = ["false"], Rule::Switch;
    }
    /// What becomes of files and records that can't be indexed.
    "bad-input" in ["bad-input"] {
        /// Tries before a failure that may pass (I/O, busy) becomes a dead letter.
        retries: u32 = ["3"], Rule::Count(1, 100);
        /// Milliseconds before the second try; doubled for each further one.
        retry_base_ms: u64 = ["500"], Rule::Count(1, 3_600_000);
        /// What becomes of the good version of a file whose new version is bad: `keep` leaves it live and marks it stale.
        on_bad: OnBad = ["keep"], Rule::OneOf(OnBad::WORDS);
        /// Folder to which dead files are moved, each with an error log beside it; unset means they stay where they are.
        failed_dir: Option<PathBuf> = [], Rule::Path("DIR");
    }
    /// How a search answers.
    "search" in ["search"] {
        /// How many hits are wanted.
        hits 'k': usize = ["10"], Rule::Count(1, 10_000);
        /// What is looked at: `hybrid` for meaning and words, `vector` for meaning alone, `keyword` for words alone.
        mode: SearchMode = ["hybrid"], Rule::OneOf(SearchMode::WORDS);
        /// How the two lists become one: `zscore` and `minmax` weigh the scores, `rrf` the ranks.
        fusion: Fusion = ["zscore"], Rule::OneOf(Fusion::WORDS);
        /// What meaning weighs against words, for `zscore` and `minmax`; `auto`: for each query as much as the two understand of it.
        dense_weight: AutoOr<f64> = ["auto"], Rule::AutoOr(0.0, 1.0);
        /// The constant of `rrf`: the smaller, the more the first ranks count.
        rrf_k: f64 = ["60"], Rule::Number(0.0, 10_000.0);
        /// Each chunk is a hit of its own, instead of a document with its best chunks.
        chunks: bool = ["false"], Rule::Switch;
        /// Read the query as an expression: `+must -not "a phrase" (a OR b)`. Else nothing in it is an operator.
        query_syntax: bool = ["false"], Rule::Switch;
        /// Look at the best 50 again: `maxsim` with the model that embeds, or a folder with a cross-encoder in ONNX form.
        rerank: Option<String> = [], Rule::Text("maxsim|DIR");
        /// How long that may take; past it the order stays as it was, and the answer says so.
        rerank_budget: Duration = ["2s"], Rule::Time;
        /// How long --wait and --wait-epoch wait.
        wait_timeout: Duration = ["60s"], Rule::Time;
    }
    /// How results are written.
    "output" in ["output"] {
        /// Write results as JSON with stable field names.
        json: bool = ["false"], Rule::Switch;
    }
    /// What `verify` does with a difference.
    "verify" in ["verify"] {
        /// Mend what differs.
        repair: bool = ["false"], Rule::Switch;
    }
    /// What `export` writes.
    "export" in ["export"] {
        /// Add the vectors.
        vectors: bool = ["false"], Rule::Switch;
    }
    /// How `embed` works.
    "embed" in ["embed"] {
        /// File to write, whole or not at all; unset means standard output.
        output 'o': Option<PathBuf> = [], Rule::Path("FILE");
        /// What becomes of a line that can't be embedded.
        on_error: OnError = ["stop"], Rule::OneOf(OnError::WORDS);
        /// File for the lines that were skipped and why; unset means the output with `.errors.jsonl` behind its name, or
        /// `embed.errors.jsonl` in the current folder.
        errors_to: Option<PathBuf> = [], Rule::Path("FILE");
    }
    /// What `eval` measures.
    "eval" in ["eval"] {
        /// Name of the file of judgements in qrels/, without .tsv; unset means test, or the only one.
        qrels: Option<String> = [], Rule::Text("NAME");
        /// Settings of a configuration to compare, such as `model=DIR,max-tokens=128`; given once, against the settings as they
        /// are, given twice, against each other.
        compare: Vec<String> = [], Rule::Text("SPEC");
    }
    /// What `sts` reads.
    "sts" in ["sts"] {
        /// Names of the first sentence, the second and the score, separated by commas; unset means the usual ones.
        sts_fields: Option<String> = [], Rule::Text("A,B,SCORE");
    }
    /// How long `start` waits.
    "start" in ["daemon"] {
        /// How long `start` waits for the run to say that it is ready.
        start_timeout: Duration = ["60s"], Rule::Time;
    }
    /// How long `stop` waits.
    "stop" in ["daemon"] {
        /// How long `stop` waits for the run to end.
        stop_timeout: Duration = ["30s"], Rule::Time;
    }
    /// What is said on standard error.
    "logs" in ["logs"] {
        /// How much is logged: off, error, warn, info, debug, trace, or levels by module (info,floodmark::sources=debug).
        log: String = ["info"], Rule::Log;
        /// How log lines look.
        log_format: LogFormat = ["text"], Rule::OneOf(LogFormat::WORDS);
    }
}

/// Settings that a run takes up at SIGHUP without being started again.
pub const LIVE: &[&str] = &["log", "rescan", "settle", "poll-interval"];

/// All keys, in the order of the table.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    GROUPS.iter().flat_map(|group| group.keys)
}

impl Config {
    /// Who said so; `None` for what is no key.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.origins.get(name)
    }

    /// The flags that this configuration was called with, to call another floodmark the same way.
    pub fn flags(&self) -> &Flags {
        &self.layers.flags
    }

    /// The same with these settings, as if they had been flags too.
    ///
    /// # Errors
    /// When a value is not allowed.
    pub fn with(
        &self,
        settings: impl IntoIterator<Item = (&'static Key, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = self.layers.clone();
        for (key, value) in settings {
            layers.flags.push(key, value);
        }
        layers.resolve()
    }

    /// Reads the file anew, under the same environment and flags.
    pub fn reload(&self) -> Result<Self, ConfigError> {
        self.layers.resolve()
    }

    /// What no single key shows to be wrong.
    fn check(self) -> Result<Self, ConfigError> {
        let conflict = |key: &str, message: String| {
            Err(ConfigError::Conflict {
                origin: self.origins[key].clone(),
                message,
            })
        };
        if self.process >= self.processes {
            return conflict(
                "process",
                format!(
                    "process is {} of processes = {}: count from 0",
                    self.process, self.processes
                ),
            );
        }
        if self.processes > 1 && self.hosts.is_none() {
            return conflict(
                "processes",
                "processes is more than 1: hosts must name a file with one HOST:PORT a line".into(),
            );
        }
        if self.max_tokens > 0 && self.overlap_tokens >= self.max_tokens {
            return conflict(
                "overlap-tokens",
                format!(
                    "overlap-tokens is {}, which must be less than max-tokens = {}",
                    self.overlap_tokens, self.max_tokens
                ),
            );
        }
        if self.input.is_empty() {
            return conflict("input", "input is empty: name at least one folder".into());
        }
        Ok(self)
    }
}
