//! Builds on the disk: what is written, in which order, and what is believed when it is read.
//!
//! ```text
//!   current                     name of the build that answers, swapped by rename
//!   builds/41-3/index.faiss     vectors, as FAISS writes them
//!   builds/41-3/labels.bin      their labels, u64 little-endian
//!   builds/41-3/metadata.json   Manifest: what it is, BLAKE3 of both files and of itself
//!   builds/29-2/…               the previous build
//! ```
//!
//! A build appears under its name complete and synced, or not at all. Nothing is read whose checksum does not match.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use floodmark_operators::keys::Epoch;
use serde::{Deserialize, Serialize};

use super::IndexError;
use super::faiss::Ann;
use super::policy::Kind;
use crate::fault;

const FORMAT: u32 = 1;
const CURRENT: &str = "current";
const BUILDS: &str = "builds";
const UNFINISHED: &str = "unfinished-";
const INDEX: &str = "index.faiss";
const LABELS: &str = "labels.bin";
const METADATA: &str = "metadata.json";

/// How many of the true nearest neighbours of sampled queries a build found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecallSample {
    /// Neighbours asked for by each query.
    pub at: u64,
    /// Neighbours asked for by all queries.
    pub asked: u64,
    /// Of those, found.
    pub found: u64,
}

impl RecallSample {
    /// Found ÷ asked; 1 when there was nothing to ask for.
    pub fn recall(&self) -> f64 {
        if self.asked == 0 {
            1.0
        } else {
            self.found as f64 / self.asked as f64
        }
    }
}

/// What a build is: `metadata.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// Model id of the source.
    pub model: String,
    /// Length of a vector.
    pub dimension: usize,
    /// Its vectors are those that were live at this epoch.
    pub epoch: Epoch,
    /// Kind of index and what it was built with.
    pub kind: Kind,
    /// Breadth of HNSW's search.
    pub ef_search: usize,
    /// Cells of an IVF index that a query looks at.
    pub nprobe: usize,
    /// Vectors.
    pub count: u64,
    /// When it was made. For people: nothing is decided by it.
    pub created: String,
    /// Measured before it was let to answer.
    pub recall: RecallSample,
    /// BLAKE3 of each other file of the build.
    pub files: BTreeMap<String, String>,
    /// BLAKE3 of this manifest with an empty checksum.
    pub checksum: String,
}

impl Manifest {
    fn sealed(mut self) -> Self {
        self.checksum = self.own_checksum();
        self
    }

    fn own_checksum(&self) -> String {
        let bare = Self {
            checksum: String::new(),
            ..self.clone()
        };
        let bytes = serde_json::to_vec(&bare).expect("a manifest holds only text and integers");
        blake3::hash(&bytes).to_hex().to_string()
    }
}

/// What a new build says of itself, but for the files.
pub(super) struct Draft<'a> {
    pub model: &'a str,
    pub epoch: Epoch,
    pub ef_search: usize,
    pub nprobe: usize,
    pub created: String,
    pub recall: RecallSample,
}

/// A build that was read and believed.
pub(super) struct Stored {
    pub manifest: Manifest,
    pub ann: Ann,
    pub labels: Vec<u64>,
}

/// Writes a build, reads it back, and makes it the current one. On an error nothing has changed but an unfinished folder.
pub(super) fn write(
    dir: &Path,
    ann: Ann,
    labels: &[u64],
    draft: Draft<'_>,
) -> Result<Stored, IndexError> {
    let builds = dir.join(BUILDS);
    at("view.write.begin", &builds)?;
    fs::create_dir_all(&builds).map_err(|e| IndexError::io("create", &builds, e))?;
    let number = names(&builds)?
        .iter()
        .map(|(_, number)| number + 1)
        .max()
        .unwrap_or(1);
    let name = format!("{}-{number}", draft.epoch);
    let unfinished = builds.join(format!("{UNFINISHED}{name}"));
    remove(&unfinished)?;
    fs::create_dir(&unfinished).map_err(|e| IndexError::io("create", &unfinished, e))?;

    let index = unfinished.join(INDEX);
    at("view.write.folder", &unfinished)?;
    ann.write(&index)?;
    at("view.write.index", &index)?;
    sync(&index)?;
    at("view.write.index-synced", &index)?;
    write_synced(
        &unfinished.join(LABELS),
        &labels
            .iter()
            .flat_map(|l| l.to_le_bytes())
            .collect::<Vec<_>>(),
    )?;
    at("view.write.labels", &unfinished)?;
    let mut files = BTreeMap::new();
    for file in [INDEX, LABELS] {
        files.insert(file.to_owned(), checksum(&unfinished.join(file))?);
    }
    let manifest = Manifest {
        format: FORMAT,
        model: draft.model.to_owned(),
        dimension: ann.dimension(),
        epoch: draft.epoch,
        kind: ann.kind(),
        ef_search: draft.ef_search,
        nprobe: draft.nprobe,
        count: labels.len() as u64,
        created: draft.created,
        recall: draft.recall,
        files,
        checksum: String::new(),
    }
    .sealed();
    let mut json =
        serde_json::to_vec_pretty(&manifest).expect("a manifest holds only text and integers");
    json.push(b'\n');
    write_synced(&unfinished.join(METADATA), &json)?;
    at("view.write.metadata", &unfinished)?;
    sync(&unfinished)?;
    at("view.write.synced", &unfinished)?;

    // The writer of FAISS swallows the error of its last flush: what answers from now on is what lies on the disk.
    let written = fingerprint(&ann)?;
    drop(ann);
    let stored = read(&unfinished, draft.model, manifest.dimension)?;
    if stored.labels != labels || fingerprint(&stored.ann)? != written {
        return Err(IndexError::unusable(
            &unfinished,
            "it does not read back as it was written",
        ));
    }

    let finished = builds.join(&name);
    at("view.rename", &finished)?;
    fs::rename(&unfinished, &finished).map_err(|e| IndexError::io("rename", &unfinished, e))?;
    at("view.renamed", &builds)?;
    sync(&builds)?;
    at("view.current.begin", &builds)?;
    let pointer = dir.join("current.unfinished");
    write_synced(&pointer, name.as_bytes())?;
    at("view.current.written", &pointer)?;
    fs::rename(&pointer, dir.join(CURRENT)).map_err(|e| IndexError::io("rename", &pointer, e))?;
    at("view.current.renamed", &pointer)?;
    sync(dir)?;
    at("view.current.synced", &pointer)?;
    Ok(stored)
}

/// Reads a build if every byte is as it was written and it holds vectors of this model.
pub(super) fn read(folder: &Path, model: &str, dimension: usize) -> Result<Stored, IndexError> {
    let path = folder.join(METADATA);
    fault::point("view.read").map_err(|e| IndexError::io("read", &path, e))?;
    let json = fs::read(&path).map_err(|e| IndexError::io("read", &path, e))?;
    let manifest: Manifest =
        serde_json::from_slice(&json).map_err(|e| IndexError::unusable(&path, e.to_string()))?;
    if manifest.checksum != manifest.own_checksum() {
        return Err(IndexError::unusable(&path, "its checksum differs"));
    }
    if manifest.format != FORMAT {
        return Err(IndexError::unusable(
            &path,
            format!("format {} is not {FORMAT}", manifest.format),
        ));
    }
    if manifest.model != model || manifest.dimension != dimension {
        return Err(IndexError::unusable(
            &path,
            format!("it is of model {}, not {model}", manifest.model),
        ));
    }
    for file in [INDEX, LABELS] {
        let path = folder.join(file);
        if manifest.files.get(file) != Some(&checksum(&path)?) {
            return Err(IndexError::unusable(&path, "its checksum differs"));
        }
    }
    let path = folder.join(LABELS);
    let bytes = fs::read(&path).map_err(|e| IndexError::io("read", &path, e))?;
    let (labels, rest) = bytes.as_chunks::<8>();
    if labels.len() as u64 != manifest.count || !rest.is_empty() {
        return Err(IndexError::unusable(
            &path,
            format!("it does not hold {} labels", manifest.count),
        ));
    }
    let labels: Vec<u64> = labels
        .iter()
        .map(|label| u64::from_le_bytes(*label))
        .collect();
    let mut ann = Ann::read(&folder.join(INDEX), manifest.kind, dimension, labels.len())?;
    ann.set_ef_search(manifest.ef_search)?;
    Ok(Stored {
        manifest,
        ann,
        labels,
    })
}

/// Folders of builds, most promising first: the current one, then the newest.
pub(super) fn candidates(dir: &Path) -> Vec<PathBuf> {
    let builds = dir.join(BUILDS);
    let mut names = names(&builds).unwrap_or_default();
    names.sort_unstable_by_key(|&(epoch, number)| std::cmp::Reverse((number, epoch)));
    let current = fs::read_to_string(dir.join(CURRENT))
        .ok()
        .and_then(|name| parse(&name));
    names.sort_by_key(|name| Some(*name) != current);
    names
        .into_iter()
        .map(|(epoch, number)| builds.join(format!("{epoch}-{number}")))
        .collect()
}

/// The model that a build says it is of.
pub(super) fn model_of(folder: &Path) -> Result<String, IndexError> {
    let path = folder.join(METADATA);
    let json = fs::read(&path).map_err(|e| IndexError::io("read", &path, e))?;
    let manifest: Manifest =
        serde_json::from_slice(&json).map_err(|e| IndexError::unusable(&path, e.to_string()))?;
    Ok(manifest.model)
}

/// What the build that would be tried first says of itself. For people: nothing is checked.
pub fn last_build(dir: &Path) -> Option<Manifest> {
    let newest = candidates(dir).into_iter().next()?;
    let text = fs::read(newest.join(METADATA)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The epoch of the oldest build that is kept.
pub(super) fn oldest_epoch(dir: &Path) -> Option<Epoch> {
    names(&dir.join(BUILDS))
        .ok()?
        .into_iter()
        .map(|(epoch, _)| epoch)
        .min()
}

/// Removes all but the `keep` most promising builds, and what was left unfinished.
pub(super) fn prune(dir: &Path, keep: usize) -> Result<(), IndexError> {
    for old in candidates(dir).into_iter().skip(keep) {
        at("view.prune", &old)?;
        remove(&old)?;
    }
    tidy(dir)
}

/// Removes what a crash left unfinished.
pub(super) fn tidy(dir: &Path) -> Result<(), IndexError> {
    let builds = dir.join(BUILDS);
    at("view.tidy", &builds)?;
    let entries = match fs::read_dir(&builds) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(IndexError::io("list", &builds, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| IndexError::io("list", &builds, e))?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// A few vectors of the index, to tell whether it was read back as written.
fn fingerprint(ann: &Ann) -> Result<Vec<u32>, IndexError> {
    let mut vector = vec![0f32; ann.dimension()];
    let mut bits = Vec::new();
    for position in (0..ann.len()).step_by((ann.len() / 64).max(1)) {
        ann.vector(position, &mut vector)?;
        bits.extend(vector.iter().map(|x| x.to_bits()));
    }
    Ok(bits)
}

fn parse(name: &str) -> Option<(Epoch, u64)> {
    let (epoch, number) = name.trim_end().split_once('-')?;
    let parsed = (epoch.parse().ok()?, number.parse().ok()?);
    (format!("{}-{}", parsed.0, parsed.1) == name.trim_end()).then_some(parsed)
}

fn names(builds: &Path) -> Result<Vec<(Epoch, u64)>, IndexError> {
    let entries = fs::read_dir(builds).map_err(|e| IndexError::io("list", builds, e))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| parse(&entry.file_name().to_string_lossy()))
        .collect())
}

fn checksum(path: &Path) -> Result<String, IndexError> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(drop));
    read.map_err(|e| IndexError::io("read", path, e))?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), IndexError> {
    let write = || {
        fault::point("view.file.create")?;
        let mut file = File::create(path)?;
        fault::point("view.file.write")?;
        file.write_all(bytes)?;
        fault::point("view.file.sync")?;
        file.sync_all()
    };
    let written = write();
    written.map_err(|e| IndexError::io("write", path, e))
}

/// A fail point of the build in `path`.
fn at(name: &'static str, path: &Path) -> Result<(), IndexError> {
    fault::point(name).map_err(|e| IndexError::io("write", path, e))
}

/// Syncs a file or a folder.
fn sync(path: &Path) -> Result<(), IndexError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| IndexError::io("sync", path, e))
}

fn remove(folder: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(IndexError::io("remove", folder, e)),
        _ => Ok(()),
    }
}
