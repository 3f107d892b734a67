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
use super::reader::{NodeBrief, Place, Reader, ServerFacts, WalkPath};
use crate::dify::records::{Message, Node, Run, RunKey, Thought, TriggerLog, Word};
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
    node_briefs: String,
    nodes: String,
    messages: String,
    thoughts: Option<String>,
    triggers: Option<String>,
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
            node_briefs: node_briefs(&columns, fetch.detail),
            nodes: nodes(&columns, fetch.detail),
            messages: messages(&columns, fetch),
            thoughts: thoughts(&columns),
            triggers: triggers(&columns),
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

    /// A text column that is fetched only where a condition holds.
    fn text_where(&self, table: &str, alias: &str, name: &str, condition: &str) -> String {
        if self.schema.can_read(table, name) {
            format!("CASE WHEN {condition} THEN {} END AS {name}", cut(&format!("{alias}.{name}"), self.value_bytes))
        } else {
            format!("NULL::text AS {name}")
        }
    }

    fn bytes_where(&self, table: &str, alias: &str, name: &str, condition: &str) -> String {
        if self.schema.can_read(table, name) {
            format!("CASE WHEN {condition} THEN LEAST(COALESCE(octet_length({alias}.{name}), 0), {}) ELSE 0 END", self.value_bytes)
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
        columns.text(table, "r", "error", ERROR_LENGTH),
        plain("total_tokens", "0::bigint"),
        plain("total_steps", "NULL::int"),
        plain("exceptions_count", "NULL::int"),
        plain("created_by_role", "''::text"),
        plain("created_by", "NULL::uuid"),
        columns.text_where(table, "r", "inputs", inputs),
        columns.text_where(table, "r", "outputs", documents),
    ];
    format!("-- follow_runs: workflow_run_pkey\nSELECT {} FROM workflow_runs r WHERE r.id = ANY($1)", list.join(", "))
}

/// The table of the runs' keys, and how nodes are found by it: by the run's id alone where an index leads with it (Dify
/// 1.12 and newer), else with the columns that lead the index there is.
fn nodes_of_runs(columns: &Columns<'_>) -> String {
    let by_run = columns.schema.index_on("workflow_node_executions", &["workflow_run_id"]).is_some();
    let keys = "unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS k(run_id, tenant_id, app_id, workflow_id)";
    let condition = if by_run {
        "x.workflow_run_id = k.run_id"
    } else {
        // A pipeline's nodes bear the pipeline's trigger; both prefixes are tried.
        "x.tenant_id = k.tenant_id AND x.app_id = k.app_id AND x.workflow_id = k.workflow_id AND x.triggered_from IN ('workflow-run', 'rag-pipeline-run') AND x.workflow_run_id = k.run_id"
    };
    format!("{keys} CROSS JOIN LATERAL (SELECT * FROM workflow_node_executions x WHERE {condition} OFFSET 0) n")
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
        "-- follow_node_briefs: the index on workflow_run_id\nSELECT k.run_id, n.id, n.status::text AS status, (512 + {})::bigint AS bytes FROM {}",
        bytes.join(" + "),
        nodes_of_runs(columns)
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
        "k.run_id, n.id, n.status, n.node_type, n.elapsed_time, n.created_at".to_owned(),
        columns.plain(table, "n", "index", "0::int"),
        columns.plain(table, "n", "node_id", "''::text"),
        columns.text(table, "n", "title", 256),
        columns.text(table, "n", "predecessor_node_id", 256),
        columns.text(table, "n", "error", ERROR_LENGTH),
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
        nodes_of_runs(columns)
    )
}

fn messages(columns: &Columns<'_>, fetch: Fetch) -> String {
    let table = "messages";
    let plain = |name, missing| columns.plain(table, "m", name, missing);
    let documents = fetch.detail == Detail::Documents;
    let has_answer = if columns.schema.can_read(table, "answer") { "m.answer <> ''" } else { "false" };
    let list = [
        "m.id, m.app_id, m.conversation_id, m.status, m.created_at".to_owned(),
        plain("workflow_run_id", "NULL::uuid"),
        plain("model_provider", "NULL::text"),
        plain("model_id", "NULL::text"),
        plain("app_mode", "NULL::text"),
        columns.text(table, "m", "error", ERROR_LENGTH),
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
        columns.text_where(table, "m", "inputs", if documents || fetch.inputs { "true" } else { "false" }),
        plain("updated_at", "NULL::timestamp"),
    ];
    format!("-- follow_messages: message_pkey\nSELECT {} FROM messages m WHERE m.id = ANY($1)", list.join(", "))
}

fn thoughts(columns: &Columns<'_>) -> Option<String> {
    let table = "message_agent_thoughts";
    let schema = columns.schema;
    if !schema.can_read_all(table, &["id", "message_id", "position", "created_at"]) || schema.index_on(table, &["message_id"]).is_none() {
        return None;
    }
    let list = [
        "t.id, t.message_id, t.position, t.created_at".to_owned(),
        columns.text(table, "t", "tool", ERROR_LENGTH),
        columns.text(table, "t", "tool_meta_str", columns.value_bytes),
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

/// Shares equal words between the rows of one read.
#[derive(Default)]
struct Words(HashMap<String, Word>);

impl Words {
    fn share(&mut self, text: &str) -> Word {
        if let Some(word) = self.0.get(text) {
            return word.clone();
        }
        let word: Word = text.into();
        self.0.insert(text.to_owned(), word.clone());
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
        let mut words = Words::default();
        let rows = self.tx.fetch_all(built_query(self.statements.runs.clone()).bind(ids)).await?;
        rows.iter().map(|row| read_run(row, &mut words)).collect()
    }

    async fn node_briefs(&mut self, runs: &[RunKey]) -> Result<Vec<NodeBrief>, DatabaseError> {
        let statement = Self::bind_keys(built_query(self.statements.node_briefs.clone()), runs);
        let brief = |row: &PgRow| {
            Ok(NodeBrief {
                run_id: row.try_get("run_id")?,
                id: row.try_get("id")?,
                status: row.try_get("status")?,
                bytes: row.try_get("bytes")?,
            })
        };
        self.tx.fetch_all(statement).await?.iter().map(brief).collect()
    }

    async fn nodes(&mut self, runs: &[RunKey]) -> Result<Vec<(Uuid, Node)>, DatabaseError> {
        let mut words = Words::default();
        let rows = self.tx.fetch_all(Self::bind_keys(built_query(self.statements.nodes.clone()), runs)).await?;
        let mut nodes = rows
            .iter()
            .map(|row| Ok((row.try_get("run_id")?, read_node(row, &mut words)?)))
            .collect::<Result<Vec<(Uuid, Node)>, DatabaseError>>()?;
        nodes.sort_unstable_by_key(|(run, node)| (*run, node.index, node.id));
        Ok(nodes)
    }

    async fn messages(&mut self, ids: &[Uuid]) -> Result<Vec<Message>, DatabaseError> {
        let mut words = Words::default();
        let rows = self.tx.fetch_all(built_query(self.statements.messages.clone()).bind(ids)).await?;
        rows.iter().map(|row| read_message(row, &mut words)).collect()
    }

    async fn conversation_starters(&mut self, messages: &[Uuid]) -> Result<Vec<Uuid>, DatabaseError> {
        let statement = query(include_str!("../queries/conversation_starters.sql")).bind(messages);
        self.tx.fetch_all(statement).await?.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    async fn thoughts(&mut self, messages: &[Uuid]) -> Result<Vec<Thought>, DatabaseError> {
        let Some(text) = self.statements.thoughts.clone() else { return Ok(Vec::new()) };
        let mut words = Words::default();
        let rows = self.tx.fetch_all(built_query(text).bind(messages)).await?;
        rows.iter().map(|row| read_thought(row, &mut words)).collect()
    }

    async fn triggers(&mut self, ids: &[Uuid]) -> Result<Vec<TriggerLog>, DatabaseError> {
        let Some(text) = self.statements.triggers.clone() else { return Ok(Vec::new()) };
        let mut words = Words::default();
        let rows = self.tx.fetch_all(built_query(text).bind(ids)).await?;
        rows.iter().map(|row| read_trigger(row, &mut words)).collect()
    }
}

fn read_run(row: &PgRow, words: &mut Words) -> Result<Run, DatabaseError> {
    Ok(Run {
        key: RunKey {
            id: row.try_get("id")?,
            tenant_id: row.try_get("tenant_id")?,
            app_id: row.try_get("app_id")?,
            workflow_id: row.try_get("workflow_id")?,
        },
        run_type: words.read(row, "type")?,
        triggered_from: words.read(row, "triggered_from")?,
        version: words.read(row, "version")?,
        status: words.read(row, "status")?,
        error: row.try_get("error")?,
        elapsed_seconds: row.try_get::<Option<f64>, _>("elapsed_time")?.unwrap_or(0.0),
        total_tokens: row.try_get::<Option<i64>, _>("total_tokens")?.unwrap_or(0),
        total_steps: row.try_get("total_steps")?,
        exceptions_count: row.try_get("exceptions_count")?,
        created_by_role: words.read(row, "created_by_role")?,
        created_by: row.try_get::<Option<Uuid>, _>("created_by")?.unwrap_or_default(),
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
        inputs: row.try_get("inputs")?,
        outputs: row.try_get("outputs")?,
    })
}

fn read_node(row: &PgRow, words: &mut Words) -> Result<Node, DatabaseError> {
    let http_outputs: Option<String> = row.try_get("http_outputs")?;
    Ok(Node {
        id: row.try_get("id")?,
        index: row.try_get::<Option<i32>, _>("index")?.unwrap_or(0),
        node_id: words.read(row, "node_id")?,
        node_type: words.read(row, "node_type")?,
        title: row.try_get::<Option<String>, _>("title")?.unwrap_or_default(),
        predecessor_node_id: words.read_optional(row, "predecessor_node_id")?,
        status: words.read(row, "status")?,
        error: row.try_get("error")?,
        elapsed_seconds: row.try_get::<Option<f64>, _>("elapsed_time")?.unwrap_or(0.0),
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
        execution_metadata: row.try_get("execution_metadata")?,
        process_data: row.try_get("process_data")?,
        outputs: row.try_get::<Option<String>, _>("outputs")?.or(http_outputs),
        inputs: row.try_get("inputs")?,
    })
}

fn read_message(row: &PgRow, words: &mut Words) -> Result<Message, DatabaseError> {
    let created_at: Micros = row.try_get("created_at")?;
    Ok(Message {
        id: row.try_get("id")?,
        app_id: row.try_get("app_id")?,
        conversation_id: row.try_get("conversation_id")?,
        workflow_run_id: row.try_get("workflow_run_id")?,
        model_provider: words.read_optional(row, "model_provider")?,
        model_id: words.read_optional(row, "model_id")?,
        app_mode: words.read_optional(row, "app_mode")?,
        status: words.read(row, "status")?,
        error: row.try_get("error")?,
        invoke_from: words.read_optional(row, "invoke_from")?,
        from_source: words.read(row, "from_source")?,
        from_end_user_id: row.try_get("from_end_user_id")?,
        from_account_id: row.try_get("from_account_id")?,
        message_tokens: i64::from(row.try_get::<Option<i32>, _>("message_tokens")?.unwrap_or(0)),
        answer_tokens: i64::from(row.try_get::<Option<i32>, _>("answer_tokens")?.unwrap_or(0)),
        total_price: price(row, "total_price")?,
        currency: words.read(row, "currency")?,
        response_seconds: row.try_get::<Option<f64>, _>("provider_response_latency")?.unwrap_or(0.0),
        has_answer: row.try_get::<Option<bool>, _>("has_answer")?.unwrap_or(false),
        agent_based: row.try_get::<Option<bool>, _>("agent_based")?.unwrap_or(false),
        metadata: row.try_get("message_metadata")?,
        inputs: row.try_get("inputs")?,
        created_at,
        updated_at: row.try_get::<Option<Micros>, _>("updated_at")?.unwrap_or(created_at),
        starts_conversation: false,
    })
}

fn read_thought(row: &PgRow, words: &mut Words) -> Result<Thought, DatabaseError> {
    Ok(Thought {
        id: row.try_get("id")?,
        message_id: row.try_get("message_id")?,
        position: row.try_get::<Option<i32>, _>("position")?.unwrap_or(0),
        tool: row.try_get("tool")?,
        tool_meta: row.try_get("tool_meta_str")?,
        message_tokens: i64::from(row.try_get::<Option<i32>, _>("message_token")?.unwrap_or(0)),
        answer_tokens: i64::from(row.try_get::<Option<i32>, _>("answer_token")?.unwrap_or(0)),
        total_price: price(row, "total_price")?,
        currency: words.read_optional(row, "currency")?,
        created_at: row.try_get("created_at")?,
    })
}

fn read_trigger(row: &PgRow, words: &mut Words) -> Result<TriggerLog, DatabaseError> {
    Ok(TriggerLog {
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        app_id: row.try_get("app_id")?,
        workflow_run_id: row.try_get("workflow_run_id")?,
        trigger_type: words.read(row, "trigger_type")?,
        status: words.read(row, "status")?,
        created_at: row.try_get("created_at")?,
        triggered_at: row.try_get("triggered_at")?,
        finished_at: row.try_get("finished_at")?,
        run_created_at: row.try_get("run_created_at")?,
    })
}
