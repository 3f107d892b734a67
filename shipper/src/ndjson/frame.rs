//! zstd frames: each is complete in itself, so that a file of them can be appended to, cut between them, and read at any one of them.

use std::io;

use zstd::zstd_safe::{self, CParameter};

/// About so many bytes of lines make a frame: enough to compress well, little enough to read for one document.
pub(crate) const FRAME_BYTES: usize = 1 << 20;

/// Above 3 it costs much time for few bytes.
const LEVEL: i32 = 3;

/// No frame of ours is larger than the largest batch; a damaged length must not take the memory of the host.
const LARGEST: u64 = 1 << 30;

const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// Compresses lines into a frame that knows its length and a checksum.
pub(crate) fn encode(lines: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    compressor.compress(lines)
}

/// The lines of a frame.
pub(crate) fn decode(frame: &[u8]) -> io::Result<Vec<u8>> {
    let length = zstd_safe::get_frame_content_size(frame).ok().flatten().filter(|length| *length <= LARGEST);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its frame names no length that can be believed"))?;
    zstd::bulk::decompress(frame, usize::try_from(length).unwrap_or(usize::MAX))
}

/// What begins here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A frame of so many bytes.
    Frame(usize),
    /// The beginning of one.
    Part,
    /// Something else.
    Damage,
}

/// What `bytes` begin with.
pub(crate) fn next(bytes: &[u8]) -> Next {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Next::Damage;
    }
    zstd_safe::find_frame_compressed_size(bytes).map_or(Next::Part, Next::Frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_told_from_its_beginnings_and_from_anything_else() {
        let frame = encode(b"{\"a\":1}\n").unwrap();
        for length in 0..frame.len() {
            assert_eq!(next(&frame[..length]), Next::Part, "{length}");
        }
        let two = [frame.clone(), frame.clone()].concat();
        assert_eq!(next(&two), Next::Frame(frame.len()));
        assert_eq!(decode(&frame).unwrap(), b"{\"a\":1}\n");
        assert_eq!(next(b"{\"a\":1}"), Next::Damage);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let frame = encode(&b"{\"a\":1}\n".repeat(40)).unwrap();
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).ok().is_none_or(|lines| lines == decode(&frame).unwrap()), "bit {bit}");
        }
    }
}
