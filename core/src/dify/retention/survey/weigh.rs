//! How the rows of a table are spread over apps.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::portion::{SAMPLED, bounded};
use super::{Portion, Sample};
use crate::dify::ddl::quoted;
use crate::dify::retention::blocks::{IN_RANGE, Walk};
use crate::dify::retention::{Ownership, Shape, Wire};
use crate::dify::session::{Database, DatabaseError, built_query};
use crate::dify::time::Micros;

/// What an app has in a table, as far as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The app.
    pub app_id: Uuid,
    /// Rows that hang on a run, of a table whose rows name one; else all.
    pub rows: u64,
    /// Rows that name no run although they could (single steps of the editor): they stay.
    pub loose: u64,
    /// Of `workflow_runs`: the rows that are bundles of their own, because no message can name them. Elsewhere 0.
    pub roots: u64,
    /// Bytes of `rows` and `loose`, as they are stored.
    pub bytes: u64,
    /// The oldest of them, where rows have a time.
    pub oldest: Option<Micros>,
}

/// Whether rows of the table say which app they belong to.
pub fn bears_app(shape: &Shape) -> bool {
    shape.columns.iter().any(|column| column.name == "app_id" && column.wire == Wire::Uuid)
}

/// How the rows of a table that bears apps are spread over them: one statement over a portion of its blocks. Values that are kept out
/// of line are weighed without being read.
pub async fn weigh(db: &Database, shape: &Shape, portion: Portion, timeout: Duration) -> Result<Sample<Weight>, DatabaseError> {
    let text = format!("-- janitor_weigh_sample: a sample of blocks\n{} {SAMPLED} {GROUP}", select(shape));
    bounded(portion, |portion| {
        let text = text.clone();
        async move {
            let mut tx = db.read(timeout).await?;
            let rows = tx.fetch_all(portion.bind(built_query(text))).await?;
            tx.end().await?;
            rows.iter().map(weight).collect()
        }
    })
    .await
}

/// The same for all rows, in ranges of blocks; `seen` gets what each range holds.
pub async fn weigh_all(
    db: &Database,
    ownership: &Ownership,
    shape: &Shape,
    timeout: Duration,
    mut seen: impl FnMut(Weight),
) -> Result<(), DatabaseError> {
    let text = format!("-- janitor_weigh: a range of blocks\n{} WHERE {IN_RANGE} {GROUP}", select(shape));
    in_ranges(db, ownership, shape, text, timeout, |row| weight(row).map(&mut seen)).await
}

/// How many rows a table has: all are read, in ranges of blocks.
pub async fn count_all(db: &Database, ownership: &Ownership, shape: &Shape, timeout: Duration) -> Result<u64, DatabaseError> {
    let table = quoted(&shape.table);
    let text = format!("-- janitor_count_all: a range of blocks\nSELECT count(*) AS rows FROM {table} t WHERE {IN_RANGE}");
    let mut sum = 0;
    in_ranges(db, ownership, shape, text, timeout, |row| {
        sum += row.try_get::<i64, _>("rows")?;
        Ok(())
    })
    .await?;
    Ok(u64::try_from(sum).unwrap_or_default())
}

async fn in_ranges(
    db: &Database,
    ownership: &Ownership,
    shape: &Shape,
    text: String,
    timeout: Duration,
    mut seen: impl FnMut(&PgRow) -> Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    let mut walk = Walk::new(&shape.table, ownership.checks.server_version, usize::MAX);
    loop {
        let mut tx = db.read(timeout).await?;
        let Some(range) = walk.range(&mut tx).await? else { return Ok(()) };
        match tx.fetch_all(range.bind(built_query(text.clone()))).await {
            Ok(rows) => {
                rows.iter().try_for_each(&mut seen)?;
                walk.advance(&range, 0);
                tx.end().await?;
            }
            Err(DatabaseError::Timeout) if walk.shrink() => {}
            Err(error) => return Err(error),
        }
    }
}

const GROUP: &str = "AND t.app_id IS NOT NULL GROUP BY t.app_id";

fn select(shape: &Shape) -> String {
    let has = |name: &str| shape.columns.iter().any(|column| column.name == name);
    let named = if has("workflow_run_id") && shape.table != "messages" { "t.workflow_run_id IS NOT NULL" } else { "true" };
    let roots = if shape.table == "workflow_runs" { "t.type IN ('workflow', 'rag-pipeline')" } else { "false" };
    let timed = shape.columns.iter().any(|column| column.name == "created_at" && column.wire == Wire::Timestamp);
    let oldest = if timed { "min(t.created_at)" } else { "NULL::timestamp" };
    // Of the whole row, pg_column_size would read what is kept out of line.
    let bytes: Vec<String> =
        shape.columns.iter().map(|column| format!("coalesce(pg_column_size(t.{}), 0)", quoted(&column.name))).collect();
    format!(
        "SELECT t.app_id, count(*) FILTER (WHERE {named}) AS rows, count(*) FILTER (WHERE NOT ({named})) AS loose, \
         count(*) FILTER (WHERE {roots}) AS roots, (sum({}))::bigint AS bytes, {oldest} AS oldest FROM {} t",
        bytes.join(" + "),
        quoted(&shape.table),
    )
}

fn weight(row: &PgRow) -> Result<Weight, DatabaseError> {
    let number = |name: &str| row.try_get::<i64, _>(name).map(|number| u64::try_from(number).unwrap_or_default());
    Ok(Weight {
        app_id: row.try_get("app_id")?,
        rows: number("rows")?,
        loose: number("loose")?,
        roots: number("roots")?,
        bytes: number("bytes")?,
        oldest: row.try_get("oldest")?,
    })
}
