//! Size, waste and rights of tables, and the indexes that were made on our advice.

use sqlx::Row;

use super::ServerHealth;
use crate::dify::session::{DatabaseError, ReadTx, query};
use crate::dify::time::Micros;

/// Bytes of a page.
const PAGE: i64 = 8192;
/// Header, line pointer and padding of a row.
const ROW_OVERHEAD: f64 = 36.0;
/// A value that is kept out of line is cut so that four pieces fill a page.
const TOAST_PIECES: i64 = 4;

/// One table, as its owner looks at it.
#[derive(Clone, Debug, PartialEq)]
pub struct TableHealth {
    /// Its name.
    pub name: String,
    /// The rows themselves.
    pub heap_bytes: i64,
    /// Values kept out of line.
    pub toast_bytes: i64,
    /// All indexes.
    pub index_bytes: i64,
    /// The planner's estimate; `None` before the first ANALYZE.
    pub rows: Option<i64>,
    /// The same of the pieces kept out of line.
    pub toast_rows: Option<i64>,
    /// Bytes of a row's values in the heap, in the mean, as ANALYZE found them; of the columns that the role may read.
    pub row_width: Option<f64>,
    /// Rows as the statistics collector counts them.
    pub live_rows: i64,
    /// Deleted or replaced rows that VACUUM has not removed yet.
    pub dead_rows: i64,
    /// The same of the pieces kept out of line.
    pub toast_dead_rows: i64,
    /// The last VACUUM, by hand or by itself.
    pub vacuumed_at: Option<Micros>,
    /// `autovacuum_vacuum_scale_factor` of this table, where it has its own.
    pub own_scale_factor: Option<f64>,
    /// `autovacuum_vacuum_threshold` of this table, where it has its own.
    pub own_threshold: Option<i64>,
    /// Autovacuum is not switched off for this table.
    pub autovacuum: bool,
    /// Policies of row-level security may hide rows from the role: what is not seen is neither archived nor deleted with its parent.
    pub row_security: bool,
}

impl TableHealth {
    /// Everything it takes on disk.
    pub fn bytes(&self) -> i64 {
        self.heap_bytes + self.toast_bytes + self.index_bytes
    }

    /// Dead rows at which autovacuum begins.
    pub fn vacuum_begins_at(&self, server: &ServerHealth) -> i64 {
        let share = self.own_scale_factor.unwrap_or(server.scale_factor);
        let rows = self.rows.unwrap_or(self.live_rows);
        self.own_threshold.unwrap_or(server.threshold) + (rows as f64 * share) as i64
    }

    /// Bytes of pages that no row needs, roughly: what is left of the pages when every row has its mean size.
    pub fn heap_waste(&self) -> Option<i64> {
        let needed = self.rows? as f64 * (self.row_width? + ROW_OVERHEAD);
        Some((self.heap_bytes - needed as i64).max(0))
    }

    /// Bytes of values kept out of line that are no longer anybody's, at most: pieces can be smaller than a quarter of a page.
    pub fn toast_waste(&self) -> Option<i64> {
        let needed = self.toast_rows? / TOAST_PIECES * PAGE;
        Some((self.toast_bytes - needed).max(0))
    }
}

/// The tables of `names` that are there, largest first.
pub async fn table_health(tx: &mut ReadTx, names: &[String]) -> Result<Vec<TableHealth>, DatabaseError> {
    let rows = tx.fetch_all(query(include_str!("../../queries/retention_tables.sql")).bind(names)).await?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in rows {
        tables.push(TableHealth {
            name: row.try_get("name")?,
            heap_bytes: row.try_get("heap_bytes")?,
            toast_bytes: row.try_get("toast_bytes")?,
            index_bytes: row.try_get("index_bytes")?,
            rows: row.try_get("rows")?,
            toast_rows: row.try_get("toast_rows")?,
            row_width: row.try_get("row_width")?,
            live_rows: row.try_get("live_rows")?,
            dead_rows: row.try_get("dead_rows")?,
            toast_dead_rows: row.try_get("toast_dead_rows")?,
            vacuumed_at: row.try_get("vacuumed_at")?,
            own_scale_factor: row.try_get("own_scale_factor")?,
            own_threshold: row.try_get("own_threshold")?,
            autovacuum: row.try_get("autovacuum")?,
            row_security: row.try_get("row_security")?,
        });
    }
    Ok(tables)
}

/// An index that was made on our advice, or one of anybody's that was never finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurIndex {
    /// Its name.
    pub name: String,
    /// The table.
    pub table: String,
    /// Its columns in order.
    pub columns: Vec<String>,
    /// It is used by queries. One that is not slows down every write all the same.
    pub valid: bool,
    /// Its size.
    pub bytes: i64,
    /// Something like a build or VACUUM is at work on the table right now.
    pub busy: bool,
}

/// Indexes of `tables` that carry our prefix, and invalid ones.
pub async fn our_indexes(tx: &mut ReadTx, tables: &[String]) -> Result<Vec<OurIndex>, DatabaseError> {
    let rows = tx.fetch_all(query(include_str!("../../queries/retention_indexes.sql")).bind(tables)).await?;
    let mut indexes = Vec::with_capacity(rows.len());
    for row in rows {
        indexes.push(OurIndex {
            name: row.try_get("name")?,
            table: row.try_get("on_table")?,
            columns: row.try_get("columns")?,
            valid: row.try_get("valid")?,
            bytes: row.try_get("bytes")?,
            busy: row.try_get("busy")?,
        });
    }
    Ok(indexes)
}
