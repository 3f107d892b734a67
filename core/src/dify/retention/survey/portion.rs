//! How large tables are, and how much of one is looked at.

use std::future::Future;

use sqlx::Row as _;

use super::Sample;
use crate::dify::session::{DatabaseError, Query, ReadTx, query};
use crate::dify::time::Micros;

/// How large a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Its name.
    pub table: String,
    /// Blocks of the rows themselves.
    pub blocks: u64,
    /// Everything: rows, what is kept out of line, indexes.
    pub bytes: u64,
    /// The planner's estimate, else that of the statistics; `None` when there is neither.
    pub rows: Option<u64>,
}

/// Sizes of those tables that are there.
pub async fn sizes(tx: &mut ReadTx, tables: &[String]) -> Result<Vec<TableSize>, DatabaseError> {
    let mut sizes = Vec::new();
    for row in tx.fetch_all(query(include_str!("../../queries/retention_sizes.sql")).bind(tables)).await? {
        let number = |name: &str| row.try_get::<Option<i64>, _>(name).map(|number| number.and_then(|number| u64::try_from(number).ok()));
        sizes.push(TableSize {
            table: row.try_get("name")?,
            blocks: number("blocks")?.unwrap_or_default(),
            bytes: number("bytes")?.unwrap_or_default(),
            rows: number("rows")?,
        });
    }
    Ok(sizes)
}

/// The server's clock, in UTC, and the name of the database.
pub async fn clock(tx: &mut ReadTx) -> Result<(Micros, String), DatabaseError> {
    let row = tx.fetch_one(query(include_str!("../../queries/retention_clock.sql"))).await?;
    Ok((row.try_get("now")?, row.try_get("database")?))
}

/// How much of a table is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Portion {
    /// Percent of its blocks.
    percent: f32,
    /// Of their rows, every so manieth.
    every: u32,
}

/// What follows `FROM table t` to read a portion of it: always the same one, so that two plans of one database say the same.
pub(in crate::dify::retention) const SAMPLED: &str =
    "TABLESAMPLE SYSTEM ($1) REPEATABLE (0) WHERE ($2 = 1 OR (hashtext(t.id::text) & 1073741823) % $2 = 0)";

/// A sample is not made smaller than this.
const LEAST_PERCENT: f32 = 0.001;

impl Portion {
    /// All of it.
    pub const ALL: Portion = Portion { percent: 100.0, every: 1 };

    /// About so many blocks, and about so many rows at most.
    pub fn of(size: &TableSize, blocks: u32, rows: u32) -> Portion {
        let share = (f64::from(blocks) / size.blocks.max(1) as f64).min(1.0);
        let expected = size.rows.unwrap_or_default() as f64 * share;
        Portion { percent: (100.0 * share) as f32, every: (expected / f64::from(rows.max(1))).ceil().clamp(1.0, 1e6) as u32 }
    }

    /// How many rows one row of the sample stands for.
    pub fn weight(&self) -> f64 {
        f64::from(self.every) * 100.0 / f64::from(self.percent)
    }

    /// Whether nothing is left out, so that figures are no estimates.
    pub fn is_all(&self) -> bool {
        self.percent >= 100.0 && self.every == 1
    }

    /// Binds what [`SAMPLED`] wants; to be the first two values.
    pub(in crate::dify::retention) fn bind<'q>(&self, query: Query<'q>) -> Query<'q> {
        query.bind(self.percent).bind(i32::try_from(self.every).unwrap_or(i32::MAX))
    }

    /// Half of it, or nothing when it is very small already.
    fn half(self) -> Option<Portion> {
        let percent = self.percent / 2.0;
        (percent >= LEAST_PERCENT).then_some(Portion { percent, ..self })
    }
}

/// Reads a portion; one that takes longer than the statement timeout is halved until it does not.
pub(super) async fn bounded<T, Read, Reading>(mut portion: Portion, read: Read) -> Result<Sample<T>, DatabaseError>
where
    Read: Fn(Portion) -> Reading,
    Reading: Future<Output = Result<Vec<T>, DatabaseError>>,
{
    loop {
        match read(portion).await {
            Ok(rows) => return Ok(Sample { rows, portion }),
            Err(DatabaseError::Timeout) => portion = portion.half().ok_or(DatabaseError::Timeout)?,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(blocks: u64, rows: u64) -> TableSize {
        TableSize { table: "t".to_owned(), blocks, bytes: 0, rows: Some(rows) }
    }

    #[test]
    fn a_small_table_is_read_as_a_whole() {
        let portion = Portion::of(&size(2000, 9000), 2000, 10_000);
        assert!(portion.is_all());
        assert!((portion.weight() - 1.0).abs() < 1e-9);
        assert!(Portion::of(&size(0, 0), 2000, 10_000).is_all());
    }

    #[test]
    fn a_large_table_costs_no_more_than_a_small_one() {
        let portion = Portion::of(&size(2_000_000, 100_000_000), 2000, 10_000);
        assert!(!portion.is_all());
        assert!((portion.percent - 0.1).abs() < 1e-6);
        assert_eq!(portion.every, 10);
        assert!((portion.weight() - 10_000.0).abs() < 1.0);
    }

    #[tokio::test]
    async fn what_takes_too_long_is_halved_until_it_does_not() {
        let read =
            |portion: Portion| async move { if portion.percent > 20.0 { Err(DatabaseError::Timeout) } else { Ok(vec![portion.percent]) } };
        let sample = bounded(Portion::ALL, read).await.unwrap();
        assert_eq!(sample.rows, [12.5]);
        assert!((sample.portion.weight() - 8.0).abs() < 1e-9);
        let never = bounded(Portion::ALL, |_| async { Err::<Vec<()>, _>(DatabaseError::Timeout) }).await;
        assert!(matches!(never, Err(DatabaseError::Timeout)));
    }
}
