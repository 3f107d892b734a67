//! A populated database, what must become of it, and a janitor for it.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::{Expected, Keys, Population, Rules, Snapshot, expected, orphans, populate};
use dify_observe_tests::simulator::live;

use crate::archived;
use crate::setup::Setup;

/// A populated database, what must become of it, and a janitor for it.
pub(crate) struct Scene {
    pub(crate) what: String,
    pub(crate) database: TestDatabase,
    pub(crate) setup: Setup,
    pub(crate) before: Snapshot,
    pub(crate) expected: Expected,
    pub(crate) orphans: BTreeSet<String>,
}

impl Scene {
    /// A database of the shared server with this schema, and rules of every kind.
    pub(crate) async fn new(schema: &Schema, seed: u64, arrivals: u64) -> anyhow::Result<Self> {
        Self::on(Cluster::shared()?, schema, seed, arrivals).await
    }

    /// The same on a server of one's own.
    pub(crate) async fn on(cluster: &Cluster, schema: &Schema, seed: u64, arrivals: u64) -> anyhow::Result<Self> {
        let database = cluster.database(schema).await?;
        let Population { apps, .. } = populate(&database, seed, arrivals, live::now()).await?;
        Self::of(database, Rules::varied(&apps), format!("{}, seed {seed}", schema.describe())).await
    }

    /// A database as it is.
    pub(crate) async fn of(database: TestDatabase, rules: Rules, what: String) -> anyhow::Result<Self> {
        let mut connection = database.connect().await?;
        let before = Snapshot::take(&mut connection).await?;
        let expected = expected(&mut connection, &rules, live::now()).await?;
        let orphans = orphans(&mut connection).await?;
        ensure!(!expected.is_empty(), "{what}: nothing is due, the test would show nothing");
        let setup = Setup::new(database.url(), &rules)?;
        Ok(Self { what, database, setup, before, expected, orphans })
    }

    /// The database now.
    pub(crate) async fn now(&self) -> anyhow::Result<Snapshot> {
        Snapshot::take(&mut self.database.connect().await?).await
    }

    /// Rows that were there at the beginning and are not any more.
    pub(crate) async fn gone(&self) -> anyhow::Result<Keys> {
        Ok(self.before.gone_in(&self.now().await?))
    }

    /// Exactly what is due is gone, each row of it is in the archive once, and nothing else was touched.
    pub(crate) async fn is_pruned(&self) -> anyhow::Result<()> {
        none(&self.what, &self.expected.complaints(&self.gone().await?))?;
        self.is_pruned_rightly().await
    }

    /// As `is_pruned`, where more than what the rules say may stay: an index is missing that would show that it may go.
    pub(crate) async fn is_pruned_rightly(&self) -> anyhow::Result<()> {
        let after = self.now().await?;
        let gone = self.before.gone_in(&after);
        ensure!(!gone.is_empty(), "{}: nothing is gone", self.what);
        none(&self.what, &self.expected.wrongly(&gone))?;
        none(&self.what, &self.before.news_in(&after))?;
        let archive = self.setup.archive();
        let archived = archived::done(&archive)?;
        none(&self.what, &archived::lost(&gone, &archived))?;
        none(&self.what, &archived::superfluous(&gone, &archived))?;
        ensure!(archived::unfinished(&archive)? == 0, "{}: a batch is not done", self.what);
        self.no_new_orphans().await
    }

    /// Nothing names a missing row that did not before. Dify's own record of its archive and the rows that name objects in its
    /// storage stay on purpose.
    pub(crate) async fn no_new_orphans(&self) -> anyhow::Result<()> {
        let orphans = orphans(&mut self.database.connect().await?).await?;
        let on_purpose = |line: &&String| line.starts_with("workflow_archive_logs ") || line.starts_with("tool_files ");
        let new: Vec<String> = orphans.difference(&self.orphans).filter(|line| !on_purpose(line)).cloned().collect();
        none(&format!("{}, orphans", self.what), &new)
    }

    /// At any instant, what is gone is in a batch that counts, and what is there is as it was.
    pub(crate) async fn nothing_is_lost(&self) -> anyhow::Result<()> {
        let after = self.now().await?;
        none(&self.what, &self.before.news_in(&after))?;
        let archived = archived::all(&self.setup.archive())?;
        none(&self.what, &archived::lost(&self.before.gone_in(&after), &archived))
    }

    /// Nothing was touched.
    pub(crate) async fn is_untouched(&self) -> anyhow::Result<()> {
        none(&self.what, &self.before.differences(&self.now().await?))
    }

    /// Everything comes back, byte for byte, and the next run leaves it alone.
    pub(crate) async fn comes_back(&self) -> anyhow::Result<()> {
        self.setup.restore_all().await?;
        self.is_untouched().await.context("after restore")?;
        self.setup.succeed(&["run", "--execute"]).await?;
        self.is_untouched().await.context("after the run that follows a restore")
    }
}

/// Fails with the first of the complaints.
pub(crate) fn none(what: &str, complaints: &[String]) -> anyhow::Result<()> {
    let shown = complaints.iter().take(12).cloned().collect::<Vec<_>>().join("\n  ");
    ensure!(complaints.is_empty(), "{what}: {} complaints:\n  {shown}", complaints.len());
    Ok(())
}
