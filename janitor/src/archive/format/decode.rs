//! A Parquet object's footer and its row groups, from bytes that were fetched and checked.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader, Length, RowGroupReader as _};
use parquet::file::serialized_reader::SerializedRowGroupReader;

use super::columns::{Column, Values};

/// Which columns are wanted, by position in the object.
#[derive(Clone, Debug)]
pub(crate) enum Selected {
    All,
    Some(Vec<usize>),
}

/// Decodes the row groups of one object.
#[derive(Clone, Debug)]
pub(crate) struct FileReader {
    metadata: Arc<ParquetMetaData>,
}

impl FileReader {
    /// From the bytes that stand after the last row group.
    pub(crate) fn new(tail: &[u8]) -> Result<FileReader, ParquetError> {
        let short = || ParquetError::EOF("the footer is cut off".to_owned());
        let (rest, magic) = tail.split_at_checked(tail.len().wrapping_sub(4)).ok_or_else(short)?;
        let (rest, length) = rest.split_at_checked(rest.len().wrapping_sub(4)).ok_or_else(short)?;
        let length = u32::from_le_bytes(length.try_into().map_err(|_| short())?) as usize;
        if magic != b"PAR1" {
            return Err(ParquetError::General("not a Parquet object".to_owned()));
        }
        let footer = rest.len().checked_sub(length).ok_or_else(short)?;
        let metadata = ParquetMetaDataReader::decode_metadata(&rest[footer..])?;
        Ok(FileReader { metadata: Arc::new(metadata) })
    }

    /// How many row groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// The columns of row group `index`, whose bytes begin at `start` of the object.
    pub(crate) fn group(&self, index: usize, start: u64, bytes: Bytes, selected: &Selected) -> Result<Vec<Column>, ParquetError> {
        let metadata = self.metadata.row_group(index);
        let window = Arc::new(Window { start, bytes });
        let page_index = self.metadata.page_index_for_row_group(index);
        let reader = SerializedRowGroupReader::new(window, metadata, page_index, Arc::new(ReaderProperties::builder().build()))?;
        let wanted: Vec<usize> = match selected {
            Selected::All => (0..metadata.num_columns()).collect(),
            Selected::Some(columns) => columns.clone(),
        };
        wanted.into_iter().map(|column| read_column(reader.get_column_reader(column)?, metadata)).collect()
    }
}

fn read_column(reader: ColumnReader, metadata: &RowGroupMetaData) -> Result<Column, ParquetError> {
    let rows = usize::try_from(metadata.num_rows()).map_err(|_| ParquetError::General("a negative count of rows".to_owned()))?;
    let mut levels = Vec::with_capacity(rows);
    let values = match reader {
        ColumnReader::BoolColumnReader(reader) => Values::Bool(read_values(reader, rows, &mut levels)?),
        ColumnReader::Int32ColumnReader(reader) => Values::Int32(read_values(reader, rows, &mut levels)?),
        ColumnReader::Int64ColumnReader(reader) => Values::Int64(read_values(reader, rows, &mut levels)?),
        ColumnReader::DoubleColumnReader(reader) => Values::Double(read_values(reader, rows, &mut levels)?),
        ColumnReader::ByteArrayColumnReader(reader) => Values::Bytes(read_values(reader, rows, &mut levels)?),
        _ => return Err(ParquetError::General("a column of a type that the archive does not write".to_owned())),
    };
    if levels.len() != rows {
        return Err(ParquetError::EOF("a column ends before its row group".to_owned()));
    }
    Ok(Column { levels, values })
}

fn read_values<T: DataType>(mut reader: ColumnReaderImpl<T>, rows: usize, levels: &mut Vec<i16>) -> Result<Vec<T::T>, ParquetError> {
    let mut values = Vec::new();
    while levels.len() < rows {
        let (records, _, _) = reader.read_records(rows - levels.len(), Some(levels), None, &mut values)?;
        if records == 0 {
            break;
        }
    }
    Ok(values)
}

/// The bytes of one row group, addressed as if the whole object were there.
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn slice(&self, start: u64, length: Option<usize>) -> Result<Bytes, ParquetError> {
        let outside = || ParquetError::EOF("a page lies outside of its row group".to_owned());
        let begin = usize::try_from(start.checked_sub(self.start).ok_or_else(outside)?).map_err(|_| outside())?;
        let end = length.map_or(Some(self.bytes.len()), |length| begin.checked_add(length)).ok_or_else(outside)?;
        if begin > end || end > self.bytes.len() {
            return Err(outside());
        }
        Ok(self.bytes.slice(begin..end))
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(Cursor::new(self.slice(start, None)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.slice(start, Some(length))
    }
}
