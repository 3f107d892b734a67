//! Dify's naive UTC timestamps as microseconds since the Unix epoch.

use std::fmt;

use serde::{Deserialize, Serialize};
use sqlx::decode::Decode;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, Postgres};
use sqlx::types::Type;

/// Microseconds between the Unix epoch and PostgreSQL's, 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A point in time: microseconds since 1970-01-01 UTC.
///
/// Reads and binds `timestamp without time zone`, which is how Dify stores UTC. PostgreSQL's `infinity` and `-infinity`
/// become the largest and smallest value instead of the panic that chrono's types end in (sqlx issue 2234).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Micros(pub i64);

impl Micros {
    /// The smallest value: before every row.
    pub const MIN: Micros = Micros(i64::MIN);

    /// The time `seconds` after the epoch.
    pub const fn from_secs(seconds: i64) -> Self {
        Micros(seconds * 1_000_000)
    }

    /// From microseconds since PostgreSQL's epoch; its infinities stay what they are.
    pub(crate) const fn from_postgres(micros: i64) -> Self {
        Micros(if matches!(micros, i64::MIN | i64::MAX) { micros } else { micros.saturating_add(POSTGRES_EPOCH) })
    }

    /// Seconds since the epoch, with fraction, as Prometheus wants them.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This time less `duration`, not below [`Micros::MIN`].
    pub fn minus(self, duration: std::time::Duration) -> Self {
        Micros(self.0.saturating_sub(micros(duration)))
    }

    /// This time plus `duration`.
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Micros(self.0.saturating_add(micros(duration)))
    }

    /// Time from `earlier` to this one; zero when `earlier` is later.
    pub fn since(self, earlier: Micros) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// The wall clock of this host. For positions use the database server's clock.
    pub fn now() -> Self {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Micros(micros(since_epoch))
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_micros(self.0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.fZ")),
            None => write!(f, "{} µs", self.0),
        }
    }
}

impl Type<Postgres> for Micros {
    fn type_info() -> PgTypeInfo {
        // By number: a name is looked up in between, which costs an unnamed statement its life.
        <chrono::NaiveDateTime as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        matches!(ty.to_string().to_ascii_lowercase().as_str(), "timestamp" | "timestamptz")
    }
}

impl PgHasArrayType for Micros {
    fn array_type_info() -> PgTypeInfo {
        <chrono::NaiveDateTime as PgHasArrayType>::array_type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Micros {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("timestamps are read in binary format".into());
        }
        Ok(Micros::from_postgres(i64::from_be_bytes(value.as_bytes()?.try_into()?)))
    }
}

impl Encode<'_, Postgres> for Micros {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = if matches!(self.0, i64::MIN | i64::MAX) { self.0 } else { self.0.saturating_sub(POSTGRES_EPOCH) };
        buffer.extend(&micros.to_be_bytes());
        Ok(IsNull::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_as_rfc_3339() {
        assert_eq!(Micros(1_795_162_964_500_000).to_string(), "2026-11-20T08:22:44.500Z");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Micros::MIN.minus(std::time::Duration::from_secs(1)), Micros::MIN);
        assert_eq!(Micros(5).since(Micros(9)), std::time::Duration::ZERO);
    }
}
