//! Which columns of a database name rows of which tables, derived from the names of the columns.

use anyhow::Context as _;
use sqlx::PgConnection;

/// What a column of this name points to, whatever its type; PostgreSQL has no foreign keys between these tables.
const BY_NAME: [(&str, &str); 14] = [
    ("workflow_run_id", "workflow_runs"),
    ("message_id", "messages"),
    ("parent_message_id", "messages"),
    ("conversation_id", "conversations"),
    ("node_execution_id", "workflow_node_executions"),
    ("pause_id", "workflow_pauses"),
    ("form_id", "human_input_forms"),
    ("pending_form_id", "human_input_forms"),
    ("delivery_id", "human_input_form_deliveries"),
    ("recipient_id", "human_input_form_recipients"),
    ("completed_by_recipient_id", "human_input_form_recipients"),
    ("upload_token_id", "human_input_form_upload_tokens"),
    ("message_chain_id", "message_chains"),
    ("annotation_id", "message_annotations"),
];

/// A column that names rows of another table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The table of the column.
    pub table: String,
    /// The column.
    pub column: String,
    /// The table whose `id` it holds.
    pub parent: String,
}

/// Every such column of the database whose parent table is there.
pub async fn references(connection: &mut PgConnection) -> anyhow::Result<Vec<Reference>> {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns
         WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    )
    .fetch_all(connection)
    .await
    .context("failed to list the columns")?;
    let is_there = |table: &str| columns.iter().any(|(name, _)| name == table);
    let found = columns.iter().filter_map(|(table, column)| {
        let (_, parent) = BY_NAME.iter().find(|(name, _)| name == column)?;
        // A node's own id in the engine; it is another column's business.
        let own = table == parent && column == "node_execution_id";
        (!own && is_there(parent)).then(|| Reference { table: table.clone(), column: column.clone(), parent: (*parent).to_owned() })
    });
    Ok(found.collect())
}
