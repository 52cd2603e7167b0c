//! The same work from file to file: the output is replaced whole, or not at all.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{EmbedJobError, EmbedOptions, OnError, Summary};
use crate::fault;
use crate::model::Model;

/// Embeds `input` to `output`; `None` is standard input, and standard output. Bad records go to the file that
/// [`OnError::Skip`] names, which is replaced also when there is none.
pub fn run(
    input: Option<&Path>,
    output: Option<&Path>,
    on_error: OnError<PathBuf>,
    model: &Model,
    options: &EmbedOptions,
    progress: &dyn Fn(&Summary),
) -> Result<Summary, EmbedJobError> {
    let name = input.map_or("standard input".to_owned(), |path| {
        path.display().to_string()
    });
    let reader: Box<dyn io::BufRead> = match input {
        None => Box::new(io::stdin().lock()),
        Some(path) => {
            let failed = |source| EmbedJobError::Read {
                file: name.clone(),
                line: 0,
                source,
            };
            Box::new(BufReader::with_capacity(
                1 << 16,
                File::open(path).map_err(failed)?,
            ))
        }
    };
    let create = |path: &Path| Target::create(path).map_err(|source| failed(path, source));
    let mut side = match &on_error {
        OnError::Stop => None,
        OnError::Skip(path) => Some((create(path)?, path)),
    };
    let mut target = output.map(create).transpose()?;
    let writer: Box<dyn Write + '_> = match &mut target {
        None => Box::new(BufWriter::new(io::stdout().lock())),
        Some(target) => Box::new(target),
    };
    let on_error = match &mut side {
        None => OnError::Stop,
        Some((side, _)) => OnError::Skip(side),
    };
    let summary = super::run(&name, reader, writer, on_error, model, options, progress)?;
    if let (Some(target), Some(path)) = (target, output) {
        target.finish().map_err(|source| failed(path, source))?;
    }
    if let Some((side, path)) = side {
        side.finish().map_err(|source| failed(path, source))?;
    }
    Ok(summary)
}

fn failed(path: &Path, source: io::Error) -> EmbedJobError {
    EmbedJobError::Write {
        file: path.display().to_string(),
        source,
    }
}

/// A file being written: under another name until it is finished, unless it is a pipe or a device.
struct Target {
    writer: BufWriter<File>,
    /// The unfinished file and what it will be called; taken when it is.
    names: Option<(PathBuf, PathBuf)>,
}

impl Target {
    fn create(path: &Path) -> io::Result<Self> {
        // a link is followed: what it points to is replaced, not the link
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let there = std::fs::metadata(&path).ok();
        if there.as_ref().is_some_and(|metadata| !metadata.is_file()) {
            let file = File::options().write(true).open(&path)?;
            return Ok(Self {
                writer: BufWriter::new(file),
                names: None,
            });
        }
        let name = path
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_string_lossy();
        let unfinished = path.with_file_name(format!(".{name}.{}.unfinished", std::process::id()));
        fault::point("embed-file.create")?;
        let file = File::create(&unfinished)?;
        let target = Self {
            writer: BufWriter::with_capacity(1 << 16, file),
            names: Some((unfinished, path)),
        };
        if let Some(metadata) = there {
            target
                .writer
                .get_ref()
                .set_permissions(metadata.permissions())?;
        }
        Ok(target)
    }

    /// On the disk, then under its name, then the name on the disk.
    fn finish(mut self) -> io::Result<()> {
        fault::point("embed-file.flush")?;
        self.writer.flush()?;
        if let Some((unfinished, path)) = &self.names {
            fault::point("embed-file.sync")?;
            self.writer.get_ref().sync_all()?;
            fault::point("embed-file.rename")?;
            std::fs::rename(unfinished, path)?;
            fault::point("embed-file.renamed")?;
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        self.names = None;
        Ok(())
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((unfinished, _)) = &self.names {
            let _ = std::fs::remove_file(unfinished); // nothing better can be done with it here
        }
    }
}
