//! Puts transactions into a real database, with whatever columns that database has.

use std::collections::HashMap;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _};

use super::{
    profile::Version,
    value::{Row, Statement, Value, Write},
};

/// Columns and their types, by table.
#[derive(Debug, Clone, Default)]
pub struct Target {
    tables: HashMap<String, HashMap<String, String>>,
}

impl Target {
    /// Asks the database which of the columns there are.
    pub async fn probe(connection: &mut PgConnection) -> Result<Self> {
        let rows = sqlx::query(
            "SELECT table_name::text, column_name::text, udt_name::text FROM information_schema.columns WHERE table_schema = current_schema()",
        )
        .fetch_all(connection)
        .await
        .context("the columns of the database")?;
        let mut tables: HashMap<String, HashMap<String, String>> = HashMap::new();
        for row in rows {
            tables.entry(row.get(0)).or_default().insert(row.get(1), row.get(2));
        }
        Ok(Self { tables })
    }

    /// Whether the database has this table.
    pub fn has(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// The release whose tables these look like; `None` when they are not Dify's.
    pub fn version(&self) -> Option<Version> {
        let column = |table: &str, column: &str| self.tables.get(table).is_some_and(|columns| columns.contains_key(column));
        if !self.has("workflow_runs") || !self.has("apps") {
            return None;
        }
        Some(match () {
            () if column("workflows", "version_number") => Version::new(1, 17, 1),
            () if self.has("human_input_forms") => Version::new(1, 14, 2),
            () if column("documents", "need_summary") => Version::new(1, 12, 1),
            () if self.has("workflow_trigger_logs") => Version::new(1, 11, 4),
            () if column("workflow_runs", "sequence_number") => Version::new(1, 2, 0),
            () => Version::new(1, 8, 1),
        })
    }

    /// Those columns of a row that the database has: name, type and value.
    pub fn fit<'a>(&'a self, table: &str, row: &'a Row) -> Vec<(&'static str, &'a str, &'a Value)> {
        let Some(columns) = self.tables.get(table) else { return Vec::new() };
        row.iter().filter_map(|(name, value)| columns.get(*name).map(|kind| (*name, kind.as_str(), value))).collect()
    }

    /// Executes one transaction.
    pub async fn apply(&self, connection: &mut PgConnection, write: &Write) -> Result<()> {
        let mut transaction = connection.begin().await?;
        for statement in &write.statements {
            self.execute(&mut transaction, statement).await.with_context(|| format!("{} {}", statement.table(), statement.id()))?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn execute(&self, connection: &mut PgConnection, statement: &Statement) -> Result<()> {
        if !self.has(statement.table()) {
            return Ok(());
        }
        match statement {
            Statement::Insert { table, row } => self.insert(connection, table, row, "").await,
            Statement::Ensure { table, row } => self.insert(connection, table, row, " ON CONFLICT DO NOTHING").await,
            Statement::Update { table, id, set } => self.update(connection, table, *id, set).await.map(drop),
            Statement::Merge { table, set, row } => {
                if self.update(connection, table, statement.id(), set).await? == 0 {
                    self.insert(connection, table, row, "").await?;
                }
                Ok(())
            }
            Statement::Delete { table, id } => {
                let text = format!("DELETE FROM {table} WHERE id = $1");
                sqlx::query(AssertSqlSafe(text)).bind(*id).execute(connection).await?;
                Ok(())
            }
        }
    }

    async fn insert(&self, connection: &mut PgConnection, table: &str, row: &Row, suffix: &str) -> Result<()> {
        let fitting = self.fit(table, row);
        let names: Vec<String> = fitting.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
        let values: Vec<String> = fitting.iter().enumerate().map(|(number, (_, kind, _))| parameter(number, kind)).collect();
        let text = format!("INSERT INTO {table} ({}) VALUES ({}){suffix}", names.join(", "), values.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (.., value) in &fitting {
            query = query.bind(value.to_sql());
        }
        query.execute(connection).await?;
        Ok(())
    }

    async fn update(&self, connection: &mut PgConnection, table: &str, id: uuid::Uuid, set: &Row) -> Result<u64> {
        let fitting = self.fit(table, set);
        let mut changes: Vec<String> =
            fitting.iter().enumerate().map(|(number, (name, kind, _))| format!("\"{name}\" = {}", parameter(number, kind))).collect();
        if changes.is_empty() {
            changes.push("id = id".to_owned());
        }
        let text = format!("UPDATE {table} SET {} WHERE id = ${}", changes.join(", "), fitting.len() + 1);
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (.., value) in &fitting {
            query = query.bind(value.to_sql());
        }
        Ok(query.bind(id).execute(connection).await?.rows_affected())
    }
}

/// Every value travels as text and is cast to its column's type.
fn parameter(number: usize, kind: &str) -> String {
    format!("${}::text::{kind}", number + 1)
}
