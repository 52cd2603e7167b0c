//! What a caller must do about an error: the one question that every module's own error type answers.

/// What the caller must do. Module errors keep the detail; this says how to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Try again later: something else was in the way.
    Retry,
    /// Mend or leave out the input that it names, and go on with the others.
    Input,
    /// Mend the configuration or the set-up; trying again changes nothing.
    Config,
    /// Stop: something may not have reached the disk, or an invariant does not hold. Going on could make it worse.
    Stop,
}
