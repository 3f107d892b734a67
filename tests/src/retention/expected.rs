//! Which rows must go, worked out with plain SQL from the rules and the names of columns.

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, PgConnection};

use super::references::{Reference, references};
use super::rules::Rules;
use super::snapshot::Keys;
use crate::schema::quoted;
use crate::simulator::value::{Micros, naive};

/// Columns that name a row without belonging to it: their rows stay when it goes, or they keep it from going.
const LOOSE: [(&str, &str); 9] = [
    // Dify's own record of what it archived.
    ("workflow_archive_logs", "workflow_run_id"),
    // The object in the storage is named by this row alone.
    ("tool_files", "conversation_id"),
    // These two keep their conversation.
    ("message_annotations", "message_id"),
    ("message_annotations", "conversation_id"),
    ("saved_messages", "message_id"),
    // These keep their run.
    ("workflow_draft_variables", "node_execution_id"),
    // The other way around: the run belongs to the message.
    ("messages", "workflow_run_id"),
    ("messages", "parent_message_id"),
    ("human_input_forms", "completed_by_recipient_id"),
];

/// Rows that must be gone and rows that may be gone: the difference is what came of age while the janitor worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// What was due when it started.
    pub must: Keys,
    /// What is due a while later.
    pub may: Keys,
}

impl Expected {
    /// What is wrong with what went, one line a row.
    pub fn complaints(&self, gone: &Keys) -> Vec<String> {
        let mut complaints = missing(gone, &self.must, "should be gone and is there");
        complaints.extend(self.wrongly(gone));
        complaints
    }

    /// What went and should not have, one line a row.
    pub fn wrongly(&self, gone: &Keys) -> Vec<String> {
        missing(&self.may, gone, "is gone and should be there")
    }

    /// How many rows must go.
    pub fn len(&self) -> usize {
        self.must.values().map(|keys| keys.len()).sum()
    }

    /// Whether nothing must go.
    pub fn is_empty(&self) -> bool {
        self.must.is_empty()
    }
}

/// The keys of `what` that are not in `from`.
fn missing(from: &Keys, what: &Keys, text: &str) -> Vec<String> {
    let none = Default::default();
    let lines = what.iter().flat_map(|(table, keys)| {
        let there = from.get(table).unwrap_or(&none);
        keys.iter().filter(|key| !there.contains(*key)).map(move |key| format!("{table} {key} {text}"))
    });
    lines.collect()
}

/// What the rules say about a database at a moment, and twenty minutes later.
pub async fn expected(connection: &mut PgConnection, rules: &Rules, now: Micros) -> anyhow::Result<Expected> {
    let must = due(connection, rules, now).await?;
    let may = due(connection, rules, now + 20 * 60 * 1_000_000).await?;
    Ok(Expected { must, may })
}

async fn due(connection: &mut PgConnection, rules: &Rules, now: Micros) -> anyhow::Result<Keys> {
    let references = references(connection).await?;
    sqlx::raw_sql(AssertSqlSafe(roots(rules, now, &references))).execute(&mut *connection).await.context("the roots that are due")?;
    let hanging: Vec<&Reference> =
        references.iter().filter(|reference| !LOOSE.contains(&(reference.table.as_str(), reference.column.as_str()))).collect();
    // As deep as the deepest chain: run, form, delivery, recipient, token, file.
    for _ in 0..6 {
        for reference in &hanging {
            sqlx::raw_sql(AssertSqlSafe(children(reference))).execute(&mut *connection).await.with_context(|| format!("{reference:?}"))?;
        }
    }
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT table_name, key FROM pg_temp.goes").fetch_all(&mut *connection).await?;
    sqlx::raw_sql("DROP TABLE pg_temp.goes, pg_temp.rules, pg_temp.needed").execute(connection).await?;
    let mut keys = Keys::new();
    for (table, key) in rows {
        keys.entry(table).or_default().insert(key);
    }
    Ok(keys)
}

/// Runs and conversations that are due, with the messages of these conversations and their runs.
fn roots(rules: &Rules, now: Micros, references: &[Reference]) -> String {
    let has = |table: &str, column: &str| references.iter().any(|reference| reference.table == table && reference.column == column);
    let draft_variable = if has("workflow_draft_variables", "node_execution_id") {
        "UNION SELECT n.workflow_run_id FROM workflow_draft_variables v JOIN workflow_node_executions n ON n.id = v.node_execution_id"
    } else {
        ""
    };
    let kept_message = |table: &str| {
        if has(table, "message_id") {
            format!("AND NOT EXISTS (SELECT FROM messages m JOIN {table} k ON k.message_id = m.id WHERE m.conversation_id = c.id)")
        } else {
            String::new()
        }
    };
    let kept_conversation = if has("message_annotations", "conversation_id") {
        "AND NOT EXISTS (SELECT FROM message_annotations k WHERE k.conversation_id = c.id)"
    } else {
        ""
    };
    let (now, age, stale, values) = (naive(now), rules.age, rules.stale_after, rules.to_values());
    let annotated = kept_message("message_annotations");
    let saved = kept_message("saved_messages");
    format!(
        "CREATE TEMP TABLE rules AS SELECT * FROM (VALUES {values}) r (app, statuses, seconds, hold);
         DELETE FROM rules WHERE seconds IS NULL AND NOT hold;
         CREATE TEMP TABLE needed AS
           SELECT id FROM workflow_runs WHERE NOT (
             status IN ('succeeded', 'failed', 'stopped', 'partial-succeeded')
             OR status = 'running' AND created_at < timestamp '{now}' - {stale} * interval '1 second'
             OR status NOT IN ('running', 'paused', 'scheduled') AND finished_at IS NOT NULL)
           UNION SELECT workflow_run_id FROM (
             SELECT n.workflow_run_id, rank() OVER (PARTITION BY n.app_id, n.workflow_id, n.node_id ORDER BY n.created_at DESC) AS place
             FROM workflow_node_executions n JOIN workflows w ON w.id = n.workflow_id AND w.version = 'draft') newest WHERE place = 1
           {draft_variable};
         CREATE TEMP TABLE goes (table_name text, key text, PRIMARY KEY (table_name, key));
         INSERT INTO goes SELECT 'conversations', c.id::text FROM conversations c
           LEFT JOIN LATERAL (SELECT max(m.created_at) AS at FROM messages m WHERE m.conversation_id = c.id) m ON true
           WHERE greatest(c.created_at, c.updated_at, m.at) < timestamp '{now}' - interval '1 second' * coalesce(
               (SELECT max(seconds) FROM rules r WHERE (r.app IS NULL OR r.app = c.app_id) AND r.statuses IS NULL), {age})
             AND NOT EXISTS (SELECT FROM rules r WHERE r.hold AND (r.app IS NULL OR r.app = c.app_id) AND r.statuses IS NULL)
             AND NOT EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id
                             AND m.workflow_run_id IN (SELECT id FROM needed WHERE id IS NOT NULL))
             {annotated} {saved} {kept_conversation};
         INSERT INTO goes SELECT 'messages', m.id::text FROM messages m
           WHERE m.conversation_id::text IN (SELECT key FROM goes WHERE table_name = 'conversations');
         INSERT INTO goes SELECT 'workflow_runs', r.id::text FROM workflow_runs r
           WHERE r.id IN (SELECT m.workflow_run_id FROM messages m JOIN goes g ON g.table_name = 'messages' AND g.key = m.id::text)
             OR r.id NOT IN (SELECT workflow_run_id FROM messages WHERE workflow_run_id IS NOT NULL)
               AND r.id NOT IN (SELECT id FROM needed WHERE id IS NOT NULL)
               AND coalesce(r.finished_at, r.created_at) < timestamp '{now}' - interval '1 second' * coalesce(
                 (SELECT max(seconds) FROM rules p WHERE (p.app IS NULL OR p.app = r.app_id)
                    AND (p.statuses IS NULL OR r.status = ANY (p.statuses))), {age})
               AND NOT EXISTS (SELECT FROM rules p WHERE p.hold AND (p.app IS NULL OR p.app = r.app_id)
                    AND (p.statuses IS NULL OR r.status = ANY (p.statuses)))"
    )
}

fn children(reference: &Reference) -> String {
    let key = if reference.table == "workflow_conversation_variables" { "concat_ws('/', c.id, c.conversation_id)" } else { "c.id::text" };
    format!(
        "INSERT INTO goes SELECT '{}', {key} FROM public.{} c JOIN goes g ON g.table_name = '{}' AND g.key = c.{}::text ON CONFLICT DO NOTHING",
        reference.table,
        quoted(&reference.table),
        reference.parent,
        quoted(&reference.column)
    )
}
