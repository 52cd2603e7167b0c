//! Everything that a run needs, looked at one by one: what was found, and what to do where it is not as it should be.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use floodmark_operators::embed::Text;

use crate::answers::{Check, Diagnosis, Health};
use crate::cpu;
use crate::forget;
use crate::index;
use crate::keyword::{self, Languages};
use crate::model::{self, Model, ModelOptions};
use crate::plan::tokens_per_second;
use crate::search::{KEYWORDS, VIEW};
use crate::service::moment;
use crate::sources::{Doubt, Limits, Roots, Scope, Selection, SourceOptions, scan, watch};
use crate::store::{self, Reader, StoreError};
use crate::token_store;

/// Less than this and a run will soon stop: texts and vectors of some ten thousand chunks.
const FREE_BAD: u64 = 64 << 20;
/// Less than this is worth a word.
const FREE_LOW: u64 = 1 << 30;
/// Fewer watches or events than this do for small trees only.
const WATCHES_LOW: u64 = 65_536;
/// Below this a burst of changes overflows, which costs a scan.
const EVENTS_LOW: u64 = 16_384;

/// What is looked at.
pub struct Patient<'a> {
    /// The state folder.
    pub state: &'a Path,
    /// The inputs.
    pub sources: &'a SourceOptions,
    /// The model.
    pub model: &'a ModelOptions,
    /// Padded tokens in a batch.
    pub batch_tokens: usize,
    /// Which language texts are in.
    pub languages: Languages,
    /// The configuration file that was read.
    pub configuration: Option<&'a Path>,
}

/// Looks at everything; a thing that is bad keeps nobody from looking at the next.
pub fn diagnose(patient: &Patient<'_>) -> Diagnosis {
    let mut checks = vec![configuration(patient), processor()];
    let runtime = runtime(patient);
    let loads = runtime.verdict != Health::Bad;
    checks.push(runtime);
    checks.push(if loads {
        the_model(patient)
    } else {
        bad(
            "model",
            "not tried: there is no runtime",
            "mend the runtime first",
        )
    });
    checks.extend(inputs(patient));
    checks.push(watches(patient));
    checks.push(disk(patient.state));
    checks.push(state(patient.state));
    checks.push(vectors(patient.state));
    checks.push(keywords(patient.state, patient.languages));
    checks.extend(token_vectors(patient.state));
    Diagnosis { checks }
}

fn check(
    name: &str,
    verdict: Health,
    found: impl Into<String>,
    advice: impl Into<String>,
) -> Check {
    Check {
        name: name.to_owned(),
        verdict,
        found: found.into(),
        advice: advice.into(),
    }
}

fn good(name: &str, found: impl Into<String>) -> Check {
    check(name, Health::Good, found, "")
}

fn warning(name: &str, found: impl Into<String>, advice: impl Into<String>) -> Check {
    check(name, Health::Warning, found, advice)
}

fn bad(name: &str, found: impl Into<String>, advice: impl Into<String>) -> Check {
    check(name, Health::Bad, found, advice)
}

fn configuration(patient: &Patient<'_>) -> Check {
    good(
        "configuration",
        match patient.configuration {
            Some(file) => format!("read from {}", file.display()),
            None => "no file; defaults, environment and flags".into(),
        },
    )
}

fn processor() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let found = format!("{}, {cores} cores", std::env::consts::ARCH);
    match cpu::complaint(&cpu::lacking()) {
        Some(complaint) => {
            let (what, advice) = complaint.split_once("; ").unwrap_or((&complaint, ""));
            bad("cpu", what, advice)
        }
        None if cfg!(target_arch = "x86_64") => good("cpu", format!("{found}, AVX2 and FMA")),
        None => good("cpu", found),
    }
}

fn runtime(patient: &Patient<'_>) -> Check {
    match model::runtime::load(patient.model.runtime.as_deref()) {
        Ok(runtime) => good(
            "runtime",
            format!(
                "ONNX Runtime at {} ({})",
                runtime.path().display(),
                runtime.build_info()
            ),
        ),
        Err(error) => {
            let error = error.to_string();
            let (found, advice) = error.split_once("\nWhat to do: ").unwrap_or((
                &error,
                "run `make setup` in the source tree, or name another library with --runtime",
            ));
            bad("runtime", found, advice)
        }
    }
}

fn the_model(patient: &Patient<'_>) -> Check {
    let advice = "name another model with --model, or none for the one that is built in";
    let model = match Model::open(patient.model) {
        Ok(model) => model,
        Err(error) => return bad("model", error.to_string(), advice),
    };
    let text: Arc<str> =
        "A flood mark is the line on a wall that shows how far the water has come. "
            .repeat(4)
            .into();
    let tokens = model.count_tokens(&text).unwrap_or(1) as u32;
    let texts = vec![
        Text {
            text,
            tokens,
            again: false
        };
        32
    ];
    match tokens_per_second(&model, &texts, patient.batch_tokens) {
        Ok(rate) => good(
            "model",
            format!(
                "{}: {} numbers a vector, on {}, {} sessions, {rate:.0} tokens/s",
                model.key(),
                model.dimension(),
                model.provider(),
                model.sessions()
            ),
        ),
        Err(error) => bad("model", error.to_string(), advice),
    }
}

fn inputs(patient: &Patient<'_>) -> Vec<Check> {
    let roots = match Roots::resolve(patient.sources, patient.state) {
        Ok(roots) => roots,
        Err(error) => return vec![bad("inputs", error.to_string(), "mend --input")],
    };
    let look = |root: &crate::sources::Root| {
        let path = root.path.display();
        match std::fs::read_dir(&root.path) {
            Ok(_) => good("inputs", format!("{path} can be read")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let default = SourceOptions::default().inputs.contains(&root.given);
                let found = format!("{path} is not there");
                if default {
                    warning(
                        "inputs",
                        found,
                        "`floodmark run` makes it; or name another folder with --input",
                    )
                } else {
                    bad(
                        "inputs",
                        found,
                        "make it, mount it, or name another folder with --input",
                    )
                }
            }
            Err(error) => bad(
                "inputs",
                format!("{path} can't be read: {error}"),
                "give the user that runs floodmark the right to read it",
            ),
        }
    };
    let mut checks: Vec<Check> = roots.iter().map(look).collect();
    match Selection::new(patient.sources, roots, patient.state) {
        Ok(selection) => checks.extend(emptied(patient.state, &selection)),
        Err(error) => checks.push(bad(
            "inputs",
            error.to_string(),
            "mend --include or --exclude",
        )),
    }
    checks
}

/// Inputs that hold nothing and of which the index has files.
fn emptied(state: &Path, selection: &Selection) -> Vec<Check> {
    let report = scan(selection, None, &Scope::All, &mut |_| {
        std::ops::ControlFlow::Continue(())
    });
    let held = |root: usize| -> Result<u64, StoreError> {
        let input = &selection.roots()[root].path;
        let store = Reader::open(state)?.snapshot()?;
        Ok(forget::files(&store, std::slice::from_ref(input))?.len() as u64)
    };
    let name = |root: &usize| {
        let files = held(*root).ok().filter(|files| *files > 0)?;
        let input = selection.roots()[*root].path.display();
        Some(warning(
            "inputs",
            format!("{input} holds nothing, and the index has {files} files of it"),
            Doubt::Emptied.advice(),
        ))
    };
    report.roots_empty.iter().filter_map(name).collect()
}

/// Folders that a watch would need: all that a scan enters.
fn folders(patient: &Patient<'_>) -> Option<u64> {
    let roots = Roots::resolve(patient.sources, patient.state).ok()?;
    let selection = Selection::new(patient.sources, roots, patient.state).ok()?;
    let report = scan(&selection, None, &Scope::All, &mut |_| {
        std::ops::ControlFlow::Continue(())
    });
    Some(report.folders)
}

fn watches(patient: &Patient<'_>) -> Check {
    let needed = folders(patient).unwrap_or(0);
    let silent: Vec<String> = Roots::resolve(patient.sources, patient.state)
        .iter()
        .flat_map(Roots::iter)
        .filter_map(|root| {
            Some(format!(
                "{} ({})",
                root.path.display(),
                watch::remote(&root.path)?
            ))
        })
        .collect();
    judge_watches(&Limits::now(needed), &silent)
}

fn judge_watches(limits: &Limits, silent: &[String]) -> Check {
    let Some(max) = limits.max_user_watches else {
        return warning(
            "watches",
            "the system does not say how many folders may be watched",
            "if changes go unnoticed, set poll = \"always\"",
        );
    };
    let (needed, used) = (limits.folders, limits.in_use);
    let found = format!("{needed} folders to watch, {used} of {max} watches in use");
    let wanted = (needed + used).next_power_of_two().max(1 << 20);
    if needed + used > max {
        return warning(
            "watches",
            format!("{found}: not enough, so changes are found by scanning only"),
            format!("sysctl fs.inotify.max_user_watches={wanted}"),
        );
    }
    if !silent.is_empty() {
        return warning(
            "watches",
            format!(
                "{found}; no word of changes comes from {}",
                silent.join(", ")
            ),
            "they are scanned every poll-interval instead; nothing is missed, only later",
        );
    }
    if max < WATCHES_LOW {
        return warning(
            "watches",
            format!("{found}: few"),
            format!("sysctl fs.inotify.max_user_watches={wanted}"),
        );
    }
    if limits
        .max_queued_events
        .is_some_and(|events| events < EVENTS_LOW)
    {
        return warning(
            "watches",
            format!("{found}; a burst of changes overflows, which costs a scan"),
            format!("sysctl fs.inotify.max_queued_events={EVENTS_LOW}"),
        );
    }
    good("watches", found)
}

/// The nearest folder at or above the state that is there.
fn existing(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find(|above| above.is_dir());
    there.unwrap_or(Path::new("/")).to_owned()
}

fn disk(state: &Path) -> Check {
    let place = existing(state);
    let free = match rustix::fs::statvfs(&place) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            return bad(
                "disk",
                format!("{} can't be looked at: {error}", place.display()),
                "put the state elsewhere with --state",
            );
        }
    };
    let found = format!("{} MiB free at {}", free >> 20, place.display());
    if let Some(kind) = watch::remote(&place) {
        return warning(
            "disk",
            format!("{found}, which is on {kind}"),
            "SQLite's locks and log are not safe on every network file system: put the state on a local disk with --state",
        );
    }
    if rustix::fs::access(&place, rustix::fs::Access::WRITE_OK).is_err() {
        return bad(
            "disk",
            format!("{found}, and it can't be written"),
            "give the right to write it, or name another folder with --state",
        );
    }
    match free {
        0..FREE_BAD => bad(
            "disk",
            found,
            "make room, or put the state elsewhere with --state",
        ),
        FREE_BAD..FREE_LOW => warning(
            "disk",
            found,
            "a chunk takes some 3 KiB, and a new build of the view as much again as its vectors",
        ),
        _ => good("disk", found),
    }
}

fn state(dir: &Path) -> Check {
    let name = "state";
    if !dir.is_dir() {
        return good(
            name,
            format!("none in {} yet: `floodmark run` makes it", dir.display()),
        );
    }
    let writer = match store::holder(dir) {
        Ok(Some(holder)) => format!("in use by {holder}"),
        Ok(None) => "nobody writes to it".into(),
        Err(error) => {
            return bad(
                name,
                format!("its lock can't be looked at: {error}"),
                "give the user that runs floodmark the right to read it",
            );
        }
    };
    let looked = Reader::open(dir).and_then(|reader| {
        let snapshot = reader.snapshot()?;
        let damage = snapshot.quick_check()?;
        Ok((snapshot.epoch(), snapshot.schema()?, damage))
    });
    match looked {
        Ok((epoch, schema, damage)) if damage.is_empty() => good(
            name,
            format!("schema {schema}, epoch {epoch}, pages sound; {writer}"),
        ),
        Ok((_, _, damage)) => bad(
            name,
            format!("the store is damaged: {}", damage.join("; ")),
            "stop the run, move the state folder away and run again: everything is read and embedded anew",
        ),
        Err(StoreError::Missing { .. }) => {
            good(name, format!("no index in {} yet; {writer}", dir.display()))
        }
        Err(error @ StoreError::Older { .. }) => warning(
            name,
            error.to_string(),
            "`floodmark run --once` migrates it",
        ),
        Err(error) => bad(
            name,
            error.to_string(),
            "see above, or name another folder with --state",
        ),
    }
}

/// What the views say of themselves; `verify` compares them with the store.
fn vectors(state: &Path) -> Check {
    let name = "vectors";
    match index::last_build(&state.join(VIEW)) {
        None => good(
            name,
            "never built yet: made from the store when it is opened",
        ),
        Some(build) => good(
            name,
            format!(
                "built in epoch {}, {} vectors, {}",
                build.epoch, build.count, build.created
            ),
        ),
    }
}

/// A cache: whatever its state is, nothing is wrong.
fn token_vectors(state: &Path) -> Option<Check> {
    let bytes = token_store::bytes(state)?;
    let found = format!("{} MiB in {}", bytes >> 20, token_store::FILE);
    Some(good("token vectors", found))
}

fn keywords(state: &Path, languages: Languages) -> Check {
    let name = "keywords";
    match keyword::last_save(&state.join(KEYWORDS)) {
        Ok(None) => good(
            name,
            "never saved yet: made from the store when it is opened",
        ),
        Ok(Some(saved)) if !saved.fits(languages) => warning(
            name,
            format!(
                "saved in epoch {}, its words made by analyser {}",
                saved.epoch, saved.analyser
            ),
            "the next run makes it anew from the store, for this version and language",
        ),
        Ok(Some(saved)) => good(
            name,
            format!(
                "saved in epoch {}, {} texts, {}",
                saved.epoch,
                saved.texts,
                saved.at.and_then(moment).unwrap_or_else(|| "?".into())
            ),
        ),
        Err(error) => warning(
            name,
            error.to_string(),
            "the next run makes it anew from the store",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_view_that_can_not_be_used_is_named_with_what_becomes_of_it() {
        let state = tempfile::tempdir().unwrap();
        let check = || keywords(state.path(), Languages::Auto);
        assert_eq!(check().verdict, Health::Good);
        std::fs::create_dir(state.path().join(KEYWORDS)).unwrap();
        std::fs::write(state.path().join(KEYWORDS).join("current"), "nothing").unwrap();
        let found = check();
        assert_eq!(found.verdict, Health::Warning);
        assert!(found.found.contains("checksum"), "{}", found.found);
        assert!(!found.advice.is_empty());
    }

    fn limits(max: u64, folders: u64, in_use: u64) -> Limits {
        Limits {
            max_user_watches: Some(max),
            max_queued_events: Some(16_384),
            in_use,
            folders,
            ..Limits::default()
        }
    }

    #[test]
    fn too_few_watches_name_the_setting_that_mends_it() {
        let found = judge_watches(&limits(8_192, 9_000, 10), &[]);
        assert_eq!(found.verdict, Health::Warning);
        assert_eq!(found.advice, "sysctl fs.inotify.max_user_watches=1048576");
        assert_eq!(
            judge_watches(&limits(1 << 20, 9_000, 10), &[]).verdict,
            Health::Good
        );
    }

    #[test]
    fn a_share_that_says_nothing_is_named() {
        let found = judge_watches(&limits(1 << 20, 1, 0), &["/mnt/x (NFS)".into()]);
        assert_eq!(found.verdict, Health::Warning);
        assert!(found.found.contains("/mnt/x (NFS)"));
    }
}
