//! Finds and loads ONNX Runtime, once a process.
//!
//! Looked at in this order, and the first that loads is taken:
//!
//! 1. the option, or `ORT_DYLIB_PATH`: who names a file gets that file or an error, never another
//! 2. beside the executable
//! 3. `.runtime/` of the source tree that the executable was built in: what the set-up fetched
//! 4. the copy inside the binary, unpacked once into the user's cache ([`unpack`])
//! 5. what the system's loader finds
//!
//! The working directory is not among them: whoever searches in a folder of someone else must not run that folder's code.
//! For the same reason a library in places 2 and 3 is refused if another user could have put it there. Telemetry is off.

pub mod unpack;

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use thiserror::Error;

use unpack::Packed;

/// The library, if the build had one to put in.
#[cfg(embedded_runtime)]
const PACKED: Option<Packed> = Some(Packed {
    zstd: include_bytes!(env!("EMBEDDED_RUNTIME_ZST")),
    blake3: env!("EMBEDDED_RUNTIME_BLAKE3"),
});
#[cfg(not(embedded_runtime))]
const PACKED: Option<Packed> = None;

/// ONNX Runtime, loaded. There is one a process, and it stays until the process ends.
#[derive(Debug)]
pub struct Runtime {
    path: PathBuf,
    environment: Environment,
}

impl Runtime {
    /// The library's file, or its bare name where the system's loader found it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the library says of itself: branch, commit, build type.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// A place that was looked at, and why it was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The place.
    pub place: String,
    /// Why not.
    pub reason: String,
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  {}: {}", self.place, self.reason)
    }
}

/// Why there is no ONNX Runtime.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The process was not started in a way that keeps the library quiet.
    #[error(
        "ONNX Runtime would report its use over the network: set {QUIET}=1 in the environment of this process (the \
         program floodmark does so by itself)"
    )]
    Telemetry,
    /// A library was named and can't be used.
    #[error(
        "{}: named by {by} and not usable as ONNX Runtime: {reason}; name a libonnxruntime of version 1.24 or later, \
         or none and let it be found",
        path.display()
    )]
    Named {
        /// The file.
        path: PathBuf,
        /// What named it.
        by: &'static str,
        /// What the loader said.
        reason: String,
    },
    /// It was found nowhere.
    #[error(
        "ONNX Runtime was not found. Looked at:{}\nWhat to do: in the source tree run `make setup`, which fetches it; \
         elsewhere put libonnxruntime (version 1.24 or later) beside the executable, or name it with ORT_DYLIB_PATH",
        looked.iter().map(Looked::to_string).collect::<String>()
    )]
    NotFound {
        /// Every place, in order.
        looked: Vec<Looked>,
    },
    /// The library loaded and does not start.
    #[error("{}: ONNX Runtime does not start: {reason}; try another version of it", path.display())]
    Start {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// Where to look. Read from the process once, so that the search itself can be tested.
#[derive(Clone, Debug, Default)]
struct Places {
    named: Option<(PathBuf, &'static str)>,
    executable: Option<PathBuf>,
    /// The source tree of a debug build, whose target folder may be anywhere.
    source_tree: Option<PathBuf>,
    cache: Option<PathBuf>,
    packed: Option<Packed>,
    system: &'static [&'static str],
}

impl Places {
    fn of_this_process(option: Option<&Path>) -> Self {
        let variable = || std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
        Self {
            named: (option.map(|path| (path.to_owned(), "the option")))
                .or_else(|| variable().map(|path| (path.into(), "ORT_DYLIB_PATH"))),
            executable: std::env::current_exe().and_then(std::fs::canonicalize).ok(),
            source_tree: cfg!(debug_assertions).then(|| PathBuf::from(env!("CARGO_MANIFEST_DIR"))),
            cache: unpack::user_cache(),
            packed: PACKED,
            system: if cfg!(target_os = "macos") {
                &[
                    "libonnxruntime.dylib",
                    "/opt/homebrew/lib/libonnxruntime.dylib",
                    "/usr/local/lib/libonnxruntime.dylib",
                ]
            } else {
                &["libonnxruntime.so", "libonnxruntime.so.1"]
            },
        }
    }

    /// The first library that `load` accepts, and where it was.
    fn search<T>(
        &self,
        load: impl Fn(&Path) -> Result<T, String>,
    ) -> Result<(PathBuf, T), RuntimeError> {
        if let Some((path, by)) = &self.named {
            return load(path)
                .map(|loaded| (path.clone(), loaded))
                .map_err(|reason| RuntimeError::Named {
                    path: path.clone(),
                    by,
                    reason,
                });
        }
        let mut looked = Vec::new();
        for (folder, owner) in self.folders() {
            let libraries = libraries(&folder);
            if libraries.is_empty() {
                looked.push(Looked {
                    place: folder.display().to_string(),
                    reason: "no libonnxruntime there".into(),
                });
            }
            for path in libraries {
                match not_from_strangers(&path, owner).and_then(|()| load(&path)) {
                    Ok(loaded) => return Ok((path, loaded)),
                    Err(reason) => looked.push(Looked {
                        place: path.display().to_string(),
                        reason,
                    }),
                }
            }
        }
        match self
            .unpack()
            .and_then(|path| load(&path).map(|loaded| (path, loaded)))
        {
            Ok(found) => return Ok(found),
            Err(reason) => looked.push(Looked {
                place: "inside the binary".into(),
                reason,
            }),
        }
        for name in self.system {
            match load(Path::new(name)) {
                Ok(loaded) => return Ok((PathBuf::from(name), loaded)),
                Err(reason) => looked.push(Looked {
                    place: format!("system, {name}"),
                    reason,
                }),
            }
        }
        Err(RuntimeError::NotFound { looked })
    }

    /// Beside the executable, then the set-up's folder; each with the owner who is trusted there besides root and the
    /// user: the one who made the executable, or the source tree.
    fn folders(&self) -> Vec<(PathBuf, Option<u32>)> {
        let owner = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.uid());
        let mut folders = Vec::new();
        if let Some(executable) = &self.executable {
            folders.extend(
                executable
                    .parent()
                    .map(|folder| (folder.to_owned(), owner(executable))),
            );
            let target = executable
                .ancestors()
                .find(|folder| folder.ends_with("target"));
            let tree = target.and_then(Path::parent);
            folders.extend(tree.map(|tree| (tree.join(".runtime"), owner(tree))));
        }
        folders.extend(
            self.source_tree
                .as_ref()
                .map(|tree| (tree.join(".runtime"), owner(tree))),
        );
        folders.dedup();
        folders
    }

    fn unpack(&self) -> Result<PathBuf, String> {
        let packed = self.packed.ok_or("this build carries none")?;
        let cache = self
            .cache
            .as_ref()
            .ok_or("no cache folder to unpack it to: neither XDG_CACHE_HOME nor HOME is set")?;
        unpack::unpack(&packed, cache).map_err(|e| e.to_string())
    }
}

/// With this at `1`, ONNX Runtime 1.29 and later stay off the network from the start. Their interface for it comes too late:
/// by the time that it can be called, a device id has been written and names have been looked up.
pub const QUIET: &str = "ORT_DISABLE_TELEMETRY";

/// Loads it, or hands out what was loaded before: a later `option` can't change that.
pub fn load(option: Option<&Path>) -> Result<&'static Runtime, RuntimeError> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static LOADING: Mutex<()> = Mutex::new(());
    let _alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        if option.is_some_and(|path| path != runtime.path) {
            tracing::warn!(loaded = %runtime.path.display(), "ONNX Runtime is already loaded, the option is ignored");
        }
        return Ok(runtime);
    }
    if std::env::var_os(QUIET).is_none_or(|value| value != "1") {
        return Err(RuntimeError::Telemetry);
    }
    let open = |path: &Path| ort::init_from(path).map_err(|e| e.to_string());
    let (path, builder) = Places::of_this_process(option).search(open)?;
    let environment = builder
        .with_name("floodmark")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|e| RuntimeError::Start {
            path: path.clone(),
            reason: e.to_string(),
        })?;
    environment.set_log_level(LogLevel::Warning);
    Ok(RUNTIME.get_or_init(|| Runtime { path, environment }))
}

/// The library speaks through this program's log. It calls many things an error that are handled here (a device that
/// is not there, a folder that is not a model): those are a warning at most.
fn log(level: LogLevel, category: &str, _id: &str, place: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => {
            tracing::warn!(target: "onnxruntime", category, place, "{message}")
        }
        LogLevel::Warning => tracing::debug!(target: "onnxruntime", category, place, "{message}"),
        LogLevel::Info | LogLevel::Verbose => {
            tracing::trace!(target: "onnxruntime", category, place, "{message}")
        }
    }
}

/// The ONNX Runtime libraries of a folder, newest name first. (Provider libraries beside it are not it.)
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let is_library = |name: &str| {
        let rest = name
            .strip_prefix(std::env::consts::DLL_PREFIX)
            .and_then(|rest| rest.strip_prefix("onnxruntime."));
        rest.is_some_and(|rest| {
            rest.split('.')
                .any(|part| part == std::env::consts::DLL_EXTENSION)
        })
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_library));
    let mut paths: Vec<_> = named
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort_by_cached_key(|path| std::cmp::Reverse(version(path)));
    paths
}

/// The numbers of a name: `libonnxruntime.so.1.31.1` → 1, 31, 1.
fn version(path: &Path) -> Vec<u32> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.')
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// Code is loaded only from a file that root, this user or `owner` wrote, and that nobody else can replace.
fn not_from_strangers(path: &Path, owner: Option<u32>) -> Result<(), String> {
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let look = |path: &Path| std::fs::metadata(path).map_err(|e| e.to_string());
    let (file, folder) = (look(path)?, look(path.parent().unwrap_or(Path::new("/")))?);
    let user = rustix::process::geteuid().as_raw();
    if ![Some(0), Some(user), owner].contains(&Some(file.uid())) {
        return Err(format!("belongs to another user (uid {})", file.uid()));
    }
    if file.mode() & OTHERS_WRITE != 0 || folder.mode() & (OTHERS_WRITE | STICKY) == OTHERS_WRITE {
        return Err(
            "every user could have changed it: take the right to write from others".to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
