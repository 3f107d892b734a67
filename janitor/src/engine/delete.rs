//! Deleting what was archived, in transactions whose size follows what was measured, and closing the batch.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use dify_observe_core::dify::retention::{DeleteLimits, Expected, Fate, Large, delete};
use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::JanitorSettings;

use super::batch::Archived;
use super::patience::Patience;
use super::{Engine, Halt};
use crate::archive::{BatchState, Manifest};
use crate::report::{BundleResult, Stop};

/// How far the deletion of a batch came.
#[derive(Debug, Default)]
struct Fates {
    /// What became of the bundles, from the first on.
    known: Vec<Fate>,
    /// One of them has lost a part of its rows.
    begun: bool,
}

/// Why the deletion of a batch ended early.
enum Interrupted {
    /// By a limit, between two transactions.
    Halt(Halt),
    /// By the database, which may or may not have committed.
    Unknown(DatabaseError),
}

impl From<Halt> for Interrupted {
    fn from(halt: Halt) -> Self {
        Interrupted::Halt(halt)
    }
}

impl Engine {
    /// Deletes a batch that is in the state "deleting", takes out of the archive what stayed, and looks whether anything came back.
    pub(super) async fn delete_batch(&mut self, archived: Archived, policy: &str) -> Result<(), Halt> {
        let Archived { manifest, expected } = archived;
        let mut fates = Fates::default();
        match self.delete_all(&expected, &mut fates).await {
            Ok(()) if fates.begun => self.settle_now(manifest, policy).await,
            Ok(()) => self.close(manifest, &expected, &fates, policy).await,
            // The next run begins with finishing it.
            Err(Interrupted::Halt(halt)) if fates.begun => Err(halt),
            Err(Interrupted::Halt(halt)) => {
                self.close(manifest, &expected, &fates, policy).await?;
                Err(halt)
            }
            Err(Interrupted::Unknown(error)) => {
                self.come_back(error).await?;
                self.settle_now(manifest, policy).await
            }
        }
    }

    /// Waits for a database that went away.
    async fn come_back(&mut self, mut error: DatabaseError) -> Result<(), Halt> {
        let mut patience = Patience::default();
        while patience.again(&error, &self.brake.shutdown).await {
            match self.database.read(self.settings.statement_timeout).await {
                Ok(tx) => return Ok(tx.end().await?),
                Err(again) => error = again,
            }
        }
        Err(error.into())
    }

    async fn delete_all(&mut self, expected: &[Expected], fates: &mut Fates) -> Result<(), Interrupted> {
        while let Some(next) = expected.get(fates.known.len()) {
            self.brake.check(&mut self.report).await?;
            if next.rows.len() > self.row_limit() {
                let fate = self.delete_large(next, &mut fates.begun).await?;
                fates.known.push(fate);
                if fates.begun {
                    return Ok(());
                }
            } else {
                let portion = self.portion(&expected[fates.known.len()..]);
                let some = self.delete_some(portion).await?;
                fates.known.extend(some);
            }
        }
        Ok(())
    }

    fn row_limit(&self) -> usize {
        self.settings.transaction_rows as usize
    }

    pub(super) fn limits(&self, row_limit: usize) -> DeleteLimits {
        let JanitorSettings { statement_timeout, lock_timeout, .. } = self.settings;
        DeleteLimits { row_limit, statement_timeout, lock_timeout }
    }

    /// As many of the next bundles as a transaction should have rows; at least one, and none that is too large.
    fn portion<'a>(&self, expected: &'a [Expected]) -> &'a [Expected] {
        let most = self.pace.transaction_rows().min(self.brake.rows_left(&self.report));
        let mut rows = 0;
        let fits = |next: &&Expected| {
            rows += next.rows.len() as u64;
            rows <= most && next.rows.len() <= self.row_limit()
        };
        let count = expected.iter().take_while(fits).count().max(1);
        &expected[..count]
    }

    async fn delete_some(&mut self, portion: &[Expected]) -> Result<Vec<Fate>, Interrupted> {
        self.still_covered(portion).await?;
        let deleted =
            delete(&self.database, &self.ownership, portion, &self.limits(self.row_limit())).await.map_err(Interrupted::Unknown)?;
        let rows = deleted.rows.values().sum();
        self.count_rows(&deleted.rows, &deleted.times);
        if deleted.fates.contains(&Fate::Locked) {
            self.pace.timed_out();
        }
        self.brake.rest(self.pace.rest_after(rows, deleted.took)).await;
        Ok(deleted.fates)
    }

    /// A bundle in several transactions. Once the first was committed, `begun` says that it must be finished by whoever comes next.
    async fn delete_large(&mut self, expected: &Expected, begun: &mut bool) -> Result<Fate, Interrupted> {
        self.still_covered(std::slice::from_ref(expected)).await?;
        let mut large = Large::new(expected);
        loop {
            let limits = self.limits(usize::try_from(self.pace.transaction_rows()).unwrap_or(usize::MAX));
            let step = match large.step(&self.database, &self.ownership, &limits).await {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(DatabaseError::Timeout) if self.pace.can_shrink() => {
                    self.pace.timed_out();
                    continue;
                }
                Err(error) => return Err(Interrupted::Unknown(error)),
            };
            let rows = step.rows.values().sum();
            *begun |= rows > 0;
            self.count_rows(&step.rows, &step.times);
            self.brake.rest(self.pace.rest_after(rows, step.took)).await;
            if large.fate().is_none() {
                self.brake.check(&mut self.report).await?;
            }
        }
        let fate = large.fate().unwrap_or(Fate::Locked);
        *begun &= fate != Fate::Deleted;
        Ok(fate)
    }

    /// Positions are read again when they are a minute old; what is open by then stays.
    async fn still_covered(&mut self, expected: &[Expected]) -> Result<(), Halt> {
        let covered = self.guard.covered(Micros::now()).await?;
        if expected.iter().all(|expected| covered.covers(&expected.bundle)) {
            return Ok(());
        }
        let what = "what was covered a minute ago is not any more: a position (janitor.wait_for) went backwards";
        Err(Halt::failure(Stop::Guarded, anyhow::anyhow!(what)))
    }

    pub(super) fn count_rows(&mut self, rows: &BTreeMap<String, u64>, times: &BTreeMap<String, Duration>) {
        for (table, rows) in rows {
            self.report.table(table).rows_deleted += rows;
            self.progress.add(*rows);
        }
        for (table, time) in times {
            self.report.table(table).delete_time += *time;
        }
    }

    /// Takes what stayed out of the archive, and ends the batch.
    async fn close(&mut self, mut manifest: Manifest, expected: &[Expected], fates: &Fates, policy: &str) -> Result<(), Halt> {
        let mut stayed = HashSet::new();
        for (position, Expected { bundle, .. }) in expected.iter().enumerate() {
            let result = fates.known.get(position).map_or(BundleResult::Postponed, |fate| result(*fate));
            if result == BundleResult::Deleted {
                self.reached = self.reached.max(Some(bundle.ended_at));
                self.count_deleted(1, policy);
            } else {
                self.report.leave(result, 1);
                stayed.insert(bundle.id);
            }
        }
        self.archive.supersede(&mut manifest, &stayed).await?;
        self.done(manifest).await
    }

    /// Asks the database what became of a batch that this run was deleting.
    async fn settle_now(&mut self, manifest: Manifest, policy: &str) -> Result<(), Halt> {
        let settled = self.settle(manifest).await?;
        self.count_deleted(settled.deleted(), policy);
        self.report.leave(BundleResult::Changed, settled.untouched + settled.put_back);
        self.report.leave(BundleResult::Locked, settled.locked);
        Ok(())
    }

    /// Ends a batch of which the database has nothing any more.
    pub(super) async fn done(&mut self, mut manifest: Manifest) -> Result<(), Halt> {
        if manifest.bundles.is_empty() {
            return Ok(());
        }
        self.archive.set_state(&mut manifest, BatchState::Done).await?;
        self.heal_batch(manifest).await
    }

    fn count_deleted(&mut self, bundles: u64, policy: &str) {
        if bundles > 0 {
            self.report.count(BundleResult::Deleted, bundles);
            *self.report.policies.entry(policy.to_owned()).or_default() += bundles;
        }
    }
}

fn result(fate: Fate) -> BundleResult {
    match fate {
        Fate::Deleted => BundleResult::Deleted,
        Fate::Gone => BundleResult::Gone,
        Fate::NotAnymore(_) => BundleResult::Protected,
        // A torn bundle is settled before this is asked.
        Fate::Changed | Fate::Torn => BundleResult::Changed,
        Fate::Locked | Fate::TooLarge => BundleResult::Locked,
    }
}
