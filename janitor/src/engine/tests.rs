//! The archive goes away at any operation of a run: nothing is lost at that instant, and the next run goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dify_observe_core::bootstrap::Context;
use dify_observe_core::clock::Clock;
use dify_observe_core::secret::Secret;
use dify_observe_core::settings::Settings;
use dify_observe_core::shutdown::Shutdown;
use dify_observe_core::state_dir::StateDir;
use dify_observe_core::store::faulty::Fault;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::{Keys, Snapshot, populate};
use dify_observe_tests::simulator::live;

use super::{Ended, Engine};
use crate::archive::{Archive, Filter, Manifest};
use crate::cli::{RunArgs, TextFormat};
use crate::metrics::Metrics;
use crate::report::Stop;
use crate::run::{NAME, prepare};

/// How often each row of a table is archived.
type Archived = BTreeMap<String, BTreeMap<String, usize>>;

struct Place {
    database: TestDatabase,
    folder: tempfile::TempDir,
    before: Snapshot,
}

impl Place {
    async fn new(seed: u64) -> anyhow::Result<Place> {
        let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
        populate(&database, seed, 120, live::now()).await?;
        let before = Snapshot::take(&mut database.connect().await?).await?;
        Ok(Place { database, folder: tempfile::tempdir()?, before })
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.postgres.url = Some(Secret::new(self.database.url()));
        let janitor = &mut settings.janitor;
        janitor.archive.url = format!("file://{}", self.folder.path().join("archive").display());
        (janitor.pace, janitor.batch_bundles, janitor.transaction_rows, janitor.max_share) = (0, 40, 60, 1.0);
        (janitor.throttle.autovacuum, janitor.throttle.max_transaction_age) = (false, std::time::Duration::ZERO);
        settings
    }

    fn archive(&self) -> &Path {
        self.folder.path()
    }

    /// A run whose archive breaks at some operation, if at all; and whether it did.
    async fn run(&self, breaks: Option<(i64, Fault)>) -> anyhow::Result<(Ended, bool)> {
        let state_dir = StateDir::open(&self.folder.path().join("state"), NAME)?;
        let context = Context { settings: self.settings(), shutdown: Shutdown::never(), clock: Clock::system() };
        let args =
            RunArgs { execute: true, time_budget: None, apps: Vec::new(), policies: Vec::new(), max_rows: None, format: TextFormat::Text };
        let parts = prepare::parts(context, &args, &state_dir, Metrics::default()).await;
        let mut parts = parts.map_err(super::Halt::into_error)?;
        let Some((operations, fault)) = breaks else { return Ok((Engine::new(parts).run().await, false)) };
        let (archive, faulty) = Archive::breaking(&self.archive().join("archive"), operations, fault);
        parts.archive = archive;
        let ended = Engine::new(parts).run().await;
        Ok((ended, faulty.struck()))
    }

    /// What is gone from the database.
    async fn gone(&self) -> anyhow::Result<Keys> {
        let after = Snapshot::take(&mut self.database.connect().await?).await?;
        let news = self.before.news_in(&after);
        anyhow::ensure!(news.is_empty(), "rows are there that were not: {news:?}");
        Ok(self.before.gone_in(&after))
    }

    /// What batches that count hold: those that are done, and those on their way.
    async fn archived(&self) -> anyhow::Result<(Archived, usize)> {
        let archive = Archive::open(&self.settings().janitor.archive, self.folder.path())?;
        let unfinished = archive.unfinished().await?;
        let mut archived = Archived::new();
        for batch in archive.done_within(&Filter::default()).await? {
            if let Some(manifest) = archive.load(&batch).await? {
                add(&archive, &manifest, &mut archived).await?;
            }
        }
        for manifest in &unfinished {
            add(&archive, manifest, &mut archived).await?;
        }
        Ok((archived, unfinished.len()))
    }
}

async fn add(archive: &Archive, manifest: &Manifest, archived: &mut Archived) -> anyhow::Result<()> {
    for row in archive.expected(manifest).await? {
        let table = archived.entry(manifest.tables[usize::from(row.table)].shape.table.clone()).or_default();
        let second = row.key.second.map(|second| format!("/{second}")).unwrap_or_default();
        *table.entry(format!("{}{second}", row.key.id)).or_default() += 1;
    }
    Ok(())
}

#[tokio::test]
async fn wherever_the_archive_breaks_nothing_is_lost_and_the_next_run_goes_on() -> anyhow::Result<()> {
    let seed = dify_observe_tests::seed("wherever_the_archive_breaks");
    let place = Place::new(seed).await?;
    let mut deaths = 0;
    for operations in (1..).step_by(dify_observe_tests::seed::length(9, 1)) {
        let fault = if deaths % 2 == 0 { Fault::Before } else { Fault::After };
        let (ended, struck) = place.run(Some((operations, fault))).await?;
        let (archived, _) = place.archived().await?;
        for (table, keys) in place.gone().await? {
            let there: BTreeSet<String> = archived.get(&table).into_iter().flat_map(BTreeMap::keys).cloned().collect();
            let lost: Vec<_> = keys.difference(&there).collect();
            assert!(lost.is_empty(), "broken at operation {operations} ({fault:?}): {table} {lost:?} are lost");
        }
        if !struck {
            assert_eq!(ended.report.outcome, Stop::Completed, "{:?}", ended.error);
            break;
        }
        assert_eq!(ended.report.outcome, Stop::Archive, "operation {operations}: {:?}", ended.error);
        deaths += 1;
    }
    let (ended, _) = place.run(None).await?;
    assert_eq!(ended.report.outcome, Stop::Completed, "{:?}", ended.error);
    let (gone, (archived, unfinished)) = (place.gone().await?, place.archived().await?);
    assert!(deaths > 3 && unfinished == 0, "{deaths} deaths, {unfinished} batches are unfinished");
    let once: BTreeMap<String, BTreeMap<String, usize>> =
        gone.into_iter().map(|(table, keys)| (table, keys.into_iter().map(|key| (key, 1)).collect())).collect();
    assert!(!once.is_empty());
    assert_eq!(archived, once, "each row that is gone is in the archive once");
    Ok(())
}
