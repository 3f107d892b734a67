//! What this database offers: tables, columns, indexes, grants. Everything is decided from what is there, never from a
//! version number: Dify releases weekly, and forks and hand-patched installations exist.

use std::collections::BTreeMap;

use sqlx::Row;

use super::session::{DatabaseError, ReadTx, query};

/// A snapshot of the catalogue, for the role that asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    tables: BTreeMap<String, Table>,
    /// `server_version_num`, for example 150018
    pub server_version: i32,
    /// The revision in `alembic_version`, where it can be read. A hint for people; nothing is decided by it.
    pub alembic_revision: Option<String>,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Columns by name, in no particular order.
    pub columns: BTreeMap<String, Column>,
    /// Valid indexes.
    pub indexes: Vec<Index>,
    /// `reltuples`; `None` when the table was never analysed
    pub rows_estimate: Option<i64>,
    /// Columns of the primary key in order; empty where there is none.
    pub primary_key: Vec<String>,
    /// Its rows are in partitions.
    pub partitioned: bool,
    /// Whether our role may read `xmin`: a right to the whole table, or to that column by name.
    pub version_readable: bool,
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The type as PostgreSQL writes it, for example `timestamp without time zone`.
    pub data_type: String,
    /// Whether our role may read it.
    pub readable: bool,
    /// `attnum`: physical order.
    pub position: i16,
    /// Its value is computed from others and cannot be written.
    pub generated: bool,
}

/// One valid index.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its key columns in order; an expression is an empty text.
    pub columns: Vec<String>,
    /// It covers only the rows of a predicate.
    pub partial: bool,
}

/// Why a database is not one that can be read as Dify's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDify {
    /// None of Dify's central tables is there.
    #[error(
        "this database does not look like Dify's: none of apps, workflow_runs and messages is there; check the database name in postgres.url (Dify's default is \"dify\")"
    )]
    NoTables,
    /// The tables are there but lack what every Dify has.
    #[error("table {table} lacks the column {column}, which every supported Dify (1.0 and newer) has; is this Dify's own database?")]
    MissingColumn {
        /// Table name.
        table: &'static str,
        /// Column name.
        column: &'static str,
    },
    /// The role may not read what is needed.
    #[error(
        "the database role may not read {table}.{column}; run deploy/postgres/exporter-role.sql, or: GRANT SELECT ON {table} TO <role>"
    )]
    NotReadable {
        /// Table name.
        table: &'static str,
        /// Column name.
        column: &'static str,
    },
}

/// What has to be there for runs and messages to be followed.
const REQUIRED: [(&str, &[&str]); 3] = [
    ("workflow_runs", &["id", "tenant_id", "app_id", "workflow_id", "status", "created_at", "finished_at", "elapsed_time"]),
    ("workflow_node_executions", &["id", "workflow_run_id", "tenant_id", "app_id", "workflow_id", "triggered_from", "status", "node_type"]),
    ("messages", &["id", "app_id", "conversation_id", "status", "created_at"]),
];

impl Schema {
    /// Reads the catalogue: two statements, whatever the number of rows.
    pub async fn probe(tx: &mut ReadTx) -> Result<Schema, DatabaseError> {
        let mut schema = Schema::default();
        for row in tx.fetch_all(query(include_str!("queries/schema_columns.sql"))).await? {
            let table = schema.tables.entry(row.try_get("table_name")?).or_default();
            let rows: f32 = row.try_get("reltuples")?;
            table.rows_estimate = (rows >= 0.0).then_some(rows as i64);
            table.partitioned = row.try_get("partitioned")?;
            table.version_readable = row.try_get("version_readable")?;
            let column = Column {
                data_type: row.try_get("data_type")?,
                readable: row.try_get("readable")?,
                position: row.try_get("position")?,
                generated: row.try_get("generated")?,
            };
            table.columns.insert(row.try_get("column_name")?, column);
        }
        for row in tx.fetch_all(query(include_str!("queries/schema_indexes.sql"))).await? {
            let table: String = row.try_get("table_name")?;
            if let Some(table) = schema.tables.get_mut(&table) {
                let columns: Vec<String> = row.try_get("columns")?;
                if row.try_get("is_primary")? {
                    table.primary_key.clone_from(&columns);
                }
                table.indexes.push(Index { name: row.try_get("index_name")?, columns, partial: row.try_get("partial")? });
            }
        }
        let version = tx.fetch_one(query("SELECT current_setting('server_version_num')::int AS version")).await?;
        schema.server_version = version.try_get("version")?;
        if schema.can_read("alembic_version", "version_num") {
            let row = tx.fetch_optional(query("SELECT version_num::text AS revision FROM alembic_version LIMIT 1")).await?;
            schema.alembic_revision = row.map(|row| row.try_get("revision")).transpose()?;
        }
        Ok(schema)
    }

    /// Whether runs and messages can be followed at all.
    pub fn require_dify(&self) -> Result<(), NotDify> {
        if ["apps", "workflow_runs", "messages"].iter().all(|table| !self.has_table(table)) {
            return Err(NotDify::NoTables);
        }
        for (table, columns) in REQUIRED {
            for column in columns {
                match self.column(table, column) {
                    None => return Err(NotDify::MissingColumn { table, column }),
                    Some(found) if !found.readable => return Err(NotDify::NotReadable { table, column }),
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn insert(&mut self, name: String, table: Table) {
        self.tables.insert(name, table);
    }

    /// The table, whether or not it may be read.
    pub fn table(&self, table: &str) -> Option<&Table> {
        self.tables.get(table)
    }

    /// Names of all tables of the search path.
    pub fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// Whether the table is there.
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// The column, whether or not it may be read.
    pub fn column(&self, table: &str, column: &str) -> Option<&Column> {
        self.tables.get(table)?.columns.get(column)
    }

    /// Whether the column is there and our role may read it.
    pub fn can_read(&self, table: &str, column: &str) -> bool {
        self.column(table, column).is_some_and(|column| column.readable)
    }

    /// Whether all of the columns are there and may be read.
    pub fn can_read_all(&self, table: &str, columns: &[&str]) -> bool {
        columns.iter().all(|column| self.can_read(table, column))
    }

    /// Whether `xmin` may be read: another one means that the row was written again.
    pub fn can_read_version(&self, table: &str) -> bool {
        self.tables.get(table).is_some_and(|table| table.version_readable)
    }

    /// A complete (not partial) index whose key begins with `columns`.
    pub fn index_on(&self, table: &str, columns: &[&str]) -> Option<&Index> {
        let starts_with = |index: &&Index| {
            !index.partial && index.columns.len() >= columns.len() && index.columns.iter().zip(columns).all(|(have, want)| have == want)
        };
        self.tables.get(table)?.indexes.iter().find(starts_with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema_with(table: &str, index: Index) -> Schema {
        let mut schema = Schema::default();
        schema.tables.insert(table.into(), Table { indexes: vec![index], ..Table::default() });
        schema
    }

    #[test]
    fn an_index_serves_a_prefix_of_its_key() {
        let schema = schema_with("t", Index { name: "i".into(), columns: vec!["created_at".into(), "id".into()], partial: false });
        assert!(schema.index_on("t", &["created_at"]).is_some());
        assert!(schema.index_on("t", &["id"]).is_none());
    }

    #[test]
    fn a_partial_index_serves_nothing() {
        let schema = schema_with("t", Index { name: "i".into(), columns: vec!["created_at".into()], partial: true });
        assert!(schema.index_on("t", &["created_at"]).is_none());
    }

    #[test]
    fn an_empty_database_is_not_difys() {
        assert_eq!(Schema::default().require_dify(), Err(NotDify::NoTables));
    }
}
