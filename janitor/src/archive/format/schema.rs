//! Which Parquet column holds what.

use std::sync::Arc;

use dify_observe_core::dify::retention::{Shape, Wire};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

/// How the values of one Parquet column are stored and what they mean to other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int32,
    Int64,
    Double,
    /// Microseconds since 1970 without a time zone, as Dify's own columns are: they hold UTC. A zone would make other tools
    /// show and compare them in the zone of whoever reads.
    Timestamp,
    Text,
    Blob,
}

/// One Parquet column.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Values that repeat are stored once a row group.
    pub(crate) repeats: bool,
    /// The smallest and the largest value are noted, so that readers can skip row groups.
    pub(crate) statistics: bool,
}

impl Field {
    pub(crate) fn new(name: &str, kind: Kind) -> Field {
        Field { name: name.to_owned(), kind, repeats: true, statistics: true }
    }

    pub(crate) fn unique(self) -> Field {
        Field { repeats: false, ..self }
    }

    pub(crate) fn content(self) -> Field {
        Field { statistics: false, ..self }
    }

    fn parquet(&self) -> Result<Type, ParquetError> {
        let (physical, logical) = match self.kind {
            Kind::Bool => (Physical::BOOLEAN, None),
            Kind::Int32 => (Physical::INT32, None),
            Kind::Int64 => (Physical::INT64, None),
            Kind::Double => (Physical::DOUBLE, None),
            Kind::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(false, TimeUnit::MICROS))),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Blob => (Physical::BYTE_ARRAY, None),
        };
        Type::primitive_type_builder(&self.name, physical).with_logical_type(logical).with_repetition(Repetition::OPTIONAL).build()
    }
}

/// The columns of a table, without those that the archive adds.
pub(crate) fn fields_of(shape: &Shape) -> Vec<Field> {
    let field = |(position, column): (usize, &dify_observe_core::dify::retention::Column)| {
        let field = Field::new(&column.name, kind_of(column.wire));
        if shape.key.first() == Some(&position) {
            return field.unique();
        }
        // What may be long: a prompt as the smallest and the largest value of a row group would be of no use.
        if matches!(column.wire, Wire::Bytes) || matches!(column.data_type.as_str(), "text" | "json" | "jsonb") {
            field.content()
        } else {
            field
        }
    };
    shape.columns.iter().enumerate().map(field).collect()
}

fn kind_of(wire: Wire) -> Kind {
    match wire {
        Wire::Bool => Kind::Bool,
        Wire::Int32 => Kind::Int32,
        Wire::Int64 => Kind::Int64,
        Wire::Double => Kind::Double,
        Wire::Timestamp => Kind::Timestamp,
        // As text, because not every reader knows Parquet's UUID.
        Wire::Uuid | Wire::Text | Wire::Cast => Kind::Text,
        Wire::Bytes => Kind::Blob,
    }
}

/// The Parquet schema of these columns.
pub(crate) fn message(fields: &[Field]) -> Result<TypePtr, ParquetError> {
    let columns = fields.iter().map(|field| field.parquet().map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Type::group_type_builder("row").with_fields(columns).build()?))
}
