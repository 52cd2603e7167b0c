//! What happens at a point, by the environment.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::list::{Kind, POINTS};

const ACTIONS: &str = "FAULT_POINTS";
const SEEN: &str = "FAULT_POINTS_SEEN";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Kill,
    Stop,
    Panic,
    Eio,
    Enospc,
    Sleep(Duration),
}

/// What is to happen, and at which time of coming by; `None`: every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub action: Action,
    pub at: Option<u64>,
}

struct Armed {
    orders: HashMap<&'static str, Order>,
    anywhere: Option<Order>,
    passed: AtomicU64,
    points: HashMap<&'static str, (AtomicU64, AtomicBool)>,
    seen: Option<File>,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

pub(super) fn arm() -> Result<(), String> {
    let actions = std::env::var(ACTIONS).unwrap_or_default();
    let seen = std::env::var_os(SEEN);
    if actions.is_empty() && seen.is_none() {
        return Ok(());
    }
    let (orders, anywhere) = parse(&actions)?;
    let seen = seen
        .map(|path| File::options().create(true).append(true).open(path))
        .transpose()
        .map_err(|error| format!("{SEEN}: {error}"))?;
    let points = POINTS.iter().map(|(name, _)| (*name, Default::default()));
    let armed = Armed {
        orders,
        anywhere,
        passed: AtomicU64::new(0),
        points: points.collect(),
        seen,
    };
    if ARMED.set(armed).is_ok() {
        floodmark_operators::fault::install(hook);
    }
    Ok(())
}

type Orders = (HashMap<&'static str, Order>, Option<Order>);

pub(super) fn parse(text: &str) -> Result<Orders, String> {
    let (mut orders, mut anywhere) = (HashMap::new(), None);
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (name, what) = part
            .split_once('=')
            .ok_or_else(|| format!("{ACTIONS}: {part:?} is not NAME=ACTION"))?;
        let order = order(what).ok_or_else(|| format!("{ACTIONS}: {what:?} is no action"))?;
        let fails = matches!(order.action, Action::Eio | Action::Enospc);
        if name == "*" {
            if fails {
                return Err(format!("{ACTIONS}: not every point can fail"));
            }
            anywhere = Some(order);
            continue;
        }
        let (name, kind) = POINTS
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("{ACTIONS}: there is no point {name:?}"))?;
        if fails && *kind == Kind::Passes {
            return Err(format!("{ACTIONS}: no error can come out of {name}"));
        }
        orders.insert(*name, order);
    }
    Ok((orders, anywhere))
}

fn order(text: &str) -> Option<Order> {
    let (action, at) = match text.split_once('@') {
        Some((action, at)) => (action, Some(at.parse().ok()?)),
        None => (text, None),
    };
    let action = match action {
        "kill" => Action::Kill,
        "stop" => Action::Stop,
        "panic" => Action::Panic,
        "eio" => Action::Eio,
        "enospc" => Action::Enospc,
        _ => Action::Sleep(Duration::from_millis(
            action.strip_prefix("sleep:")?.parse().ok()?,
        )),
    };
    Some(Order { action, at })
}

fn hook(name: &'static str) -> io::Result<()> {
    let Some(armed) = ARMED.get() else {
        return Ok(());
    };
    let overall = armed.passed.fetch_add(1, Ordering::SeqCst) + 1;
    let Some((count, seen)) = armed.points.get(name) else {
        panic!("the fail point {name} is not in the list");
    };
    let count = count.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some(mut file) = armed.seen.as_ref()
        && !seen.swap(true, Ordering::SeqCst)
    {
        // One call, so that a process that dies right here has said it, and lines of two do not mix.
        file.write_all(format!("{name}\n").as_bytes())?;
    }
    let due = |order: &&Order, count| order.at.is_none_or(|at| at == count);
    let of_name = armed.orders.get(name).filter(|order| due(order, count));
    let of_any = armed.anywhere.as_ref().filter(|order| due(order, overall));
    let Some(order) = of_name.or(of_any) else {
        return Ok(());
    };
    if let Some(mut file) = armed.seen.as_ref() {
        file.write_all(format!("{name} !\n").as_bytes())?;
    }
    obey(order, name)
}

fn obey(order: &Order, name: &str) -> io::Result<()> {
    match order.action {
        Action::Kill => {
            signal(Signal::KILL);
            // The signal is for the process; this thread may have an instant left, and must not use it.
            loop {
                std::thread::park();
            }
        }
        Action::Stop => signal(Signal::STOP),
        Action::Panic => panic!("the fail point {name} was told to"),
        Action::Eio => return Err(rustix::io::Errno::IO.into()),
        Action::Enospc => return Err(rustix::io::Errno::NOSPC.into()),
        Action::Sleep(time) => std::thread::sleep(time),
    }
    Ok(())
}

fn signal(signal: Signal) {
    if let Err(error) = kill_process(getpid(), signal) {
        panic!("a process can't signal itself: {error}");
    }
}
