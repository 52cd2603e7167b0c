//! What became of a file: its row is durable, or it was moved away as a dead letter.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::entry::{Phase, Sighting};
use super::{DOUBTED, MOVING_PAUSE, Name, Queue};
use crate::ingest::failed::Outcome;
use crate::ingest::hint::{Known, Standing};
use crate::store::row::{FileRow, FileState};

impl Queue {
    /// A dead file was moved away, or could not be.
    pub(super) fn moved(&mut self, name: Name, outcome: Outcome) {
        let Some(entry) = self.files.get_mut(&name) else {
            return;
        };
        entry.phase = Phase::Resting;
        self.under_way -= 1;
        let again = std::mem::take(&mut entry.again);
        match outcome {
            // Another file is at its place already.
            Outcome::Moved(_) if again => {
                entry.known.identity = None;
                self.enqueue(name, true);
            }
            Outcome::Moved(letter) => {
                entry.moved = true;
                entry.letter = Some(letter);
                self.enqueue(name, true);
            }
            Outcome::Changed => {
                entry.known.identity = None;
                self.enqueue(name, true);
            }
            Outcome::Stays if again => self.enqueue(name, true),
            Outcome::Stays => {}
        }
    }

    /// A slice was read. It will be durable before anything that is admitted from now on, so the next one need not wait for that.
    pub(super) fn slice(&mut self, row: FileRow) {
        let Some(root) = self.roots.iter().position(|root| *root == row.root) else {
            return;
        };
        let name = (root, row.path.clone());
        if let Some(entry) = self.files.get_mut(&name) {
            entry.ahead += 1;
            self.settle(name, row);
        }
    }

    /// A look has become durable.
    pub(super) fn committed(&mut self, row: FileRow) {
        let root = self.roots.iter().position(|root| *root == row.root);
        let name = root.map(|root| (root, row.path.clone()));
        let entry = name.as_ref().and_then(|name| self.files.get_mut(name));
        if let Some(entry) = entry
            && entry.ahead > 0
        {
            entry.ahead -= 1; // what followed from it was done when it was read
            return;
        }
        let forgotten = self.left.remove(&row.key);
        match name {
            Some(name) => self.settle(name, row),
            None => self.under_way -= usize::from(forgotten),
        }
    }

    /// Draws from the outcome of a look what is to be done next about the file.
    fn settle(&mut self, name: Name, row: FileRow) {
        let Some(entry) = self.files.get_mut(&name) else {
            return;
        };
        let dead = matches!(row.state, FileState::Dead { .. }) && row.identity.is_some();
        let dead = dead.then(|| row.clone());
        entry.phase = Phase::Resting;
        self.under_way -= 1;
        let settled = matches!(
            row.state,
            FileState::Indexed { .. }
                | FileState::Touched
                | FileState::Gone
                | FileState::Dead { .. }
        );
        entry.last_seen = row.identity.or(entry.last_seen);
        let mut after = None;
        let mut forget = false;
        match row.state {
            FileState::Indexed {
                content,
                generation,
                segments,
                ..
            } => {
                let standing = Standing {
                    generation,
                    segments,
                    content: Some(content),
                };
                entry.known = Known {
                    identity: row.identity,
                    standing: Some(standing),
                    filling: None,
                };
                entry.failures = 0;
            }
            FileState::Partial { resume, .. } => {
                entry.known.identity = row.identity;
                entry.known.filling = Some(resume);
                after = Some(Duration::ZERO);
            }
            FileState::Touched => entry.known.identity = row.identity,
            FileState::Gone => {
                entry.known = Known::default();
                self.released |= entry.kept.take().is_some();
                forget = entry.gone || !entry.again;
            }
            FileState::Moving => after = Some(MOVING_PAUSE),
            FileState::Retrying {
                attempt, after_ms, ..
            } => {
                entry.failures = attempt;
                after = Some(Duration::from_millis(after_ms));
            }
            FileState::Dead { .. } => {
                entry.known.identity = row.identity;
                entry.known.filling = None;
                let mut standing = entry.known.standing_slots();
                if standing.all(|slot| row.retire.contains(&slot)) {
                    entry.known.standing = None;
                } else if let Some(standing) = &mut entry.known.standing {
                    standing.content = None; // if the good bytes come back, the file must say that it is well again
                }
            }
        }
        let sighting = std::mem::take(&mut entry.sighting);
        let again = std::mem::take(&mut entry.again)
            || match sighting {
                Sighting::There(seen) => settled && entry.known.identity != Some(seen),
                Sighting::Mixed => true,
                Sighting::Missed | Sighting::None => false,
            };
        let missed =
            sighting == Sighting::Missed && entry.known.identity.is_some() && entry.seen != DOUBTED;
        let leaving = dead.is_some() && self.failed.is_some();
        if missed && !again && !leaving {
            entry.seen = DOUBTED;
            self.doubted += 1;
            if self.doubts.send(name.clone()).is_err() {
                self.doubted -= 1; // nobody looks any more: the program ends
            }
        }
        if again {
            self.enqueue(name, true);
        } else if let Some(letter) = dead
            && let Some(failed) = &self.failed
            && failed.send((name.clone(), letter)).is_ok()
        {
            entry.phase = Phase::Moving;
            self.under_way += 1;
        } else if forget {
            // An answer that is still to come is about a file that nobody knows.
            self.doubted -= usize::from(entry.seen == DOUBTED);
            self.files.remove(&name);
        } else if let Some(after) = after {
            if after.is_zero() {
                self.enqueue(name, false);
            } else {
                entry.phase = Phase::Delayed;
                self.under_way += 1;
                self.delayed.push(Reverse((Instant::now() + after, name)));
            }
        }
    }
}
