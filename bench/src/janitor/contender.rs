//! Ways to delete what is expired: ours, and those that people use.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use dify_observe_tests::postgres::TestDatabase;
use dify_observe_tests::process::Process;
use dify_observe_tests::simulator::live;
use dify_observe_tests::simulator::value::naive;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use super::Options;
use super::traffic::Latencies;
use crate::progress::say;

/// Runs of one batch where people choose it themselves.
const BATCH: usize = 200;
/// Runs of one batch of Dify's own clean-up, as it comes.
const DIFYS_BATCH: usize = 100;

/// Rows that ended in this time, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// The first moment.
    pub(crate) from: i64,
    /// The first moment after it.
    pub(crate) to: i64,
}

/// Who deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// dify-janitor with everything it does, as fast as it can.
    Whole,
    /// dify-janitor without an archive of rows, as fast as it can.
    DeleteOnly,
    /// dify-janitor as it comes.
    Paced,
    /// The fastest known way: node executions by the index that there is, in order of time, nothing else looked at.
    Limit,
    /// One DELETE by time for each table.
    Single,
    /// What Dify's own clean-up sends.
    Dify,
}

/// What a contender did with its window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// How long it took, or was allowed to take.
    pub(crate) seconds: f64,
    /// Whether it came to the end of its window.
    pub(crate) finished: bool,
    /// Rows deleted, of all tables.
    pub(crate) rows: u64,
    /// Node executions deleted.
    pub(crate) nodes: u64,
    /// Bytes of write-ahead log that its statements wrote.
    pub(crate) wal: f64,
    /// Statements, transaction control aside.
    pub(crate) statements: i64,
    /// Milliseconds of the longest statement that deletes.
    pub(crate) longest: f64,
    /// Most resident memory of its own process, in bytes.
    pub(crate) memory: u64,
    /// The traffic before.
    pub(crate) alone: Latencies,
    /// The traffic meanwhile.
    pub(crate) beside: Latencies,
}

impl Measured {
    /// In a line.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} rows ({} nodes) in {:.1} s: {:.0} rows/s, {:.0} B of WAL a row, longest statement {:.0} ms",
            self.rows,
            self.nodes,
            self.seconds,
            self.rate(),
            self.wal_per_row(),
            self.longest
        )
    }

    /// Rows per second.
    pub(crate) fn rate(&self) -> f64 {
        self.rows as f64 / self.seconds.max(1e-9)
    }

    /// Bytes of write-ahead log for a row.
    pub(crate) fn wal_per_row(&self) -> f64 {
        self.wal / (self.rows as f64).max(1.0)
    }
}

impl Contender {
    /// In the order of their windows, oldest first.
    pub(crate) const ALL: [Contender; 6] =
        [Contender::Whole, Contender::DeleteOnly, Contender::Paced, Contender::Limit, Contender::Single, Contender::Dify];

    /// Its name in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Whole => "dify-janitor, archive and verify and delete, unpaced",
            Contender::DeleteOnly => "dify-janitor, delete only, unpaced",
            Contender::Paced => "dify-janitor as it comes (5,000 rows/s)",
            Contender::Limit => "fastest known way (nodes and runs by index, in time order)",
            Contender::Single => "one DELETE … WHERE created_at < for each table",
            Contender::Dify => "Dify's own clean-up, batches of 100 runs",
        }
    }

    fn role(self) -> String {
        format!("bench_{self:?}").to_lowercase()
    }

    /// Deletes its window, for as long as it may take.
    pub(crate) async fn delete(self, options: &Options, database: &TestDatabase, window: Window) -> anyhow::Result<Measured> {
        let role = self.role();
        database
            .execute(&format!("DO $$ BEGIN CREATE ROLE {role} LOGIN SUPERUSER; EXCEPTION WHEN duplicate_object THEN NULL; END $$"))
            .await?;
        database.count_statements().await?;
        let url = database.url_as(&role);
        let began = Instant::now();
        let mut measured = match self {
            Contender::Whole | Contender::DeleteOnly | Contender::Paced => self.janitor(options, &url, window).await?,
            Contender::Limit => limit(&url, window, deadline(options, began)).await?,
            Contender::Single => single(&url, window).await?,
            Contender::Dify => difys_own(&url, window, deadline(options, began)).await?,
        };
        measured.seconds = began.elapsed().as_secs_f64();
        let mut connection = database.connect().await?;
        let used = sqlx::query(
            "SELECT coalesce(sum(wal_bytes), 0)::float8, coalesce(sum(calls), 0)::int8,
               coalesce(max(max_exec_time) FILTER (WHERE query ILIKE '%DELETE FROM%'), 0)::float8
             FROM pg_stat_statements WHERE userid = $1::text::regrole AND query !~* '^(begin|commit|rollback|set)'",
        )
        .bind(&role)
        .fetch_one(&mut connection)
        .await?;
        (measured.wal, measured.statements, measured.longest) = (used.get(0), used.get(1), used.get(2));
        connection.close().await?;
        Ok(measured)
    }

    /// What is older than the end of the window, by `run --execute`.
    async fn janitor(self, options: &Options, url: &str, window: Window) -> anyhow::Result<Measured> {
        let folder = tempfile::Builder::new().prefix("dify-observe-bench-").tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(at("archive"))?;
        let age = format!("{}s", (live::now() - window.to) / 1_000_000);
        let archive = if self == Contender::DeleteOnly { "none".to_owned() } else { format!("file://{}", at("archive")) };
        let state = at("state");
        let pace = if self == Contender::Paced { "5000" } else { "0" };
        let environment = [
            ("DIFY_OBSERVE__POSTGRES__URL", url),
            ("DIFY_OBSERVE__STATE_DIR", &state),
            ("DIFY_OBSERVE__JANITOR__AGE", &age),
            ("DIFY_OBSERVE__JANITOR__PACE", pace),
            ("DIFY_OBSERVE__JANITOR__MAX_SHARE", "1"),
            ("DIFY_OBSERVE__JANITOR__ARCHIVE__URL", &archive),
        ];
        let budget = format!("{}s", options.patience.ceil());
        let arguments = ["run", "--execute", "--format", "json", "--time-budget", &budget];
        let mut process = Process::spawn("dify-janitor", &arguments, &environment)?;
        let mut memory = 0;
        while process.ended()?.is_none() {
            memory = process.peak_memory().unwrap_or(0).max(memory);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let report: Value = serde_json::from_str(&stdout).with_context(|| format!("no report:\n{stdout}\n{stderr}"))?;
        ensure!(report["tables"].is_object(), "the report has no tables: {report}");
        for warning in stderr.lines().filter(|line| line.contains("WARN")).take(5) {
            say(&format!("  {warning}"));
        }
        let deleted = |table: &Value| table["rows_deleted"].as_u64().unwrap_or(0);
        let tables = report["tables"].as_object().into_iter().flatten();
        let rows = tables.map(|(_, table)| deleted(table)).sum();
        Ok(Measured {
            finished: report["outcome"] == "completed",
            rows,
            nodes: deleted(&report["tables"]["workflow_node_executions"]),
            memory,
            ..Measured::default()
        })
    }
}

fn deadline(options: &Options, began: Instant) -> Instant {
    began + Duration::from_secs_f64(options.patience)
}

/// The runs of a window, in order of time.
async fn runs(connection: &mut PgConnection, window: Window) -> anyhow::Result<Vec<[Uuid; 4]>> {
    let sql = format!(
        "SELECT id, tenant_id, app_id, workflow_id FROM workflow_runs WHERE created_at >= '{}' AND created_at < '{}' ORDER BY created_at",
        naive(window.from),
        naive(window.to)
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| [row.get(0), row.get(1), row.get(2), row.get(3)]).collect())
}

/// Node executions through whichever index there is, then the runs.
async fn limit(url: &str, window: Window, deadline: Instant) -> anyhow::Result<Measured> {
    let mut connection = PgConnection::connect(url).await?;
    let by_run: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_indexes WHERE tablename = 'workflow_node_executions' AND indexdef LIKE '%(workflow_run_id)')",
    )
    .fetch_one(&mut connection)
    .await?;
    let runs = runs(&mut connection, window).await?;
    sqlx::raw_sql(
        "SET plan_cache_mode = force_custom_plan; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off;
         SET enable_bitmapscan = off; SET jit = off",
    )
    .execute(&mut connection)
    .await?;
    let nodes = if by_run {
        "DELETE FROM workflow_node_executions n USING unnest($1::uuid[]) AS r(id) WHERE n.workflow_run_id = r.id"
    } else {
        "DELETE FROM workflow_node_executions n USING (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[])
           AS r(id, tenant_id, app_id, workflow_id)) r
         WHERE n.tenant_id = r.tenant_id AND n.app_id = r.app_id AND n.workflow_id = r.workflow_id
           AND n.triggered_from = 'workflow-run' AND n.workflow_run_id = r.id"
    };
    let mut measured = Measured { finished: true, ..Measured::default() };
    for batch in runs.chunks(BATCH) {
        let column = |place: usize| batch.iter().map(|run| run[place]).collect::<Vec<Uuid>>();
        let mut query = sqlx::query(nodes).bind(column(0));
        if !by_run {
            query = query.bind(column(1)).bind(column(2)).bind(column(3));
        }
        let deleted = query.execute(&mut connection).await?.rows_affected();
        let own = sqlx::query("DELETE FROM workflow_runs WHERE id = ANY ($1)").bind(column(0)).execute(&mut connection).await?;
        measured.nodes += deleted;
        measured.rows += deleted + own.rows_affected();
        if Instant::now() > deadline {
            measured.finished = false;
            break;
        }
    }
    connection.close().await?;
    Ok(measured)
}

/// What a person types first. It cannot be interrupted without losing what it did, so that patience does not count.
async fn single(url: &str, window: Window) -> anyhow::Result<Measured> {
    let mut connection = PgConnection::connect(url).await?;
    let mut deleted = [0, 0];
    for (place, table) in ["workflow_node_executions", "workflow_runs"].into_iter().enumerate() {
        let (from, to) = (naive(window.from), naive(window.to));
        // The older rows are other contenders' windows, in which nothing is left but what they keep.
        let sql = format!("DELETE FROM {table} WHERE created_at < '{to}' AND created_at >= '{from}'");
        deleted[place] = sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?.rows_affected();
    }
    connection.close().await?;
    Ok(Measured { finished: true, nodes: deleted[0], rows: deleted[0] + deleted[1], ..Measured::default() })
}

/// The statements of `clean_workflow_runlogs_precise`, batch by batch: whole runs are read, messages and node executions are looked
/// for by the ids of runs, written into the statement as its driver does.
async fn difys_own(url: &str, window: Window, deadline: Instant) -> anyhow::Result<Measured> {
    let mut connection = PgConnection::connect(url).await?;
    let mut measured = Measured::default();
    let list = |ids: &[String]| format!("('{}')", ids.join("', '"));
    loop {
        let sql = format!(
            "SELECT * FROM workflow_runs WHERE created_at < '{}' AND created_at >= '{}' ORDER BY created_at, id LIMIT {DIFYS_BATCH}",
            naive(window.to),
            naive(window.from)
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
        if rows.is_empty() {
            measured.finished = true;
            break;
        }
        let runs: Vec<String> = rows.iter().map(|row| row.get::<Uuid, _>("id").to_string()).collect();
        let runs = list(&runs);
        let mut transaction = connection.begin().await?;
        let sql = format!("SELECT id, conversation_id FROM messages WHERE workflow_run_id IN {runs}");
        let messages = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut *transaction).await?;
        let mut statements = Vec::new();
        if !messages.is_empty() {
            let ids = |place: usize| list(&messages.iter().map(|row| row.get::<Uuid, _>(place).to_string()).collect::<Vec<_>>());
            let children = [
                "app_annotation_hit_histories",
                "dataset_retriever_resources",
                "message_agent_thoughts",
                "message_chains",
                "message_files",
            ];
            let kept = ["message_annotations", "message_feedbacks"];
            statements.extend(children.iter().chain(&kept).map(|table| (*table, format!("message_id IN {}", ids(0)))));
            statements.push(("messages", format!("id IN {}", ids(0))));
            statements.push(("workflow_conversation_variables", format!("conversation_id IN {}", ids(1))));
            statements.push(("conversations", format!("id IN {}", ids(1))));
        }
        statements.push(("workflow_node_executions", format!("workflow_run_id IN {runs}")));
        statements.push(("workflow_app_logs", format!("workflow_run_id IN {runs}")));
        statements.push(("workflow_runs", format!("id IN {runs}")));
        for (table, condition) in statements {
            let sql = format!("DELETE FROM {table} WHERE {condition}");
            let deleted = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?.rows_affected();
            measured.rows += deleted;
            measured.nodes += if table == "workflow_node_executions" { deleted } else { 0 };
        }
        transaction.commit().await?;
        if Instant::now() > deadline {
            break;
        }
    }
    connection.close().await?;
    Ok(measured)
}
