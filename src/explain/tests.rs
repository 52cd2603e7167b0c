//! The standings that a test of the whole program has to be quick for: a file that is half read, one that is tried again.

use super::*;
use crate::formats::Format;
use crate::sources::key;
use crate::store::row::{Failure, FileRow, FileState, Resume, Row};
use crate::store::{ModelKey, Reader, Store};

/// A file of ten bytes that lies in the one input, and what the store says of it.
struct Site {
    folder: tempfile::TempDir,
    options: SourceOptions,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        std::fs::create_dir(&input).unwrap();
        std::fs::write(input.join("tide.jsonl"), "0123456789").unwrap();
        let options = SourceOptions {
            inputs: vec![input],
            ..SourceOptions::default()
        };
        Self { folder, options }
    }

    fn path(&self) -> PathBuf {
        self.options.inputs[0].join("tide.jsonl")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Commits that the file stands so, in an epoch of its own.
    fn stands(&self, state: FileState, identity: Option<Identity>) {
        let root = self.options.inputs[0].canonicalize().unwrap();
        let model = ModelKey {
            id: "none".into(),
            dimension: 4,
        };
        let mut store = Store::open(&self.state(), &model, || 0).unwrap();
        let row = FileRow {
            key: key(&root, Path::new("tide.jsonl")),
            root,
            path: "tide.jsonl".into(),
            identity,
            state,
            retire: Vec::new(),
        };
        let epoch = store.upper();
        store
            .commit(epoch + 1, vec![(epoch, Row::File(row))])
            .unwrap();
    }

    fn identity(&self) -> Identity {
        Identity::of(&std::fs::metadata(self.path()).unwrap())
    }

    fn explained(&self) -> Explanation {
        let store = Reader::open(&self.state()).unwrap().snapshot().unwrap();
        explain(&store, &self.state(), &self.options, &self.path()).unwrap()
    }
}

fn half_read() -> FileState {
    FileState::Partial {
        format: Format::Jsonl,
        resume: Resume {
            offset: 6,
            segment: 1,
            ..Resume::default()
        },
    }
}

fn busy() -> FileState {
    FileState::Retrying {
        attempt: 2,
        after_ms: 100,
        failure: Failure {
            reason: "io".into(),
            message: "it could not be read: busy".into(),
            advice: "wait".into(),
            record: None,
            line: None,
        },
    }
}

#[test]
fn a_file_that_is_half_read_is_partial_and_says_how_far() {
    let site = Site::new();
    site.stands(half_read(), Some(site.identity()));
    let explained = site.explained();
    assert_eq!(explained.standing, Standing::Partial);
    assert_eq!(
        explained.why,
        "Its first 6 of 10 bytes are in the index; the rest follows."
    );
    assert_eq!(explained.format, Some(Format::Jsonl));
    // Half read, and another file since.
    std::fs::write(site.path(), "another file").unwrap();
    assert_eq!(site.explained().standing, Standing::Changed);
}

#[test]
fn a_file_that_is_tried_again_says_why() {
    let site = Site::new();
    site.stands(busy(), None);
    let explained = site.explained();
    assert_eq!(explained.standing, Standing::Retrying);
    assert_eq!(
        explained.why,
        "io: it could not be read: busy. To do: wait."
    );
    // What was read before it began to fail is kept, and does not hide that it fails.
    let site = Site::new();
    site.stands(half_read(), Some(site.identity()));
    site.stands(busy(), None);
    assert_eq!(site.explained().standing, Standing::Retrying);
}

#[test]
fn a_file_of_an_input_that_was_emptied_stays_and_says_how_to_confirm_it() {
    let site = Site::new();
    site.stands(half_read(), Some(site.identity()));
    std::fs::write(site.options.inputs[0].join("other.txt"), "x").unwrap();
    std::fs::remove_file(site.path()).unwrap();
    assert_eq!(site.explained().standing, Standing::Gone);
    std::fs::remove_file(site.options.inputs[0].join("other.txt")).unwrap();
    let explained = site.explained();
    assert_eq!(explained.standing, Standing::Partial);
    assert!(
        explained.why.contains("--confirm-empty"),
        "{}",
        explained.why
    );
    assert!(
        explained.why.contains("floodmark forget"),
        "{}",
        explained.why
    );
}
