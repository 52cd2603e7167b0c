//! A small world of files: makes valid rows, and knows from scratch what the store must say about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use floodmark_operators::keys::{ChunkHash, ContentHash, ContentKey, Epoch, PathKey};

use crate::formats::{Format, Language};
use crate::sources::Identity;
use crate::store::row::*;
use crate::store::{RecoveredFile, Snapshot, Standing, Version};

pub(super) const DIMENSION: usize = 4;
pub(super) const ROOT: &str = "/sea";

/// Chunk texts of the contents that the world knows: some texts are in several, one content has none.
pub(super) const CONTENTS: &[&[&str]] = &[
    &["low tide"],
    &["high tide", "low tide"],
    &["spring", "neap", "spring"],
    &[],
    &["ebb"],
    &["flow", "ebb"],
];

#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) epoch: Epoch,
    pub(super) rows: Vec<(Epoch, Row)>,
    files: BTreeMap<String, File>,
    written: BTreeSet<String>,
    embedded: BTreeSet<ChunkHash>,
    live: BTreeSet<ChunkHash>,
    /// Each epoch's index, for history.
    pub(super) exports: BTreeMap<Epoch, Vec<String>>,
}

#[derive(Clone)]
struct File {
    standing: &'static str,
    version: Option<Version>,
    resume: Option<Resume>,
    segments: BTreeMap<u32, (ContentKey, i64)>,
}

pub(super) fn hash(text: &str) -> ChunkHash {
    ChunkHash::of(&[text.as_bytes()])
}

pub(super) fn key(path: &str) -> PathKey {
    PathKey::of(&[ROOT.as_bytes(), path.as_bytes()])
}

pub(super) fn vector(text: &str) -> Arc<[f32]> {
    let raw: Vec<f32> = hash(text).to_bytes()[..DIMENSION]
        .iter()
        .map(|&b| f32::from(b) + 1.0)
        .collect();
    let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.iter().map(|x| x / norm).collect()
}

pub(super) fn identity(size: u64) -> Identity {
    Identity {
        dev: u64::MAX,
        ino: 7,
        size,
        mtime_ns: -1,
        ctime_ns: 5,
    }
}

pub(super) fn failure(reason: &str) -> Failure {
    Failure {
        reason: reason.into(),
        message: "the tide took it".into(),
        advice: "wait for the next".into(),
        record: Some(3),
        line: Some(4),
    }
}

/// A content of one document a chunk, ten bytes each; the first has an id of its own.
pub(super) fn content(texts: &[&str]) -> Arc<ContentRow> {
    let bytes = texts.concat();
    let documents = texts.iter().enumerate().map(|(i, text)| DocumentRow {
        id: (i == 0).then(|| format!("id-{text}")),
        record: i as u64,
        title: (i == 1).then(|| "Tides".to_owned()),
        metadata: r#"{"sea":"north"}"#.into(),
        start: 10 * i as u64,
        end: 10 * i as u64 + 9,
        chunks: vec![ChunkRow {
            hash: hash(text),
            start: 10 * i as u64 + 1,
            end: 10 * i as u64 + 8,
        }],
    });
    Arc::new(ContentRow {
        key: ContentKey::of(&[bytes.as_bytes()]),
        hash: ContentHash::of(&[bytes.as_bytes()]),
        bytes: 10 * texts.len() as u64,
        // Of one document, or of a record each.
        format: if texts.len().is_multiple_of(2) {
            Format::Jsonl
        } else {
            Format::Code(Language::Rust)
        },
        documents: documents.collect(),
        failures: if texts.len() > 2 {
            vec![failure("invalid-json")]
        } else {
            vec![]
        },
    })
}

pub(super) fn embedding(text: &str) -> Row {
    Row::Embedding(EmbeddingRow {
        hash: hash(text),
        text: text.into(),
        vector: vector(text),
    })
}

impl World {
    /// A world whose first epoch is `epoch`.
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// Closes the epoch: what is desired now joins, what is not leaves, what has no vector is embedded.
    pub(super) fn tick(&mut self) {
        let texts: BTreeMap<ChunkHash, &str> = CONTENTS
            .iter()
            .flat_map(|texts| texts.iter())
            .map(|text| (hash(text), *text))
            .collect();
        let held: BTreeSet<ContentKey> = self
            .files
            .values()
            .flat_map(|file| file.segments.values())
            .map(|(key, _)| *key)
            .collect();
        let desired: BTreeSet<ChunkHash> = CONTENTS
            .iter()
            .filter(|texts| held.contains(&content(texts).key))
            .flat_map(|texts| texts.iter().map(|text| hash(text)))
            .collect();
        for &text in desired.difference(&self.live) {
            self.rows.push((self.epoch, Row::Live(text, 1)));
            if self.embedded.insert(text) {
                self.rows.push((self.epoch, embedding(texts[&text])));
            }
        }
        for &text in self.live.difference(&desired) {
            self.rows.push((self.epoch, Row::Live(text, -1)));
        }
        self.live = desired;
        self.exports.insert(self.epoch, self.export());
        self.written.clear();
        self.epoch += 1;
    }

    fn file_row(&mut self, path: &str, state: FileState, retire: Vec<u32>) {
        let identity = (state != FileState::Gone).then(|| identity(path.len() as u64));
        let (root, path) = (PathBuf::from(ROOT), PathBuf::from(path));
        let key = key(path.to_str().unwrap());
        self.rows.push((
            self.epoch,
            Row::File(FileRow {
                key,
                root,
                path,
                identity,
                state,
                retire,
            }),
        ));
    }

    /// At most one row about a file and epoch.
    fn turn(&mut self, path: &str) {
        if !self.written.insert(path.to_owned()) {
            self.tick();
            self.written.insert(path.to_owned());
        }
    }

    fn place(&mut self, path: &str, slot: u32, texts: &[&str], base: i64) {
        let row = content(texts);
        let (key, content) = (key(path), row.key);
        let (record_base, line_base) = (base.unsigned_abs(), base.unsigned_abs());
        self.rows.push((self.epoch, Row::Content(row)));
        let segment = SegmentRow {
            key,
            slot,
            content,
            byte_base: base,
            record_base,
            line_base,
        };
        self.rows.push((self.epoch, Row::Segment(segment)));
        self.files
            .get_mut(path)
            .unwrap()
            .segments
            .insert(slot, (content, base));
    }

    /// A whole version of a file.
    pub(super) fn write(&mut self, path: &str, contents: &[usize]) {
        self.turn(path);
        let old = self.files.get(path);
        let generation = old
            .and_then(|file| file.version)
            .map_or(0, |version| 1 - version.generation);
        let retire: Vec<u32> = old
            .into_iter()
            .flat_map(|file| file.segments.keys().copied())
            .collect();
        let segments = contents.len() as u32;
        let hash = ContentHash::of(&[path.as_bytes(), &[contents.len() as u8]]);
        let version = Version {
            format: Format::Jsonl,
            content: hash,
            generation,
            segments,
        };
        let Version {
            format, content, ..
        } = version;
        self.file_row(
            path,
            FileState::Indexed {
                format,
                content,
                generation,
                segments,
            },
            retire,
        );
        let segments = BTreeMap::new();
        let file = File {
            standing: "indexed",
            version: Some(version),
            resume: None,
            segments,
        };
        self.files.insert(path.into(), file);
        for (i, &which) in contents.iter().enumerate() {
            self.place(
                path,
                u32::from(generation) << 31 | i as u32,
                CONTENTS[which],
                100 * i as i64,
            );
        }
    }

    /// A slice of a large file: one more segment of the version that is being read.
    pub(super) fn slice(&mut self, path: &str, which: usize) {
        self.turn(path);
        let file = self.files.entry(path.into()).or_insert(File {
            standing: "partial",
            version: None,
            resume: None,
            segments: BTreeMap::new(),
        });
        let generation = file.version.map_or(0, |version| 1 - version.generation);
        // What a reading that was given up has left goes.
        let fresh = file.resume.is_none();
        let ours = |slot: &u32| *slot >> 31 == u32::from(generation);
        let retire: Vec<u32> = file
            .segments
            .keys()
            .copied()
            .filter(|slot| fresh && ours(slot))
            .collect();
        file.segments.retain(|slot, _| !(fresh && ours(slot)));
        let segment = file.resume.as_ref().map_or(0, |resume| resume.segment);
        let offset = u64::from(segment) * 100;
        let content = Some(ContentHash::of(&[&[segment as u8]]));
        let next = segment + 1;
        let resume = Resume {
            offset: offset + 100,
            segment: next,
            record: 9,
            line: 8,
            generation,
            content,
            encoding: None,
        };
        file.resume = Some(resume.clone());
        file.standing = "partial";
        self.file_row(
            path,
            FileState::Partial {
                format: Format::Jsonl,
                resume,
            },
            retire,
        );
        self.place(
            path,
            u32::from(generation) << 31 | segment,
            CONTENTS[which],
            offset as i64,
        );
    }

    pub(super) fn gone(&mut self, path: &str) {
        if self.files.contains_key(path) {
            self.turn(path);
            self.files.remove(path);
            self.file_row(path, FileState::Gone, vec![]);
        }
    }

    pub(super) fn touch(&mut self, path: &str) {
        self.turn(path);
        self.file_row(path, FileState::Touched, vec![]);
        if let Some(file) = self.files.get_mut(path)
            && file.version.is_some()
            && matches!(file.standing, "dead" | "retrying")
        {
            // Its bytes are those of its version again: whatever else was begun stays only until it is retired.
            (file.standing, file.resume) = ("indexed", None);
            let generation = u32::from(file.version.unwrap().generation);
            let rest: Vec<u32> = file
                .segments
                .keys()
                .copied()
                .filter(|slot| slot >> 31 != generation)
                .collect();
            file.segments.retain(|slot, _| slot >> 31 == generation);
            if let Some((_, Row::File(row))) = self.rows.last_mut() {
                row.retire = rest;
            }
        }
    }

    pub(super) fn fail(&mut self, path: &str, dead: bool) {
        self.turn(path);
        let state = if dead {
            FileState::Dead {
                failure: failure("too-deep"),
                attempts: 3,
            }
        } else {
            FileState::Retrying {
                attempt: 1,
                after_ms: 250,
                failure: failure("io"),
            }
        };
        self.file_row(path, state, vec![]);
        let new = File {
            standing: "",
            version: None,
            resume: None,
            segments: BTreeMap::new(),
        };
        let file = self.files.entry(path.into()).or_insert(new);
        file.standing = if dead { "dead" } else { "retrying" };
        if dead {
            file.resume = None;
        }
    }

    /// The index from scratch, a line a chunk.
    pub(super) fn export(&self) -> Vec<String> {
        let contents: BTreeMap<ContentKey, Arc<ContentRow>> = CONTENTS
            .iter()
            .map(|texts| content(texts))
            .map(|row| (row.key, row))
            .collect();
        let mut lines = Vec::new();
        for (path, file) in &self.files {
            let mut segments: Vec<_> = file.segments.iter().collect();
            segments.sort_by_key(|(slot, (_, base))| (*base, **slot));
            for (_, (key, base)) in segments {
                for document in &contents[key].documents {
                    for (ord, chunk) in document.chunks.iter().enumerate() {
                        let record = document.record + *base as u64;
                        let name = document.id.clone().unwrap_or_else(|| record.to_string());
                        let (start, end) = (chunk.start as i64 + base, chunk.end as i64 + base);
                        lines.push(format!("{path} {name} {ord} {start} {end} {}", chunk.hash));
                    }
                }
            }
        }
        lines
    }

    pub(super) fn live(&self) -> Vec<ChunkHash> {
        self.live.iter().copied().collect()
    }

    pub(super) fn embedded(&self) -> Vec<ChunkHash> {
        self.embedded.iter().copied().collect()
    }

    /// Compares what was recovered with what there is.
    pub(super) fn assert_files(&self, recovered: &[RecoveredFile]) {
        let found: Vec<String> = {
            let mut files: Vec<&RecoveredFile> = recovered.iter().collect();
            files.sort_by_key(|found| found.file.path.clone());
            files
                .iter()
                .map(|RecoveredFile { file, segments }| {
                    let resume = file.partial.as_ref().map(|partial| &partial.resume);
                    let path = file.path.display();
                    assert_eq!(file.key, key(&path.to_string()));
                    assert_eq!(file.identity, Some(identity(path.to_string().len() as u64)));
                    if let Some(found) = file.standing.failure() {
                        let dead = matches!(file.standing, Standing::Dead { .. });
                        assert_eq!(*found, failure(if dead { "too-deep" } else { "io" }));
                    }
                    format!(
                        "{path} {} {:?} {resume:?} {segments:?}",
                        file.standing.name(),
                        file.version
                    )
                })
                .collect()
        };
        let expected = self.files.iter().map(|(path, file)| {
            let segments: Vec<_> = file
                .segments
                .iter()
                .map(|(slot, (key, _))| (*slot, *key))
                .collect();
            let resume = file.resume.as_ref();
            format!(
                "{path} {} {:?} {resume:?} {segments:?}",
                file.standing, file.version
            )
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
}

/// The index as the store has it, a line a chunk like [`World::export`].
pub(super) fn exported(snapshot: &Snapshot, epoch: Epoch) -> Vec<String> {
    let mut lines = Vec::new();
    snapshot
        .export_at(epoch, true, |row| {
            assert_eq!(row.root.to_str(), Some(ROOT));
            let vector = row
                .vector
                .expect("every text of a live chunk has its vector");
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(row.vector_hash, Some(&blake3::hash(&bytes).to_hex()[..32]));
            let (path, name, ord) = (row.path.display(), row.document, row.chunk);
            lines.push(format!(
                "{path} {name} {ord} {} {} {}",
                row.start, row.end, row.text_hash
            ));
            Ok(())
        })
        .unwrap();
    lines
}
