//! The shape of a table as this database has it: which columns are stored, how each travels, and what the key is.

use std::sync::Arc;

use super::ownership::UnknownShape;
use super::rows::{Column, Shape, Wire};
use crate::dify::schema::{Schema, Table};

/// The shape of a table, with every column that is stored. Refuses what cannot be read, archived and put back as a whole.
pub(super) fn shape(schema: &Schema, name: &str) -> Result<Arc<Shape>, UnknownShape> {
    let Some(table) = schema.table(name) else { return Err(UnknownShape::MissingTable { table: name.to_owned() }) };
    if table.partitioned {
        return Err(UnknownShape::Partitioned { table: name.to_owned() });
    }
    let mut stored: Vec<_> = table.columns.iter().filter(|(_, column)| !column.generated).collect();
    stored.sort_by_key(|(_, column)| column.position);
    if let Some((column, _)) = stored.iter().find(|(_, column)| !column.readable) {
        return Err(UnknownShape::NotReadable { table: name.to_owned(), column: (*column).clone() });
    }
    let columns: Vec<Column> = stored
        .into_iter()
        .map(|(name, column)| Column { name: name.clone(), data_type: column.data_type.clone(), wire: wire(&column.data_type) })
        .collect();
    let key = key(name, table, &columns)?;
    Ok(Arc::new(Shape { table: name.to_owned(), columns, key }))
}

/// `id`, or `id` and one more uuid: all that Dify has. Another key means a table that only looks like the one we know.
fn key(name: &str, table: &Table, columns: &[Column]) -> Result<Vec<usize>, UnknownShape> {
    let other = || UnknownShape::Key { table: name.to_owned(), found: table.primary_key.join(", ") };
    let is_known = matches!(table.primary_key.as_slice(), [id] | [id, _] if id == "id");
    if !is_known {
        return Err(other());
    }
    let position = |wanted: &String| columns.iter().position(|column| column.name == *wanted && column.wire == Wire::Uuid);
    table.primary_key.iter().map(|column| position(column).ok_or_else(other)).collect()
}

/// How values of a type travel. What is not listed travels as PostgreSQL's own text.
fn wire(data_type: &str) -> Wire {
    match data_type {
        "boolean" => Wire::Bool,
        "smallint" | "integer" => Wire::Int32,
        "bigint" => Wire::Int64,
        "double precision" => Wire::Double,
        "timestamp without time zone" => Wire::Timestamp,
        "uuid" => Wire::Uuid,
        "bytea" => Wire::Bytes,
        "text" | "json" => Wire::Text,
        other if other.starts_with("character varying") && !other.ends_with("[]") => Wire::Text,
        _ => Wire::Cast,
    }
}

/// Whether values of a column may be large enough to be worth measuring before they are read.
pub(super) fn may_be_large(column: &Column) -> bool {
    match column.wire {
        Wire::Bytes => true,
        Wire::Text => !column.data_type.starts_with("character varying("),
        Wire::Cast => !BOUNDED.iter().any(|bounded| column.data_type.starts_with(bounded)) || column.data_type.ends_with("[]"),
        Wire::Bool | Wire::Int32 | Wire::Int64 | Wire::Double | Wire::Timestamp | Wire::Uuid => false,
    }
}

/// Types that travel as text and are short whatever is in them.
const BOUNDED: [&str; 9] = ["numeric", "real", "timestamp", "date", "time", "interval", "inet", "cidr", "\"char\""];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_travels_as_text() {
        assert_eq!(wire("character varying(255)"), Wire::Text);
        assert_eq!(wire("character varying(255)[]"), Wire::Cast);
        assert_eq!(wire("timestamp(0) without time zone"), Wire::Cast);
        assert_eq!(wire("jsonb"), Wire::Cast);
    }

    #[test]
    fn only_what_can_be_large_is_measured() {
        let large = |data_type: &str| may_be_large(&Column { name: "c".into(), data_type: data_type.into(), wire: wire(data_type) });
        assert!(large("text") && large("json") && large("jsonb") && large("text[]") && large("character varying"));
        assert!(!large("character varying(2048)") && !large("numeric(10,7)") && !large("uuid") && !large("interval"));
    }
}
