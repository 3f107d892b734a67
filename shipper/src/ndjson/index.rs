//! The index of a closed segment: where its frames are, and what each of them may hold.
//!
//! ```text
//! words of frame 0, words of frame 1 …   table: postcard   length of table: u64 LE   "DIFYIDX1"
//! ```
//!
//! The words, which are most of it, are read only for frames that are not ruled out by time and values.

use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use super::bloom::Bloom;
use super::terms::Terms;

const MAGIC: &[u8; 8] = b"DIFYIDX1";
const TRAILER: u64 = 16;

/// The first read takes the end of the file: the whole table of most.
const FIRST_READ: u64 = 256 << 10;

/// A frame and what it may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// Where it begins in the segment.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) length: u64,
    /// How many documents it holds.
    pub(crate) lines: u32,
    /// The oldest of their times.
    pub(crate) first: Micros,
    /// The youngest.
    pub(crate) last: Micros,
    /// Ids, and values of fields.
    pub(crate) values: Bloom,
    /// Where in the index its words are.
    words: Range<u64>,
}

/// An index in the making.
#[derive(Debug)]
pub(crate) struct IndexWriter<W> {
    out: W,
    written: u64,
    frames: Vec<Frame>,
}

impl<W: Write> IndexWriter<W> {
    /// An index that is written to `out`.
    pub(crate) fn new(out: W) -> Self {
        IndexWriter { out, written: 0, frames: Vec::new() }
    }

    /// Adds the next frame.
    pub(crate) fn add(&mut self, length: u64, lines: u32, times: (Micros, Micros), terms: &Terms) -> io::Result<()> {
        let words = Bloom::new(&terms.words);
        self.out.write_all(&words.0)?;
        let offset = self.frames.last().map_or(0, |frame| frame.offset + frame.length);
        let range = self.written..self.written + words.0.len() as u64;
        self.written = range.end;
        let (first, last) = times;
        self.frames.push(Frame { offset, length, lines, first, last, values: Bloom::new(&terms.values), words: range });
        Ok(())
    }

    /// Completes it.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let table = postcard::to_stdvec(&self.frames).map_err(io::Error::other)?;
        self.out.write_all(&table)?;
        self.out.write_all(&(table.len() as u64).to_le_bytes())?;
        self.out.write_all(MAGIC)?;
        Ok(self.out)
    }
}

/// The table of an index.
#[derive(Debug)]
pub(crate) struct Index {
    path: String,
    /// The frames of the segment, in order.
    pub(crate) frames: Vec<Frame>,
    /// The end of the file, which holds all words of a small one.
    tail: Bytes,
    tail_at: u64,
}

impl Index {
    /// Reads the table; `size` is that of the file, where it is known. An index that is not there is an error of the kind `Missing`.
    pub(crate) async fn read(store: &dyn Store, path: &str, size: Option<u64>) -> Result<Index, StoreError> {
        let damaged = |what: &str| StoreError::Damaged { path: path.to_owned(), what: what.to_owned() };
        let size = match size {
            Some(size) => size,
            None => store.size(path).await?.ok_or_else(|| StoreError::Missing { path: path.to_owned() })?,
        };
        let mut tail_at = size.saturating_sub(FIRST_READ);
        let mut tail = store.get_range(path, tail_at..size).await?;
        let trailer = tail.len().checked_sub(TRAILER as usize).ok_or_else(|| damaged("it is too short for an index"))?;
        let (length, magic) = tail[trailer..].split_at(8);
        if magic != MAGIC {
            return Err(damaged("it is no index of this version"));
        }
        let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
        let table_at = size.checked_sub(TRAILER).and_then(|end| end.checked_sub(length)).ok_or_else(|| damaged("its length is wrong"))?;
        if table_at < tail_at {
            tail_at = table_at;
            tail = store.get_range(path, tail_at..size).await?;
        }
        let table = &tail[(table_at - tail_at) as usize..(size - TRAILER - tail_at) as usize];
        let frames = postcard::from_bytes(table).map_err(|_| damaged("its table cannot be understood"))?;
        Ok(Index { path: path.to_owned(), frames, tail, tail_at })
    }

    /// The words of a frame.
    pub(crate) async fn words(&self, store: &dyn Store, frame: &Frame) -> Result<Bloom, StoreError> {
        let Range { start, end } = frame.words;
        if start >= self.tail_at
            && let Some(words) = self.tail.get((start - self.tail_at) as usize..(end.max(start) - self.tail_at) as usize)
        {
            return Ok(Bloom(words.to_vec()));
        }
        Ok(Bloom(store.get_range(&self.path, start..end).await?.to_vec()))
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.tail.len() + self.frames.iter().map(|frame| frame.values.0.len() + size_of::<Frame>()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use dify_observe_core::store::Folder;

    use super::*;

    #[tokio::test]
    async fn small_and_large_indexes_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::new(folder.path().to_owned());
        for (frames, words) in [(0, 0), (3, 10), (20, 30_000)] {
            let mut writer = IndexWriter::new(Vec::new());
            for frame in 0..frames {
                let terms =
                    Terms { values: [frame].into(), words: (0..words).map(|word| (word << 32) | (word * 2_654_435_761 + frame)).collect() };
                writer.add(10, 2, (Micros(frame as i64), Micros(9)), &terms).unwrap();
            }
            store.put("a.index", writer.finish().unwrap().into()).await.unwrap();
            let index = Index::read(&store, "a.index", None).await.unwrap();
            assert_eq!(index.frames.len(), frames as usize);
            for (frame, number) in index.frames.iter().zip(0..) {
                assert_eq!((frame.offset, frame.first), (number * 10, Micros(number as i64)));
                assert!(frame.values.may_hold(number));
                let bloom = index.words(&store, frame).await.unwrap();
                assert!((0..words).all(|word| bloom.may_hold((word << 32) | (word * 2_654_435_761 + number))));
            }
        }
        let error = Index::read(&store, "b.index", None).await.unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
        store.put("c.index", vec![1; 99].into()).await.unwrap();
        assert!(Index::read(&store, "c.index", Some(99)).await.is_err());
    }
}
