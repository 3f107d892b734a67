//! Rows of any Dify table as data: read, archived, compared and put back without knowing what the columns mean.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How a column's values travel and are archived. Every type that is not listed is read and written as PostgreSQL's own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// boolean
    Bool,
    /// smallint, integer
    Int32,
    /// bigint
    Int64,
    /// double precision (real is read as text)
    Double,
    /// timestamp without time zone, microseconds since 1970; `infinity` is the largest, `-infinity` the smallest value
    Timestamp,
    /// uuid
    Uuid,
    /// text, character varying, json: bytes of UTF-8
    Text,
    /// bytea
    Bytes,
    /// anything else, by `::text` and back: numeric, jsonb, timestamptz, date, arrays, enumerations …
    Cast,
}

/// One column as this database has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as `format_type` writes it, such as `character varying(255)`.
    pub data_type: String,
    /// How its values travel.
    pub wire: Wire,
}

/// One table as this database has it: the columns that are stored (generated ones are left out) in physical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Table name.
    pub table: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Positions in `columns` of the primary key: `id`, or `id` and one more uuid.
    pub key: Vec<usize>,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// NULL
    Null,
    /// [`Wire::Bool`]
    Bool(bool),
    /// [`Wire::Int32`] and [`Wire::Int64`]
    Int(i64),
    /// [`Wire::Double`], by its bits: NaN is equal to itself here
    Double(u64),
    /// [`Wire::Timestamp`]
    Timestamp(i64),
    /// [`Wire::Uuid`]
    Uuid(Uuid),
    /// [`Wire::Text`], [`Wire::Bytes`] and [`Wire::Cast`]
    Bytes(Vec<u8>),
    /// A value of [`Wire::Text`], [`Wire::Bytes`] or [`Wire::Cast`] that is too large to hold: its length in bytes. Its bytes come as
    /// [`Piece::Slice`]s.
    Large(u64),
}

/// Primary key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// `id`
    pub id: Uuid,
    /// The second column of the key, where the table has one (`workflow_conversation_variables.conversation_id`).
    pub second: Option<Uuid>,
}

/// One row in one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Position of its bundle among those that were asked for.
    pub bundle: u32,
    /// Primary key.
    pub key: Key,
    /// `xmin` of the row version: another one means that the row was changed.
    pub xmin: u32,
    /// One value a column of the shape.
    pub cells: Vec<Cell>,
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The table.
    pub shape: Arc<Shape>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// What reading bundles yields, table by table in the order in which rows are put back (parents first); bounded in bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Some rows of a table.
    Rows(Rows),
    /// A part of a [`Cell::Large`] of a row that came before. Parts of a value come in order, one value after the other.
    Slice {
        /// The table.
        shape: Arc<Shape>,
        /// The row.
        key: Key,
        /// Position of the column.
        column: usize,
        /// 0, 1, 2 …
        sequence: u32,
        /// The bytes of this part.
        bytes: Vec<u8>,
    },
}
