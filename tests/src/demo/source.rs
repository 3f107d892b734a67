//! The database of the demo: a private one, or one that is there.

use anyhow::Context;

use super::Progress;
use crate::fixtures;
use crate::postgres::{Cluster, TestDatabase};
use crate::process::Process;
use crate::schema::Schema;

/// The release whose real rows are shown.
const VERSION: &str = "1.12.1";
/// History before the demo: enough for graphs of some days, little enough for debug builds and for promtool.
const DAYS: &str = "3";
const RUNS: &str = "1200";
/// Requests a second while the demo runs.
const RATE: &str = "2";

/// Where Dify's rows are.
#[derive(Debug)]
pub(super) struct Source {
    /// As the exporter connects.
    pub(super) url: String,
    own: Option<Own>,
}

/// Gone when dropped: first the database, then its server.
#[derive(Debug)]
struct Own {
    database: TestDatabase,
    _cluster: Cluster,
}

impl Source {
    /// The database that `url` names, or a private one with real rows and some simulated days.
    pub(super) async fn open(url: Option<String>, progress: &Progress) -> anyhow::Result<Self> {
        match url {
            Some(url) => {
                progress.step("reading the database that DATABASE_URL names (read only; no simulated traffic)");
                Ok(Self { url, own: None })
            }
            None => Self::private(progress).await,
        }
    }

    async fn private(progress: &Progress) -> anyhow::Result<Self> {
        progress.step("starting a private PostgreSQL");
        let cluster = tokio::task::spawn_blocking(|| Cluster::private(&[])).await??;
        progress.step(&format!("creating the schema of Dify {VERSION} and loading rows that a real Dify wrote"));
        let database = cluster.database(&Schema::load(VERSION)?).await?;
        let loaded = fixtures::load_real_rows(&database, VERSION).await?;
        progress.step(&format!("{} real rows; now {RUNS} simulated requests over {DAYS} days", loaded.rows));
        let arguments = ["--database-url", database.url(), "history", "--days", DAYS, "--runs", RUNS];
        let mut history = Process::spawn("dify-simulator", &arguments, &[])?;
        progress.watch("dify-simulator", &mut history).await?;
        progress.step("a role that may only read what is measured (deploy/postgres/exporter-role.sql)");
        let url = database.exporter_role()?;
        Ok(Self { url, own: Some(Own { database, _cluster: cluster }) })
    }

    /// Whether the database is ours to write to.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Traffic as Dify would write it, in our own database only.
    pub(super) fn live_traffic(&self, progress: &Progress) -> anyhow::Result<Option<Process>> {
        let Some(own) = &self.own else { return Ok(None) };
        progress.step(&format!("simulating live traffic ({RATE} requests a second)"));
        Process::spawn("dify-simulator", &["--database-url", own.database.url(), "live", "--rate", RATE], &[]).map(Some)
    }

    /// The answer of plain SQL in our own database.
    pub(super) async fn count(&self, sql: &str) -> anyhow::Result<i64> {
        let own = self.own.as_ref().context("plain SQL is asked of the demo's own database only")?;
        own.database.count(sql).await
    }
}
