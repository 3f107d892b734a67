//! One Parquet object of the archive: written while the next rows are read, read back a row group at a time.

mod read;
mod write;

pub(crate) use read::ObjectReader;
pub(crate) use write::ObjectWriter;
