//! The folders to index, as absolute paths that stay the same while they are away.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::SourceOptions;

/// A folder to index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Absolute, without links; part of the key of every file below it.
    pub path: PathBuf,
    /// As it was given.
    pub given: PathBuf,
}

/// Every folder to index: at least one, none inside another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots(Vec<Root>);

/// These folders can't be indexed together.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// Nothing was given.
    #[error("no input folder is given; name one with --input DIR")]
    None,
    /// A file, or something else.
    #[error(
        "{0} is not a folder; give the folder that contains it, and include = [\"its name\"] to index it alone"
    )]
    NotAFolder(PathBuf),
    /// One inside the other: its files would be indexed twice.
    #[error(
        "{inner} lies inside {outer}; name only one of them, or leave the inner one out with exclude"
    )]
    Nested {
        /// The inner one, as given.
        inner: PathBuf,
        /// The outer one, as given.
        outer: PathBuf,
    },
    /// The program would index its own state.
    #[error(
        "{root} lies inside the state folder {state}; put the state elsewhere with --state DIR"
    )]
    InsideState {
        /// The folder, as given.
        root: PathBuf,
        /// The state folder.
        state: PathBuf,
    },
    /// Its path can't be found out.
    #[error("can't tell where {path} is: {error}")]
    Unresolvable {
        /// As given.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Roots {
    /// The inputs of `options`. One that does not exist is kept (a scan reports it as missing, and its files are not taken
    /// for deleted); one that is given twice counts once.
    pub fn resolve(options: &SourceOptions, state: &Path) -> Result<Self, RootsError> {
        let state_path = settled(state, 0).map_err(|error| unresolvable(state, error))?;
        let mut roots: Vec<Root> = Vec::new();
        for given in &options.inputs {
            let path = settled(given, 0).map_err(|error| unresolvable(given, error))?;
            if path.exists() && !path.is_dir() {
                return Err(RootsError::NotAFolder(given.clone()));
            }
            if path.starts_with(&state_path) {
                return Err(RootsError::InsideState {
                    root: given.clone(),
                    state: state.to_owned(),
                });
            }
            if roots.iter().any(|root| root.path == path) {
                tracing::warn!(input = %given.display(), "input is given twice and counts once");
                continue;
            }
            for root in &roots {
                let (inner, outer) =
                    match (path.starts_with(&root.path), root.path.starts_with(&path)) {
                        (true, _) => (given, &root.given),
                        (_, true) => (&root.given, given),
                        _ => continue,
                    };
                return Err(RootsError::Nested {
                    inner: inner.clone(),
                    outer: outer.clone(),
                });
            }
            roots.push(Root {
                path,
                given: given.clone(),
            });
        }
        if roots.is_empty() {
            Err(RootsError::None)
        } else {
            Ok(Self(roots))
        }
    }

    /// In the order in which they were given; the number of a root is its place here.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Root> {
        self.0.iter()
    }

    /// How many there are; never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The root of that number.
    pub fn get(&self, root: usize) -> Option<&Root> {
        self.0.get(root)
    }

    /// Where a path of the command line lies: number of its root, and its path below it. The last name is not resolved, so
    /// that a link can be asked about.
    pub fn locate(&self, path: &Path) -> Option<(usize, PathBuf)> {
        let path = resolved(path).ok()?;
        let below =
            |(i, root): (usize, &Root)| Some((i, path.strip_prefix(&root.path).ok()?.to_owned()));
        self.0.iter().enumerate().find_map(below)
    }
}

/// A path of the command line as the index knows it: absolute, without links in it. The last name is not resolved.
///
/// # Errors
/// As the system says. That nothing is there is no error.
pub fn resolved(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            Ok(settled(parent, 0)?.join(name))
        }
        _ => settled(path, 0),
    }
}

impl std::ops::Index<usize> for Roots {
    type Output = Root;

    fn index(&self, root: usize) -> &Root {
        &self.0[root]
    }
}

fn unresolvable(path: &Path, error: io::Error) -> RootsError {
    RootsError::Unresolvable {
        path: path.to_owned(),
        error,
    }
}

/// `canonicalize`, also of what does not exist now: a disk that is away must not give its files other keys.
pub(super) fn settled(path: &Path, links: u32) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    if links > 40 {
        return Err(io::Error::other("too many symbolic links"));
    }
    let path = std::path::absolute(path)?;
    let Some(parent) = path.parent() else {
        return Ok(path);
    };
    if let Ok(target) = path.read_link() {
        return settled(&parent.join(target), links + 1);
    }
    let parent = settled(parent, links)?;
    Ok(match path.components().next_back() {
        Some(Component::Normal(name)) => parent.join(name),
        Some(Component::ParentDir) => parent.parent().unwrap_or(&parent).to_owned(),
        _ => parent,
    })
}
