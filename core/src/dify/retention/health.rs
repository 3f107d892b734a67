//! What stands in the way of deleting rows, and what happens to the tables afterwards: rights, settings, space, indexes, others who delete.
//!
//! Read from the catalogue and the statistics views: no statement here touches a row of Dify, but for the question whether a table that is
//! not known holds any.

mod others;
mod rights;
mod tables;

use sqlx::Row;

pub use others::{Deleter, Dependent, OnDelete, PastCleaner, dependents, has_rows, other_deleters, past_cleaners};
pub use rights::{LOCK_COLUMNS, missing_reads, missing_rights};
pub use tables::{OurIndex, TableHealth, our_indexes, table_health};

use crate::dify::session::{DatabaseError, ReadTx, query};
use crate::dify::time::Micros;

/// The server as a deletion meets it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerHealth {
    /// Our role.
    pub role: String,
    /// The database's name.
    pub database: String,
    /// Nothing can be written here.
    pub standby: bool,
    /// The role's transactions are read-only unless they say otherwise.
    pub read_only: bool,
    /// The role sees what the sessions of others do.
    pub sees_all: bool,
    /// The server's clock.
    pub now: Micros,
    /// Whether autovacuum is on at all.
    pub autovacuum: bool,
    /// `autovacuum_vacuum_scale_factor`
    pub scale_factor: f64,
    /// `autovacuum_vacuum_threshold`
    pub threshold: i64,
    /// `max_wal_size`
    pub max_wal_bytes: i64,
    /// `checkpoint_timeout`
    pub checkpoint_seconds: f64,
    /// How long the oldest open transaction has held back vacuum, where it may be seen.
    pub oldest_snapshot_seconds: Option<f64>,
    /// The same of a prepared transaction that nobody ended.
    pub oldest_prepared_seconds: Option<f64>,
    /// Replication slots that nobody reads, which keep WAL for ever.
    pub idle_slots: Option<String>,
}

/// Asks the server how it is set up.
pub async fn server_health(tx: &mut ReadTx) -> Result<ServerHealth, DatabaseError> {
    let row = tx.fetch_one(query(include_str!("../queries/retention_server.sql"))).await?;
    Ok(ServerHealth {
        role: row.try_get("role")?,
        database: row.try_get("database")?,
        standby: row.try_get("standby")?,
        read_only: row.try_get("read_only")?,
        sees_all: row.try_get("sees_all")?,
        now: row.try_get("now")?,
        autovacuum: row.try_get("autovacuum")?,
        scale_factor: row.try_get("scale_factor")?,
        threshold: row.try_get("threshold")?,
        max_wal_bytes: row.try_get("max_wal_bytes")?,
        checkpoint_seconds: row.try_get("checkpoint_seconds")?,
        oldest_snapshot_seconds: row.try_get("oldest_snapshot_seconds")?,
        oldest_prepared_seconds: row.try_get("oldest_prepared_seconds")?,
        idle_slots: row.try_get("idle_slots")?,
    })
}
