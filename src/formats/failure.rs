//! What goes wrong with bytes, in words for their owner.

use crate::store::row::Failure;

/// A failure of a whole content.
pub(crate) fn failure(
    reason: &str,
    message: impl Into<String>,
    advice: impl Into<String>,
) -> Failure {
    Failure {
        reason: reason.into(),
        message: message.into(),
        advice: advice.into(),
        record: None,
        line: None,
    }
}

/// A failure with its place.
pub(crate) trait At {
    /// At this record, from 0.
    fn record(self, record: u64) -> Self;
    /// At this line, from 1.
    fn line(self, line: u64) -> Self;
}

impl At for Failure {
    fn record(mut self, record: u64) -> Self {
        self.record = Some(record);
        self
    }

    fn line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }
}

/// Newlines in `bytes`.
pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}
