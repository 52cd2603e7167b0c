//! Fail points: named places at which a test makes the program die, fail or wait.
//!
//! The operators only say where they are; what then happens is for whoever [installs](install) a hook. In a build without
//! debug assertions there is no hook, no name and no code: both functions are empty.
//!
//! ```
//! use floodmark_operators::fault;
//!
//! fn write() -> std::io::Result<()> {
//!     fault::point("doc.write")?; // an error may come out of here
//!     fault::pass("doc.written"); // and none out of here
//!     Ok(())
//! }
//! assert!(write().is_ok(), "nobody has installed anything");
//! ```

use std::io;

/// What happens at a point: returns at once, later, with an error, or not at all.
pub type Hook = fn(&'static str) -> io::Result<()>;

#[cfg(debug_assertions)]
static HOOK: std::sync::OnceLock<Hook> = std::sync::OnceLock::new();

/// From now on `hook` is called at every point. The first one stays.
#[cfg(debug_assertions)]
pub fn install(hook: Hook) {
    let _ = HOOK.set(hook);
}

/// A place where the system could have failed.
///
/// # Errors
/// What the hook says.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) -> io::Result<()> {
    HOOK.get().map_or(Ok(()), |hook| hook(name))
}

/// A place where something changes hands, and nothing can fail.
#[cfg(debug_assertions)]
pub fn pass(name: &'static str) {
    if let Err(error) = point(name) {
        unreachable!("{name} was told to fail and can't: {error}");
    }
}

/// A place where the system could have failed: nothing, in this build.
///
/// # Errors
/// None.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &'static str) -> io::Result<()> {
    Ok(())
}

/// A place where something changes hands: nothing, in this build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn pass(_name: &'static str) {}
