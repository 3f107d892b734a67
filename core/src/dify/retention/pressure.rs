//! What the server has to bear besides us, and what our role may do: facts on which dify-janitor waits or refuses.

use std::time::Duration;

use sqlx::Row;

use crate::dify::session::{Database, DatabaseError, ReadTx, built_query, query};

/// What the server has to bear besides us.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pressure {
    /// The server is a standby: nothing can be deleted here.
    pub standby: bool,
    /// Sessions of Dify's database that are at work, ours not among them; `None` when our role does not see other sessions.
    pub active_sessions: Option<i64>,
    /// Age in seconds of the oldest open transaction that is not ours, 0 without one; as above.
    pub oldest_transaction: Option<f64>,
    /// The standbys that stream from this server.
    pub replicas: Vec<Replica>,
    /// Tables that VACUUM works on right now.
    pub vacuumed: Vec<String>,
}

/// One standby.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// What it calls itself.
    pub name: String,
    /// WAL that it has not replayed; `None` when our role may not see it.
    pub bytes: Option<i64>,
    /// How long its last replay was behind; `None` when our role may not see it, or while nothing is written.
    pub seconds: Option<f64>,
}

impl Pressure {
    /// Reads it. Sessions with one of these application names are ours: the lock keeps a transaction open, and must not be waited for.
    pub async fn read(tx: &mut ReadTx, ours: &[String]) -> Result<Pressure, DatabaseError> {
        let server = tx.fetch_one(query(include_str!("../queries/pressure_server.sql")).bind(ours)).await?;
        let mut pressure = Pressure { standby: server.try_get("standby")?, ..Pressure::default() };
        if server.try_get("sees_all")? {
            pressure.active_sessions = Some(server.try_get("active")?);
            pressure.oldest_transaction = Some(server.try_get::<Option<f64>, _>("oldest_transaction")?.unwrap_or(0.0).max(0.0));
        }
        for row in tx.fetch_all(query(include_str!("../queries/pressure_replicas.sql"))).await? {
            pressure.replicas.push(Replica { name: row.try_get("name")?, bytes: row.try_get("bytes")?, seconds: row.try_get("seconds")? });
        }
        for row in tx.fetch_all(query(include_str!("../queries/pressure_vacuums.sql"))).await? {
            pressure.vacuumed.push(row.try_get("name")?);
        }
        Ok(pressure)
    }
}

/// The value of the operator's own statement, which yields one number: the depth of a queue, a load. Nothing but reading is possible.
pub async fn ask(database: &Database, statement: &str, timeout: Duration) -> Result<Option<f64>, DatabaseError> {
    let mut tx = database.read(timeout).await?;
    let statement = statement.trim().trim_end_matches(';');
    let row = tx.fetch_one(built_query(format!("SELECT (\n{statement}\n)::float8 AS value"))).await?;
    let value = row.try_get("value")?;
    tx.end().await?;
    Ok(value)
}

/// What our role may do with one table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent facts about one table")]
pub struct Rights {
    /// Table name.
    pub table: String,
    /// The table is there.
    pub present: bool,
    /// Reading.
    pub select: bool,
    /// Putting back.
    pub insert: bool,
    /// Deleting.
    pub delete: bool,
    /// Locking a row, for which PostgreSQL wants the right to update any of its columns.
    pub lock: bool,
}

/// What our role may do with these tables.
pub async fn rights(tx: &mut ReadTx, tables: &[String]) -> Result<Vec<Rights>, DatabaseError> {
    let mut rights = Vec::new();
    for row in tx.fetch_all(query(include_str!("../queries/pressure_rights.sql")).bind(tables)).await? {
        rights.push(Rights {
            table: row.try_get("name")?,
            present: row.try_get("present")?,
            select: row.try_get("can_select")?,
            insert: row.try_get("can_insert")?,
            delete: row.try_get("can_delete")?,
            lock: row.try_get("can_lock")?,
        });
    }
    Ok(rights)
}

/// Whether our role may make temporary tables here, through which [`super::restore`] puts very large values back.
pub async fn may_use_temporary_tables(tx: &mut ReadTx) -> Result<bool, DatabaseError> {
    let row = tx.fetch_one(query("SELECT has_database_privilege(current_database(), 'TEMPORARY') AS temporary")).await?;
    Ok(row.try_get("temporary")?)
}
