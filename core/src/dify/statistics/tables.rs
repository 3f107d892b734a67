//! How large Dify's tables are and how far back they reach.

use sqlx::Row;

use crate::dify::schema::Schema;
use crate::dify::session::{DatabaseError, ReadTx, built_query, query};
use crate::dify::time::Micros;

/// Tables that grow with use. They are always listed, others only when they are large.
const GROWING: [&str; 30] = [
    "workflow_runs",
    "workflow_node_executions",
    "workflow_node_execution_offload",
    "workflow_app_logs",
    "workflow_archive_logs",
    "workflow_trigger_logs",
    "workflow_pauses",
    "workflow_pause_reasons",
    "workflow_conversation_variables",
    "workflow_draft_variables",
    "workflow_draft_variable_files",
    "conversations",
    "messages",
    "message_agent_thoughts",
    "message_annotations",
    "message_chains",
    "message_feedbacks",
    "message_files",
    "app_annotation_hit_histories",
    "dataset_queries",
    "dataset_retriever_resources",
    "documents",
    "document_segments",
    "embeddings",
    "end_users",
    "execution_extra_contents",
    "human_input_forms",
    "tool_files",
    "tool_model_invokes",
    "upload_files",
];

/// Size and rows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFigures {
    /// Its name.
    pub name: String,
    /// The rows themselves, with the maps of free space and visibility.
    pub heap_bytes: i64,
    /// Values kept out of line, with their index.
    pub toast_bytes: i64,
    /// All indexes.
    pub index_bytes: i64,
    /// The planner's estimate; `None` when there is none yet.
    pub rows: Option<i64>,
    /// Rows waiting for VACUUM, as the statistics collector estimates them.
    pub dead_rows: Option<i64>,
}

/// Sizes of the tables that grow, and of any other large one, largest first, at most 200.
pub async fn table_figures(tx: &mut ReadTx) -> Result<Vec<TableFigures>, DatabaseError> {
    let names: Vec<String> = GROWING.iter().map(|name| (*name).to_owned()).collect();
    let mut tables = Vec::new();
    for row in tx.fetch_all(query(include_str!("../queries/statistics_tables.sql")).bind(names)).await? {
        tables.push(TableFigures {
            name: row.try_get("name")?,
            heap_bytes: row.try_get("heap_bytes")?,
            toast_bytes: row.try_get("toast_bytes")?,
            index_bytes: row.try_get("index_bytes")?,
            rows: row.try_get("rows")?,
            dead_rows: row.try_get("dead_rows")?,
        });
    }
    Ok(tables)
}

/// The oldest row of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldestRow {
    /// Table name.
    pub table: &'static str,
    /// Its smallest `created_at`.
    pub created_at: Micros,
}

/// The oldest rows of the tables in which an index finds them; empty tables and those without such an index are left out.
pub async fn oldest_rows(tx: &mut ReadTx, schema: &Schema) -> Result<Vec<OldestRow>, DatabaseError> {
    let mut oldest = Vec::new();
    for table in GROWING {
        let naive = schema.column(table, "created_at").is_some_and(|column| column.data_type.starts_with("timestamp"));
        if !naive || !schema.can_read(table, "created_at") || schema.index_on(table, &["created_at"]).is_none() {
            continue;
        }
        // Not min(): a nullable column could tempt the planner away from the index, an ordered scan cannot.
        let text = format!("-- oldest_row: (created_at)\nSELECT created_at FROM {table} ORDER BY created_at LIMIT 1");
        if let Some(row) = tx.fetch_optional(built_query(text)).await? {
            let created_at: Option<Micros> = row.try_get("created_at")?;
            oldest.extend(created_at.map(|created_at| OldestRow { table, created_at }));
        }
    }
    Ok(oldest)
}
