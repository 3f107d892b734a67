//! What statements cost in a database, as PostgreSQL itself counts it.

use anyhow::Context;
use sqlx::Connection as _;

use super::TestDatabase;

/// Statements that ran in a database since `TestDatabase::count_statements`, transaction control aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatementUse {
    /// How many statements were executed.
    pub calls: i64,
    /// How many pages they touched, in the server's cache or not.
    pub buffers: i64,
    /// How many rows they returned or changed.
    pub rows: i64,
}

impl TestDatabase {
    /// Starts counting at zero. The server must have `pg_stat_statements` loaded, as the private ones have.
    pub async fn count_statements(&self) -> anyhow::Result<()> {
        self.execute(
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
             SELECT pg_stat_statements_reset(0, (SELECT oid FROM pg_database WHERE datname = current_database()), 0)",
        )
        .await
    }

    /// What was counted since, for statements of which the text contains `containing` (all of them: an empty text). Statements of
    /// this harness itself are left out.
    pub async fn statement_use(&self, containing: &str) -> anyhow::Result<StatementUse> {
        let mut connection = self.connect().await?;
        let (calls, buffers, rows) = sqlx::query_as(
            "SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(shared_blks_hit + shared_blks_read), 0)::bigint,
               coalesce(sum(rows), 0)::bigint
             FROM pg_stat_statements
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND position($1 in query) > 0 AND query NOT LIKE '%pg_stat_statements%'",
        )
        .bind(containing)
        .fetch_one(&mut connection)
        .await
        .context("failed to read pg_stat_statements; call count_statements first")?;
        connection.close().await?;
        Ok(StatementUse { calls, buffers, rows })
    }
}
