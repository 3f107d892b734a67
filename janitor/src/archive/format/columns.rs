//! Values of one Parquet column of one row group, and a `NULL` where there is none.

use parquet::data_type::ByteArray;

/// The values that are there; the rest is `NULL`.
#[derive(Debug)]
pub(crate) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

/// One column.
#[derive(Debug)]
pub(crate) struct Column {
    /// 1 where there is a value, 0 where there is none.
    pub(crate) levels: Vec<i16>,
    /// The values, one for each 1.
    pub(crate) values: Values,
}

impl Column {
    /// A column of text or bytes.
    pub(crate) fn bytes(values: impl Iterator<Item = Option<ByteArray>>) -> Column {
        let mut levels = Vec::new();
        let present = values.inspect(|value| levels.push(i16::from(value.is_some()))).flatten().collect();
        Column { levels, values: Values::Bytes(present) }
    }

    /// A column of 32-bit numbers without `NULL`.
    pub(crate) fn int32(values: Vec<i32>) -> Column {
        Column { levels: vec![1; values.len()], values: Values::Int32(values) }
    }

    /// A column of 64-bit numbers without `NULL`.
    pub(crate) fn int64(values: Vec<i64>) -> Column {
        Column { levels: vec![1; values.len()], values: Values::Int64(values) }
    }

    /// Walks through the column from its first row.
    pub(crate) fn into_cursor(self) -> Cursor {
        let values = match self.values {
            Values::Bool(values) => Remaining::Bool(values.into_iter()),
            Values::Int32(values) => Remaining::Int32(values.into_iter()),
            Values::Int64(values) => Remaining::Int64(values.into_iter()),
            Values::Double(values) => Remaining::Double(values.into_iter()),
            Values::Bytes(values) => Remaining::Bytes(values.into_iter()),
        };
        Cursor { levels: self.levels.into_iter(), values }
    }
}

/// Reads a column row by row.
#[derive(Debug)]
pub(crate) struct Cursor {
    levels: std::vec::IntoIter<i16>,
    values: Remaining,
}

#[derive(Debug)]
enum Remaining {
    Bool(std::vec::IntoIter<bool>),
    Int32(std::vec::IntoIter<i32>),
    Int64(std::vec::IntoIter<i64>),
    Double(std::vec::IntoIter<f64>),
    Bytes(std::vec::IntoIter<ByteArray>),
}

/// The value of one row.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Double(f64),
    Bytes(ByteArray),
}

impl Cursor {
    /// The value of the next row; `None` for `NULL`, and past the end.
    pub(crate) fn next(&mut self) -> Option<Value> {
        if self.levels.next()? == 0 {
            return None;
        }
        match &mut self.values {
            Remaining::Bool(values) => values.next().map(Value::Bool),
            Remaining::Int32(values) => values.next().map(Value::Int32),
            Remaining::Int64(values) => values.next().map(Value::Int64),
            Remaining::Double(values) => values.next().map(Value::Double),
            Remaining::Bytes(values) => values.next().map(Value::Bytes),
        }
    }
}
