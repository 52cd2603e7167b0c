//! Panics that end a piece of work and not the program.
//!
//! As a rule a panic ends the process ([`telemetry::fate_sharing`](crate::telemetry::fate_sharing)): what has panicked can't
//! be believed any more. Code of others that is asked a question, holds no state of ours and can be made anew is the
//! exception: its panic is an answer.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread, now, is caught by [`contain`].
pub fn contained() -> bool {
    CONTAINED.with(Cell::get)
}

/// Does `work`. It must leave nothing half-done behind that is used afterwards.
///
/// # Errors
/// What its panic said.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    done.map_err(|payload| {
        let said = (payload.downcast_ref::<String>().map(String::as_str))
            .or_else(|| payload.downcast_ref::<&str>().copied());
        said.unwrap_or("a panic without a message").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer_and_only_inside() {
        assert!(!contained());
        assert_eq!(contain(contained), Ok(true));
        let said = contain(|| -> () { panic!("at {}", 7) });
        assert_eq!(said, Err("at 7".to_owned()));
        assert!(!contained());
    }
}
