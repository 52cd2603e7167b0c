//! `floodmark run`, and `floodmark` alone

mod meter;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use meter::Meter;

use super::{CliError, Exit, setup};
use crate::config::{Config, LIVE};
use crate::control::Server;
use crate::daemon::{self, RunLock};
use crate::fault;
use crate::ingest::engine::{Engine, Ward};
use crate::ingest::scout::{Scouts, Timer};
use crate::model::Model;
use crate::search::Searcher;
use crate::service::{Service, follower, keep_fresh};
use crate::sources::{Selection, SourceOptions};
use crate::worker::{Handle, Mode, Options, Run};
use crate::{service, signals, telemetry};

/// How it was called.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Called by `start`: leave the terminal, and say on standard output when ready
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Indexes the inputs, then watches them until it is told to stop.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<Exit, CliError> {
    if args.detached {
        daemon::detach()?;
    }
    let mode = if config.once { Mode::Once } else { Mode::Watch };
    let options = setup::options(config, mode)?;
    let ready = args.detached.then_some(out);
    run_with(options, config, ready)
}

/// Whoever only asks a question is not told; a run says what it works with.
fn announced(model: Model) -> Model {
    tracing::info!(
        model = %model.key(),
        provider = %model.provider(),
        sessions = model.sessions(),
        runtime = %model.runtime().path().display(),
        "model opened"
    );
    model
}

/// Runs until it is done or told to stop; says on `ready` when it answers.
pub(super) fn run_with(
    options: Options,
    config: &Config,
    ready: Option<&mut dyn Write>,
) -> Result<Exit, CliError> {
    if !options.layout.owns_the_state() {
        return help(options, config);
    }
    let lock = RunLock::acquire(&config.state)?;
    make_inputs(&options.sources)?;
    let mode = options.mode;
    let model = announced(match mode {
        Mode::Watch => setup::model(config)?,
        Mode::Once | Mode::Replay => setup::model_if_needed(config)?,
    });
    let keeper = setup::keeper(config, &model)?;
    let endurance = setup::endurance(config);
    let engine = match mode {
        // The first change must not wait for a session.
        Mode::Watch => Engine::keeping(&model, endurance, keeper.clone()).map_err(failed)?,
        Mode::Once | Mode::Replay => Engine::sparing(&model, endurance, keeper.clone()),
    };
    let ward = engine.ward.clone();
    let (witness, commits) = follower();
    let roots = crate::sources::Roots::resolve(&options.sources, &options.state).map_err(failed)?;
    let selection = Selection::new(&options.sources, roots, &options.state).map_err(failed)?;
    let run = Run::start(options, engine, vec![witness], Arc::new(stop_now)).map_err(failed)?;
    let handle = run.handle();
    let (stopping, ailing) = (handle.clone(), ward.clone());
    let reload = reload(config, run.scouts().map(Scouts::timer));
    let _stop = signals::install(move || stop(&stopping, ailing), reload)
        .map_err(|error| CliError::Failed(format!("can't handle signals: {error}")))?;
    let searcher = setup::searcher(config, &model, false)?;
    if let Some(keeper) = &keeper {
        let reader = searcher.reader().clone();
        let live = move || reader.snapshot().and_then(|store| store.live_hashes());
        keeper.prune(move || live().map_err(|error| error.to_string()));
        searcher.keep_with(keeper.clone());
    }
    let view = keep_fresh(searcher.clone(), commits).map_err(failed)?;
    let service = Arc::new(Service {
        handle,
        searcher: searcher.clone(),
        state: config.state.clone(),
        backlog: run.backlog(),
        ward,
        selection,
    });
    let server = Server::start(&lock, service).map_err(failed)?;
    if let Some(out) = ready {
        daemon::announce_ready(out)?;
    }
    if mode == Mode::Watch {
        let inputs: Vec<String> = config
            .input
            .iter()
            .map(|input| input.display().to_string())
            .collect();
        tracing::info!(inputs = %inputs.join(", "), state = %config.state.display(), "watching");
    }
    let progress = run.handle().progress().clone();
    let meter = Meter::start(progress.clone(), run.backlog()).map_err(failed)?;
    let handle = run.handle();
    run.join().map_err(CliError::Failed)?;
    drop(meter);
    let _ended = view.join();
    // One that ran out of memory has none for a build.
    if mode != Mode::Watch && !progress.starved() {
        finish_views(&searcher, &handle);
    }
    drop(server);
    if let Some(keeper) = keeper {
        keeper.close();
    }
    let status = service::stored_status(searcher.reader(), &config.state).map_err(failed)?;
    tracing::info!(
        epoch = status.epoch,
        files = status.files.indexed,
        dead = status.files.dead,
        chunks = status.chunks,
        "done: all that was admitted is durable"
    );
    drop(lock);
    if progress.starved() {
        return Err(CliError::Failed(
            "not everything is indexed: the process holds more than memory-hard allows; raise it, and run it again".into(),
        ));
    }
    Ok(Exit::Done)
}

/// How often a run that is done looks whether its view is.
const BUILD_CHECK: Duration = Duration::from_millis(20);

/// What is not in a build, each command that searches reads from the store: a run that is over builds it, unless it is told to
/// stop.
fn finish_views(searcher: &Searcher, handle: &Handle) {
    let mut said = false;
    loop {
        if let Err(error) = searcher.rest() {
            tracing::error!(%error, "the views stay behind; the store is complete, and whoever opens them next reads what is missing there");
            return;
        }
        if !searcher.view().vectors.building || handle.is_stopping() {
            return;
        }
        if !std::mem::replace(&mut said, true) {
            tracing::info!(
                "everything is durable and searchable; the run ends when the vector view is built"
            );
        }
        std::thread::sleep(BUILD_CHECK);
    }
}

/// How long a run that was told to stop waits for a model that does not answer.
const LAST_CHANCE: Duration = Duration::from_secs(4);

/// Asks the run to end. One that waits for its model would not: it is given up, and the next run embeds what is left.
fn stop(handle: &Handle, ward: Option<Arc<Ward>>) {
    handle.stop();
    let Some(ward) = ward else { return };
    let watch = move || {
        let deadline = Instant::now() + LAST_CHANCE;
        loop {
            std::thread::sleep(LAST_CHANCE / 40);
            if Instant::now() >= deadline
                && let Some(trouble) = ward.trouble()
            {
                telemetry::last_words(&format!(
                    "stopped without waiting for the model, which does not work ({trouble}); what was committed is safe, and the next run goes on from there"
                ));
                std::process::exit(Exit::Done as i32);
            }
        }
    };
    if let Err(error) = std::thread::Builder::new()
        .name("last-chance".into())
        .spawn(watch)
    {
        tracing::warn!(%error, "the system refuses a thread; a second signal ends the run if the model does not answer");
    }
}

/// What SIGHUP does: the configuration is read again. A bad one changes nothing.
fn reload(config: &Config, timer: Option<Timer>) -> impl Fn() + Send + 'static {
    let current = Mutex::new(config.clone());
    move || {
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        fault::pass("reload.begin");
        let new = match current.reload() {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(%error, "the configuration was not taken up; the run goes on by the old one");
                return;
            }
        };
        fault::pass("reload.read");
        let changed = current.changed(&new);
        let (live, later): (Vec<_>, Vec<_>) = changed
            .iter()
            .map(|key| key.name)
            .partition(|name| LIVE.contains(name));
        if live.contains(&"log") {
            telemetry::refilter(&new);
        }
        if let Some(timer) = timer
            .as_ref()
            .filter(|_| live.iter().any(|name| *name != "log"))
        {
            timer.retime(&setup::sources(&new));
        }
        if !later.is_empty() {
            tracing::warn!(
                settings = later.join(", "),
                "changed, and taken up by the next start only"
            );
            // Said again at each reload until then: what was not taken up is still another value.
        }
        tracing::info!(
            settings = live.join(", "),
            "the configuration was read again"
        );
        if later.is_empty() {
            *current = new;
        } else {
            current.log = new.log;
            (current.rescan, current.settle) = (new.rescan, new.settle);
            current.poll_interval = new.poll_interval;
        }
    }
}

/// The part of a process that does not own the state: its workers.
fn help(options: Options, config: &Config) -> Result<Exit, CliError> {
    let model = announced(setup::model(config)?);
    let engine = Engine::enduring(&model, setup::endurance(config)).map_err(failed)?;
    let run = Run::start(options, engine, Vec::new(), Arc::new(stop_now)).map_err(failed)?;
    run.join().map_err(CliError::Failed)?;
    Ok(Exit::Done)
}

/// The default input is made if it is missing: then there is a place to put files.
fn make_inputs(sources: &SourceOptions) -> Result<(), CliError> {
    let default = SourceOptions::default().inputs;
    for input in sources
        .inputs
        .iter()
        .filter(|input| default.contains(input) && !input.exists())
    {
        make(input)?;
        tracing::info!(
            folder = %input.display(),
            "made: put files there, or name another folder with --input; then `floodmark search` finds what they say"
        );
    }
    Ok(())
}

fn make(folder: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(folder).map_err(|error| {
        CliError::Failed(format!(
            "can't make the folder {}: {error}",
            folder.display()
        ))
    })
}

/// Called when something could not be made durable. Nothing may go on as if it were.
fn stop_now(reason: String) {
    telemetry::last_words(&reason);
    std::process::exit(Exit::No as i32);
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}
