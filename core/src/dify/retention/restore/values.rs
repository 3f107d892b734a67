//! Binding archived values, column by column.

use sqlx::{Encode, Postgres, Type};
use uuid::Uuid;

use crate::dify::retention::rows::{Cell, Row, Shape, Wire};
use crate::dify::session::{DatabaseError, Query};
use crate::dify::time::Micros;

/// Binds one array a column. Values that come in parts are bound as NULL.
pub(super) fn bind<'q>(mut query: Query<'q>, shape: &Shape, rows: &'q [&Row]) -> Result<Query<'q>, DatabaseError> {
    for (place, column) in shape.columns.iter().enumerate() {
        let cells = rows.iter().map(|row| row.cells.get(place).unwrap_or(&Cell::Null));
        query = match column.wire {
            Wire::Bool => array(query, cells, |cell| match cell {
                Cell::Bool(value) => Some(*value),
                _ => None,
            }),
            Wire::Int32 | Wire::Int64 => array(query, cells, |cell| match cell {
                Cell::Int(value) => Some(*value),
                _ => None,
            }),
            Wire::Double => array(query, cells, |cell| match cell {
                Cell::Double(bits) => Some(f64::from_bits(*bits)),
                _ => None,
            }),
            Wire::Timestamp => array(query, cells, |cell| match cell {
                Cell::Timestamp(micros) => Some(Micros(*micros)),
                _ => None,
            }),
            Wire::Uuid => array(query, cells, |cell| match cell {
                Cell::Uuid(value) => Some(*value),
                _ => None::<Uuid>,
            }),
            Wire::Bytes => array(query, cells, |cell| match cell {
                Cell::Bytes(value) => Some(value.as_slice()),
                _ => None,
            }),
            Wire::Text | Wire::Cast => query.bind(texts(cells).map_err(|_| not_utf8(shape, &column.name))?),
        };
    }
    Ok(query)
}

fn texts<'q>(cells: impl Iterator<Item = &'q Cell>) -> Result<Vec<Option<&'q str>>, std::str::Utf8Error> {
    let text = |cell: &'q Cell| match cell {
        Cell::Bytes(value) => std::str::from_utf8(value).map(Some),
        _ => Ok(None),
    };
    cells.map(text).collect()
}

fn not_utf8(shape: &Shape, column: &str) -> DatabaseError {
    DatabaseError::Value(format!("an archived value of {}.{column} is not UTF-8", shape.table))
}

fn array<'q, T>(query: Query<'q>, cells: impl Iterator<Item = &'q Cell>, value: impl Fn(&'q Cell) -> Option<T>) -> Query<'q>
where
    Vec<Option<T>>: Encode<'q, Postgres> + Type<Postgres> + 'q,
{
    query.bind(cells.map(value).collect::<Vec<_>>())
}
