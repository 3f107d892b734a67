//! Columns into a Parquet object, a row group at a time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::ColumnPath;

use super::columns::{Column, Values};
use super::schema::{Field, message};

/// A page is compressed as a whole: long enough for zstd to find what repeats, short enough to be held twice.
const PAGE: usize = 1 << 20;

/// Values looked at between two checks of a page's size. Few, because a single one may have megabytes.
const VALUES_AT_ONCE: usize = 64;

/// Writes one object. What is encoded is handed out at once; nothing but the footer's facts stays in memory.
pub(crate) struct FileEncoder {
    writer: SerializedFileWriter<Sink>,
}

impl FileEncoder {
    /// An object with these columns, compressed by zstd at `level`.
    pub(crate) fn new(fields: &[Field], level: i32) -> Result<FileEncoder, ParquetError> {
        let writer = SerializedFileWriter::new(Sink::default(), message(fields)?, Arc::new(properties(fields, level)?))?;
        Ok(FileEncoder { writer })
    }

    /// What stands before the first row group.
    pub(crate) fn head(&mut self) -> Result<Bytes, ParquetError> {
        self.take()
    }

    /// Encodes one row group: a column for each field.
    pub(crate) fn group(&mut self, columns: Vec<Column>) -> Result<Bytes, ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in columns {
            let writer = group.next_column()?.ok_or_else(|| ParquetError::General("more columns than fields".to_owned()))?;
            write_column(writer, column)?;
        }
        group.close()?;
        self.take()
    }

    /// The footer.
    pub(crate) fn finish(mut self) -> Result<Bytes, ParquetError> {
        self.writer.finish()?;
        self.take()
    }

    fn take(&mut self) -> Result<Bytes, ParquetError> {
        self.writer.flush()?;
        Ok(Bytes::from(std::mem::take(&mut self.writer.inner_mut().0)))
    }
}

fn properties(fields: &[Field], level: i32) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("dify-janitor ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_data_page_size_limit(PAGE)
        .set_dictionary_page_size_limit(PAGE)
        .set_write_batch_size(VALUES_AT_ONCE)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    for field in fields {
        let path = ColumnPath::from(field.name.as_str());
        if !field.repeats {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
        if !field.statistics {
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    Ok(properties.build())
}

fn write_column(mut writer: SerializedColumnWriter<'_>, column: Column) -> Result<(), ParquetError> {
    let levels = Some(column.levels.as_slice());
    match &column.values {
        Values::Bool(values) => writer.typed::<BoolType>().write_batch(values, levels, None)?,
        Values::Int32(values) => writer.typed::<Int32Type>().write_batch(values, levels, None)?,
        Values::Int64(values) => writer.typed::<Int64Type>().write_batch(values, levels, None)?,
        Values::Double(values) => writer.typed::<DoubleType>().write_batch(values, levels, None)?,
        Values::Bytes(values) => writer.typed::<ByteArrayType>().write_batch(values, levels, None)?,
    };
    // The values are in the encoder now; a column that is written need not be held beside the next one.
    drop(column);
    writer.close()
}

#[derive(Default)]
struct Sink(Vec<u8>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
