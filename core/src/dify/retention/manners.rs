//! How the reader behaves towards the database, beside what every reading transaction here does.

use std::time::Duration;

use crate::dify::session::{Database, DatabaseError, ReadTx};

/// A wrong estimate must not turn a statement into a scan of a whole table. Where a driver prepares, a plan for unknown values may be many
/// times slower than one for these values.
const PLANS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_custom_plan";

/// As [`PLANS`], and all statements see one moment.
const ONE_MOMENT: &str =
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_custom_plan";

/// Begins a transaction in which each statement sees what is committed.
pub(super) async fn read(db: &Database, timeout: Duration) -> Result<ReadTx, DatabaseError> {
    let mut tx = db.read(timeout).await?;
    tx.set_local(PLANS).await?;
    Ok(tx)
}

/// Begins a transaction in which all statements see the moment of the first.
pub(super) async fn read_one_moment(db: &Database, timeout: Duration) -> Result<ReadTx, DatabaseError> {
    let mut tx = db.read(timeout).await?;
    tx.set_local(ONE_MOMENT).await?;
    Ok(tx)
}
