//! Conversations by what their own row says of their age; their messages may say otherwise.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Candidate;
use crate::dify::retention::blocks::{BlockRange, IN_RANGE};
use crate::dify::retention::bundle::{Bundle, Root};
use crate::dify::retention::survey::{Portion, SAMPLED};
use crate::dify::session::{DatabaseError, ReadTx, built_query};
use crate::dify::time::Micros;

const COLUMNS: &str = "t.id, t.app_id, (SELECT a.tenant_id FROM apps a WHERE a.id = t.app_id) AS tenant_id, t.invoke_from, t.created_at, \
     GREATEST(t.created_at, t.updated_at) AS active_at";

/// Conversations in a range of blocks. No index orders them all by time, in any version.
pub(super) fn in_blocks_text() -> String {
    format!(
        "-- janitor_conversations_in_blocks: a range of blocks, apps_pkey\n\
         SELECT {COLUMNS} FROM conversations t WHERE {IN_RANGE} AND GREATEST(t.created_at, t.updated_at) < $3::timestamp"
    )
}

/// Conversations of a sample of blocks, whatever their age.
pub(super) fn sampled_text() -> String {
    format!("-- janitor_sampled_conversations: a sample of blocks, apps_pkey\nSELECT {COLUMNS} FROM conversations t {SAMPLED}")
}

pub(super) async fn sampled(tx: &mut ReadTx, portion: Portion) -> Result<Vec<Candidate>, DatabaseError> {
    tx.fetch_all(portion.bind(built_query(sampled_text()))).await?.iter().map(candidate).collect()
}

pub(super) async fn in_blocks(tx: &mut ReadTx, range: &BlockRange, before: Micros) -> Result<Vec<Candidate>, DatabaseError> {
    let query = range.bind(built_query(in_blocks_text())).bind(before);
    tx.fetch_all(query).await?.iter().map(candidate).collect()
}

fn candidate(row: &PgRow) -> Result<Candidate, DatabaseError> {
    let tenant_id: Option<Uuid> = row.try_get("tenant_id")?;
    let invoke_from: Option<String> = row.try_get("invoke_from")?;
    let bundle = Bundle {
        root: Root::Conversation,
        id: row.try_get("id")?,
        tenant_id: tenant_id.unwrap_or_default(),
        app_id: row.try_get("app_id")?,
        status: None,
        ended_at: row.try_get("active_at")?,
        newest: row.try_get("created_at")?,
        runs: Vec::new(),
        messages: Vec::new(),
    };
    Ok(Candidate { bundle, run_type: String::new(), triggered_from: invoke_from.unwrap_or_default(), stale: false, protected: None })
}
