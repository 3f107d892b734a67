//! What the server itself counts.

use std::collections::BTreeMap;

use sqlx::Row;

use crate::dify::session::{DatabaseError, ReadTx, query};

/// Connections to Dify's database and what they are busy with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sessions {
    /// Connections by state; `unknown` where our role may not see it.
    pub connections: BTreeMap<String, i64>,
    /// The server's limit, which all databases share.
    pub max_connections: i64,
    /// Age of the oldest open transaction in seconds, 0 without one; `None` when our role does not see other sessions.
    pub longest_transaction: Option<f64>,
    /// Seconds since the connection that has been idle in a transaction for longest became so; as above.
    pub oldest_idle_in_transaction: Option<f64>,
}

/// Reads what the server's sessions are doing. Our own are counted as connections, not as transactions.
pub async fn sessions(tx: &mut ReadTx) -> Result<Sessions, DatabaseError> {
    let limits = tx.fetch_one(query(include_str!("../queries/statistics_limits.sql"))).await?;
    let mut sessions = Sessions { max_connections: limits.try_get("max_connections")?, ..Sessions::default() };
    let (mut transaction, mut idle) = (0.0_f64, 0.0_f64);
    for row in tx.fetch_all(query(include_str!("../queries/statistics_sessions.sql"))).await? {
        sessions.connections.insert(row.try_get("state")?, row.try_get("connections")?);
        transaction = transaction.max(row.try_get::<Option<f64>, _>("oldest_transaction")?.unwrap_or(0.0));
        idle = idle.max(row.try_get::<Option<f64>, _>("idle_in_transaction")?.unwrap_or(0.0));
    }
    if limits.try_get("sees_all")? {
        sessions.longest_transaction = Some(transaction);
        sessions.oldest_idle_in_transaction = Some(idle);
    }
    Ok(sessions)
}

/// The counters of `pg_stat_database`, and the size of the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Counters by kind: blocks_read, blocks_hit, rows_written, deadlocks, commits, rollbacks.
    pub counters: Vec<(&'static str, i64)>,
    /// Size of all files.
    pub size_bytes: i64,
}

/// Reads the counters of Dify's database.
pub async fn activity(tx: &mut ReadTx) -> Result<Activity, DatabaseError> {
    let row = tx.fetch_one(query(include_str!("../queries/statistics_activity.sql"))).await?;
    let mut counters = Vec::new();
    for kind in ["blocks_read", "blocks_hit", "rows_written", "deadlocks", "commits", "rollbacks"] {
        counters.push((kind, row.try_get(kind)?));
    }
    Ok(Activity { counters, size_bytes: row.try_get("size_bytes")? })
}
