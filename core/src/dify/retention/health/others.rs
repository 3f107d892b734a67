//! Others who delete executions, and tables of others that hang on them.

use sqlx::Row;

use crate::dify::ddl::quoted;
use crate::dify::session::{DatabaseError, ReadTx, built_query, query};

/// A session that is deleting executions right now, and is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleter {
    /// Its process id on the server.
    pub pid: i32,
    /// Its role.
    pub role: String,
    /// What it calls itself.
    pub application: String,
    /// From which table it deletes.
    pub table: String,
}

/// Sessions that are deleting executions by lists of ids, as Dify's cleaners do. Deleting an app or a conversation goes row by row or by
/// another key, and is none.
pub async fn other_deleters(tx: &mut ReadTx) -> Result<Vec<Deleter>, DatabaseError> {
    let rows = tx.fetch_all(query(include_str!("../../queries/retention_cleaners.sql"))).await?;
    let mut deleters = Vec::with_capacity(rows.len());
    for row in rows {
        deleters.push(Deleter {
            pid: row.try_get("pid")?,
            role: row.try_get("role")?,
            application: row.try_get("application")?,
            table: row.try_get("table_name")?,
        });
    }
    Ok(deleters)
}

/// What a cleaner of Dify did since the statistics of statements began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCleaner {
    /// From which table it deleted.
    pub table: &'static str,
    /// How often.
    pub calls: i64,
    /// How many rows.
    pub rows: i64,
}

/// Traces of Dify's cleaners in `pg_stat_statements`; `None` where that extension cannot be asked. The statements are recognised by the
/// shape that Dify's own library gives them.
pub async fn past_cleaners(tx: &mut ReadTx) -> Result<Option<Vec<PastCleaner>>, DatabaseError> {
    let Some(row) = tx.fetch_optional(query(include_str!("../../queries/retention_statements.sql"))).await? else { return Ok(None) };
    let schema: String = row.try_get("schema")?;
    let mut cleaners = Vec::new();
    for table in ["workflow_runs", "messages"] {
        let text = format!(
            "-- past_cleaners: the extension's memory\nSELECT COALESCE(sum(s.calls), 0)::int8 AS calls, COALESCE(sum(s.rows), 0)::int8 AS rows \
             FROM {}.pg_stat_statements s JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = current_database() \
             WHERE s.query ~ '^DELETE FROM {table} WHERE {table}\\.id IN '",
            quoted(&schema)
        );
        let row = tx.fetch_one(built_query(text)).await?;
        let found = PastCleaner { table, calls: row.try_get("calls")?, rows: row.try_get("rows")? };
        cleaners.extend((found.calls > 0).then_some(found));
    }
    Ok(Some(cleaners))
}

/// What PostgreSQL does with a row that points at one which is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// Refuses the deletion.
    Refuses,
    /// Deletes it too, or empties its reference.
    Changes,
}

/// Something that somebody hung on a table of Dify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dependent {
    /// A foreign key of a table that is not Dify's, or that is not known.
    ForeignKey {
        /// The constraint.
        name: String,
        /// Where it is.
        table: String,
        /// Where it points.
        to: String,
        /// What happens to its rows.
        on_delete: OnDelete,
        /// Its table holds rows, or did since the last VACUUM.
        filled: bool,
    },
    /// A trigger on deletion.
    Trigger {
        /// Its name.
        name: String,
        /// Where it is.
        table: String,
    },
}

/// Foreign keys that point at `tables` from elsewhere, and triggers on deletion.
pub async fn dependents(tx: &mut ReadTx, tables: &[String]) -> Result<Vec<Dependent>, DatabaseError> {
    let rows = tx.fetch_all(query(include_str!("../../queries/retention_dependents.sql")).bind(tables)).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let (name, table) = (row.try_get("name")?, row.try_get("on_table")?);
        let kind: String = row.try_get("kind")?;
        found.push(if kind == "trigger" {
            Dependent::Trigger { name, table }
        } else {
            let on_delete: String = row.try_get("on_delete")?;
            // a: no action, r: restrict; c: cascade, n: set null, d: set default.
            let on_delete = if matches!(on_delete.as_str(), "a" | "r") { OnDelete::Refuses } else { OnDelete::Changes };
            Dependent::ForeignKey { name, table, to: row.try_get("to_table")?, on_delete, filled: row.try_get("filled")? }
        });
    }
    Ok(found)
}

/// Whether a table that is not known holds a row with a value in `column`; `None` where it has pages and the role may not read it.
pub async fn has_rows(tx: &mut ReadTx, table: &str, column: &str) -> Result<Option<bool>, DatabaseError> {
    let asked = "-- has_pages: the catalogue's own indexes\n\
                 SELECT c.relkind = 'p' OR pg_relation_size(c.oid) > 0 AS pages, has_column_privilege(c.oid, $2, 'SELECT') AS readable \
                 FROM pg_catalog.pg_class c WHERE c.relname = $1 AND pg_catalog.pg_table_is_visible(c.oid) AND c.relkind IN ('r', 'p')";
    let Some(row) = tx.fetch_optional(query(asked).bind(table).bind(column)).await? else { return Ok(Some(false)) };
    if !row.try_get::<bool, _>("pages")? {
        return Ok(Some(false));
    }
    if !row.try_get::<bool, _>("readable")? {
        return Ok(None);
    }
    let text = format!(
        "-- has_rows: until the first one\nSELECT EXISTS (SELECT FROM {} WHERE {} IS NOT NULL) AS filled",
        quoted(table),
        quoted(column)
    );
    let row = tx.fetch_one(built_query(text)).await?;
    Ok(Some(row.try_get("filled")?))
}
