//! The reader that asks PostgreSQL. Texts of statements are put together once per schema probe, from names that are there.

use std::collections::HashMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Fetch;
use super::event::{Detail, Kind};
use super::reader::{NodeBrief, Place, Reader, RunBrief, ServerFacts, WalkPath};
use crate::dify::records::{Cuts, Message, Node, Run, RunKey, Thought, TriggerLog, Value, Word, run_has_ended};
use crate::dify::schema::Schema;
use crate::dify::session::{DatabaseError, Query, ReadTx, built_query, query};
use crate::dify::time::Micros;

/// Longest error text that is read, in characters.
const ERROR_LENGTH: u32 = 8192;

/// Node types whose `process_data` may hold a model's usage or the history of retries.
const PROCESS_DATA_TYPES: &str = "'llm', 'question-classifier', 'parameter-extractor', 'agent', 'tool', 'http-request', 'code'";
/// Node types whose `outputs` are measured.
const OUTPUT_TYPES: &str = "'question-classifier', 'parameter-extractor', 'knowledge-retrieval', 'agent'";

/// The statements that fit a schema.
#[derive(Debug)]
pub(super) struct Statements {
    walks: HashMap<&'static str, Walk>,
    runs: String,
    run_briefs: String,
    node_briefs: String,
    nodes: String,
    messages: String,
    message_bytes: String,
    thoughts: Option<String>,
    triggers: Option<String>,
    /// Longest text or JSON value, in characters.
    value_length: usize,
}

#[derive(Debug)]
struct Walk {
    path: WalkPath,
    walk: String,
    open_between: String,
    scan: String,
}

impl Statements {
    pub(super) fn new(schema: &Schema, fetch: Fetch, value_bytes: u32) -> Self {
        let columns = Columns { schema, value_bytes };
        Statements {
            walks: [Kind::Run, Kind::Message, Kind::Trigger].into_iter().map(|kind| (table(kind), walk(schema, kind))).collect(),
            runs: runs(&columns, fetch),
            run_briefs: run_briefs(&columns, fetch.detail),
            node_briefs: node_briefs(&columns, fetch.detail),
            nodes: nodes(&columns, fetch.detail),
            messages: messages(&columns, fetch),
            message_bytes: message_bytes(&columns),
            thoughts: thoughts(&columns, fetch.detail),
            triggers: triggers(&columns),
            value_length: value_bytes as usize,
        }
    }

    pub(super) fn path(&self, kind: Kind) -> WalkPath {
        self.walks[table(kind)].path
    }
}

const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Run => "workflow_runs",
        Kind::Message => "messages",
        Kind::Trigger => "workflow_trigger_logs",
    }
}

/// What a row looks like that is not final, in SQL; the counterpart of `has_ended` and `is_filled`.
fn open_condition(schema: &Schema, kind: Kind) -> String {
    match kind {
        Kind::Run => "(status IN ('running', 'paused', 'scheduled') OR (status NOT IN ('succeeded', 'failed', 'stopped', 'partial-succeeded') AND finished_at IS NULL))".into(),
        Kind::Message if schema.can_read("messages", "answer") => "(status = 'paused' OR (status <> 'error' AND answer = '' AND message_metadata IS NULL))".into(),
        Kind::Message => "(status = 'paused' OR (status <> 'error' AND message_metadata IS NULL))".into(),
        Kind::Trigger => "status IN ('pending', 'queued', 'running', 'paused', 'retrying')".into(),
    }
}

fn walk(schema: &Schema, kind: Kind) -> Walk {
    let table = table(kind);
    let open = open_condition(schema, kind);
    let path = match () {
        () if !schema.can_read_all(table, &["id", "created_at"]) => WalkPath::Off,
        () if schema.index_on(table, &["created_at"]).is_some() => WalkPath::Index,
        () => WalkPath::Scan,
    };
    Walk {
        path,
        walk: format!(
            "-- follow_walk_{table}: (created_at, id)\n\
             SELECT created_at, id FROM {table} WHERE created_at >= $1 AND (created_at, id) > ($1, $2) AND created_at < $3 ORDER BY created_at, id LIMIT $4"
        ),
        open_between: format!(
            "-- follow_open_between_{table}: (created_at, id)\n\
             SELECT created_at, id FROM {table} WHERE created_at >= $1 AND created_at < $2 AND {open} LIMIT 100000"
        ),
        scan: format!(
            "-- follow_scan_{table}: a range of blocks\n\
             SELECT created_at, id FROM {table} WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND (created_at >= $3 OR (created_at >= $4 AND {open}))"
        ),
    }
}

/// A text cut to a length in characters. `left` copies and counts characters even of what is short; the length in bytes costs
/// nothing, not even the way to the TOAST table.
fn cut(column: &str, length: u32) -> String {
    format!("CASE WHEN octet_length({column}::text) <= {length} THEN {column}::text ELSE left({column}::text, {length}) END")
}

/// A value cut to one character more than its limit, so that whoever reads it knows that it was cut.
fn cut_value(column: &str, length: u32) -> String {
    format!("CASE WHEN octet_length({column}::text) <= {length} THEN {column}::text ELSE left({column}::text, {length} + 1) END")
}

/// The row's version where documents are made: whoever only counts never asks whether a row was written again.
fn row_version(schema: &Schema, table: &str, alias: &str, detail: Detail) -> String {
    match detail {
        Detail::Documents if schema.can_read_version(table) => format!("{alias}.xmin::text::bigint AS row_version"),
        _ => "0::bigint AS row_version".into(),
    }
}

/// Writes select lists out of the columns that are there and may be read; others are NULL of the type.
struct Columns<'a> {
    schema: &'a Schema,
    value_bytes: u32,
}

impl Columns<'_> {
    fn plain(&self, table: &str, alias: &str, name: &str, when_missing: &str) -> String {
        if self.schema.can_read(table, name) { format!("{alias}.{name}") } else { format!("{when_missing} AS {name}") }
    }

    /// A text of a bounded length: NULL and the empty text are both NULL.
    fn text(&self, table: &str, alias: &str, name: &str, length: u32) -> String {
        if self.schema.can_read(table, name) {
            format!("NULLIF({}, '') AS {name}", cut(&format!("{alias}.{name}"), length))
        } else {
            format!("NULL::text AS {name}")
        }
    }

    /// A value of a bounded length, see [`Reading::value`]: NULL and the empty text are both NULL.
    fn value(&self, table: &str, alias: &str, name: &str, length: u32) -> String {
        if self.schema.can_read(table, name) {
            format!("NULLIF({}, '') AS {name}", cut_value(&format!("{alias}.{name}"), length))
        } else {
            format!("NULL::text AS {name}")
        }
    }

    /// A value that is fetched only where a condition holds, see [`Reading::value`].
    fn text_where(&self, table: &str, alias: &str, name: &str, condition: &str) -> String {
        if self.schema.can_read(table, name) {
            format!("CASE WHEN {condition} THEN {} END AS {name}", cut_value(&format!("{alias}.{name}"), self.value_bytes))
        } else {
            format!("NULL::text AS {name}")
        }
    }

    fn bytes_where(&self, table: &str, alias: &str, name: &str, condition: &str) -> String {
        if self.schema.can_read(table, name) {
            format!("CASE WHEN {condition} THEN LEAST(COALESCE(octet_length({alias}.{name}::text), 0), {}) ELSE 0 END", self.value_bytes)
        } else {
            "0".into()
        }
    }
}

fn runs(columns: &Columns<'_>, fetch: Fetch) -> String {
    let table = "workflow_runs";
    let plain = |name, missing| columns.plain(table, "r", name, missing);
    let documents = if fetch.detail == Detail::Documents { "true" } else { "false" };
    let inputs = if fetch.inputs { "true" } else { documents };
    let list = [
        "r.id, r.tenant_id, r.app_id, r.workflow_id, r.status, r.elapsed_time, r.created_at, r.finished_at".into(),
        plain("type", "''::text"),
        plain("triggered_from", "''::text"),
        plain("version", "''::text"),
        columns.value(table, "r", "error", ERROR_LENGTH),
        plain("total_tokens", "0::bigint"),
        plain("total_steps", "NULL::int"),
        plain("exceptions_count", "NULL::int"),
        plain("created_by_role", "''::text"),
        plain("created_by", "NULL::uuid"),
        columns.text_where(table, "r", "inputs", inputs),
        columns.text_where(table, "r", "outputs", documents),
        row_version(columns.schema, table, "r", fetch.detail),
    ];
    format!("-- follow_runs: workflow_run_pkey\nSELECT {} FROM workflow_runs r WHERE r.id = ANY($1)", list.join(", "))
}

fn run_briefs(columns: &Columns<'_>, detail: Detail) -> String {
    let bytes = ["inputs", "outputs"].map(|name| columns.bytes_where("workflow_runs", "r", name, "true"));
    let version = row_version(columns.schema, "workflow_runs", "r", detail);
    format!(
        "-- follow_run_briefs: workflow_run_pkey\n\
         SELECT r.id, r.tenant_id, r.app_id, r.workflow_id, r.status::text AS status, r.finished_at, {version}, (512 + {})::bigint AS bytes \
         FROM workflow_runs r WHERE r.id = ANY($1)",
        bytes.join(" + ")
    )
}

/// A pipeline's nodes bear the pipeline's trigger; both prefixes are tried.
const NODES_BY_FIVE: &str = "x.tenant_id = k.tenant_id AND x.app_id = k.app_id AND x.workflow_id = k.workflow_id AND x.triggered_from IN ('workflow-run', 'rag-pipeline-run') AND x.workflow_run_id = k.run_id";

/// How the node executions `x` of a run `k` are found through an index; `None` where there is none.
pub(crate) fn condition_of_nodes(schema: &Schema) -> Option<&'static str> {
    let five = ["tenant_id", "app_id", "workflow_id", "triggered_from", "workflow_run_id"];
    match schema.index_on("workflow_node_executions", &five[4..]) {
        Some(_) => Some("x.workflow_run_id = k.run_id"),
        None => schema.index_on("workflow_node_executions", &five).map(|_| NODES_BY_FIVE),
    }
}

/// Messages by their ids, as documents want them.
pub(crate) async fn messages_by_id(
    tx: &mut ReadTx,
    schema: &Schema,
    value_bytes: u32,
    ids: &[Uuid],
) -> Result<Vec<Message>, DatabaseError> {
    let statement = messages(&Columns { schema, value_bytes }, Fetch { detail: Detail::Documents, inputs: true });
    let mut reading = Reading { words: HashMap::new(), value_length: value_bytes as usize };
    let rows = tx.fetch_all(built_query(statement).bind(ids)).await?;
    rows.iter().map(|row| read_message(row, &mut reading)).collect()
}

/// The table of the runs' keys, and how nodes are found by it: by the run's id alone where an index leads with it (Dify
/// 1.12 and newer), else with the columns that lead the index there is.
fn nodes_of_runs(columns: &Columns<'_>, detail: Detail) -> String {
    let keys = "unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS k(run_id, tenant_id, app_id, workflow_id)";
    let condition = condition_of_nodes(columns.schema).unwrap_or(NODES_BY_FIVE);
    let selected = format!("x.*, {}", row_version(columns.schema, "workflow_node_executions", "x", detail));
    format!("{keys} CROSS JOIN LATERAL (SELECT {selected} FROM workflow_node_executions x WHERE {condition} OFFSET 0) n")
}

/// Which JSON columns are wanted of a node, as conditions.
struct NodeColumns {
    process_data: String,
    outputs: String,
    inputs: String,
}

impl NodeColumns {
    fn new(detail: Detail) -> Self {
        match detail {
            Detail::Documents => NodeColumns { process_data: "true".into(), outputs: "true".into(), inputs: "true".into() },
            Detail::Metrics => NodeColumns {
                process_data: format!("n.node_type IN ({PROCESS_DATA_TYPES})"),
                // The model's usage stands in process_data already; a handled failure's class only in outputs.
                outputs: format!(
                    "n.node_type IN ({OUTPUT_TYPES}) OR n.status = 'exception' OR (n.node_type = 'llm' AND COALESCE(octet_length(n.process_data), 0) NOT BETWEEN 3 AND 262144)"
                ),
                inputs: "n.node_type = 'agent'".into(),
            },
        }
    }
}

fn node_briefs(columns: &Columns<'_>, detail: Detail) -> String {
    let table = "workflow_node_executions";
    let wanted = NodeColumns::new(detail);
    let bytes = [
        columns.bytes_where(table, "n", "execution_metadata", "true"),
        columns.bytes_where(table, "n", "process_data", &wanted.process_data),
        columns.bytes_where(table, "n", "outputs", &wanted.outputs),
        columns.bytes_where(table, "n", "inputs", &wanted.inputs),
    ];
    format!(
        "-- follow_node_briefs: the index on workflow_run_id\nSELECT k.run_id, n.id, n.status::text AS status, n.row_version, (512 + {})::bigint AS bytes FROM {}",
        bytes.join(" + "),
        nodes_of_runs(columns, detail)
    )
}

fn nodes(columns: &Columns<'_>, detail: Detail) -> String {
    let table = "workflow_node_executions";
    let wanted = NodeColumns::new(detail);
    // The status code comes first in an http-request's outputs; its body may be megabytes.
    let http_outputs = match detail {
        Detail::Metrics if columns.schema.can_read(table, "outputs") => {
            "CASE WHEN n.node_type = 'http-request' AND n.status <> 'exception' THEN left(n.outputs, 512) END".to_owned()
        }
        _ => "NULL::text".to_owned(),
    };
    let list = [
        "k.run_id, n.id, n.status, n.node_type, n.elapsed_time, n.created_at, n.row_version".to_owned(),
        columns.plain(table, "n", "index", "0::int"),
        columns.plain(table, "n", "node_id", "''::text"),
        columns.text(table, "n", "title", 256),
        columns.text(table, "n", "predecessor_node_id", 256),
        columns.value(table, "n", "error", ERROR_LENGTH),
        columns.plain(table, "n", "finished_at", "NULL::timestamp"),
        columns.text_where(table, "n", "execution_metadata", "true"),
        columns.text_where(table, "n", "process_data", &wanted.process_data),
        columns.text_where(table, "n", "outputs", &wanted.outputs),
        format!("{http_outputs} AS http_outputs"),
        columns.text_where(table, "n", "inputs", &wanted.inputs),
    ];
    format!(
        "-- follow_nodes: the index on workflow_run_id\nSELECT {} FROM {} ORDER BY k.run_id, n.index, n.id",
        list.join(", "),
        nodes_of_runs(columns, detail)
    )
}

fn messages(columns: &Columns<'_>, fetch: Fetch) -> String {
    let table = "messages";
    let plain = |name, missing| columns.plain(table, "m", name, missing);
    let documents = fetch.detail == Detail::Documents;
    let wanted = if documents { "true" } else { "false" };
    let has_answer = if columns.schema.can_read(table, "answer") { "m.answer <> ''" } else { "false" };
    let list = [
        "m.id, m.app_id, m.conversation_id, m.status, m.created_at".to_owned(),
        plain("workflow_run_id", "NULL::uuid"),
        plain("parent_message_id", "NULL::uuid"),
        plain("model_provider", "NULL::text"),
        plain("model_id", "NULL::text"),
        plain("app_mode", "NULL::text"),
        columns.value(table, "m", "error", ERROR_LENGTH),
        plain("invoke_from", "NULL::text"),
        plain("from_source", "''::text"),
        plain("from_end_user_id", "NULL::uuid"),
        plain("from_account_id", "NULL::uuid"),
        plain("message_tokens", "0::int"),
        plain("answer_tokens", "0::int"),
        if columns.schema.can_read(table, "total_price") {
            "m.total_price::text AS total_price".into()
        } else {
            "NULL::text AS total_price".into()
        },
        plain("currency", "''::text"),
        plain("provider_response_latency", "0::float8"),
        format!("{has_answer} AS has_answer"),
        plain("agent_based", "false"),
        columns.text_where(table, "m", "message_metadata", "true"),
        columns.text_where(table, "m", "inputs", if fetch.inputs { "true" } else { wanted }),
        columns.text_where(table, "m", "query", wanted),
        columns.text_where(table, "m", "answer", wanted),
        plain("updated_at", "NULL::timestamp"),
        row_version(columns.schema, table, "m", fetch.detail),
    ];
    format!("-- follow_messages: message_pkey\nSELECT {} FROM messages m WHERE m.id = ANY($1)", list.join(", "))
}

/// Whether a message's thoughts can be had: through the index on its id or not at all.
fn has_thoughts(schema: &Schema) -> bool {
    let table = "message_agent_thoughts";
    schema.can_read_all(table, &["id", "message_id", "position", "created_at"]) && schema.index_on(table, &["message_id"]).is_some()
}

fn message_bytes(columns: &Columns<'_>) -> String {
    let sum = |table, alias, names: [&str; 4]| names.map(|name| columns.bytes_where(table, alias, name, "true")).join(" + ");
    let own = sum("messages", "m", ["query", "answer", "inputs", "message_metadata"]);
    let thoughts = if has_thoughts(columns.schema) {
        let names = ["thought", "observation", "tool_input", "tool_meta_str"];
        let bytes = sum("message_agent_thoughts", "t", names);
        format!("COALESCE((SELECT sum(512 + {bytes}) FROM message_agent_thoughts t WHERE t.message_id = m.id), 0)")
    } else {
        "0".into()
    };
    format!(
        "-- follow_message_bytes: message_pkey, the index on message_id\nSELECT m.id, (512 + {own} + {thoughts})::bigint AS bytes FROM messages m WHERE m.id = ANY($1)"
    )
}

fn thoughts(columns: &Columns<'_>, detail: Detail) -> Option<String> {
    let table = "message_agent_thoughts";
    let schema = columns.schema;
    if !has_thoughts(schema) {
        return None;
    }
    let wanted = if detail == Detail::Documents { "true" } else { "false" };
    let list = [
        "t.id, t.message_id, t.position, t.created_at".to_owned(),
        columns.text_where(table, "t", "thought", wanted),
        columns.text_where(table, "t", "observation", wanted),
        columns.text_where(table, "t", "tool_input", wanted),
        columns.text(table, "t", "tool", ERROR_LENGTH),
        columns.value(table, "t", "tool_meta_str", columns.value_bytes),
        columns.plain(table, "t", "message_token", "NULL::int"),
        columns.plain(table, "t", "answer_token", "NULL::int"),
        if schema.can_read(table, "total_price") {
            "t.total_price::text AS total_price".into()
        } else {
            "NULL::text AS total_price".into()
        },
        columns.plain(table, "t", "currency", "NULL::text"),
    ];
    Some(format!(
        "-- follow_thoughts: the index on message_id\nSELECT {} FROM message_agent_thoughts t WHERE t.message_id = ANY($1) ORDER BY t.message_id, t.position",
        list.join(", ")
    ))
}

fn triggers(columns: &Columns<'_>) -> Option<String> {
    let table = "workflow_trigger_logs";
    if !columns.schema.can_read_all(table, &["id", "tenant_id", "app_id", "status", "created_at"]) {
        return None;
    }
    let plain = |name, missing| columns.plain(table, "t", name, missing);
    let list = [
        "t.id, t.tenant_id, t.app_id, t.status, t.created_at, r.created_at AS run_created_at".to_owned(),
        plain("workflow_run_id", "NULL::uuid"),
        plain("trigger_type", "''::text"),
        plain("triggered_at", "NULL::timestamp"),
        plain("finished_at", "NULL::timestamp"),
    ];
    Some(format!(
        "-- follow_triggers: workflow_trigger_log_pkey, workflow_run_pkey\n\
         SELECT {} FROM workflow_trigger_logs t LEFT JOIN workflow_runs r ON r.id = t.workflow_run_id WHERE t.id = ANY($1)",
        list.join(", ")
    ))
}

/// One read of many rows: shares equal words between them, and cuts long values.
struct Reading {
    words: HashMap<String, Word>,
    value_length: usize,
}

impl Reading {
    fn new(statements: &Statements) -> Self {
        Reading { words: HashMap::new(), value_length: statements.value_length }
    }

    /// A value that was fetched by [`cut_value`].
    fn value(&self, row: &PgRow, value: Value, cuts: &mut Cuts) -> Result<Option<String>, DatabaseError> {
        let (column, length) = match value {
            Value::Error => (value.column(), ERROR_LENGTH as usize),
            _ => (value.column(), self.value_length),
        };
        let mut text: Option<String> = row.try_get(column)?;
        if text.as_mut().is_some_and(|text| shorten(text, length)) {
            *cuts = cuts.with(value);
        }
        Ok(text)
    }

    fn share(&mut self, text: &str) -> Word {
        if let Some(word) = self.words.get(text) {
            return word.clone();
        }
        let word: Word = text.into();
        self.words.insert(text.to_owned(), word.clone());
        word
    }

    fn read(&mut self, row: &PgRow, column: &str) -> Result<Word, DatabaseError> {
        let text: &str = row.try_get::<Option<&str>, _>(column)?.unwrap_or("");
        Ok(self.share(text))
    }

    fn read_optional(&mut self, row: &PgRow, column: &str) -> Result<Option<Word>, DatabaseError> {
        let text: Option<&str> = row.try_get(column)?;
        Ok(text.filter(|text| !text.is_empty()).map(|text| self.share(text)))
    }
}

/// Leaves at most `length` characters, and says whether there were more.
fn shorten(text: &mut String, length: usize) -> bool {
    if text.len() <= length {
        return false;
    }
    let end = text.char_indices().nth(length).map(|(end, _)| end);
    if let Some(end) = end {
        text.truncate(end);
    }
    end.is_some()
}

fn read_version(row: &PgRow) -> Result<u32, DatabaseError> {
    Ok(u32::try_from(row.try_get::<i64, _>("row_version")?).unwrap_or(0))
}

/// A price as PostgreSQL writes it; NaN and what does not fit 28 digits is `None`.
fn price(row: &PgRow, column: &str) -> Result<Option<Decimal>, DatabaseError> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.and_then(|text| Decimal::from_str(text).ok()))
}

fn places(rows: &[PgRow]) -> Result<Vec<Place>, DatabaseError> {
    rows.iter().map(|row| Ok(Place { created_at: row.try_get("created_at")?, id: row.try_get("id")? })).collect()
}

/// One transaction's look at PostgreSQL.
pub(super) struct PostgresReader {
    pub(super) tx: ReadTx,
    pub(super) statements: Arc<Statements>,
}

impl PostgresReader {
    fn bind_keys<'q>(statement: Query<'q>, runs: &[RunKey]) -> Query<'q> {
        let column = |pick: fn(&RunKey) -> Uuid| runs.iter().map(pick).collect::<Vec<Uuid>>();
        statement
            .bind(column(|key| key.id))
            .bind(column(|key| key.tenant_id))
            .bind(column(|key| key.app_id))
            .bind(column(|key| key.workflow_id))
    }
}

impl Reader for PostgresReader {
    async fn facts(&mut self) -> Result<ServerFacts, DatabaseError> {
        let row = self.tx.fetch_one(query(include_str!("../queries/server_facts.sql"))).await?;
        Ok(ServerFacts {
            now: row.try_get("now")?,
            in_recovery: row.try_get("in_recovery")?,
            replayed: row.try_get("replayed")?,
            lsn: row.try_get::<Option<i64>, _>("lsn")?.unwrap_or(0),
            timeline: row.try_get::<Option<i32>, _>("timeline")?.unwrap_or(0),
            identity: row.try_get("identity")?,
        })
    }

    fn path(&self, kind: Kind) -> WalkPath {
        self.statements.path(kind)
    }

    async fn walk(&mut self, kind: Kind, after: Place, until: Micros, limit: u32) -> Result<Vec<Place>, DatabaseError> {
        let text = self.statements.walks[table(kind)].walk.clone();
        let statement = built_query(text).bind(after.created_at).bind(after.id).bind(until).bind(i64::from(limit));
        places(&self.tx.fetch_all(statement).await?)
    }

    async fn open_between(&mut self, kind: Kind, created: Range<Micros>) -> Result<Vec<Place>, DatabaseError> {
        let text = self.statements.walks[table(kind)].open_between.clone();
        places(&self.tx.fetch_all(built_query(text).bind(created.start).bind(created.end)).await?)
    }

    async fn blocks(&mut self, kind: Kind) -> Result<u32, DatabaseError> {
        let statement =
            query("-- follow_blocks\nSELECT (pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint)::bigint AS blocks");
        let row = self.tx.fetch_one(statement.bind(table(kind))).await?;
        Ok(u32::try_from(row.try_get::<Option<i64>, _>("blocks")?.unwrap_or(0)).unwrap_or(u32::MAX))
    }

    async fn scan(&mut self, kind: Kind, blocks: Range<u32>, since: Micros, open_since: Micros) -> Result<Vec<Place>, DatabaseError> {
        let text = self.statements.walks[table(kind)].scan.clone();
        let tid = |block: u32| format!("({block},0)");
        let statement = built_query(text).bind(tid(blocks.start)).bind(tid(blocks.end)).bind(since).bind(open_since);
        places(&self.tx.fetch_all(statement).await?)
    }

    async fn runs(&mut self, ids: &[Uuid]) -> Result<Vec<Run>, DatabaseError> {
        let mut reading = Reading::new(&self.statements);
        let rows = self.tx.fetch_all(built_query(self.statements.runs.clone()).bind(ids)).await?;
        rows.iter().map(|row| read_run(row, &mut reading)).collect()
    }

    async fn run_briefs(&mut self, ids: &[Uuid]) -> Result<Vec<RunBrief>, DatabaseError> {
        let rows = self.tx.fetch_all(built_query(self.statements.run_briefs.clone()).bind(ids)).await?;
        let brief = |row: &PgRow| {
            let status: Option<&str> = row.try_get("status")?;
            Ok(RunBrief {
                key: read_run_key(row)?,
                has_ended: run_has_ended(status.unwrap_or(""), row.try_get("finished_at")?),
                row_version: read_version(row)?,
                bytes: row.try_get("bytes")?,
            })
        };
        rows.iter().map(brief).collect()
    }

    async fn node_briefs(&mut self, runs: &[RunKey]) -> Result<Vec<NodeBrief>, DatabaseError> {
        let statement = Self::bind_keys(built_query(self.statements.node_briefs.clone()), runs);
        let brief = |row: &PgRow| {
            Ok(NodeBrief {
                run_id: row.try_get("run_id")?,
                id: row.try_get("id")?,
                status: row.try_get("status")?,
                row_version: read_version(row)?,
                bytes: row.try_get("bytes")?,
            })
        };
        self.tx.fetch_all(statement).await?.iter().map(brief).collect()
    }

    async fn nodes(&mut self, runs: &[RunKey]) -> Result<Vec<(Uuid, Node)>, DatabaseError> {
        let mut reading = Reading::new(&self.statements);
        let rows = self.tx.fetch_all(Self::bind_keys(built_query(self.statements.nodes.clone()), runs)).await?;
        let mut nodes = rows
            .iter()
            .map(|row| Ok((row.try_get("run_id")?, read_node(row, &mut reading)?)))
            .collect::<Result<Vec<(Uuid, Node)>, DatabaseError>>()?;
        nodes.sort_unstable_by_key(|(run, node)| (*run, node.index, node.id));
        Ok(nodes)
    }

    async fn messages(&mut self, ids: &[Uuid]) -> Result<Vec<Message>, DatabaseError> {
        let mut reading = Reading::new(&self.statements);
        let rows = self.tx.fetch_all(built_query(self.statements.messages.clone()).bind(ids)).await?;
        rows.iter().map(|row| read_message(row, &mut reading)).collect()
    }

    async fn message_bytes(&mut self, ids: &[Uuid]) -> Result<Vec<(Uuid, i64)>, DatabaseError> {
        let rows = self.tx.fetch_all(built_query(self.statements.message_bytes.clone()).bind(ids)).await?;
        rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("bytes")?))).collect()
    }

    async fn conversation_starters(&mut self, messages: &[Uuid]) -> Result<Vec<Uuid>, DatabaseError> {
        let statement = query(include_str!("../queries/conversation_starters.sql")).bind(messages);
        self.tx.fetch_all(statement).await?.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    async fn thoughts(&mut self, messages: &[Uuid]) -> Result<Vec<Thought>, DatabaseError> {
        let Some(text) = self.statements.thoughts.clone() else { return Ok(Vec::new()) };
        let mut reading = Reading::new(&self.statements);
        let rows = self.tx.fetch_all(built_query(text).bind(messages)).await?;
        rows.iter().map(|row| read_thought(row, &mut reading)).collect()
    }

    async fn triggers(&mut self, ids: &[Uuid]) -> Result<Vec<TriggerLog>, DatabaseError> {
        let Some(text) = self.statements.triggers.clone() else { return Ok(Vec::new()) };
        let mut reading = Reading::new(&self.statements);
        let rows = self.tx.fetch_all(built_query(text).bind(ids)).await?;
        rows.iter().map(|row| read_trigger(row, &mut reading)).collect()
    }
}

fn read_run_key(row: &PgRow) -> Result<RunKey, DatabaseError> {
    Ok(RunKey {
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        app_id: row.try_get("app_id")?,
        workflow_id: row.try_get("workflow_id")?,
    })
}

fn read_run(row: &PgRow, reading: &mut Reading) -> Result<Run, DatabaseError> {
    let mut cuts = Cuts::default();
    Ok(Run {
        key: read_run_key(row)?,
        run_type: reading.read(row, "type")?,
        triggered_from: reading.read(row, "triggered_from")?,
        version: reading.read(row, "version")?,
        status: reading.read(row, "status")?,
        error: reading.value(row, Value::Error, &mut cuts)?,
        elapsed_seconds: row.try_get::<Option<f64>, _>("elapsed_time")?.unwrap_or(0.0),
        total_tokens: row.try_get::<Option<i64>, _>("total_tokens")?.unwrap_or(0),
        total_steps: row.try_get("total_steps")?,
        exceptions_count: row.try_get("exceptions_count")?,
        created_by_role: reading.read(row, "created_by_role")?,
        created_by: row.try_get::<Option<Uuid>, _>("created_by")?.unwrap_or_default(),
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
        inputs: reading.value(row, Value::Inputs, &mut cuts)?,
        outputs: reading.value(row, Value::Outputs, &mut cuts)?,
        cuts,
        row_version: read_version(row)?,
    })
}

fn read_node(row: &PgRow, reading: &mut Reading) -> Result<Node, DatabaseError> {
    let mut cuts = Cuts::default();
    let http_outputs: Option<String> = row.try_get("http_outputs")?;
    Ok(Node {
        id: row.try_get("id")?,
        index: row.try_get::<Option<i32>, _>("index")?.unwrap_or(0),
        node_id: reading.read(row, "node_id")?,
        node_type: reading.read(row, "node_type")?,
        title: row.try_get::<Option<String>, _>("title")?.unwrap_or_default(),
        predecessor_node_id: reading.read_optional(row, "predecessor_node_id")?,
        status: reading.read(row, "status")?,
        error: reading.value(row, Value::Error, &mut cuts)?,
        elapsed_seconds: row.try_get::<Option<f64>, _>("elapsed_time")?.unwrap_or(0.0),
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
        execution_metadata: reading.value(row, Value::ExecutionMetadata, &mut cuts)?,
        process_data: reading.value(row, Value::ProcessData, &mut cuts)?,
        outputs: reading.value(row, Value::Outputs, &mut cuts)?.or(http_outputs),
        inputs: reading.value(row, Value::Inputs, &mut cuts)?,
        cuts,
        row_version: read_version(row)?,
    })
}

fn read_message(row: &PgRow, reading: &mut Reading) -> Result<Message, DatabaseError> {
    let mut cuts = Cuts::default();
    let created_at: Micros = row.try_get("created_at")?;
    Ok(Message {
        id: row.try_get("id")?,
        app_id: row.try_get("app_id")?,
        conversation_id: row.try_get("conversation_id")?,
        parent_message_id: row.try_get("parent_message_id")?,
        workflow_run_id: row.try_get("workflow_run_id")?,
        model_provider: reading.read_optional(row, "model_provider")?,
        model_id: reading.read_optional(row, "model_id")?,
        app_mode: reading.read_optional(row, "app_mode")?,
        status: reading.read(row, "status")?,
        error: reading.value(row, Value::Error, &mut cuts)?,
        invoke_from: reading.read_optional(row, "invoke_from")?,
        from_source: reading.read(row, "from_source")?,
        from_end_user_id: row.try_get("from_end_user_id")?,
        from_account_id: row.try_get("from_account_id")?,
        message_tokens: i64::from(row.try_get::<Option<i32>, _>("message_tokens")?.unwrap_or(0)),
        answer_tokens: i64::from(row.try_get::<Option<i32>, _>("answer_tokens")?.unwrap_or(0)),
        total_price: price(row, "total_price")?,
        currency: reading.read(row, "currency")?,
        response_seconds: row.try_get::<Option<f64>, _>("provider_response_latency")?.unwrap_or(0.0),
        query: reading.value(row, Value::Query, &mut cuts)?,
        answer: reading.value(row, Value::Answer, &mut cuts)?,
        has_answer: row.try_get::<Option<bool>, _>("has_answer")?.unwrap_or(false),
        agent_based: row.try_get::<Option<bool>, _>("agent_based")?.unwrap_or(false),
        metadata: reading.value(row, Value::Metadata, &mut cuts)?,
        inputs: reading.value(row, Value::Inputs, &mut cuts)?,
        created_at,
        updated_at: row.try_get::<Option<Micros>, _>("updated_at")?.unwrap_or(created_at),
        starts_conversation: false,
        cuts,
        row_version: read_version(row)?,
    })
}

fn read_thought(row: &PgRow, reading: &mut Reading) -> Result<Thought, DatabaseError> {
    let mut cuts = Cuts::default();
    Ok(Thought {
        id: row.try_get("id")?,
        message_id: row.try_get("message_id")?,
        position: row.try_get::<Option<i32>, _>("position")?.unwrap_or(0),
        tool: row.try_get("tool")?,
        tool_meta: reading.value(row, Value::ToolMeta, &mut cuts)?,
        thought: reading.value(row, Value::Thought, &mut cuts)?,
        observation: reading.value(row, Value::Observation, &mut cuts)?,
        tool_input: reading.value(row, Value::ToolInput, &mut cuts)?,
        message_tokens: i64::from(row.try_get::<Option<i32>, _>("message_token")?.unwrap_or(0)),
        answer_tokens: i64::from(row.try_get::<Option<i32>, _>("answer_token")?.unwrap_or(0)),
        total_price: price(row, "total_price")?,
        currency: reading.read_optional(row, "currency")?,
        created_at: row.try_get("created_at")?,
        cuts,
    })
}

fn read_trigger(row: &PgRow, reading: &mut Reading) -> Result<TriggerLog, DatabaseError> {
    Ok(TriggerLog {
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        app_id: row.try_get("app_id")?,
        workflow_run_id: row.try_get("workflow_run_id")?,
        trigger_type: reading.read(row, "trigger_type")?,
        status: reading.read(row, "status")?,
        created_at: row.try_get("created_at")?,
        triggered_at: row.try_get("triggered_at")?,
        finished_at: row.try_get("finished_at")?,
        run_created_at: row.try_get("run_created_at")?,
    })
}
