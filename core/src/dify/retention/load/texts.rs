//! The statements that read one member.

use std::sync::Arc;

use crate::dify::ddl::quoted;
use crate::dify::retention::ownership::{Member, Parent, Path};
use crate::dify::retention::parents::Find;
use crate::dify::retention::rows::{Column, Shape, Wire};
use crate::dify::retention::shapes::may_be_large;

/// Statements for one member.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) shape: Arc<Shape>,
    pub(super) parent: Parent,
    /// How its rows are found.
    pub(super) find: Find,
    /// How they are found by their own key.
    pub(super) key_find: Find,
    /// How large they are.
    pub(super) measure: String,
    /// Rows by their parents.
    pub(super) page: String,
    /// Rows by their own key.
    pub(super) by_key: String,
    /// The same, with lengths instead of values that are too large.
    pub(super) large: String,
}

impl Texts {
    pub(super) fn new(member: &Member) -> Texts {
        let shape = &member.shape;
        let second = second_key(shape);
        let find = Find::new(&member.path, second);
        let key_find = Find::new(&Path::Prefetch, second);
        let cells: Vec<String> = shape.columns.iter().map(value).collect();
        // The value after those that find the row.
        let limit = if second.is_some() { "$4" } else { "$3" };
        let guarded: Vec<String> = shape.columns.iter().map(|column| guarded(column, limit)).collect();
        Texts {
            measure: text("measure", member, &find, &measures(shape)),
            page: text("load", member, &find, &cells),
            by_key: text("load_by_key", member, &key_find, &cells),
            large: text("load_large", member, &key_find, &guarded),
            shape: Arc::clone(shape),
            parent: member.parent,
            find,
            key_find,
        }
    }

    /// All of them, by name.
    pub(super) fn named(self) -> Vec<(&'static str, String)> {
        let slices = (0..self.shape.columns.len()).filter(|column| may_be_large(&self.shape.columns[*column]));
        let slice = slices.take(1).map(|column| ("slice", slice(&self.shape, column)));
        let mut named: Vec<_> = slice.collect();
        named.extend([("measure", self.measure), ("load", self.page), ("load_by_key", self.by_key), ("load_large", self.large)]);
        named
    }
}

fn second_key(shape: &Shape) -> Option<&str> {
    shape.key.get(1).map(|column| shape.columns[*column].name.as_str())
}

fn text(what: &str, member: &Member, find: &Find, list: &[String]) -> String {
    format!(
        "-- janitor_{what}_{table}: by {column}\n\
         SELECT p.bundle, n.* FROM {relation} CROSS JOIN LATERAL (SELECT {list} FROM {table} t WHERE {condition} OFFSET 0) n",
        table = member.shape.table,
        column = member.column,
        relation = find.relation(),
        list = std::iter::once("t.xmin::text::int8 AS row_version".to_owned()).chain(list.iter().cloned()).collect::<Vec<_>>().join(", "),
        condition = find.condition(&member.column),
    )
}

/// A column as it travels.
fn value(column: &Column) -> String {
    let name = quoted(&column.name);
    if column.wire == Wire::Cast { format!("t.{name}::text") } else { format!("t.{name}") }
}

/// Length of a value. The length of a text is known without reading it; that of other types is not, so that it is estimated where
/// little is stored.
fn length(column: &Column) -> String {
    let name = quoted(&column.name);
    match column.wire {
        Wire::Bytes => format!("octet_length(t.{name})"),
        Wire::Text if column.data_type != "json" => format!("octet_length(t.{name})"),
        _ => format!("CASE WHEN pg_column_size(t.{name}) <= 2000 THEN 4 * pg_column_size(t.{name}) ELSE octet_length(t.{name}::text) END"),
    }
}

fn measures(shape: &Shape) -> Vec<String> {
    let large = shape.columns.iter().filter(|column| may_be_large(column));
    let sum: Vec<String> = large.map(|column| format!("COALESCE({}, 0)::int8", length(column))).collect();
    let sum = if sum.is_empty() { "0::int8".to_owned() } else { sum.join(" + ") };
    let second = second_key(shape).map_or("NULL::uuid".to_owned(), |name| format!("t.{}", quoted(name)));
    vec!["t.id".to_owned(), format!("{second} AS second"), format!("{sum} AS bytes")]
}

/// A column that may be large, as its value and its length: one of them is NULL. The others as they are.
fn guarded(column: &Column, limit: &str) -> String {
    let value = value(column);
    if !may_be_large(column) {
        return value;
    }
    let exact = exact_length(column);
    format!("CASE WHEN {exact} > {limit}::int8 THEN NULL ELSE {value} END, CASE WHEN {exact} > {limit}::int8 THEN {exact}::int8 END")
}

fn exact_length(column: &Column) -> String {
    let name = quoted(&column.name);
    if column.wire == Wire::Bytes { format!("octet_length(t.{name})") } else { format!("octet_length(t.{name}::text)") }
}

/// A part of a value, of the row with a key.
pub(super) fn slice(shape: &Shape, column: usize) -> String {
    let column = &shape.columns[column];
    let name = quoted(&column.name);
    let bytes = if column.wire == Wire::Bytes { format!("t.{name}") } else { format!("convert_to(t.{name}::text, 'UTF8')") };
    let second = second_key(shape).map_or(String::new(), |name| format!(" AND t.{} = $4::uuid", quoted(name)));
    format!(
        "-- janitor_slice_{table}: the primary key\n\
         SELECT substring({bytes} FROM $1::int4 FOR $2::int4) AS bytes FROM {table} t WHERE t.id = $3::uuid{second}",
        table = shape.table,
    )
}
