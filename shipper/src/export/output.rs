//! Where the file goes: under its name only once it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dify_observe_core::exit::{Exit, ResultExt as _};

/// Standard output, or a file.
#[derive(Debug)]
pub(super) enum Output {
    Standard,
    /// The file, and what it is called while it is written.
    File(PathBuf, PathBuf),
}

impl Output {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Output::Standard);
        }
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(anyhow::anyhow!("--output {} is a folder: name a file in it", path.display())).or_exit(Exit::Usage);
        };
        let mut part = name.to_owned();
        part.push(".part");
        Ok(Output::File(path.to_owned(), path.with_file_name(part)))
    }

    pub(super) fn writer(&self) -> anyhow::Result<Box<dyn Write + Send>> {
        match self {
            Output::Standard => Ok(Box::new(BufWriter::new(io::stdout()))),
            Output::File(_, part) => {
                let file = File::create(part).with_context(|| format!("cannot write {}", part.display())).or_exit(Exit::Unavailable)?;
                Ok(Box::new(BufWriter::new(file)))
            }
        }
    }

    /// Gives the file its name, or takes away what there is of it.
    pub(super) fn close(self, ended: anyhow::Result<()>) -> anyhow::Result<()> {
        let Output::File(path, part) = self else { return ended };
        if ended.is_err() {
            // Nothing more can be done about it, and the first error is the one that matters.
            let _ = fs::remove_file(&part);
            return ended;
        }
        fs::rename(&part, &path).with_context(|| format!("cannot write {}", path.display()))
    }
}
