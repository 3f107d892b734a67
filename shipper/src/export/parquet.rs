//! Parquet, a row group at a time.

use std::io::Write;
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::{Type, TypePtr};

use super::Sheet;
use super::columns::{Cell, Column, Holds};

/// A row group is written when its values take this many bytes, or when it has so many rows.
const MOST_BYTES: usize = 8 << 20;
const MOST_ROWS: usize = 20_000;

pub(super) struct Parquet {
    writer: SerializedFileWriter<Box<dyn Write + Send>>,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Parquet {
    pub(super) fn new(out: Box<dyn Write + Send>, columns: &[Column]) -> anyhow::Result<Self> {
        let properties = WriterProperties::builder()
            .set_created_by(concat!("dify-shipper ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .build();
        let writer = SerializedFileWriter::new(out, message(columns)?, Arc::new(properties))?;
        Ok(Parquet { writer, columns: columns.to_vec(), rows: Vec::new(), bytes: 0 })
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for (at, column) in self.columns.iter().enumerate() {
            let writer = group.next_column()?.ok_or_else(|| ParquetError::General("more columns than fields".to_owned()))?;
            write_column(writer, column.holds, self.rows.iter().map(|row| &row[at]))?;
        }
        group.close()?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}

impl Sheet for Parquet {
    fn row(&mut self, cells: Vec<Cell>) -> anyhow::Result<()> {
        let size = |cell: &Cell| std::mem::size_of::<Cell>() + if let Cell::Text(text) = cell { text.len() } else { 0 };
        self.bytes += cells.iter().map(size).sum::<usize>();
        self.rows.push(cells);
        if self.bytes >= MOST_BYTES || self.rows.len() >= MOST_ROWS { self.flush() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        self.flush()?;
        let mut out = self.writer.into_inner()?;
        out.flush()?;
        Ok(())
    }
}

fn message(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields: Result<Vec<TypePtr>, ParquetError> = columns.iter().map(|column| field(column).map(Arc::new)).collect();
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(fields?).build()?))
}

fn field(column: &Column) -> Result<Type, ParquetError> {
    let (physical, logical) = match column.holds {
        Holds::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Holds::Long => (Physical::INT64, None),
        Holds::Double => (Physical::DOUBLE, None),
        Holds::Bool => (Physical::BOOLEAN, None),
        // Without a zone, as the archive has them: they are UTC, and no tool shows them in the zone of whoever reads.
        Holds::Time => (Physical::INT64, Some(LogicalType::timestamp(false, TimeUnit::MICROS))),
    };
    Type::primitive_type_builder(&column.name, physical).with_logical_type(logical).with_repetition(Repetition::OPTIONAL).build()
}

fn write_column<'a>(
    mut writer: SerializedColumnWriter<'_>,
    holds: Holds,
    cells: impl Iterator<Item = &'a Cell>,
) -> Result<(), ParquetError> {
    let cells: Vec<&Cell> = cells.collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(**cell != Cell::None)).collect();
    let levels = Some(levels.as_slice());
    let longs = || {
        cells.iter().filter_map(|cell| match cell {
            Cell::Long(number) => Some(*number),
            Cell::Time(time) => Some(time.0),
            _ => None,
        })
    };
    match holds {
        Holds::Text => {
            let text = |cell: &&Cell| if let Cell::Text(text) = cell { Some(ByteArray::from(text.as_str())) } else { None };
            let values: Vec<ByteArray> = cells.iter().filter_map(text).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, levels, None)?
        }
        Holds::Long | Holds::Time => writer.typed::<Int64Type>().write_batch(&longs().collect::<Vec<i64>>(), levels, None)?,
        Holds::Double => {
            let values: Vec<f64> =
                cells.iter().filter_map(|cell| if let Cell::Double(number) = cell { Some(*number) } else { None }).collect();
            writer.typed::<DoubleType>().write_batch(&values, levels, None)?
        }
        Holds::Bool => {
            let values: Vec<bool> =
                cells.iter().filter_map(|cell| if let Cell::Bool(value) = cell { Some(*value) } else { None }).collect();
            writer.typed::<BoolType>().write_batch(&values, levels, None)?
        }
    };
    writer.close()
}
