//! Which conversation and message a chatflow's run belongs to. The run's row does not say it, and no index leads from a run to
//! its message; but an index leads there from the conversation, where the run's inputs name it, or from the app and the time.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::{Batch, Lookups, PAGE};
use crate::dify::json;
use crate::dify::records::Run;
use crate::dify::schema::Schema;
use crate::dify::session::{DatabaseError, ReadTx, query};
use crate::dify::time::Micros;

/// A message is inserted just before its run, with a time rounded to the second.
const BEFORE_RUN: Duration = Duration::from_secs(120);
const AFTER_RUN: Duration = Duration::from_secs(5);

pub(super) async fn read(tx: &mut ReadTx, schema: &Schema, batch: &Batch<'_>, lookups: &mut Lookups) -> Result<(), DatabaseError> {
    for message in &batch.messages {
        if let Some(run) = message.workflow_run_id {
            lookups.conversations.insert(run, (message.conversation_id, message.id));
        }
    }
    if !schema.can_read("messages", "workflow_run_id") {
        return Ok(());
    }
    if schema.index_on("messages", &["conversation_id"]).is_some() {
        let named: Vec<(Uuid, Uuid)> =
            unknown(batch, lookups).into_iter().filter_map(|run| Some((run.key.id, named_conversation(run)?))).collect();
        for page in named.chunks(PAGE) {
            by_conversation(tx, page, lookups).await?;
        }
    }
    if schema.index_on("messages", &["app_id", "created_at"]).is_some() {
        for page in unknown(batch, lookups).chunks(PAGE) {
            by_time(tx, page, lookups).await?;
        }
    }
    Ok(())
}

/// Runs of chatflows whose message is not known yet.
fn unknown<'a>(batch: &Batch<'a>, lookups: &Lookups) -> Vec<&'a Run> {
    batch.runs.iter().copied().filter(|run| &*run.run_type == "chat" && !lookups.conversations.contains_key(&run.key.id)).collect()
}

/// The conversation that a run's inputs name; Dify 1.9.2 and newer leave it out.
fn named_conversation(run: &Run) -> Option<Uuid> {
    let inputs = json::pick(run.inputs.as_deref()?, &["sys.conversation_id"]);
    Uuid::parse_str(inputs.get("sys.conversation_id")?.as_str()?).ok()
}

async fn by_conversation(tx: &mut ReadTx, page: &[(Uuid, Uuid)], lookups: &mut Lookups) -> Result<(), DatabaseError> {
    let (runs, conversations): (Vec<Uuid>, Vec<Uuid>) = page.iter().copied().unzip();
    let statement = query(
        "-- lookups_by_conversation: message_workflow_run_id_idx\n\
         SELECT k.run_id, k.conversation_id, m.id FROM unnest($1::uuid[], $2::uuid[]) AS k(run_id, conversation_id) \
         CROSS JOIN LATERAL (SELECT e.id FROM messages e WHERE e.conversation_id = k.conversation_id AND e.workflow_run_id = k.run_id LIMIT 1) m",
    );
    take(tx.fetch_all(statement.bind(runs).bind(conversations)).await?, lookups)
}

async fn by_time(tx: &mut ReadTx, page: &[&Run], lookups: &mut Lookups) -> Result<(), DatabaseError> {
    let column = |pick: fn(&Run) -> Uuid| page.iter().map(|run| pick(run)).collect::<Vec<Uuid>>();
    let times = |pick: fn(&Run) -> Micros| page.iter().map(|run| pick(run)).collect::<Vec<Micros>>();
    let statement = query(
        "-- lookups_by_time: message_app_id_idx\n\
         SELECT k.run_id, m.conversation_id, m.id \
         FROM unnest($1::uuid[], $2::uuid[], $3::timestamp[], $4::timestamp[]) AS k(run_id, app_id, since, until) \
         CROSS JOIN LATERAL (SELECT e.id, e.conversation_id FROM messages e WHERE e.app_id = k.app_id AND e.created_at >= k.since \
         AND e.created_at < k.until AND e.workflow_run_id = k.run_id LIMIT 1) m",
    );
    let statement = statement
        .bind(column(|run| run.key.id))
        .bind(column(|run| run.key.app_id))
        .bind(times(|run| run.created_at.minus(BEFORE_RUN)))
        .bind(times(|run| run.created_at.plus(AFTER_RUN)));
    take(tx.fetch_all(statement).await?, lookups)
}

fn take(rows: Vec<sqlx::postgres::PgRow>, lookups: &mut Lookups) -> Result<(), DatabaseError> {
    let mut found: HashMap<Uuid, (Uuid, Uuid)> = HashMap::new();
    for row in rows {
        found.insert(row.try_get("run_id")?, (row.try_get("conversation_id")?, row.try_get("id")?));
    }
    lookups.conversations.extend(found);
    Ok(())
}
