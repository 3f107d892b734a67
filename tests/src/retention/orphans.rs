//! Rows that name a row which is not there.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection};

use super::references::references;
use crate::schema::quoted;

/// What Dify writes where there is no parent message.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Every row with a column that names a missing row, one line each: `message_files 3f… message_id 77…`. Dify itself leaves many, so
/// that tests compare two moments.
pub async fn orphans(connection: &mut PgConnection) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for reference in references(connection).await? {
        let (table, column) = (quoted(&reference.table), quoted(&reference.column));
        let sql = format!(
            "SELECT concat_ws(' ', '{}', c.id, '{}', c.{column}) FROM public.{table} c
             WHERE c.{column}::text <> '{NOBODY}' AND NOT EXISTS (SELECT FROM public.{} p WHERE p.id::text = c.{column}::text)",
            reference.table,
            reference.column,
            quoted(&reference.parent)
        );
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
        found.extend(rows);
    }
    Ok(found)
}
