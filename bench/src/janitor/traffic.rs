//! Dify at work while rows are deleted: whole runs as Dify writes them, each step a transaction of its own, at a fixed rate, and how
//! long each took from the moment when it was due.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::task::JoinHandle;

/// Connections, as a small Dify has busy at a time.
const WRITERS: u64 = 8;

/// Milliseconds, sorted.
pub(crate) type Latencies = Vec<f64>;

/// Writers that begin runs at a rate until they are stopped.
#[derive(Debug)]
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    latencies: Arc<Mutex<Latencies>>,
    writers: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// What every writer needs to know.
struct Work {
    began: Instant,
    rate: f64,
    next: AtomicU64,
    stop: Arc<AtomicBool>,
    latencies: Arc<Mutex<Latencies>>,
    statements: Statements,
}

/// The statements of a run. Contents are those of a run that is there, copied by the server.
struct Statements {
    begin_run: String,
    end_run: &'static str,
    begin_node: String,
    end_node: &'static str,
    log_page: &'static str,
    app: String,
}

impl Traffic {
    /// Begins `rate` runs a second.
    pub(crate) async fn start(url: &str, rate: f64) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let statements = Statements::of(&mut connection).await?;
        connection.close().await?;
        let (stop, latencies) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let work = Arc::new(Work {
            began: Instant::now(),
            rate,
            next: AtomicU64::new(0),
            stop: stop.clone(),
            latencies: latencies.clone(),
            statements,
        });
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let connection = PgConnection::connect(url).await?;
            writers.push(tokio::spawn(work.clone().write(connection)));
        }
        Ok(Self { stop, latencies, writers })
    }

    /// What was measured since the last call.
    pub(crate) fn forget(&self) -> Latencies {
        let mut measured = self.latencies.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default();
        measured.sort_by(f64::total_cmp);
        measured
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.map_err(|error| anyhow!(error))??;
        }
        Ok(())
    }
}

impl Work {
    async fn write(self: Arc<Self>, mut connection: PgConnection) -> anyhow::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.began + Duration::from_secs_f64(number as f64 / self.rate);
            tokio::time::sleep_until(due.into()).await;
            self.statements.run(&mut connection).await.context("the traffic")?;
            let took = due.elapsed().as_secs_f64() * 1e3;
            if let Ok(mut latencies) = self.latencies.lock() {
                latencies.push(took);
            }
        }
        connection.close().await?;
        Ok(())
    }
}

impl Statements {
    async fn of(connection: &mut PgConnection) -> anyhow::Result<Self> {
        let row = sqlx::query(
            "SELECT r.id::text, r.app_id::text, n.id::text FROM workflow_runs r JOIN workflow_node_executions n
             ON n.tenant_id = r.tenant_id AND n.app_id = r.app_id AND n.workflow_id = r.workflow_id
             AND n.triggered_from = 'workflow-run' AND n.workflow_run_id = r.id
             WHERE r.status = 'succeeded' AND n.node_type = 'llm' ORDER BY r.created_at DESC LIMIT 1",
        )
        .fetch_one(&mut *connection)
        .await
        .context("no run to copy")?;
        let (run, app, node): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let run_values = [
            ("id", "$1"),
            ("status", "'running'"),
            ("outputs", "'{}'"),
            ("finished_at", "NULL"),
            ("created_at", "clock_timestamp() AT TIME ZONE 'UTC'"),
            // Unique in old versions, together with the app.
            ("sequence_number", "nextval('traffic_numbers')"),
        ];
        let node_values = [
            ("id", "$1"),
            ("workflow_run_id", "$2"),
            ("node_execution_id", "$1::text"),
            ("status", "'running'"),
            ("finished_at", "NULL"),
            ("created_at", "clock_timestamp() AT TIME ZONE 'UTC'"),
        ];
        sqlx::raw_sql("CREATE SEQUENCE IF NOT EXISTS traffic_numbers START 100000000").execute(&mut *connection).await?;
        Ok(Self {
            begin_run: copy(connection, "workflow_runs", &run, &run_values).await?,
            end_run: "UPDATE workflow_runs SET status = 'succeeded', elapsed_time = 0.1, outputs = '{\"text\": \"done\"}',
                finished_at = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = $1",
            begin_node: copy(connection, "workflow_node_executions", &node, &node_values).await?,
            end_node: "UPDATE workflow_node_executions SET status = 'succeeded', elapsed_time = 0.1,
                finished_at = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = $1",
            log_page: "SELECT r.id FROM workflow_runs r WHERE r.tenant_id = (SELECT tenant_id FROM apps WHERE id = $1::text::uuid)
                AND r.app_id = $1::text::uuid AND r.triggered_from = 'app-run' LIMIT 20",
            app,
        })
    }

    /// A run with two nodes, and a look at the page of the app's runs.
    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let run = sqlx::types::Uuid::new_v4();
        sqlx::query(AssertSqlSafe(self.begin_run.as_str())).bind(run).execute(&mut *connection).await?;
        for _ in 0..2 {
            let node = sqlx::types::Uuid::new_v4();
            sqlx::query(AssertSqlSafe(self.begin_node.as_str())).bind(node).bind(run).execute(&mut *connection).await?;
            sqlx::query(self.end_node).bind(node).execute(&mut *connection).await?;
        }
        sqlx::query(self.end_run).bind(run).execute(&mut *connection).await?;
        sqlx::query(self.log_page).bind(&self.app).fetch_all(connection).await?;
        Ok(())
    }
}

/// An INSERT that copies a row, with some values of its own.
async fn copy(connection: &mut PgConnection, table: &str, id: &str, values: &[(&str, &str)]) -> anyhow::Result<String> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    let quoted: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
    let value =
        |column: &String| values.iter().find(|(name, _)| name == column).map_or(format!("\"{column}\""), |(_, value)| (*value).to_owned());
    let selected: Vec<String> = columns.iter().map(value).collect();
    Ok(format!("INSERT INTO {table} ({}) SELECT {} FROM {table} WHERE id = '{id}'", quoted.join(", "), selected.join(", ")))
}
