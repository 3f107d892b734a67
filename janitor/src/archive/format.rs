//! Rows as Parquet and back, without loss: the layout of one object, and a digest of its rows that does not depend on it.
//!
//! An object is the four bytes of Parquet's magic, row groups one after the other, and the footer. Each row group is encoded, hashed,
//! fetched and decoded on its own, so that memory stays bounded by the size of one.

mod chunks;
mod columns;
mod decode;
mod digest;
mod encode;
mod members;
mod rows;
mod schema;

pub(crate) use chunks::{Chunk, ChunkTable};
pub(crate) use columns::Column;
pub(crate) use decode::{FileReader, Selected};
pub use digest::Digest;
pub(crate) use digest::{Hasher, sha256};
pub(crate) use encode::FileEncoder;
pub(crate) use members::Members;
pub(crate) use rows::{RowTable, approximate_size};
pub(crate) use schema::Field;

/// What one row group is made of.
pub(crate) trait Table: Send + Sync + 'static {
    /// One row.
    type Record: Send + 'static;

    /// The columns.
    fn fields(&self) -> Vec<Field>;

    /// The rows as columns, and what is noted of them.
    fn columns(&self, records: Vec<Self::Record>) -> Result<(Vec<Column>, Content), FormatError>;
}

/// What is noted of the rows of one row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// How many.
    pub(crate) rows: u32,
    /// Position of the first bundle that has a row here.
    pub(crate) first: u32,
    /// Position of the last one.
    pub(crate) last: u32,
    /// Of the rows.
    pub(crate) digest: Digest,
}

/// Bytes that are not what the archive writes, or rows that do not fit their shape.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// Parquet cannot be written or read.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A value, a row or a bundle is not as expected.
    #[error("{0}")]
    Content(String),
}

impl FormatError {
    pub(crate) fn content(text: impl Into<String>) -> FormatError {
        FormatError::Content(text.into())
    }
}

/// Length of what stands before the first row group.
pub(crate) const HEAD: u64 = 4;
