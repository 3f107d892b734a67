//! A database in which something hangs on everything: months of simulated traffic, and rows in every table that names a run, a node
//! execution, a message or a conversation.

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::references::references;
use crate::postgres::TestDatabase;
use crate::schema::{Schema, Table, quoted};
use crate::simulator::value::{DAY, Micros, naive};
use crate::simulator::{Deletions, Faults, Options, Reference, Simulation, Target, Version, bulk};

/// How far back the traffic reaches.
const DAYS: i64 = 90;

/// What was put into a database.
#[derive(Debug, Clone)]
pub struct Population {
    /// The apps, by how many runs and conversations they have, most first.
    pub apps: Vec<Uuid>,
    /// The tables that `fill` could put rows into.
    pub filled: Vec<&'static str>,
}

/// What the rows of a table hang on, one row of this each: `id` and what is known about the parents.
const RUN: &str = "SELECT id, id AS workflow_run_id, tenant_id, app_id, workflow_id, created_at AS at FROM workflow_runs";
const PAUSED: &str =
    "SELECT id, id AS workflow_run_id, tenant_id, app_id, workflow_id, created_at AS at FROM workflow_runs WHERE status = 'paused'";
const NODE: &str = "SELECT id, id AS node_execution_id, workflow_run_id, tenant_id, app_id, workflow_id, created_at AS at
   FROM workflow_node_executions WHERE workflow_run_id IS NOT NULL";
const MESSAGE: &str = "SELECT m.id, m.id AS message_id, m.conversation_id, coalesce(a.tenant_id, m.app_id) AS tenant_id, m.app_id,
   m.created_at AS at FROM messages m LEFT JOIN apps a ON a.id = m.app_id";
const CHATFLOW_MESSAGE: &str = "SELECT id, id AS message_id, conversation_id, workflow_run_id, app_id, created_at AS at FROM messages WHERE workflow_run_id IS NOT NULL";
const CONVERSATION: &str =
    "SELECT c.id, c.id AS conversation_id, coalesce(a.tenant_id, c.app_id) AS tenant_id, c.app_id, c.created_at AS at
   FROM conversations c LEFT JOIN apps a ON a.id = c.app_id";
const PAUSE: &str = "SELECT id, id AS pause_id, created_at AS at FROM workflow_pauses";
const FORM: &str = "SELECT id, id AS form_id, tenant_id, app_id, created_at AS at FROM human_input_forms";
const DELIVERY: &str = "SELECT id, id AS delivery_id, form_id, created_at AS at FROM human_input_form_deliveries";
const RECIPIENT: &str = "SELECT r.id, r.id AS recipient_id, r.form_id, f.tenant_id, f.app_id, r.created_at AS at
   FROM human_input_form_recipients r JOIN human_input_forms f ON f.id = r.form_id";
const TOKEN: &str = "SELECT id, id AS upload_token_id, form_id, tenant_id, app_id, created_at AS at FROM human_input_form_upload_tokens";
const OFFLOAD: &str = "SELECT file_id AS id, tenant_id, app_id, created_at AS at FROM workflow_node_execution_offload";

/// Rows for one table.
struct Filling {
    table: &'static str,
    parent: &'static str,
    /// How many in a thousand parents have a row; two at least.
    share: u32,
    /// Columns that need more than what their name and type say.
    columns: &'static [(&'static str, &'static str)],
}

const fn on(table: &'static str, parent: &'static str, share: u32, columns: &'static [(&'static str, &'static str)]) -> Filling {
    Filling { table, parent, share, columns }
}

/// Parents before what hangs on them.
const FILLINGS: [Filling; 31] = [
    on("workflow_app_logs", RUN, 250, &[]),
    on("workflow_archive_logs", RUN, 30, &[]),
    on("workflow_trigger_logs", RUN, 150, &[]),
    on("workflow_pauses", PAUSED, 1000, &[("resumed_at", "NULL")]),
    on("workflow_pauses", RUN, 120, &[("resumed_at", "p.at + interval '1 minute'")]),
    on("human_input_forms", RUN, 150, &[("conversation_id", "NULL"), ("completed_by_recipient_id", "NULL")]),
    on("workflow_pause_reasons", PAUSE, 1000, &[("form_id", "md5(p.id::text || 'form')::uuid")]),
    on("human_input_form_deliveries", FORM, 800, &[]),
    on("human_input_form_recipients", DELIVERY, 900, &[]),
    on("human_input_form_upload_tokens", RECIPIENT, 800, &[]),
    on("human_input_form_upload_files", TOKEN, 800, &[]),
    on("execution_extra_contents", RUN, 60, &[]),
    on("execution_extra_contents", CHATFLOW_MESSAGE, 200, &[]),
    on("workflow_node_execution_offload", NODE, 60, &[("type", "'outputs'")]),
    on("workflow_node_execution_offload", NODE, 40, &[("type", "'inputs'")]),
    on("upload_files", OFFLOAD, 1000, &[("id", "p.id")]),
    on("workflow_draft_variables", NODE, 6, &[]),
    on("message_feedbacks", MESSAGE, 150, &[("rating", "'like'")]),
    on("message_files", MESSAGE, 200, &[]),
    on("message_chains", MESSAGE, 100, &[]),
    on("message_agent_thoughts", MESSAGE, 200, &[("message_chain_id", "NULL")]),
    on("app_annotation_hit_histories", MESSAGE, 80, &[]),
    on("dataset_retriever_resources", MESSAGE, 150, &[]),
    on("message_annotations", MESSAGE, 30, &[]),
    on("saved_messages", MESSAGE, 30, &[]),
    on("tool_files", CONVERSATION, 150, &[]),
    on("tool_conversation_variables", CONVERSATION, 150, &[]),
    on("pinned_conversations", CONVERSATION, 150, &[]),
    on("workflow_conversation_variables", CONVERSATION, 300, &[]),
    on("agent_debug_conversations", CONVERSATION, 50, &[]),
    on("dataset_queries", CONVERSATION, 100, &[("source_app_id", "p.app_id")]),
];

/// What else Dify does to its rows: some runs wait for a person, and some conversations were deleted by their users, which leaves
/// runs that no message names and children without a parent.
const DISTURBANCES: [&str; 3] = [
    "UPDATE workflow_runs SET status = 'paused', finished_at = NULL WHERE {chance(id, 40)}",
    "UPDATE workflow_runs SET status = 'scheduled', finished_at = NULL WHERE {chance(id, 5)}",
    "DELETE FROM messages WHERE {chance(conversation_id, 80)}; DELETE FROM message_annotations WHERE {chance(conversation_id, 80)};
     DELETE FROM tool_conversation_variables WHERE {chance(conversation_id, 80)}; DELETE FROM conversations WHERE {chance(id, 80)}",
];

/// Fills a database with ninety days of traffic up to `now`, and with rows in every other table that a run, a node execution, a
/// message or a conversation may own.
pub async fn populate(database: &TestDatabase, seed: u64, arrivals: u64, now: Micros) -> anyhow::Result<Population> {
    populate_more(database, seed, Options { arrivals, ..options(database.schema(), now)? }, now).await
}

fn options(schema: &Schema, now: Micros) -> anyhow::Result<Options> {
    let version: Version = schema.version.parse()?;
    let faults = Faults { late_story: 0.0, debugging: 0.15, longest_pause: DAY / 2, ..Faults::many() };
    let start = now - DAYS * DAY;
    Ok(Options { version, start, until: Some(now), apps: 12, faults, deletions: Deletions::none(), ..Options::default() })
}

/// As `populate`, with traffic of one's own choice; its rate is worked out from its arrivals.
pub async fn populate_more(database: &TestDatabase, seed: u64, mut options: Options, now: Micros) -> anyhow::Result<Population> {
    options.rate = options.arrivals as f64 / ((now - options.start) as f64 / 1e6);
    let simulation = Simulation::new(seed, options.clone());
    let mut reference = Reference::default();
    let mut connection = database.connect().await?;
    let target = Target::probe(&mut connection).await?;
    for write in simulation.setup(seed) {
        target.apply(&mut connection, &write).await?;
    }
    simulation.take_while(|write| write.at <= now).for_each(|write| reference.apply(&write));
    bulk::insert_all(&mut connection, &reference).await.context("failed to load the traffic")?;
    for disturbance in &DISTURBANCES[..2] {
        disturb(&mut connection, disturbance, seed).await?;
    }
    let filled = fill(&mut connection, database.schema(), seed, now).await?;
    disturb(&mut connection, DISTURBANCES[2], seed).await?;
    sqlx::raw_sql("ANALYZE").execute(&mut connection).await?;
    let apps = sqlx::query_scalar(
        "SELECT app_id FROM (SELECT app_id FROM workflow_runs UNION ALL SELECT app_id FROM conversations) b GROUP BY 1 ORDER BY count(*) DESC, 1",
    )
    .fetch_all(&mut connection)
    .await?;
    Ok(Population { apps, filled })
}

async fn fill(connection: &mut PgConnection, schema: &Schema, seed: u64, now: Micros) -> anyhow::Result<Vec<&'static str>> {
    let pointing = references(connection).await?;
    let mut filled = Vec::new();
    for filling in &FILLINGS {
        let Some(table) = schema.tables.get(filling.table) else { continue };
        if !parents_are_there(schema, filling.parent) {
            continue;
        }
        let points = |column: &str| pointing.iter().any(|reference| reference.table == filling.table && reference.column == column);
        let sql = filling.sql(table, points, seed, now);
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut *connection).await.context(sql)?.rows_affected();
        if rows > 0 {
            filled.push(filling.table);
        }
    }
    Ok(filled)
}

/// A mutation may have taken a table away.
fn parents_are_there(schema: &Schema, parent: &str) -> bool {
    let words: Vec<&str> = parent.split_whitespace().collect();
    words.windows(2).all(|pair| !["FROM", "JOIN"].contains(&pair[0]) || schema.has_table(pair[1]))
}

impl Filling {
    fn sql(&self, table: &Table, points: impl Fn(&str) -> bool, seed: u64, now: Micros) -> String {
        let mut names = Vec::new();
        let mut values = Vec::new();
        for column in table.columns.iter().filter(|column| !column.generated) {
            let given = self.columns.iter().find(|(name, _)| *name == column.name).map(|(_, value)| (*value).to_owned());
            let known = || self.parent_has(&column.name).then(|| format!("p.{}", quoted(&column.name)));
            let made = || by_name(self.table, self.columns, &column.name).or_else(known);
            let guessed = || {
                // A reference that is not known here names nothing, and half of the optional columns stay empty.
                let empty = !column.not_null && (points(&column.name) || column.name.ends_with("_id"));
                (!empty).then(|| by_type(&column.sql_type, &column.name, column.not_null))
            };
            if let Some(value) = given.or_else(made).or_else(guessed) {
                names.push(quoted(&column.name));
                values.push(format!("({value})::text::{}", column.sql_type));
            }
        }
        format!(
            "INSERT INTO {table} ({}) SELECT {} FROM (
               SELECT p.*, row_number() OVER (ORDER BY md5(p.id::text || '{table}{seed}')) AS place, count(*) OVER () AS parents
               FROM ({}) p WHERE p.at < timestamp '{}') p
             WHERE place <= greatest(2, parents * {} / 1000) ON CONFLICT DO NOTHING",
            names.join(", "),
            values.join(", "),
            self.parent,
            naive(now),
            self.share,
            table = self.table,
        )
    }

    fn parent_has(&self, column: &str) -> bool {
        let list = self.parent.split(" FROM ").next().unwrap_or_default();
        column != "id" && list.split(',').any(|item| item.split(['.', ' ', '\n']).next_back() == Some(column))
    }
}

/// What the same column means everywhere.
fn by_name(table: &str, given: &[(&str, &str)], column: &str) -> Option<String> {
    Some(match column {
        // One form of a run is the one that its pause names, and ids must not repeat from one filling of a table to the next.
        "id" if table == "human_input_forms" => "md5(md5(p.id::text || 'workflow_pauses[]')::uuid::text || 'form')::uuid".to_owned(),
        "id" if table == "workflow_pauses" => "md5(p.id::text || 'workflow_pauses[]')::uuid".to_owned(),
        "id" => format!("md5(p.id::text || '{table}{}')::uuid", given.first().map_or("", |(_, value)| *value).replace('\'', "")),
        "created_at" | "updated_at" => "p.at + interval '1 second'".to_owned(),
        "created_by_role" | "submission_user_role" => "'end_user'".to_owned(),
        _ => return None,
    })
}

/// Something that fits the type; half of what may be NULL is.
fn by_type(sql_type: &str, column: &str, not_null: bool) -> String {
    let hash = format!("md5(p.id::text || '{column}')");
    let value = match sql_type.split(['(', ' ']).next().unwrap_or_default() {
        _ if sql_type.ends_with("[]") => r#"'{"a,b",NULL,"\"c"}'"#.to_owned(),
        "uuid" => format!("{hash}::uuid"),
        "character" | "text" => format!("left({hash}, {})", length(sql_type)),
        "json" | "jsonb" => format!("'{{\"b\": [1.50, \"' || {hash} || '\"], \"a\": null}}'"),
        "boolean" => "true".to_owned(),
        "smallint" | "integer" | "bigint" => format!("length(trim({hash}, '0123456789'))"),
        "numeric" => "1.50".to_owned(),
        "double" | "real" => format!("('x' || left({hash}, 7))::bit(28)::int / 977.0"),
        "timestamp" => "p.at + interval '7 seconds'".to_owned(),
        "interval" => "interval '1 hour 3 minutes'".to_owned(),
        "inet" => "inet '10.1.2.3/8'".to_owned(),
        "bytea" => format!("decode({hash}, 'hex')"),
        _ => "''".to_owned(),
    };
    if not_null { value } else { format!("CASE WHEN {hash} < '8' THEN {value} END") }
}

fn length(sql_type: &str) -> usize {
    sql_type.split(['(', ')']).nth(1).and_then(|length| length.parse().ok()).unwrap_or(32)
}

/// True for `share` in a thousand values of a column; the same ones for the same seed.
fn chance(column: &str, share: u32, salt: &str, seed: u64) -> String {
    let salt = salt.replace('\'', "");
    format!("('x' || left(md5({column}::text || '{salt}{seed}'), 7))::bit(28)::int % 1000 < {share}")
}

/// Runs a script in which `{chance(column, share)}` stands for a choice of rows.
async fn disturb(connection: &mut PgConnection, script: &str, seed: u64) -> anyhow::Result<()> {
    for statement in script.split(';') {
        let mut parts = statement.split("{chance(");
        let mut sql = parts.next().unwrap_or_default().to_owned();
        let table = sql.split_whitespace().find(|word| word.starts_with("message_") || word.starts_with("tool_")).map(str::to_owned);
        for part in parts {
            let (arguments, rest) = part.split_once(")}").context("an open {chance(")?;
            let (column, share) = arguments.split_once(", ").context("chance takes a column and a share")?;
            sql.push_str(&chance(column, share.parse()?, "disturbed", seed));
            sql.push_str(rest);
        }
        if let Some(table) = table {
            let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&table).fetch_one(&mut *connection).await?;
            if !there {
                continue;
            }
        }
        sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut *connection).await.context(sql)?;
    }
    Ok(())
}
