//! The position file: how far the sink has come, and how much of which file belongs to that. It is replaced as a whole.
//!
//! ```text
//! "DIFYOBSN"  format: u32 LE  content: postcard  length of content: u64 LE  SHA-256 of content
//! ```
//!
//! Postcard does not describe itself: whoever changes [`Position`], or the follower's state in it, raises [`FORMAT`].

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use dify_observe_core::dify::time::Micros;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::disk::{Disk, Partial};

const MAGIC: &[u8; 8] = b"DIFYOBSN";
const FORMAT: u32 = 1;
const DIGEST: usize = 32;

/// How far a sink has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position<P> {
    /// What the pipeline remembers; nothing before its first commit.
    pub(crate) checkpoint: Option<P>,
    /// What is being written.
    pub(crate) segment: Writing,
}

/// The segment that is being written. Those of its stream with smaller numbers are complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Writing {
    /// Its number.
    pub(crate) number: u64,
    /// How much of its file counts.
    pub(crate) length: u64,
    /// Bytes of documents in it, before compression.
    pub(crate) content: u64,
    /// When its first document came, by this host's clock.
    pub(crate) begun: Option<Micros>,
}

/// Replaces the file. When this returns, it is durable; when it fails, the file is as it was.
pub(crate) fn write<P: Serialize>(disk: &Disk, path: &Path, position: &Position<P>) -> io::Result<()> {
    let mut file = disk.create(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&FORMAT.to_le_bytes())?;
    let mut content = BufWriter::with_capacity(64 * 1024, Content { file, hasher: Sha256::new(), length: 0, failure: None });
    if let Err(error) = postcard::to_io(position, &mut content) {
        // Postcard says "buffer full" to everything; what really happened is with the writer.
        return Err(content.get_mut().failure.take().unwrap_or_else(|| io::Error::other(error)));
    }
    let Content { mut file, hasher, length, .. } = content.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&hasher.finalize())?;
    file.publish()
}

/// The position; `None` if there is none. What cannot be understood is an error of the kind `InvalidData`.
pub(crate) fn read<P: DeserializeOwned>(path: &Path) -> io::Result<Option<Position<P>>> {
    match fs::read(path) {
        Ok(bytes) => decode(&bytes).map(Some).map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn decode<P: DeserializeOwned>(bytes: &[u8]) -> Result<Position<P>, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it is no position file of dify-shipper")?;
    let (format, rest) = rest.split_first_chunk().ok_or("it is not complete")?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(format!("it has format {format}, this version reads {FORMAT}"));
    }
    let (rest, digest) = rest.split_last_chunk::<DIGEST>().ok_or("it is not complete")?;
    let (content, length) = rest.split_last_chunk().ok_or("it is not complete")?;
    if u64::from_le_bytes(*length) != content.len() as u64 || Sha256::digest(content).as_slice() != digest {
        return Err("its checksum is wrong".to_owned());
    }
    postcard::from_bytes(content).map_err(|error| format!("its content cannot be understood: {error}"))
}

struct Content<'a> {
    file: Partial<'a>,
    hasher: Sha256,
    length: u64,
    failure: Option<io::Error>,
}

impl Write for Content<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(written) => {
                self.hasher.update(&bytes[..written]);
                self.length += written as u64;
                Ok(written)
            }
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(length: u64) -> Position<Vec<u64>> {
        Position { checkpoint: Some(vec![1, 2, 3]), segment: Writing { number: 7, length, content: 9, begun: Some(Micros(5)) } }
    }

    #[test]
    fn what_is_written_is_read_and_every_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/position");
        assert_eq!(read::<Vec<u64>>(&path).unwrap(), None);
        write(&Disk::default(), &path, &position(1)).unwrap();
        write(&Disk::default(), &path, &position(2)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(position(2)));
        let bytes = fs::read(&path).unwrap();
        for byte in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 0x10;
            assert!(decode::<Vec<u64>>(&damaged).is_err() && decode::<Vec<u64>>(&bytes[..byte]).is_err(), "byte {byte}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_leaves_the_position_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("position");
        write(&Disk::default(), &path, &position(1)).unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("position.partial")).unwrap();
        assert_eq!(write(&Disk::default(), &path, &position(2)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(read(&path).unwrap(), Some(position(1)));
    }
}
