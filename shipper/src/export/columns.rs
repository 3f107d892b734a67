//! Which columns a file has, and what a document has in them.

use std::sync::Arc;

use dify_observe_core::dify::time::Micros;
use serde_json::Value;

use crate::catalogue::{self, FieldType};
use crate::document::Kind;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Text,
    Long,
    Double,
    Bool,
    Time,
}

/// One column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Its head: the path of a field.
    pub(super) name: String,
    pub(super) holds: Holds,
}

impl Column {
    pub(super) fn new(name: &str, holds: Holds) -> Self {
        Column { name: name.to_owned(), holds }
    }
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    None,
    Text(String),
    Long(i64),
    Double(f64),
    Bool(bool),
    Time(Micros),
}

/// The id, then every field that documents of the kind may have, in the order of the catalogue; a column for each label.
pub(super) fn of_documents(kind: Kind, labels: &[Arc<str>]) -> Vec<Column> {
    let mut columns = vec![Column::new("_id", Holds::Text)];
    for field in catalogue::of_kind(kind) {
        let holds = match field.field_type {
            FieldType::Labels => {
                columns.extend(labels.iter().map(|label| Column::new(&format!("{}.{label}", field.path), Holds::Text)));
                continue;
            }
            // A list of numbers is no number.
            _ if field.path == "dify.retrieval.scores" => Holds::Text,
            FieldType::Keyword | FieldType::Text | FieldType::TextKeyword => Holds::Text,
            FieldType::Long => Holds::Long,
            FieldType::Double => Holds::Double,
            FieldType::Date => Holds::Time,
            FieldType::Boolean => Holds::Bool,
        };
        columns.push(Column::new(field.path, holds));
    }
    columns
}

/// A document's row.
pub(super) fn cells(columns: &[Column], id: &str, source: &[u8]) -> anyhow::Result<Vec<Cell>> {
    let document: Value = serde_json::from_slice(source)?;
    let cell = |column: &Column| match column.name.as_str() {
        "_id" => Cell::Text(id.to_owned()),
        path => path.split('.').try_fold(&document, |value, part| value.get(part)).map_or(Cell::None, |value| cell(value, column.holds)),
    };
    Ok(columns.iter().map(cell).collect())
}

fn cell(value: &Value, holds: Holds) -> Cell {
    match (holds, value) {
        (_, Value::Null) => Cell::None,
        (Holds::Text, value) => Cell::Text(text(value)),
        (Holds::Long, value) => value.as_i64().map_or(Cell::None, Cell::Long),
        (Holds::Double, value) => value.as_f64().map_or(Cell::None, Cell::Double),
        (Holds::Bool, value) => value.as_bool().map_or(Cell::None, Cell::Bool),
        (Holds::Time, value) => value.as_str().and_then(time).map_or(Cell::None, Cell::Time),
    }
}

/// Lists become one text.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

fn time(text: &str) -> Option<Micros> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| Micros(time.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_fills_its_columns() {
        let columns = [
            Column::new("_id", Holds::Text),
            Column::new("@timestamp", Holds::Time),
            Column::new("dify.app.tags", Holds::Text),
            Column::new("dify.n", Holds::Long),
            Column::new("dify.absent", Holds::Double),
        ];
        let source = br#"{"@timestamp":"2026-01-31T08:00:00.5Z","dify":{"app":{"tags":["a","b"]},"n":7}}"#;
        let row = cells(&columns, "x", source).unwrap();
        let expected = [
            Cell::Text("x".to_owned()),
            Cell::Time(Micros(1_769_846_400_500_000)),
            Cell::Text("a; b".to_owned()),
            Cell::Long(7),
            Cell::None,
        ];
        assert_eq!(row, expected);
    }

    #[test]
    fn every_kind_has_columns_and_labels_have_their_own() {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Log) {
            let columns = of_documents(kind, &["team".into()]);
            assert!(columns.len() > 10, "{kind:?}");
            assert!(columns.iter().any(|column| column.name == "labels.team"), "{kind:?}");
        }
    }
}
