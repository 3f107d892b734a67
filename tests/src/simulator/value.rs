//! What a write to Dify's database is made of: values, rows, statements and transactions.

use std::sync::Arc;

use chrono::DateTime;
use rust_decimal::Decimal;
use uuid::Uuid;

/// Microseconds since the Unix epoch, UTC.
pub type Micros = i64;

/// Microseconds of one millisecond.
pub const MILLISECOND: Micros = 1_000;
/// Microseconds of one second.
pub const SECOND: Micros = 1_000_000;
/// Microseconds of one minute.
pub const MINUTE: Micros = 60 * SECOND;
/// Microseconds of one hour.
pub const HOUR: Micros = 60 * MINUTE;
/// Microseconds of one day.
pub const DAY: Micros = 24 * HOUR;

/// A point in time as a column value; a plain `i64` is an integer column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At(pub Micros);

/// The value of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A boolean column.
    Bool(bool),
    /// Any integer column.
    Int(i64),
    /// A double precision column.
    Float(f64),
    /// A numeric column.
    Decimal(Decimal),
    /// A text, varchar or json column.
    Text(Arc<str>),
    /// A uuid column.
    Uuid(Uuid),
    /// A `timestamp without time zone` column, in UTC.
    Time(Micros),
}

impl Value {
    /// The value as PostgreSQL reads it from text; `None` is NULL.
    pub fn to_sql(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => (if *value { "t" } else { "f" }).to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Decimal(value) => value.to_string(),
            Self::Text(value) => value.as_ref().to_owned(),
            Self::Uuid(value) => value.to_string(),
            Self::Time(value) => naive(*value),
        })
    }

    /// The text of a text value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The id of a uuid value.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Self::Uuid(value) => Some(*value),
            _ => None,
        }
    }

    /// The number of an integer value.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number of a float or an integer value.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// The number of a numeric value.
    pub fn as_decimal(&self) -> Option<Decimal> {
        match self {
            Self::Decimal(value) => Some(*value),
            Self::Int(value) => Some(Decimal::from(*value)),
            _ => None,
        }
    }

    /// The moment of a timestamp value.
    pub fn as_time(&self) -> Option<Micros> {
        match self {
            Self::Time(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// `2026-11-20 08:25:55.061004`, the way a naive timestamp is written and Python prints a publish time.
pub fn naive(at: Micros) -> String {
    DateTime::from_timestamp_micros(at)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
        .unwrap_or_else(|| "1970-01-01 00:00:00".to_owned())
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<Decimal> for Value {
    fn from(value: Decimal) -> Self {
        Self::Decimal(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(value: Arc<str>) -> Self {
        Self::Text(value)
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Uuid(value)
    }
}

impl From<At> for Value {
    fn from(value: At) -> Self {
        Self::Time(value.0)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Columns and their values. Names that the target database does not have are left out when the row is written.
pub type Row = Vec<(&'static str, Value)>;

/// Builds a [`Row`]: `row! { "id" => id, "status" => "running" }`.
macro_rules! row {
    ($($column:literal => $value:expr),* $(,)?) => {
        vec![$(($column, $crate::simulator::value::Value::from($value))),*]
    };
}
pub(crate) use row;

/// The value of a column of a row.
pub fn get<'a>(row: &'a Row, column: &str) -> Option<&'a Value> {
    row.iter().find(|(name, _)| *name == column).map(|(_, value)| value)
}

/// The id column of a row; every table that the simulator writes has one.
pub fn id_of(row: &Row) -> Uuid {
    get(row, "id").and_then(Value::as_uuid).unwrap_or_default()
}

/// Puts the values of `set` over those of `row`.
pub fn overlay(row: &mut Row, set: &Row) {
    for (column, value) in set {
        match row.iter_mut().find(|(name, _)| name == column) {
            Some((_, old)) => *old = value.clone(),
            None => row.push((column, value.clone())),
        }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// A new row.
    Insert {
        /// The table.
        table: &'static str,
        /// All columns that Dify sets.
        row: Row,
    },
    /// A row that may be there already (what a second start of the same simulation finds): inserted only if missing.
    Ensure {
        /// The table.
        table: &'static str,
        /// All columns.
        row: Row,
    },
    /// Changes a row; nothing happens when it is gone.
    Update {
        /// The table.
        table: &'static str,
        /// The row's primary key.
        id: Uuid,
        /// The columns that change.
        set: Row,
    },
    /// What SQLAlchemy's `merge` does: changes the row, or inserts it when it is not there.
    Merge {
        /// The table.
        table: &'static str,
        /// The columns that change when the row is there.
        set: Row,
        /// The whole row, for when it is not.
        row: Row,
    },
    /// Removes a row.
    Delete {
        /// The table.
        table: &'static str,
        /// The row's primary key.
        id: Uuid,
    },
}

impl Statement {
    /// The table that the statement touches.
    pub fn table(&self) -> &'static str {
        match self {
            Self::Insert { table, .. }
            | Self::Ensure { table, .. }
            | Self::Update { table, .. }
            | Self::Merge { table, .. }
            | Self::Delete { table, .. } => table,
        }
    }

    /// The primary key of the row that the statement touches.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Insert { row, .. } | Self::Ensure { row, .. } | Self::Merge { row, .. } => id_of(row),
            Self::Update { id, .. } | Self::Delete { id, .. } => *id,
        }
    }
}

/// One transaction of a Dify process.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// When it commits, by the database's clock.
    pub at: Micros,
    /// Which story (run, answer, clean-up …) it belongs to. Writes of one lane keep their order; lanes may overtake each other.
    pub lane: u64,
    /// What it does, in this order.
    pub statements: Vec<Statement>,
}
