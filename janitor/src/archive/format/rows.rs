//! The rows of a Dify table, with what the archive notes beside each: its bundle, its version, and which values are stored in pieces.

use std::collections::BTreeMap;
use std::sync::Arc;

use dify_observe_core::dify::retention::{Cell, Key, Row, Shape, Wire};
use parquet::data_type::ByteArray;
use uuid::Uuid;

use super::columns::{Cursor, Value, Values};
use super::schema::{Field, Kind, fields_of};
use super::{Column, Content, FormatError, Hasher, Members, Selected, Table};

/// The columns that the archive adds, after the table's own.
const BUNDLE: &str = "_bundle_id";
const ROOT: &str = "_root";
const XMIN: &str = "_xmin";
/// `{"column": bytes}` of the values that are in the side table.
const LARGE: &str = "_large";

/// What a row occupies in memory, roughly.
pub(crate) fn approximate_size(row: &Row) -> usize {
    let bytes = |cell: &Cell| if let Cell::Bytes(bytes) = cell { bytes.len() } else { 0 };
    size_of::<Row>() + row.cells.iter().map(|cell| size_of::<Cell>() + bytes(cell)).sum::<usize>()
}

/// Translates the rows of one table of one batch.
#[derive(Clone, Debug)]
pub(crate) struct RowTable {
    shape: Arc<Shape>,
    members: Arc<Members>,
}

impl Table for RowTable {
    type Record = Row;

    fn fields(&self) -> Vec<Field> {
        let mut fields = fields_of(&self.shape);
        fields.push(Field::new(BUNDLE, Kind::Text));
        fields.push(Field::new(ROOT, Kind::Text));
        fields.push(Field::new(XMIN, Kind::Int64));
        fields.push(Field::new(LARGE, Kind::Text).content());
        fields
    }

    fn columns(&self, mut rows: Vec<Row>) -> Result<(Vec<Column>, Content), FormatError> {
        let content = self.content(&rows)?;
        let large = rows.iter().map(|row| self.large(row)).collect::<Result<Vec<_>, _>>()?;
        let shape = self.shape.clone();
        let own = shape.columns.iter().enumerate().map(|(position, column)| {
            let cells = rows.iter_mut().map(|row| std::mem::replace(&mut row.cells[position], Cell::Null));
            to_column(column.wire, cells).map_err(|error| FormatError::content(format!("{}.{}: {error}", shape.table, column.name)))
        });
        let mut columns = own.collect::<Result<Vec<_>, _>>()?;
        let bundles = rows.iter().map(|row| Ok(Some(uuid_text(self.members.id(row.bundle)?))));
        columns.push(Column::bytes(bundles.collect::<Result<Vec<_>, FormatError>>()?.into_iter()));
        columns.push(Column::bytes(rows.iter().map(|_| Some(ByteArray::from(self.members.root())))));
        columns.push(Column::int64(rows.iter().map(|row| i64::from(row.xmin)).collect()));
        columns.push(Column::bytes(large.into_iter()));
        Ok((columns, content))
    }
}

impl RowTable {
    pub(crate) fn new(shape: Arc<Shape>, members: Arc<Members>) -> RowTable {
        RowTable { shape, members }
    }

    /// What is noted of these rows, which must fit the shape.
    pub(crate) fn content(&self, rows: &[Row]) -> Result<Content, FormatError> {
        let mut hasher = Hasher::default();
        for row in rows {
            if row.cells.len() != self.shape.columns.len() {
                let (got, expected) = (row.cells.len(), self.shape.columns.len());
                return Err(FormatError::content(format!("a row of {} with {got} instead of {expected} values", self.shape.table)));
            }
            hasher.row(self.members.id(row.bundle)?, row);
        }
        let bundles = || rows.iter().map(|row| row.bundle);
        Ok(Content {
            rows: u32::try_from(rows.len()).map_err(|_| FormatError::content("too many rows at once"))?,
            first: bundles().min().unwrap_or_default(),
            last: bundles().max().unwrap_or_default(),
            digest: hasher.finish(),
        })
    }

    fn large(&self, row: &Row) -> Result<Option<ByteArray>, FormatError> {
        let lengths: BTreeMap<&str, u64> = std::iter::zip(&self.shape.columns, &row.cells)
            .filter_map(|(column, cell)| if let Cell::Large(length) = cell { Some((column.name.as_str(), *length)) } else { None })
            .collect();
        if lengths.is_empty() {
            return Ok(None);
        }
        let text = serde_json::to_vec(&lengths).map_err(|error| FormatError::content(error.to_string()))?;
        Ok(Some(ByteArray::from(text)))
    }

    /// The rows again.
    pub(crate) fn rows(&self, columns: Vec<Column>) -> Result<Vec<Row>, FormatError> {
        let count = columns.first().map_or(0, |column| column.levels.len());
        let mut cursors: Vec<Cursor> = columns.into_iter().map(Column::into_cursor).collect();
        if cursors.len() != self.shape.columns.len() + 4 {
            return Err(FormatError::content(format!("{} columns of {} where its shape has others", cursors.len(), self.shape.table)));
        }
        (0..count).map(|_| self.row(&mut cursors)).collect()
    }

    fn row(&self, cursors: &mut [Cursor]) -> Result<Row, FormatError> {
        let (own, added) = cursors.split_at_mut(self.shape.columns.len());
        let mut cells = std::iter::zip(&self.shape.columns, own)
            .map(|(column, cursor)| to_cell(column.wire, cursor.next()))
            .collect::<Result<Vec<_>, _>>()?;
        let [bundle, root, xmin, large] = added else { return Err(FormatError::content("a row without the archive's own columns")) };
        root.next();
        let bundle = self.members.position(to_uuid(bundle.next())?)?;
        let xmin = to_xmin(xmin.next().as_ref())?;
        if let Some(large) = large.next() {
            self.mark_large(&mut cells, &large)?;
        }
        let key = self.key(&cells)?;
        Ok(Row { bundle, key, xmin, cells })
    }

    fn mark_large(&self, cells: &mut [Cell], lengths: &Value) -> Result<(), FormatError> {
        let unreadable = || FormatError::content(format!("a value of {LARGE} that cannot be read"));
        let Value::Bytes(text) = lengths else { return Err(unreadable()) };
        let lengths: BTreeMap<String, u64> = serde_json::from_slice(text.data()).map_err(|_| unreadable())?;
        for (name, length) in lengths {
            let position = self.shape.columns.iter().position(|column| column.name == name).ok_or_else(unreadable)?;
            cells[position] = Cell::Large(length);
        }
        Ok(())
    }

    fn key(&self, cells: &[Cell]) -> Result<Key, FormatError> {
        let part = |position: usize| match cells.get(position) {
            Some(Cell::Uuid(id)) => Ok(*id),
            _ => Err(FormatError::content(format!("a row of {} without its key", self.shape.table))),
        };
        match self.shape.key.as_slice() {
            [id] => Ok(Key { id: part(*id)?, second: None }),
            [id, second] => Ok(Key { id: part(*id)?, second: Some(part(*second)?) }),
            _ => Err(FormatError::content(format!("{} has a key that the archive does not know", self.shape.table))),
        }
    }

    /// The columns that [`RowTable::versions`] needs.
    pub(crate) fn version_columns(&self) -> Selected {
        let added = self.shape.columns.len();
        Selected::Some(self.shape.key.iter().copied().chain([added, added + 2]).collect())
    }

    /// Bundle, key and version of each row.
    pub(crate) fn versions(&self, columns: Vec<Column>) -> Result<Vec<(u32, Key, u32)>, FormatError> {
        let count = columns.first().map_or(0, |column| column.levels.len());
        let mut cursors: Vec<Cursor> = columns.into_iter().map(Column::into_cursor).collect();
        let version = |_| {
            let (keys, added) = cursors.split_at_mut(self.shape.key.len());
            let mut key = keys.iter_mut().map(|cursor| to_uuid(cursor.next()));
            let id = key.next().unwrap_or_else(|| to_uuid(None))?;
            let second = key.next().transpose()?;
            let [bundle, xmin] = added else { return Err(FormatError::content("a row without the archive's own columns")) };
            Ok((self.members.position(to_uuid(bundle.next())?)?, Key { id, second }, to_xmin(xmin.next().as_ref())?))
        };
        (0..count).map(version).collect()
    }
}

/// A UUID as the text that PostgreSQL would write.
pub(crate) fn uuid_text(id: Uuid) -> ByteArray {
    let mut text = vec![0; uuid::fmt::Hyphenated::LENGTH];
    id.as_hyphenated().encode_lower(&mut text);
    ByteArray::from(text)
}

/// A UUID from its text.
pub(crate) fn to_uuid(value: Option<Value>) -> Result<Uuid, FormatError> {
    let wrong = || FormatError::content("a value where an id should be");
    let Some(Value::Bytes(text)) = value else { return Err(wrong()) };
    Uuid::try_parse_ascii(text.data()).map_err(|_| wrong())
}

fn to_xmin(value: Option<&Value>) -> Result<u32, FormatError> {
    let wrong = || FormatError::content(format!("a value of {XMIN} that cannot be"));
    let Some(Value::Int64(xmin)) = value else { return Err(wrong()) };
    u32::try_from(*xmin).map_err(|_| wrong())
}

fn to_column(wire: Wire, cells: impl ExactSizeIterator<Item = Cell>) -> Result<Column, FormatError> {
    match wire {
        Wire::Bool => fill(cells, Values::Bool, |cell| if let Cell::Bool(value) = cell { Some(value) } else { None }),
        Wire::Int32 => fill(cells, Values::Int32, |cell| if let Cell::Int(value) = cell { i32::try_from(value).ok() } else { None }),
        Wire::Int64 => fill(cells, Values::Int64, |cell| if let Cell::Int(value) = cell { Some(value) } else { None }),
        Wire::Double => fill(cells, Values::Double, |cell| if let Cell::Double(bits) = cell { Some(f64::from_bits(bits)) } else { None }),
        Wire::Timestamp => fill(cells, Values::Int64, |cell| if let Cell::Timestamp(micros) = cell { Some(micros) } else { None }),
        Wire::Uuid => fill(cells, Values::Bytes, |cell| if let Cell::Uuid(id) = cell { Some(uuid_text(id)) } else { None }),
        Wire::Text | Wire::Bytes | Wire::Cast => {
            fill(cells, Values::Bytes, |cell| if let Cell::Bytes(bytes) = cell { Some(ByteArray::from(bytes)) } else { None })
        }
    }
}

/// `NULL` where the cell is empty or its bytes come in slices.
fn fill<T>(
    cells: impl ExactSizeIterator<Item = Cell>,
    make: fn(Vec<T>) -> Values,
    value: fn(Cell) -> Option<T>,
) -> Result<Column, FormatError> {
    let mut levels = Vec::with_capacity(cells.len());
    let mut values = Vec::with_capacity(cells.len());
    for cell in cells {
        let present = !matches!(cell, Cell::Null | Cell::Large(_));
        levels.push(i16::from(present));
        if present {
            values.push(value(cell).ok_or_else(|| FormatError::content("a value of another type than its column"))?);
        }
    }
    Ok(Column { levels, values: make(values) })
}

fn to_cell(wire: Wire, value: Option<Value>) -> Result<Cell, FormatError> {
    let Some(value) = value else { return Ok(Cell::Null) };
    match (wire, value) {
        (Wire::Bool, Value::Bool(value)) => Ok(Cell::Bool(value)),
        (Wire::Int32, Value::Int32(value)) => Ok(Cell::Int(i64::from(value))),
        (Wire::Int64, Value::Int64(value)) => Ok(Cell::Int(value)),
        (Wire::Double, Value::Double(value)) => Ok(Cell::Double(value.to_bits())),
        (Wire::Timestamp, Value::Int64(micros)) => Ok(Cell::Timestamp(micros)),
        (Wire::Uuid, value) => to_uuid(Some(value)).map(Cell::Uuid),
        (Wire::Text | Wire::Bytes | Wire::Cast, Value::Bytes(bytes)) => Ok(Cell::Bytes(bytes.data().to_vec())),
        _ => Err(FormatError::content("a value of another type than its column")),
    }
}
