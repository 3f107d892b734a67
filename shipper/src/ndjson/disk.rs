//! The few things that are done to files, each of which a test can let fail.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a file is called until it is complete. No reader looks for such a name.
const PARTIAL: &str = "partial";

/// Documents hold prompts and answers: for their owner, and for reading by the owner's group.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// What a test lets happen to an operation.
#[derive(Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests let operations fail"))]
pub(crate) enum Fault {
    /// It is not done.
    Fails(io::Error),
    /// Only so many bytes are written.
    Torn(usize, io::Error),
}

/// Decides what fails. Only tests have one.
pub(crate) trait Faults: Debug + Send + Sync {
    /// Called before each operation; `bytes` is what it would write.
    fn next(&self, bytes: usize) -> Option<Fault>;
}

/// Files of this host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) faults: Option<Arc<dyn Faults>>,
}

impl Disk {
    fn fault(&self, bytes: usize) -> Option<Fault> {
        self.faults.as_ref().and_then(|faults| faults.next(bytes))
    }

    fn pass(&self) -> io::Result<()> {
        match self.fault(0) {
            None => Ok(()),
            Some(Fault::Fails(error) | Fault::Torn(_, error)) => Err(error),
        }
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        match self.fault(bytes.len()) {
            None => file.write_all(bytes),
            Some(Fault::Fails(error)) => Err(error),
            Some(Fault::Torn(written, error)) => {
                file.write_all(&bytes[..written.min(bytes.len())])?;
                Err(error)
            }
        }
    }

    /// Makes a folder and those above it, durably.
    pub(crate) fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        self.pass()?;
        let missing: Vec<&Path> = folder.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.is_dir()).collect();
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        missing.into_iter().rev().filter_map(Path::parent).try_for_each(sync_folder)
    }

    /// Opens a file to append to it; makes it, durably, if it is not there.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        self.pass()?;
        let is_new = !path.exists();
        let file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
        if is_new {
            sync_parent(path)?;
        }
        Ok(file)
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.write(file, bytes)
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.pass()?;
        file.sync_data()
    }

    /// Cuts a file.
    pub(crate) fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        self.pass()?;
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() > length {
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// Begins a file that has its name once it is complete.
    pub(crate) fn create(&self, path: &Path) -> io::Result<Partial<'_>> {
        if let Some(folder) = path.parent() {
            self.make_folder(folder)?;
        }
        self.pass()?;
        let mut name = path.as_os_str().to_owned();
        name.push(".");
        name.push(PARTIAL);
        let partial = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&partial)?;
        Ok(Partial { disk: self, target: path.to_owned(), partial, file })
    }

    /// Removes a file, durably; it is no error if there is none.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
        match fs::remove_file(path) {
            Ok(()) => sync_parent(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A file that has its name once it is complete.
#[derive(Debug)]
pub(crate) struct Partial<'a> {
    disk: &'a Disk,
    target: PathBuf,
    partial: PathBuf,
    file: File,
}

impl Partial<'_> {
    /// Gives it its name, durably.
    pub(crate) fn publish(self) -> io::Result<()> {
        let target = self.target.clone();
        self.publish_as(&target)
    }

    /// Gives it another name, durably.
    pub(crate) fn publish_as(self, target: &Path) -> io::Result<()> {
        self.disk.pass()?;
        self.file.sync_all()?;
        if let Some(folder) = target.parent() {
            self.disk.make_folder(folder)?;
        }
        self.disk.pass()?;
        fs::rename(&self.partial, target)?;
        sync_parent(target)
    }
}

impl Write for Partial<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(&mut self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The entries of a folder; none if it is not there.
pub(crate) fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    // An empty path is the working folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}
