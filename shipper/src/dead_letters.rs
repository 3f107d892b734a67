//! Documents that a sink rejected for good: kept on disk, with where they belong and why, until they are replayed.
//!
//! Appending is durable before it returns, because the position moves past them then. The shipper that appends and a `replay` beside it are
//! two processes: every access holds a lock on the folder for as long as it takes. What is replayed is moved aside first, and only removed
//! when every letter of it was delivered or rejected again.

mod letter;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub use letter::Letter;

const NEW: &str = "letters.ndjson";
/// Moved aside by a replay, the oldest first.
const ASIDE: &str = "replaying-";

/// The dead letters of one sink.
#[derive(Debug)]
pub struct DeadLetters {
    folder: PathBuf,
    most_bytes: u64,
    count: AtomicU64,
}

/// Why a letter could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// They would take more room than they may.
    #[error("the dead letters in {} take {bytes} bytes, as many as dead_letter_bytes allows: mend what they were rejected for and run `dify-shipper replay`, or remove them", folder.display())]
    Full {
        /// The folder.
        folder: PathBuf,
        /// What is there.
        bytes: u64,
    },
    /// The disk.
    #[error("the dead letters in {} cannot be kept: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DeadLetters {
    /// Those of a sink, below the shipper's state folder.
    pub fn open(state: &Path, sink: &str, most_bytes: u64) -> Result<Self, DeadLetterError> {
        let letters = DeadLetters { folder: state.join("dead-letters").join(sink), most_bytes, count: AtomicU64::new(0) };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&letters.folder);
        made.and_then(|()| letters.recount()).map_err(|source| letters.failed(source))?;
        Ok(letters)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many there are, as far as this process knows.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts them on disk, where another process may have changed them.
    pub fn recount(&self) -> io::Result<()> {
        let _lock = self.lock()?;
        let mut count = 0;
        for file in self.files()? {
            count += BufReader::new(File::open(file)?).split(b'\n').count() as u64;
        }
        self.count.store(count, Ordering::Relaxed);
        Ok(())
    }

    /// The bytes that they take.
    pub fn bytes(&self) -> io::Result<u64> {
        self.files()?.iter().map(|file| Ok(fs::metadata(file)?.len())).sum()
    }

    /// Keeps them. When this returns they are durable; when it fails, none of them counts.
    pub fn append(&self, letters: &[Letter]) -> Result<(), DeadLetterError> {
        let io = |source| self.failed(source);
        let mut text = Vec::new();
        for letter in letters {
            letter.write(&mut text).map_err(io)?;
        }
        let _lock = self.lock().map_err(io)?;
        let bytes = self.bytes().map_err(io)?;
        if bytes > 0 && bytes + text.len() as u64 > self.most_bytes {
            return Err(DeadLetterError::Full { folder: self.folder.clone(), bytes });
        }
        self.append_bytes(&text).map_err(io)?;
        self.count.fetch_add(letters.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn append_bytes(&self, text: &[u8]) -> io::Result<()> {
        let path = self.folder.join(NEW);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        // A process that died here, or a disk that was full, left half a line, whose document is delivered again.
        if !ends_a_line(&mut file)? {
            file.write_all(b"\n")?;
        }
        file.write_all(text)?;
        file.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    /// Moves what is there aside, and names the files to replay. The lock is not held during a replay: new letters go into a new file.
    pub fn set_aside(&self) -> io::Result<Vec<PathBuf>> {
        let _lock = self.lock()?;
        let new = self.folder.join(NEW);
        if new.exists() {
            let last = self.files()?.iter().filter_map(|file| number(file)).max().unwrap_or(0);
            fs::rename(&new, self.folder.join(format!("{ASIDE}{:06}.ndjson", last + 1)))?;
        }
        self.files()
    }

    /// Reads a file of letters, `most` at a time. Lines that are no letter are passed over.
    pub fn read(file: &Path, most: usize) -> io::Result<impl Iterator<Item = io::Result<Vec<Letter>>>> {
        let mut lines = BufReader::new(File::open(file)?).split(b'\n');
        Ok(std::iter::from_fn(move || {
            let letters = lines.by_ref().filter_map(|line| line.map(|line| Letter::parse(&line)).transpose()).take(most);
            match letters.collect::<io::Result<Vec<_>>>() {
                Ok(letters) if letters.is_empty() => None,
                other => Some(other),
            }
        }))
    }

    /// Looks at all of them and leaves them where they are.
    pub fn for_each(&self, mut look: impl FnMut(&Letter)) -> io::Result<()> {
        let _lock = self.lock()?;
        for file in self.files()? {
            for letters in Self::read(&file, 100)? {
                letters?.iter().for_each(&mut look);
            }
        }
        Ok(())
    }

    /// Every letter of a file is delivered, or was appended again.
    pub fn done(&self, file: &Path) -> io::Result<()> {
        {
            let _lock = self.lock()?;
            fs::remove_file(file)?;
            File::open(&self.folder)?.sync_all()?;
        }
        self.recount()
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ndjson") {
                files.push(path);
            }
        }
        // Those that were moved aside last come last, and the new ones are older than none of them.
        files.sort_by_key(|path| (number(path).is_none(), number(path)));
        Ok(files)
    }

    fn lock(&self) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.folder.join("lock"))?;
        file.lock()?;
        Ok(file)
    }

    fn failed(&self, source: io::Error) -> DeadLetterError {
        DeadLetterError::Io { folder: self.folder.clone(), source }
    }
}

fn number(file: &Path) -> Option<u64> {
    file.file_stem()?.to_str()?.strip_prefix(ASIDE)?.parse().ok()
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Kind;

    fn letter(id: &str) -> Letter {
        Letter {
            time: 1,
            kind: Kind::Message,
            index: "logs-dify.message-x-2026.11.16".to_owned(),
            id: id.to_owned(),
            revision: 7,
            reason: "mapper_parsing_exception".to_owned(),
            detail: "no number".to_owned(),
            source: bytes::Bytes::from_static(b"{\"n\":1.50,\"a\":\"x\"}"),
        }
    }

    fn all(letters: &DeadLetters) -> Vec<String> {
        let files = letters.set_aside().unwrap();
        files.iter().flat_map(|file| DeadLetters::read(file, 2).unwrap()).flat_map(Result::unwrap).map(|letter| letter.id).collect()
    }

    #[test]
    fn a_letter_comes_back_as_it_was_with_its_document_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters::open(folder.path(), "es", 10_000).unwrap();
        letters.append(&[letter("1")]).unwrap();
        let files = letters.set_aside().unwrap();
        let back: Vec<Letter> = DeadLetters::read(&files[0], 10).unwrap().next().unwrap().unwrap();
        assert_eq!(back, [letter("1")]);
    }

    #[test]
    fn letters_are_counted_across_a_restart_and_gone_when_done() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters::open(folder.path(), "es", 10_000).unwrap();
        letters.append(&[letter("1"), letter("2")]).unwrap();
        let files = letters.set_aside().unwrap();
        letters.append(&[letter("3")]).unwrap();
        assert_eq!(DeadLetters::open(folder.path(), "es", 10_000).unwrap().count(), 3);
        letters.done(&files[0]).unwrap();
        assert_eq!(letters.count(), 1);
        assert_eq!(all(&letters), ["3"]);
    }

    #[test]
    fn a_replay_that_was_cut_short_loses_none() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters::open(folder.path(), "es", 10_000).unwrap();
        letters.append(&[letter("1")]).unwrap();
        letters.set_aside().unwrap();
        letters.append(&[letter("2")]).unwrap();
        assert_eq!(all(&letters), ["1", "2"]);
    }

    #[test]
    fn half_a_line_harms_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters::open(folder.path(), "es", 10_000).unwrap();
        fs::write(letters.folder().join(NEW), b"{\"time\":1,\"ki").unwrap();
        letters.append(&[letter("1"), letter("2"), letter("3")]).unwrap();
        assert_eq!(all(&letters), ["1", "2", "3"]);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters::open(folder.path(), "es", 300).unwrap();
        letters.append(&[letter("1")]).unwrap();
        let error = letters.append(&[letter("2")]).unwrap_err();
        assert!(matches!(error, DeadLetterError::Full { .. }), "{error}");
        assert_eq!(all(&letters), ["1"]);
    }
}
