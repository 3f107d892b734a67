//! The server and its rows.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::simulator::bulk::{self, Load};
use dify_observe_tests::simulator::{self, Version, live};
use sqlx::Row as _;

use crate::progress::say;

/// Dify's docker compose file says the first five; the rest takes back what test servers do for speed, and counts all that a
/// statement costs.
pub(crate) const SERVER_SETTINGS: [(&str, &str); 10] = [
    ("shared_buffers", "128MB"),
    ("work_mem", "4MB"),
    ("maintenance_work_mem", "64MB"),
    ("effective_cache_size", "4096MB"),
    ("max_connections", "100"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("pg_stat_statements.track_utility", "on"),
    ("pg_stat_statements.track_planning", "on"),
];

/// What is in a database.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    /// Dify's release.
    pub(crate) schema: String,
    /// Rows by table, as the planner estimates them after ANALYZE.
    pub(crate) rows: Vec<(String, f64)>,
    /// All of it, in bytes.
    pub(crate) bytes: f64,
}

/// The server's own words, and the day.
pub(crate) async fn server_version(cluster: &Cluster) -> anyhow::Result<(String, String)> {
    let mut connection = cluster.admin().await?;
    let text = "SELECT split_part(version(), ' on ', 1), to_char(now(), 'YYYY-MM-DD')";
    Ok(sqlx::query_as(text).fetch_one(&mut connection).await?)
}

/// An empty database of a release, which counts statements.
pub(crate) async fn create(cluster: &Cluster, version: &str) -> anyhow::Result<TestDatabase> {
    let database = cluster.database(&Schema::load(version)?).await?;
    database.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
    Ok(database)
}

/// What history a database has.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Requests.
    pub(crate) requests: u64,
    /// Days that they cover.
    pub(crate) days: f64,
    /// How many days ago the last of them came.
    pub(crate) days_before: f64,
    /// Apps.
    pub(crate) apps: usize,
    /// Decides apps and traffic.
    pub(crate) seed: u64,
}

/// What the simulator writes, to history and live.
pub(crate) fn simulated(database: &TestDatabase, apps: usize) -> simulator::Options {
    let version = database.schema().version.parse::<Version>().unwrap_or(Version::new(1, 12, 1));
    simulator::Options { version, apps, ..simulator::Options::default() }
}

/// Loads finished history, and leaves the tables vacuumed.
pub(crate) async fn load(database: &TestDatabase, history: &History) -> anyhow::Result<()> {
    let &History { requests, days, days_before, apps, seed } = history;
    let span = Duration::from_secs_f64(days.max(0.01) * 86_400.0);
    // The last minutes are left to live traffic, so that no story reaches into the future.
    let end = live::now() - 120_000_000 - (days_before * 86_400e6) as i64;
    let load = Load {
        url: database.url().to_owned(),
        seed,
        options: simulator::Options {
            start: end - span.as_micros() as i64,
            arrivals: requests,
            rate: requests as f64 / span.as_secs_f64(),
            ..simulated(database, apps)
        },
        jobs: 2,
        rebuild_indexes: requests >= 100_000,
    };
    say(&format!("loading {requests} requests of history"));
    let (began, mut shown) = (Instant::now(), Instant::now());
    let loaded = bulk::load(&load, |so_far| {
        if shown.elapsed() > Duration::from_secs(10) {
            shown = Instant::now();
            say(&format!("  {} of {requests}", so_far.stories));
        }
    })
    .await
    .context("failed to load history")?;
    say(&format!("  {} rows in {:.0} s; vacuuming", loaded.rows, began.elapsed().as_secs_f64()));
    for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
        database.execute(statement).await?;
    }
    Ok(())
}

/// Counts what is there.
pub(crate) async fn size(database: &TestDatabase) -> anyhow::Result<Size> {
    let mut connection = database.connect().await?;
    let rows = sqlx::query(
        "SELECT relname::text, greatest(reltuples, 0)::float8 FROM pg_class
         WHERE relname IN ('workflow_runs', 'workflow_node_executions', 'messages') AND relkind = 'r' ORDER BY reltuples DESC",
    )
    .fetch_all(&mut connection)
    .await?;
    let bytes: f64 = sqlx::query_scalar("SELECT pg_database_size(current_database())::float8").fetch_one(&mut connection).await?;
    let rows = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(Size { schema: database.schema().version.clone(), rows, bytes })
}

/// A time in the past by the server's clock, as configuration wants it.
pub(crate) async fn time_ago(database: &TestDatabase, seconds: i32) -> anyhow::Result<String> {
    let mut connection = database.connect().await?;
    let text = "SELECT to_char((now() - make_interval(secs => $1)) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    Ok(sqlx::query_scalar(text).bind(f64::from(seconds)).fetch_one(&mut connection).await?)
}

/// How long ago a time was, in seconds.
pub(crate) async fn seconds_since(database: &TestDatabase, time: &str) -> anyhow::Result<f64> {
    let mut connection = database.connect().await?;
    let text = "SELECT extract(epoch FROM now() - $1::text::timestamptz)::float8";
    sqlx::query_scalar(text).bind(time).fetch_one(&mut connection).await.with_context(|| format!("{time:?} is no time"))
}
