//! The state file: the totals and the position that produced them, durable as one unit.
//!
//! The file is replaced as a whole (write beside it, fsync, rename, fsync the folder), so after a crash there is either the
//! old state or the new one. It is written as a stream: no second copy of the state is ever in memory. Its layout is
//!
//! ```text
//! "DIFYOBSX"  format: u32 LE  content: postcard  length of content: u64 LE  CRC-32 of content: u32 LE
//! ```
//!
//! Postcard does not describe itself: whoever changes a type in the state raises [`FORMAT`]. A file of another format is
//! treated as damaged: kept aside, reported, and counting begins anew from now. That is a gap, never a double.

mod checksum;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use dify_observe_core::dify::time::Micros;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::Totals;
use checksum::ChecksumWriter;

/// The format of the content. Raised whenever a type in it changes.
pub const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"DIFYOBSX";

/// What the exporter keeps: the follower's part `F`, side states `S` of the families that need more than a number, and
/// the totals.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State<F, S> {
    /// When this state was written.
    pub saved_at: Micros,
    /// Where the follower is, and what it remembers.
    pub follow: F,
    /// Streaks, people, feedback.
    pub side: S,
    /// Everything that was counted.
    pub totals: Totals,
}

/// What reading found.
#[derive(Debug)]
pub enum Loaded<T> {
    /// No file: the very first start, or a volume that was replaced.
    Missing,
    /// The state.
    Found(T),
    /// A file that cannot be used. It was kept aside.
    Damaged {
        /// What is wrong with it.
        damage: Damage,
        /// Where it is now.
        kept: PathBuf,
    },
}

/// What is wrong with a state file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Something else has this name.
    #[error("it is not a state file of dify-exporter")]
    NotOurs,
    /// A newer or older version wrote it.
    #[error("it has format {0}, this version reads {FORMAT}")]
    Format(u32),
    /// A part is missing.
    #[error("it is not complete")]
    Truncated,
    /// Its bytes are not those that were written.
    #[error("its checksum is wrong")]
    Checksum,
    /// The checksum is right, and yet it cannot be understood.
    #[error("its content cannot be understood: {0}")]
    Content(String),
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is there and may not be read.
    #[error("failed to read the state file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder cannot be written: full, read-only, not ours.
    #[error("failed to write the state file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A damaged file could not be moved out of the way.
    #[error("failed to keep the damaged state file {} aside ({damage})", path.display())]
    KeepAside {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
        /// Why it could not be moved.
        source: io::Error,
    },
}

/// Reads the state. `now` names the file that a damaged one is kept as.
pub fn read<T: DeserializeOwned>(path: &Path, now: Micros) -> Result<Loaded<T>, StateError> {
    // The whole file is in memory beside what is made of it, but only while the process starts.
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Missing),
        Err(source) => return Err(StateError::Read { path: path.to_owned(), source }),
    };
    match decode(&bytes) {
        Ok(state) => Ok(Loaded::Found(state)),
        Err(damage) => {
            let kept =
                keep_aside(path, now).map_err(|source| StateError::KeepAside { path: path.to_owned(), damage: damage.clone(), source })?;
            Ok(Loaded::Damaged { damage, kept })
        }
    }
}

/// Replaces the state. When this returns, the state is durable; when it fails, the file is as it was.
pub fn write<T: Serialize>(path: &Path, state: &T) -> Result<(), StateError> {
    replace(path, state).map_err(|source| StateError::Write { path: path.to_owned(), source })
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damage> {
    let Some(after_magic) = bytes.strip_prefix(MAGIC) else {
        let is_beginning = bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes);
        return Err(if is_beginning { Damage::Truncated } else { Damage::NotOurs });
    };
    let (format, after_head) = after_magic.split_first_chunk().ok_or(Damage::Truncated)?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(Damage::Format(format));
    }
    let (rest, checksum) = after_head.split_last_chunk().ok_or(Damage::Truncated)?;
    let (content, length) = rest.split_last_chunk().ok_or(Damage::Truncated)?;
    if u64::from_le_bytes(*length) != content.len() as u64 {
        return Err(Damage::Truncated);
    }
    if u32::from_le_bytes(*checksum) != crc32fast::hash(content) {
        return Err(Damage::Checksum);
    }
    postcard::from_bytes(content).map_err(|error| Damage::Content(error.to_string()))
}

fn replace<T: Serialize>(path: &Path, state: &T) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let file = write_beside(&beside, state)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(path)
}

fn write_beside<T: Serialize>(path: &Path, state: &T) -> io::Result<File> {
    let mut file = create(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&FORMAT.to_le_bytes())?;
    let mut writer = BufWriter::with_capacity(64 * 1024, ChecksumWriter::new(file));
    if let Err(error) = postcard::to_io(state, &mut writer) {
        // Postcard says "buffer full" to everything; what really happened is with the writer.
        return Err(writer.get_mut().take_failure().unwrap_or_else(|| io::Error::other(error)));
    }
    let (mut file, length, checksum) = writer.into_inner().map_err(io::IntoInnerError::into_error)?.finish();
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&checksum.to_le_bytes())?;
    Ok(file)
}

/// Names of apps and end users' hashes are in it: nobody else's to read.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn keep_aside(path: &Path, now: Micros) -> io::Result<PathBuf> {
    let time = chrono::DateTime::from_timestamp_micros(now.0)
        .map_or_else(|| now.0.to_string(), |now| now.format("%Y%m%dT%H%M%S%.6fZ").to_string());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{time}"));
    let kept = path.with_file_name(name);
    fs::rename(path, &kept)?;
    sync_folder(path)?;
    Ok(kept)
}

/// Makes a rename durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::store::{Labels, Scheme};

    type Small = State<Vec<u64>, String>;

    fn state() -> Small {
        let mut totals = Totals::new(Scheme::default());
        totals.add_decimal(&catalogue::LLM_COST, Labels::default_for(&catalogue::LLM_COST), "0.0000001".parse().unwrap());
        totals.observe(&catalogue::RETRIEVAL_SCORE, Labels::default_for(&catalogue::RETRIEVAL_SCORE), 0.1 + 0.2, None);
        State { saved_at: Micros(7), follow: (0..100_000).collect(), side: "side".to_owned(), totals }
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        (folder, path)
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_written_is_read() {
        let (folder, path) = folder();
        assert!(matches!(read::<Small>(&path, Micros(1)).unwrap(), Loaded::Missing));
        let written = state();
        write(&path, &written).unwrap();
        write(&path, &written).unwrap();
        let Loaded::Found(found) = read::<Small>(&path, Micros(1)).unwrap() else { panic!("not found") };
        assert_eq!(postcard::to_stdvec(&found).unwrap(), postcard::to_stdvec(&written).unwrap());
        assert_eq!((found.saved_at, found.follow.len(), found.side.as_str()), (Micros(7), 100_000, "side"));
        assert_eq!(names(&folder), ["state"], "nothing is left beside it");
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_noticed() {
        let (_folder, path) = folder();
        let mut small = state();
        small.follow.clear();
        write(&path, &small).unwrap();
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            assert!(decode::<Small>(&bytes[..length]).is_err(), "cut to {length}");
        }
        for byte in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[byte] ^= 0x10;
            assert!(decode::<Small>(&bytes).is_err(), "byte {byte}");
        }
    }

    #[test]
    fn a_damaged_file_is_kept_aside() {
        let (folder, path) = folder();
        fs::write(&path, b"something else altogether").unwrap();
        let Loaded::Damaged { damage, kept } = read::<Small>(&path, Micros::from_secs(1_795_162_964)).unwrap() else { panic!("read") };
        assert_eq!(damage, Damage::NotOurs);
        assert_eq!(names(&folder), ["state.damaged-20261120T082244.000000Z"]);
        assert_eq!(fs::read(kept).unwrap(), b"something else altogether");
        assert!(matches!(read::<Small>(&path, Micros(1)).unwrap(), Loaded::Missing));
    }

    #[test]
    fn another_format_is_named() {
        let (_folder, path) = folder();
        write(&path, &state()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 9;
        assert_eq!(decode::<Small>(&bytes).unwrap_err(), Damage::Format(9));
        assert_eq!(Damage::Format(9).to_string(), "it has format 9, this version reads 1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_leaves_the_state_as_it_was() {
        let (_folder, path) = folder();
        write(&path, &state()).unwrap();
        let before = fs::read(&path).unwrap();
        std::os::unix::fs::symlink("/dev/full", path.with_extension("tmp")).unwrap();
        let StateError::Write { source, .. } = write(&path, &state()).unwrap_err() else { panic!("another error") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_and_not_a_panic() {
        let (_folder, path) = folder();
        let error = write(&path.join("deeper").join("state"), &state()).unwrap_err();
        assert!(error.to_string().starts_with("failed to write the state file /"), "{error}");
    }
}
