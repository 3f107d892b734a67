//! A local folder. Rows are deleted elsewhere because they are here: every write is synced, file and folders, before it counts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::future::FutureExt as _;

use sha2::{Digest as _, Sha256};

use super::{Answer, Condition, Listed, Store, StoreError, Upload, Version};
use crate::dify::time::Micros;

/// What a file is called until it is complete. No reader looks for such a name.
const PARTIAL: &str = "partial";

/// Objects hold prompts and answers: for their owner, and for reading by the owner's group.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// Objects as files below one folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder, which is made by the first write.
    pub fn new(root: PathBuf) -> Folder {
        Folder { root }
    }

    /// Runs `work`, which blocks on the disk, where it keeps nobody waiting.
    fn run<'a, T, F>(&'a self, path: &str, work: F) -> Answer<'a, T>
    where
        T: Send + 'static,
        F: FnOnce(&Folder, &Path) -> io::Result<T> + Send + 'static,
    {
        let folder = self.clone();
        let file = self.root.join(path);
        async move {
            let place = (folder.root.clone(), file.clone());
            let done = tokio::task::spawn_blocking(move || work(&folder, &file)).await?;
            done.map_err(|error| classify(&place.0, &place.1, &error))
        }
        .boxed()
    }

    /// Makes the folders above `file`, durably.
    fn make_parents(&self, file: &Path) -> io::Result<PathBuf> {
        let parent = file.parent().unwrap_or(&self.root);
        let mut missing = Vec::new();
        let mut folder = parent;
        while !folder.is_dir() {
            missing.push(folder);
            let Some(above) = folder.parent() else { break };
            folder = above;
        }
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(parent)?;
        for made in missing.iter().rev() {
            if let Some(above) = made.parent() {
                sync_folder(above)?;
            }
        }
        Ok(parent.to_owned())
    }

    /// Writes a file as a whole or not at all.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.make_parents(file)?;
        let partial = partial_of(file);
        let written = create(&partial).and_then(|mut opened| {
            opened.write_all(bytes)?;
            opened.sync_all()
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
        publish(&partial, file)
    }

    /// One conditional write at a time: `rename` alone knows no condition.
    fn lock(&self) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.root)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(self.root.join(".lock"))?;
        file.lock()?;
        Ok(file)
    }
}

fn partial_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(PARTIAL);
    PathBuf::from(name)
}

fn create(file: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(file)
}

/// Gives a complete and synced file its name, durably.
fn publish(partial: &Path, file: &Path) -> io::Result<()> {
    fs::rename(partial, file)?;
    file.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    // An empty path is the working folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn version(bytes: &[u8]) -> Version {
    Version(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn classify(root: &Path, file: &Path, error: &io::Error) -> StoreError {
    let reason = error.to_string();
    let path = file.strip_prefix(root).unwrap_or(file).display().to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full { place: root.display().to_string(), reason }
        }
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists => StoreError::Unwritable { path: root.to_owned(), reason },
        io::ErrorKind::NotFound => StoreError::Missing { path },
        io::ErrorKind::UnexpectedEof => StoreError::damaged(&path, "it is shorter than what was written"),
        _ => StoreError::Unavailable { action: format!("using the file {}", file.display()), reason },
    }
}

impl Store for Folder {
    fn put<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        self.run(path, move |folder, file| folder.write(file, &bytes))
    }

    fn put_if<'a>(&'a self, path: &'a str, bytes: Bytes, condition: Condition) -> Answer<'a, bool> {
        self.run(path, move |folder, file| {
            let _lock = folder.lock()?;
            let now = read(file)?;
            let holds = match (&condition, &now) {
                (Condition::Absent, None) => true,
                (Condition::Version(wanted), Some(bytes)) => *wanted == version(bytes),
                _ => false,
            };
            if holds {
                folder.write(file, &bytes)?;
            }
            Ok(holds)
        })
    }

    fn get<'a>(&'a self, path: &'a str) -> Answer<'a, Option<(Bytes, Version)>> {
        self.run(path, |_, file| {
            Ok(read(file)?.map(|bytes| {
                let version = version(&bytes);
                (Bytes::from(bytes), version)
            }))
        })
    }

    fn get_range<'a>(&'a self, path: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        self.run(path, move |_, file| {
            let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let mut opened = File::open(file)?;
            // Before the buffer is made: whoever asks may have been told any length.
            if opened.metadata()?.len() < range.end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            opened.seek(SeekFrom::Start(range.start))?;
            let mut bytes = vec![0; length];
            opened.read_exact(&mut bytes)?;
            Ok(Bytes::from(bytes))
        })
    }

    fn size<'a>(&'a self, path: &'a str) -> Answer<'a, Option<u64>> {
        self.run(path, |_, file| match fs::metadata(file) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn upload<'a>(&'a self, path: &'a str) -> Answer<'a, Box<dyn Upload>> {
        let root = self.root.clone();
        self.run(path, move |folder, target| {
            folder.make_parents(target)?;
            let partial = partial_of(target);
            let file = create(&partial)?;
            Ok(Box::new(FileUpload { root, target: target.to_owned(), partial, file: Some(file) }) as Box<dyn Upload>)
        })
    }

    fn list<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<Listed>> {
        self.run(path, |folder, below| {
            let mut found = Vec::new();
            walk(&folder.root, below, &mut found)?;
            Ok(found)
        })
    }

    fn folders(&self) -> Answer<'_, Vec<String>> {
        self.run("", |folder, _| {
            let mut names = Vec::new();
            for entry in entries(&folder.root)? {
                if entry.file_type()?.is_dir() {
                    names.extend(entry.file_name().into_string());
                }
            }
            Ok(names)
        })
    }

    fn delete<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        self.run(path, |_, file| {
            for name in [file.to_owned(), partial_of(file)] {
                match fs::remove_file(&name) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            match file.parent() {
                Some(parent) if parent.is_dir() => sync_folder(parent),
                _ => Ok(()),
            }
        })
    }
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Listed>) -> io::Result<()> {
    for entry in entries(folder)? {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(root, &path, found)?;
            continue;
        }
        let partial = path.extension().is_some_and(|extension| extension == PARTIAL);
        let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str).filter(|_| !partial) else { continue };
        // It may be gone since it was listed.
        let Ok(metadata) = entry.metadata() else { continue };
        let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified = Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
        found.push(Listed { path: name.to_owned(), size: metadata.len(), modified });
    }
    Ok(())
}

/// A file that has its name once it is complete.
struct FileUpload {
    root: PathBuf,
    target: PathBuf,
    partial: PathBuf,
    /// Away only while a part is being written, or when writing one failed.
    file: Option<File>,
}

impl FileUpload {
    fn error(&self, error: &io::Error) -> StoreError {
        classify(&self.root, &self.target, error)
    }

    async fn with_file<F>(&mut self, work: F) -> Result<(), StoreError>
    where
        F: FnOnce(&mut File) -> io::Result<()> + Send + 'static,
    {
        let broken = || StoreError::Task("a file was written to after a failure".to_owned());
        let mut file = self.file.take().ok_or_else(broken)?;
        let (file, done) = tokio::task::spawn_blocking(move || {
            let done = work(&mut file);
            (file, done)
        })
        .await?;
        done.map_err(|error| self.error(&error))?;
        self.file = Some(file);
        Ok(())
    }
}

impl Upload for FileUpload {
    fn put(&mut self, bytes: Bytes) -> Answer<'_, ()> {
        self.with_file(move |file| file.write_all(&bytes)).boxed()
    }

    fn finish(mut self: Box<Self>) -> Answer<'static, ()> {
        async move {
            let (partial, target) = (self.partial.clone(), self.target.clone());
            self.with_file(move |file| {
                file.sync_all()?;
                publish(&partial, &target)
            })
            .await
        }
        .boxed()
    }

    fn abort(self: Box<Self>) -> Answer<'static, ()> {
        async move {
            match fs::remove_file(&self.partial) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.error(&error)),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}
