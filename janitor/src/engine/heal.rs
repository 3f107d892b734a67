//! What came back after it was deleted is made whole. Nothing in Dify locks a parent, so this cannot be prevented, only mended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::retention::restore::{Destination, Existing};
use dify_observe_core::dify::retention::revenants::revenants;
use dify_observe_core::dify::session::WriteLimits;

use super::{Engine, Halt};
use crate::archive::Manifest;
use crate::put_back::PutBack;

/// For how long after its deletion a bundle is looked for.
const JOURNAL: Duration = Duration::from_secs(24 * 3600);

impl Engine {
    /// Looks for everything that was deleted in the last day.
    pub(super) async fn heal(&mut self) -> Result<(), Halt> {
        for batch in self.archive.done_since(self.now.minus(JOURNAL)).await? {
            self.brake.check(&mut self.report).await?;
            if let Some(manifest) = self.archive.load(&batch).await? {
                self.heal_batch(manifest).await?;
            }
        }
        Ok(())
    }

    /// Puts back, whole, what came back of a batch that is done, and takes it out of the archive.
    pub(super) async fn heal_batch(&mut self, mut manifest: Manifest) -> Result<(), Halt> {
        let found = revenants(&self.database, &self.ownership, &manifest.bundles, self.read_timeout()).await?;
        // What `restore` put back is back on purpose, and the archive keeps its copy.
        let found: Vec<usize> =
            found.iter().map(|found| found.bundle).filter(|position| !self.held.contains_key(&manifest.bundles[*position].id)).collect();
        if found.is_empty() {
            return Ok(());
        }
        if !self.archive.keeps_rows() {
            tracing::warn!(bundles = found.len(), "rows came back to what was deleted without an archive: it cannot be made whole");
            return Ok(());
        }
        let putting_back = self.putting_back().await?;
        for position in &found {
            putting_back.bundle(&manifest, *position, Existing::Keep).await?;
        }
        let back: HashSet<_> = found.iter().map(|position| manifest.bundles[*position].id).collect();
        self.report.revenants += back.len() as u64;
        // Somebody uses it: whether it is due again is the next run's question.
        self.held.extend(back.iter().map(|id| (*id, self.now)));
        tracing::warn!(bundles = back.len(), "came back after their deletion, and were put back whole");
        self.archive.reopen(&mut manifest).await?;
        self.archive.supersede(&mut manifest, &back).await?;
        if !manifest.bundles.is_empty() {
            self.archive.set_state(&mut manifest, crate::archive::BatchState::Done).await?;
        }
        Ok(())
    }

    pub(super) async fn putting_back(&self) -> Result<PutBack, Halt> {
        let mut tx = self.database.read(self.read_timeout()).await?;
        let destination = Arc::new(Destination::read(&mut tx).await?);
        tx.end().await?;
        let limits = WriteLimits { statement_timeout: self.read_timeout(), lock_timeout: self.settings.lock_timeout };
        Ok(PutBack::new(self.archive.clone(), self.database.clone(), destination, limits))
    }
}
