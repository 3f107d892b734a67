//! What archiving alone costs, and how small the archive is: ours beside pyarrow, on the same rows.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use dify_janitor::archive::{Archive, BatchHead};
use dify_observe_core::dify::retention::{Bundle, LoadLimits, Ownership, Prefetched, Root, RunKey, Snapshot, prefetch};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::ArchiveSettings;
use dify_observe_tests::postgres::TestDatabase;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use super::Options;
use crate::progress::say;

/// Runs that are archived for this, five node executions each.
const RUNS: i64 = 40_000;
/// Runs of a batch.
const BATCH: usize = 5_000;

/// One way of archiving.
#[derive(Clone, Debug)]
pub(crate) struct Archived {
    /// Who.
    pub(crate) name: String,
    /// Rows.
    pub(crate) rows: u64,
    /// Seconds until they were written.
    pub(crate) seconds: f64,
    /// Seconds until they were read back and compared, where that is done.
    pub(crate) verify: Option<f64>,
    /// Bytes of the same rows as JSON.
    pub(crate) json: f64,
    /// Bytes in the archive.
    pub(crate) bytes: f64,
}

/// Archives the oldest runs, and deletes nothing.
pub(crate) async fn measure(options: &Options, database: &TestDatabase) -> anyhow::Result<Vec<Archived>> {
    say("archiving without deleting");
    let mut measured = vec![ours(database).await?];
    if let Some(python) = &options.python {
        measured.push(pyarrow(python, database, measured[0].rows).await?);
    }
    for archived in &measured {
        say(&format!(
            "  {}: {} rows in {:.1} s, {:.2} times smaller",
            archived.name,
            archived.rows,
            archived.seconds,
            archived.json / archived.bytes
        ));
    }
    Ok(measured)
}

/// Runs with all that hangs on them, batch by batch as `run --execute` does it, without the deleting.
async fn ours(database: &TestDatabase) -> anyhow::Result<Archived> {
    let folder = tempfile::Builder::new().prefix("dify-observe-bench-").tempdir()?;
    let settings = ArchiveSettings { url: format!("file://{}", folder.path().display()), ..ArchiveSettings::default() };
    let archive = Archive::open(&settings, folder.path())?;
    let db = Database::new(database.url().parse()?, Duration::from_secs(10));
    let timeout = Duration::from_secs(600);
    let mut tx = db.read(timeout).await?;
    let schema = Schema::probe(&mut tx).await?;
    tx.end().await?;
    let ownership = Arc::new(Ownership::resolve(&schema)?);
    let bundles = bundles(database).await?;
    let (mut rows, mut bytes, mut write, mut verify) = (0, 0, Duration::ZERO, Duration::ZERO);
    for batch in bundles.chunks(BATCH) {
        let batch: Arc<[Bundle]> = batch.into();
        let prefetched = match ownership.needs_prefetch(Root::Run) {
            true => prefetch(&db, &ownership, Root::Run, &batch, timeout).await?,
            false => Prefetched::default(),
        };
        let began = Instant::now();
        let limits = LoadLimits { statement_timeout: timeout, ..LoadLimits::default() };
        let mut snapshot = Snapshot::begin(&db, ownership.clone(), batch.clone(), Arc::new(prefetched), limits).await?;
        let mut writer = archive.begin(head(&batch[0]), &batch).await?;
        while let Some(piece) = snapshot.next().await? {
            writer.write(piece).await?;
        }
        snapshot.end().await?;
        let manifest = writer.finish().await?;
        write += began.elapsed();
        let began = Instant::now();
        archive.verify(&manifest).await?;
        verify += began.elapsed();
        rows += manifest.rows();
        bytes += manifest.bytes();
    }
    db.close().await;
    ensure!(rows > 0, "nothing was archived");
    Ok(Archived {
        name: "dify-janitor".to_owned(),
        rows,
        seconds: write.as_secs_f64(),
        verify: Some(verify.as_secs_f64()),
        json: as_json(database).await?,
        bytes: bytes as f64,
    })
}

/// The oldest runs of workflows, in order of time.
async fn bundles(database: &TestDatabase) -> anyhow::Result<Vec<Bundle>> {
    let mut connection = database.connect().await?;
    let rows = sqlx::query(
        "SELECT id, tenant_id, app_id, workflow_id, status, (extract(epoch FROM created_at) * 1e6)::int8
         FROM workflow_runs WHERE type = 'workflow' AND finished_at IS NOT NULL ORDER BY created_at LIMIT $1",
    )
    .bind(RUNS)
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;
    let bundle = |row: &PgRow| {
        let (id, at) = (row.get(0), Micros(row.get(5)));
        let runs = vec![RunKey { id, workflow_id: row.get(3) }];
        let (tenant_id, app_id, status) = (row.get(1), row.get(2), row.get(4));
        Bundle { root: Root::Run, id, tenant_id, app_id, status, ended_at: at, newest: at, runs, messages: Vec::new() }
    };
    Ok(rows.iter().map(bundle).collect())
}

fn head(first: &Bundle) -> BatchHead {
    BatchHead {
        id: Uuid::new_v4(),
        tenant_id: first.tenant_id,
        app_id: first.app_id,
        day: first.day(),
        root: Root::Run,
        policy: "bench".to_owned(),
        written_at: first.ended_at,
        alembic: None,
        database: "bench".to_owned(),
    }
}

/// Bytes of the rows of [`bundles`] as JSON, the large ones of them: runs, node executions and logs.
async fn as_json(database: &TestDatabase) -> anyhow::Result<f64> {
    let mut connection = database.connect().await?;
    let sql = "WITH runs AS (SELECT * FROM workflow_runs WHERE type = 'workflow' AND finished_at IS NOT NULL ORDER BY created_at LIMIT $1)
        SELECT ((SELECT sum(octet_length(row_to_json(r)::text)) FROM runs r)
          + (SELECT sum(octet_length(row_to_json(n)::text)) FROM runs r JOIN workflow_node_executions n ON n.tenant_id = r.tenant_id
             AND n.app_id = r.app_id AND n.workflow_id = r.workflow_id AND n.triggered_from = 'workflow-run' AND n.workflow_run_id = r.id)
          + (SELECT sum(octet_length(row_to_json(l)::text)) FROM workflow_app_logs l WHERE l.workflow_run_id IN (SELECT id FROM runs)))::float8";
    Ok(sqlx::query_scalar(sql).bind(RUNS).fetch_one(&mut connection).await?)
}

/// The same number of node executions by the script of somebody who knows pyarrow.
async fn pyarrow(python: &std::path::Path, database: &TestDatabase, rows: u64) -> anyhow::Result<Archived> {
    let folder = tempfile::Builder::new().prefix("dify-observe-bench-").tempdir()?;
    let path = folder.path().join("nodes.parquet");
    let mut command = Command::new(python);
    command.args(["-c", include_str!("pyarrow_archive.py"), database.url()]).arg(&path).arg(rows.to_string());
    let output = tokio::task::spawn_blocking(move || command.output()).await?.context("failed to start Python")?;
    ensure!(output.status.success(), "the script failed: {}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).context("the script said something else")?;
    let rows = said["rows"].as_u64().unwrap_or(0);
    let sql = format!(
        "SELECT sum(octet_length(row_to_json(n)::text))::int8 FROM (SELECT * FROM workflow_node_executions WHERE workflow_run_id IS NOT NULL
         ORDER BY ctid LIMIT {rows}) n"
    );
    Ok(Archived {
        name: format!("pyarrow {} (node executions alone)", said["pyarrow"].as_str().unwrap_or("?")),
        rows,
        seconds: said["seconds"].as_f64().unwrap_or(f64::NAN),
        verify: None,
        json: database.count(&sql).await? as f64,
        bytes: std::fs::metadata(&path)?.len() as f64,
    })
}
