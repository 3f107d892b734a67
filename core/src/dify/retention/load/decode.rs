//! Rows of the wire as data.

use sqlx::postgres::{PgRow, PgValueFormat, PgValueRef};
use sqlx::{Row as _, ValueRef as _};
use uuid::Uuid;

use super::plan::Measured;
use crate::dify::retention::rows::{Cell, Key, Row, Shape, Wire};
use crate::dify::retention::shapes::may_be_large;
use crate::dify::session::DatabaseError;
use crate::dify::time::Micros;

/// Columns before those of the table: the bundle and the row's version.
const BEFORE: usize = 2;

/// A row of a measuring statement.
pub(super) fn measured(row: &PgRow) -> Result<Measured, DatabaseError> {
    let key = Key { id: row.try_get("id")?, second: row.try_get("second")? };
    Ok(Measured { bundle: bundle(row)?, key, bytes: row.try_get::<i64, _>("bytes")?.unsigned_abs() })
}

/// A row with all of its values.
pub(super) fn row(row: &PgRow, shape: &Shape) -> Result<Row, DatabaseError> {
    let cells = shape.columns.iter().enumerate().map(|(place, column)| cell(&row.try_get_raw(BEFORE + place)?, column.wire));
    finish(row, shape, cells.collect::<Result<_, _>>()?)
}

/// A row in which each value that may be large is followed by its length, where it is too large.
pub(super) fn large_row(row: &PgRow, shape: &Shape) -> Result<Row, DatabaseError> {
    let mut place = BEFORE;
    let mut cells = Vec::with_capacity(shape.columns.len());
    for column in &shape.columns {
        let mut cell = cell(&row.try_get_raw(place)?, column.wire)?;
        place += 1;
        if may_be_large(column) {
            if let Some(length) = row.try_get::<Option<i64>, _>(place)? {
                cell = Cell::Large(length.unsigned_abs());
            }
            place += 1;
        }
        cells.push(cell);
    }
    finish(row, shape, cells)
}

/// The bytes of a slice.
pub(super) fn bytes(row: &PgRow) -> Result<Vec<u8>, DatabaseError> {
    Ok(row.try_get::<Option<Vec<u8>>, _>("bytes")?.unwrap_or_default())
}

fn bundle(row: &PgRow) -> Result<u32, DatabaseError> {
    Ok(row.try_get::<i32, _>("bundle")?.unsigned_abs())
}

fn finish(row: &PgRow, shape: &Shape, cells: Vec<Cell>) -> Result<Row, DatabaseError> {
    let part = |place: Option<&usize>| place.and_then(|place| if let Cell::Uuid(id) = &cells[*place] { Some(*id) } else { None });
    let id = part(shape.key.first()).ok_or_else(|| DatabaseError::Value(format!("the key of a row of {}", shape.table)))?;
    let key = Key { id, second: part(shape.key.get(1)) };
    let xmin: i64 = row.try_get("row_version")?;
    Ok(Row { bundle: bundle(row)?, key, xmin: u32::try_from(xmin).unwrap_or(u32::MAX), cells })
}

fn cell(value: &PgValueRef<'_>, wire: Wire) -> Result<Cell, DatabaseError> {
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let bytes = match value.format() {
        PgValueFormat::Binary => value.as_bytes().map_err(|error| unreadable(wire, &error.to_string()))?,
        PgValueFormat::Text => return Err(unreadable(wire, "it came as text")),
    };
    decoded(bytes, wire).ok_or_else(|| unreadable(wire, &format!("it has {} bytes", bytes.len())))
}

fn unreadable(wire: Wire, why: &str) -> DatabaseError {
    DatabaseError::Value(format!("{wire:?}: {why}"))
}

fn decoded(bytes: &[u8], wire: Wire) -> Option<Cell> {
    Some(match wire {
        Wire::Bool => Cell::Bool(*bytes.first()? != 0),
        Wire::Int32 | Wire::Int64 => Cell::Int(integer(bytes)?),
        Wire::Double => Cell::Double(u64::from_be_bytes(bytes.try_into().ok()?)),
        Wire::Timestamp => Cell::Timestamp(Micros::from_postgres(i64::from_be_bytes(bytes.try_into().ok()?)).0),
        Wire::Uuid => Cell::Uuid(Uuid::from_slice(bytes).ok()?),
        Wire::Text | Wire::Bytes | Wire::Cast => Cell::Bytes(bytes.to_vec()),
    })
}

fn integer(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        2 => Some(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        4 => Some(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        8 => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_bytes() {
        assert_eq!(decoded(&[1], Wire::Bool), Some(Cell::Bool(true)));
        assert_eq!(decoded(&(-7i16).to_be_bytes(), Wire::Int32), Some(Cell::Int(-7)));
        assert_eq!(decoded(&f64::NAN.to_be_bytes(), Wire::Double), Some(Cell::Double(f64::NAN.to_bits())));
        assert_eq!(decoded(&i64::MAX.to_be_bytes(), Wire::Timestamp), Some(Cell::Timestamp(i64::MAX)));
        assert_eq!(decoded(&0i64.to_be_bytes(), Wire::Timestamp), Some(Cell::Timestamp(946_684_800_000_000)));
        assert_eq!(decoded(&[0; 3], Wire::Int64), None);
    }
}
