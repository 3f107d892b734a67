//! The value of one series.

use dify_observe_core::dify::time::Micros;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::family::FamilyKind;
use super::histogram::Histogram;

/// A record behind a value: the trace to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The run's or message's id; exposed as `trace_id` in 32 hex digits
    pub trace_id: Uuid,
    /// What was observed.
    pub value: f64,
    /// When.
    pub timestamp: Micros,
}

/// The value of one series.
///
/// Exemplars are not part of the state file: after a restart there are none until the next record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    /// A whole number and the record that moved it last.
    Counter(u64, #[serde(skip)] Option<Box<Exemplar>>),
    /// An exact decimal.
    Decimal(#[serde(with = "decimal_bytes")] Decimal),
    /// A distribution.
    Histogram(Box<Histogram>),
}

impl Value {
    /// The value that a series of this kind is born with; `None` for kinds that are not durable.
    pub(crate) fn zero(kind: FamilyKind) -> Option<Value> {
        match kind {
            FamilyKind::Counter => Some(Value::Counter(0, None)),
            FamilyKind::DecimalCounter => Some(Value::Decimal(Decimal::ZERO)),
            FamilyKind::Histogram(bounds) => Some(Value::Histogram(Box::new(Histogram::new(bounds)))),
            FamilyKind::Gauge | FamilyKind::Info => None,
        }
    }
}

/// Decimals as their 16 bytes: exact, scale included, in a format that does not describe itself.
mod decimal_bytes {
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(decimal: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        decimal.serialize().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        Ok(Decimal::deserialize(<[u8; 16]>::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_survive_the_state_file_to_the_last_digit() {
        for text in ["0", "-1.50", "0.0000001", "7922816251426433759354395033.5", "0.1234567890123456789012345678"] {
            let value = Value::Decimal(text.parse().unwrap());
            let read: Value = postcard::from_bytes(&postcard::to_stdvec(&value).unwrap()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{value:?}"));
        }
    }
}
