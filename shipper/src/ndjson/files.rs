//! The files of one stream on this host: appended to, committed, recovered.
//!
//! What belongs to a commit is what the position file says: so many bytes of the segment with this number, and all of those with smaller ones.
//! Whatever else is found in the folder of open segments was never committed, and is cut off or removed when the stream is opened.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::disk::{Disk, entries};
use super::frame::{self, FRAME_BYTES};
use super::layout::{self, Closed, Name};
use super::position::{self, Position, Writing};

/// When a segment is closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of documents, before compression.
    pub(crate) bytes: u64,
    /// Time since its first document.
    pub(crate) age: Duration,
}

/// The files of one stream.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    stream: String,
    disk: Disk,
    limits: Limits,
    writing: Writing,
    file: Option<File>,
    /// What is committed of the segment.
    committed: u64,
    /// Whether bytes may follow after `writing.length` that do not count.
    is_torn: bool,
    /// Lines that are in no frame yet.
    buffer: Vec<u8>,
}

impl Files {
    /// Opens the stream: what was never committed goes, and all else stays. The checkpoint that is committed, if there is one. The caller holds
    /// the [`lock`].
    pub(crate) fn open<P: Serialize + DeserializeOwned>(
        root: &Path,
        stream: &str,
        limits: Limits,
        disk: Disk,
        now: Micros,
    ) -> io::Result<(Files, Option<P>)> {
        disk.make_folder(&root.join(layout::OPEN))?;
        let path = position_path(root, stream);
        let Position { checkpoint, segment: writing } = match position::read::<P>(&path)? {
            Some(position) => position,
            // Of segments without a position nobody knows how much was committed: all that is there are documents, and stay.
            None => {
                let segment = Writing { number: next_number(root, stream, now)?, ..Writing::default() };
                let position = Position { checkpoint: None, segment };
                position::write(&disk, &path, &position)?;
                position
            }
        };
        let files = Files {
            root: root.to_owned(),
            stream: stream.to_owned(),
            disk,
            limits,
            writing,
            file: None,
            committed: writing.length,
            is_torn: false,
            buffer: Vec::new(),
        };
        files.recover()?;
        Ok((files, checkpoint))
    }

    fn recover(&self) -> io::Result<()> {
        for name in open_segments(&self.root)?.into_iter().filter(|name| name.stream == self.stream) {
            let path = self.root.join(name.open_path());
            if name.number > self.writing.number || name.number == self.writing.number && self.writing.length == 0 {
                self.disk.remove(&path)?;
            } else if name.number == self.writing.number {
                self.disk.truncate(&path, self.writing.length)?;
            }
        }
        Ok(())
    }

    /// The number of the segment that is being written. Those before it are complete.
    pub(crate) fn number(&self) -> u64 {
        self.writing.number
    }

    /// Adds lines. They are in memory until the next [`Files::flush`] or [`Files::commit`].
    pub(crate) fn append(&mut self, lines: &[u8], now: Micros) {
        self.buffer.extend_from_slice(lines);
        self.writing.content += lines.len() as u64;
        self.writing.begun.get_or_insert(now);
    }

    /// Whether enough lines for a frame wait in memory.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= FRAME_BYTES
    }

    /// Writes the lines that wait. After a failure they still wait.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let path = self.path();
        if self.is_torn {
            self.disk.truncate(&path, self.writing.length)?;
            self.is_torn = false;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.disk.open(&path)?),
        };
        let frame = frame::encode(&self.buffer)?;
        self.is_torn = true;
        self.disk.append(file, &frame)?;
        self.is_torn = false;
        self.writing.length += frame.len() as u64;
        self.buffer = Vec::new();
        Ok(())
    }

    /// Makes what was flushed durable. Whoever gets an error here cannot know what is on the disk: the stream must be opened anew.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        match &self.file {
            Some(file) if self.writing.length > self.committed => self.disk.sync(file),
            _ => Ok(()),
        }
    }

    /// Makes durable that everything up to here belongs to `checkpoint`. Comes after [`Files::sync`]. Whether a segment was completed.
    pub(crate) fn commit<P: Serialize>(&mut self, checkpoint: &P, now: Micros) -> io::Result<bool> {
        let is_complete = self.is_due(now);
        let segment = if is_complete { self.after() } else { self.writing };
        position::write(&self.disk, &position_path(&self.root, &self.stream), &Position { checkpoint: Some(checkpoint), segment })?;
        self.committed = segment.length;
        if is_complete {
            self.file = None;
        }
        self.writing = segment;
        Ok(is_complete)
    }

    /// Completes the segment, if nothing is in it that was not committed, and it is old enough or `now_or_never`. Whether it was completed.
    pub(crate) fn rotate<P: Serialize + DeserializeOwned>(&mut self, now: Micros, now_or_never: bool) -> io::Result<bool> {
        let is_committed = self.buffer.is_empty() && self.writing.length == self.committed && !self.is_torn;
        if !is_committed || self.committed == 0 || !(now_or_never || self.is_due(now)) {
            return Ok(false);
        }
        let path = position_path(&self.root, &self.stream);
        let Some(Position { checkpoint, .. }) = position::read::<P>(&path)? else { return Ok(false) };
        position::write(&self.disk, &path, &Position { checkpoint, segment: self.after() })?;
        (self.writing, self.committed, self.file) = (self.after(), 0, None);
        Ok(true)
    }

    fn is_due(&self, now: Micros) -> bool {
        let Writing { length, content, begun, .. } = self.writing;
        length > 0 && (content >= self.limits.bytes || begun.is_some_and(|begun| now.since(begun) >= self.limits.age))
    }

    fn after(&self) -> Writing {
        Writing { number: self.writing.number + 1, ..Writing::default() }
    }

    fn path(&self) -> PathBuf {
        self.root.join(Name { stream: self.stream.clone(), number: self.writing.number }.open_path())
    }
}

/// The position file of a stream.
pub(crate) fn position_path(root: &Path, stream: &str) -> PathBuf {
    root.join(format!(".position-{stream}"))
}

/// One process at a time writes a stream. The lock ends with the process, in whatever way.
pub(crate) fn lock(root: &Path, stream: &str) -> io::Result<Option<File>> {
    Disk::default().make_folder(root)?;
    let file = File::options().write(true).create(true).truncate(false).open(root.join(format!(".lock-{stream}")))?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            writeln!(&file, "{}", std::process::id())?;
            Ok(Some(file))
        }
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// The segments that are in the folder of open ones, of whatever stream, in order.
pub(crate) fn open_segments(root: &Path) -> io::Result<Vec<Name>> {
    let mut names: Vec<Name> = entries(&root.join(layout::OPEN))?
        .iter()
        .filter_map(|entry| Name::of_open(&format!("{}/{}", layout::OPEN, entry.file_name().to_str()?)))
        .collect();
    names.sort();
    Ok(names)
}

/// The closed segments on this host.
pub(crate) fn closed_segments(root: &Path) -> io::Result<Vec<Closed>> {
    let mut found = Vec::new();
    walk(root, root, &mut found)?;
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Closed>) -> io::Result<()> {
    for entry in entries(folder)? {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(root, &path, found)?;
            continue;
        }
        let name = path.strip_prefix(root).ok().and_then(Path::to_str).filter(|name| Closed::is_segment(name));
        found.extend(name.and_then(Closed::of));
    }
    Ok(())
}

/// A number that no segment of the stream has, those in a bucket and those of a position that was lost included: the seconds since 1970, from
/// where numbers count up more slowly than time.
fn next_number(root: &Path, stream: &str, now: Micros) -> io::Result<u64> {
    let closed = closed_segments(root)?.into_iter().map(|closed| closed.name);
    let names = open_segments(root)?.into_iter().chain(closed).filter(|name| name.stream == stream);
    let after = names.map(|name| name.number + 1).max().unwrap_or(1);
    Ok(after.max(u64::try_from(now.0 / 1_000_000).unwrap_or_default()))
}
