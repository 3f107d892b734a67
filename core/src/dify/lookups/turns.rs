//! Where a message stands in its conversation, and what the one before it was like.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::Row;
use uuid::Uuid;

use super::{Lookups, Previous, Turn, pages};
use crate::dify::follow::condition_of_nodes;
use crate::dify::json;
use crate::dify::records::{Message, Word};
use crate::dify::schema::Schema;
use crate::dify::session::{DatabaseError, ReadTx, built_query, query};

/// Longest outputs of a search that found nothing.
const EMPTY_OUTPUTS: i32 = 256;

/// What is known of a message that precedes another one.
struct Before {
    status: Word,
    run: Option<Uuid>,
    quoted: bool,
}

pub(super) async fn read(tx: &mut ReadTx, schema: &Schema, messages: &[&Message], lookups: &mut Lookups) -> Result<(), DatabaseError> {
    if messages.is_empty() || schema.index_on("messages", &["conversation_id"]).is_none() {
        return Ok(());
    }
    let places = places(tx, messages).await?;
    let before = pages(places.values().filter_map(|(_, previous)| *previous));
    let (mut rows, mut missed, mut ratings) = (HashMap::new(), HashMap::new(), HashMap::new());
    for page in before {
        rows.extend(before_rows(tx, schema, &page).await?);
        ratings.extend(last_ratings(tx, schema, &page).await?);
    }
    for page in pages(rows.values().filter_map(|row: &Before| row.run)) {
        missed.extend(searches(tx, schema, &page).await?);
    }
    for (id, (number, previous)) in places {
        let previous = previous.and_then(|id| {
            let row = rows.get(&id)?;
            let searched = row.run.and_then(|run| missed.get(&run).copied());
            Some(Previous {
                message_id: id,
                status: row.status.clone(),
                retrieval_missed: if row.quoted { Some(false) } else { searched },
                feedback: ratings.get(&id).cloned(),
            })
        });
        lookups.turns.insert(id, Turn { number, previous });
    }
    Ok(())
}

/// The number of each message in its conversation, and the message before it. A conversation is read once for all of its
/// messages, and not beyond 1,000 of them: no index has them in order.
async fn places(tx: &mut ReadTx, messages: &[&Message]) -> Result<HashMap<Uuid, (u32, Option<Uuid>)>, DatabaseError> {
    let mut places = HashMap::new();
    for page in messages.chunks(super::PAGE) {
        let ids: Vec<Uuid> = page.iter().map(|message| message.id).collect();
        let conversations = pages(page.iter().map(|message| message.conversation_id)).concat();
        let statement = query(include_str!("../queries/lookups_turns.sql")).bind(conversations).bind(ids);
        for row in tx.fetch_all(statement).await? {
            let number = u32::try_from(row.try_get::<i64, _>("number")?).unwrap_or(u32::MAX);
            places.insert(row.try_get("id")?, (number, row.try_get("previous_id")?));
        }
    }
    Ok(places)
}

async fn before_rows(tx: &mut ReadTx, schema: &Schema, page: &[Uuid]) -> Result<Vec<(Uuid, Before)>, DatabaseError> {
    let run = if schema.can_read("messages", "workflow_run_id") { "workflow_run_id" } else { "NULL::uuid" };
    let metadata = if schema.can_read("messages", "message_metadata") { "left(message_metadata, 65536)" } else { "NULL::text" };
    let statement = built_query(format!(
        "-- lookups_before: message_pkey\n\
         SELECT id, status::text AS status, {run} AS run_id, {metadata} AS metadata FROM messages WHERE id = ANY($1) LIMIT 500"
    ));
    let mut rows = Vec::new();
    for row in tx.fetch_all(statement.bind(page)).await? {
        let metadata: Option<&str> = row.try_get("metadata")?;
        let metadata = json::pick(metadata.unwrap_or(""), &["retriever_resources"]);
        let quoted = metadata.get("retriever_resources").and_then(Value::as_array).is_some_and(|resources| !resources.is_empty());
        let status = row.try_get::<Option<&str>, _>("status")?.unwrap_or("").into();
        rows.push((row.try_get("id")?, Before { status, run: row.try_get("run_id")?, quoted }));
    }
    Ok(rows)
}

/// The newest rating of each message.
async fn last_ratings(tx: &mut ReadTx, schema: &Schema, page: &[Uuid]) -> Result<Vec<(Uuid, Word)>, DatabaseError> {
    let table = "message_feedbacks";
    if !schema.can_read_all(table, &["message_id", "rating", "created_at"]) || schema.index_on(table, &["message_id"]).is_none() {
        return Ok(Vec::new());
    }
    let statement = query(
        "-- lookups_ratings: message_feedback_message_idx\n\
         SELECT message_id, rating::text AS rating FROM message_feedbacks WHERE message_id = ANY($1) ORDER BY created_at LIMIT 5000",
    );
    let rows = tx.fetch_all(statement.bind(page)).await?;
    rows.iter().map(|row| Ok((row.try_get("message_id")?, row.try_get::<Option<&str>, _>("rating")?.unwrap_or("").into()))).collect()
}

/// Whether the searches of each run found nothing at all; nothing of a run that made none.
async fn searches(tx: &mut ReadTx, schema: &Schema, page: &[Uuid]) -> Result<HashMap<Uuid, bool>, DatabaseError> {
    let mut missed: HashMap<Uuid, bool> = HashMap::new();
    let Some(condition) = condition_of_nodes(schema).filter(|_| schema.can_read("workflow_node_executions", "outputs")) else {
        return Ok(missed);
    };
    let statement = built_query(format!(
        "-- lookups_searches: workflow_run_pkey, the index on workflow_run_id\n\
         SELECT k.run_id, octet_length(n.outputs) AS size, left(n.outputs, $2) AS outputs \
         FROM (SELECT id AS run_id, tenant_id, app_id, workflow_id FROM workflow_runs WHERE id = ANY($1)) k \
         CROSS JOIN LATERAL (SELECT x.outputs FROM workflow_node_executions x \
         WHERE {condition} AND x.node_type = 'knowledge-retrieval' AND x.status = 'succeeded' LIMIT 20) n"
    ));
    for row in tx.fetch_all(statement.bind(page).bind(EMPTY_OUTPUTS)).await? {
        let size: Option<i32> = row.try_get("size")?;
        let outputs: Option<&str> = row.try_get("outputs")?;
        let outputs = json::pick(outputs.unwrap_or(""), &["result"]);
        let empty = outputs.get("result").and_then(Value::as_array).is_some_and(Vec::is_empty);
        let miss = size.is_some_and(|size| size <= EMPTY_OUTPUTS) && empty;
        missed.entry(row.try_get("run_id")?).and_modify(|all| *all &= miss).or_insert(miss);
    }
    Ok(missed)
}
