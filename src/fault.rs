//! Fail points: what tests can make of the places that the program names, and the list of them.
//!
//! ```text
//! FAULT_POINTS='store.commit.before=kill@3;read.open=eio@1;embed.done=sleep:100'
//! FAULT_POINTS='*=kill@250'                                        the 250th point of any name
//! FAULT_POINTS_SEEN=/tmp/seen         appends each name that is reached, once, and NAME ! where something was done
//! ```
//!
//! `kill` and `stop` are signals to the own process, `eio` and `enospc` come out as errors of the system, `panic` is a defect,
//! `sleep:MS` a slow disk. `@N`: only the N-th time; without it every time. A build without debug assertions has none of
//! this, not even the names.

pub use floodmark_operators::fault::{pass, point};

#[cfg(debug_assertions)]
mod armed;
#[cfg(debug_assertions)]
mod list;

#[cfg(all(test, debug_assertions))]
mod tests;

#[cfg(debug_assertions)]
pub use list::{Kind, POINTS};

/// Does from now on what the environment asks for at the points.
///
/// # Errors
/// What can't be understood there.
pub fn arm() -> Result<(), String> {
    #[cfg(debug_assertions)]
    armed::arm()?;
    Ok(())
}
