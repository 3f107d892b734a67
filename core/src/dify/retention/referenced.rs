//! Which runs a message names.
//!
//! A run of a chatflow goes with its conversation. One that no message names is left over from a conversation that was deleted, and is a
//! root of its own. No index leads from a run to its message, and no window of time is safe, so the whole index of the messages is read
//! once for many runs; deleting the run of a living message would break the whole chat.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use sqlx::Row;
use uuid::Uuid;

use super::blocks::{IN_RANGE, Walk};
use super::manners;
use super::ownership::Ownership;
use crate::dify::session::{Database, DatabaseError, built_query, query};

/// Index entries of one statement.
const PAGE: u32 = 20_000;

const BY_INDEX: &str = "-- janitor_referenced_runs: (conversation_id, workflow_run_id)\n\
     SELECT t.conversation_id, t.workflow_run_id FROM messages t \
     WHERE t.conversation_id >= $1::uuid AND (t.conversation_id, t.workflow_run_id) > ($1::uuid, $2::uuid) AND t.workflow_run_id IS NOT NULL \
     ORDER BY t.conversation_id, t.workflow_run_id LIMIT $3::int8";

/// Takes out of `runs` every run that a message names: one pass over the messages' index. After each statement it sleeps for `pace`
/// times as long as the statement took.
pub async fn referenced_runs(
    db: &Database,
    ownership: &Ownership,
    runs: &mut HashSet<Uuid>,
    pace: f64,
    timeout: Duration,
) -> Result<(), DatabaseError> {
    let mut place = if ownership.checks.messages_by_run {
        Place::Index { after: (Uuid::nil(), Uuid::nil()), limit: PAGE }
    } else {
        Place::Blocks(Walk::new("messages", ownership.checks.server_version, PAGE as usize))
    };
    while !runs.is_empty() {
        let began = Instant::now();
        match place.page(db, timeout, runs).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(DatabaseError::Timeout) if place.shrink() => continue,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(began.elapsed().mul_f64(pace.max(0.0))).await;
    }
    Ok(())
}

/// Where the pass stands.
#[derive(Debug)]
enum Place {
    Index { after: (Uuid, Uuid), limit: u32 },
    Blocks(Walk),
}

impl Place {
    /// Reads one page; `false` when there was none left.
    async fn page(&mut self, db: &Database, timeout: Duration, runs: &mut HashSet<Uuid>) -> Result<bool, DatabaseError> {
        let mut tx = manners::read(db, timeout).await?;
        let more = match self {
            Place::Index { after, limit } => {
                let rows = tx.fetch_all(query(BY_INDEX).bind(after.0).bind(after.1).bind(i64::from(*limit))).await?;
                for row in &rows {
                    runs.remove(&row.try_get::<Uuid, _>("workflow_run_id")?);
                }
                if let Some(last) = rows.last() {
                    *after = (last.try_get("conversation_id")?, last.try_get("workflow_run_id")?);
                }
                rows.len() == *limit as usize
            }
            Place::Blocks(walk) => match walk.range(&mut tx).await? {
                None => false,
                Some(range) => {
                    let rows = tx.fetch_all(range.bind(built_query(by_blocks()))).await?;
                    for row in &rows {
                        runs.remove(&row.try_get::<Uuid, _>("workflow_run_id")?);
                    }
                    walk.advance(&range, rows.len());
                    true
                }
            },
        };
        tx.end().await?;
        Ok(more)
    }

    fn shrink(&mut self) -> bool {
        match self {
            Place::Index { limit, .. } => {
                let can_shrink = *limit > 1;
                *limit = (*limit / 2).max(1);
                can_shrink
            }
            Place::Blocks(walk) => walk.shrink(),
        }
    }
}

fn by_blocks() -> String {
    format!(
        "-- janitor_referenced_runs: a range of blocks\n\
         SELECT t.workflow_run_id FROM messages t WHERE {IN_RANGE} AND t.workflow_run_id IS NOT NULL"
    )
}

/// The statements of this module, by name.
pub(super) fn statements(ownership: &Ownership) -> Vec<(&'static str, String)> {
    let text = if ownership.checks.messages_by_run { BY_INDEX.to_owned() } else { by_blocks() };
    vec![("referenced_runs", text)]
}
