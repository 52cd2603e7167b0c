//! A source: the files that a list names, one path a line, and no others.
//!
//! Paths are relative to the list's folder. The list may change at any time: a path that is added is indexed, one that
//! is taken away is forgotten.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use floodmark::ingest::line::{Line, Scout};
use floodmark::ingest::queue::{Arrival, Name};
use floodmark::sources::ScanReport;

/// Reads the list now, and then as often as `every` says.
pub struct Manifest {
    pub list: PathBuf,
    pub every: Duration,
}

impl Scout for Manifest {
    fn start(self: Box<Self>, line: Line, doubts: Receiver<Name>) -> io::Result<()> {
        let names = self.read(&line)?;
        thread::Builder::new()
            .name("manifest".into())
            .spawn(move || self.look_for_ever(names, &line, &doubts))?;
        Ok(())
    }
}

impl Manifest {
    fn look_for_ever(
        &self,
        mut names: BTreeSet<Name>,
        line: &Line,
        doubts: &Receiver<Name>,
    ) -> ControlFlow<()> {
        loop {
            let pass = line.next_pass();
            for name in &names {
                line.look(name.clone(), Some(pass))?;
            }
            let report = ScanReport::listed(line.selection(), names.len() as u64);
            line.send(Arrival::Scanned(pass, report))?;

            let again = Instant::now() + self.every;
            loop {
                match doubts.recv_deadline(again) {
                    Ok(name) if names.contains(&name) => line.look(name, None)?,
                    Ok(name) => line.send(Arrival::Gone(name))?,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
                }
            }
            match self.read(line) {
                Ok(read) => names = read,
                // Not to be able to look is no reason to forget anything.
                Err(error) => tracing::warn!(%error, "the list stays as it was"),
            }
        }
    }

    fn read(&self, line: &Line) -> io::Result<BTreeSet<Name>> {
        let folder = self.list.parent().unwrap_or(Path::new(""));
        let text = std::fs::read_to_string(&self.list)?;
        let paths = text.lines().map(str::trim).filter(|path| !path.is_empty());
        Ok(paths
            .filter_map(|path| {
                let name = line.selection().roots().locate(&folder.join(path));
                if name.is_none() {
                    tracing::warn!(path, "is listed and lies below no input");
                }
                name
            })
            .collect())
    }
}
