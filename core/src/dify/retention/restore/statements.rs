//! The statements that put rows of one shape back.

use std::sync::Arc;

use super::destination::{CannotRestore, Destination, Place, base};
use crate::dify::retention::rows::{Column, Shape, Wire};

/// What one table needs. All of them bind the rows' values, column by column.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) shape: Arc<Shape>,
    /// Inserts the rows that are not there, and says which these were.
    pub(super) insert: String,
    /// The rows that are there, and whether they are as archived.
    pub(super) compare: String,
    /// Deletes the rows by their keys.
    pub(super) delete: String,
    /// Archived columns that have no place.
    pub(super) left_out: Vec<usize>,
}

impl Statements {
    /// For rows of which `large` says by which SQL the bytes of a column are had that are not bound.
    pub(super) fn new(
        shape: &Arc<Shape>,
        destination: &Destination,
        large: impl Fn(usize) -> Option<String>,
    ) -> Result<Statements, CannotRestore> {
        let places = destination.places(shape)?;
        let table = quoted(&shape.table);
        let mut names = Vec::new();
        let mut values = Vec::new();
        let mut same = Vec::new();
        let mut left_out = Vec::new();
        for (position, (column, place)) in shape.columns.iter().zip(places).enumerate() {
            let Some(place) = place else {
                left_out.push(position);
                continue;
            };
            let value = value(column, place, position, large(position));
            same.push(is_same(place, column, &value));
            names.push(quoted(&place.name));
            values.push(value);
        }
        let key = |alias: &str| match shape.key.as_slice() {
            [_, second] => format!("{alias}id AS id, {alias}{} AS second", quoted(&shape.columns[*second].name)),
            _ => format!("{alias}id AS id, NULL::uuid AS second"),
        };
        let is_row: Vec<String> = shape.key.iter().map(|place| format!("t.{} = p.c{place}", quoted(&shape.columns[*place].name))).collect();
        let (rows, is_row) = (relation(shape), is_row.join(" AND "));
        Ok(Statements {
            shape: Arc::clone(shape),
            insert: format!(
                "-- restore_insert\nINSERT INTO {table} ({}) SELECT {} FROM {rows} ON CONFLICT DO NOTHING RETURNING {}",
                names.join(", "),
                values.join(", "),
                key("")
            ),
            compare: format!(
                "-- restore_compare\nSELECT {}, {} AS same FROM {rows} JOIN {table} t ON {is_row}",
                key("t."),
                same.join(" AND ")
            ),
            delete: format!("-- restore_delete\nDELETE FROM {table} t USING {rows} WHERE {is_row}"),
            left_out,
        })
    }
}

/// The bound rows as a table `p` with the columns `c0`, `c1` …
fn relation(shape: &Shape) -> String {
    let arrays: Vec<String> =
        shape.columns.iter().enumerate().map(|(place, column)| format!("${}::{}[]", place + 1, bound(column.wire))).collect();
    let names: Vec<String> = (0..shape.columns.len()).map(|place| format!("c{place}")).collect();
    format!("unnest({}) AS p({})", arrays.join(", "), names.join(", "))
}

/// The type in which a value is bound.
fn bound(wire: Wire) -> &'static str {
    match wire {
        Wire::Bool => "bool",
        Wire::Int32 | Wire::Int64 => "int8",
        Wire::Double => "float8",
        Wire::Timestamp => "timestamp",
        Wire::Uuid => "uuid",
        Wire::Text | Wire::Cast => "text",
        Wire::Bytes => "bytea",
    }
}

/// The archived value in the type of its place. Into a shorter text it is assigned, which fails, and not cast, which cuts.
fn value(column: &Column, place: &Place, position: usize, large: Option<String>) -> String {
    let value = match large {
        None => format!("p.c{position}"),
        Some(bytes) if column.wire == Wire::Bytes => bytes,
        Some(bytes) => format!("convert_from({bytes}, 'UTF8')"),
    };
    let is_text = matches!(base(&place.data_type).as_str(), "text" | "character varying");
    match column.wire {
        Wire::Text if is_text => value,
        Wire::Text | Wire::Cast if !is_text => format!("{value}::{}", place.data_type),
        _ if column.data_type == place.data_type && !matches!(column.wire, Wire::Int32) => value,
        _ if is_text => format!("{value}::text"),
        _ => format!("{value}::{}", place.data_type),
    }
}

/// Whether the row has that value. A number may have gained decimals; everything else is compared as text, in which NaN is NaN and
/// JSON has its spaces.
fn is_same(place: &Place, column: &Column, value: &str) -> String {
    let name = quoted(&place.name);
    match column.wire {
        Wire::Bytes => format!("t.{name} IS NOT DISTINCT FROM {value}"),
        _ if base(&place.data_type) == "numeric" => format!("t.{name} IS NOT DISTINCT FROM {value}::numeric"),
        _ => format!("t.{name}::text IS NOT DISTINCT FROM {value}::text"),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
