//! A writer that counts and checks what goes through it.

use std::io::{self, Write};

/// Counts the bytes that are written, and computes their CRC-32.
pub(super) struct ChecksumWriter<W> {
    inner: W,
    length: u64,
    hasher: crc32fast::Hasher,
    failure: Option<io::Error>,
}

impl<W: Write> ChecksumWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        ChecksumWriter { inner, length: 0, hasher: crc32fast::Hasher::new(), failure: None }
    }

    /// Why the last write failed.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// The inner writer, the number of bytes, and their checksum.
    pub(super) fn finish(self) -> (W, u64, u32) {
        (self.inner, self.length, self.hasher.finalize())
    }
}

impl<W: Write> Write for ChecksumWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.inner.write(bytes) {
            Ok(written) => written,
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                return Err(kind.into());
            }
        };
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
