//! What an earlier run left in the middle, and what a connection that was lost left open: the database is asked, not memory.

use std::collections::HashSet;
use std::time::Duration;

use dify_observe_core::dify::retention::presence::{Presence, presence, quiesce};
use dify_observe_core::dify::retention::restore::Existing;
use dify_observe_core::dify::retention::{Expected, Fate, Key, Large};
use dify_observe_core::dify::session::DatabaseError;

use super::{Engine, Halt};
use crate::archive::{ArchivedRow, BatchState, Manifest};

/// Objects without a manifest are the remains of a run that was killed, not the work of one that goes on.
const PARTIAL_AGE: Duration = Duration::from_secs(24 * 3600);

/// A transaction of a process that is gone ends by itself after this: a statement by its timeout, an idle one by PostgreSQL's.
const LAST_COMMIT: Duration = Duration::from_secs(70);

/// What became of the bundles of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// They were gone: the archive has them.
    gone: u64,
    /// A part of them was gone, and the rest is now.
    finished: u64,
    /// All of them were still there: they are out of the archive.
    pub(super) untouched: u64,
    /// A part of them was gone, the rest has changed, and the part is back: they are out of the archive.
    pub(super) put_back: u64,
    /// Somebody has locked them: the batch stays as it is for the next run.
    pub(super) locked: u64,
}

impl Settled {
    /// Bundles that only the archive has.
    pub(super) fn deleted(&self) -> u64 {
        self.gone + self.finished
    }
}

impl Engine {
    /// Brings every batch that is on its way to its end.
    pub(super) async fn recover(&mut self) -> Result<(), Halt> {
        for mut manifest in self.archive.unfinished().await? {
            self.brake.check(&mut self.report).await?;
            self.report.recovered.batches += 1;
            let bundles = manifest.bundles.len() as u64;
            match manifest.state {
                // Nothing of it was deleted: it is decided anew.
                BatchState::Written | BatchState::Verified => {
                    let all = manifest.bundles.iter().map(|bundle| bundle.id).collect();
                    self.archive.supersede(&mut manifest, &all).await?;
                    self.report.recovered.untouched += bundles;
                }
                BatchState::Deleting | BatchState::Done => {
                    let settled = self.settle(manifest).await?;
                    let recovered = &mut self.report.recovered;
                    recovered.gone += settled.gone;
                    recovered.finished += settled.finished;
                    recovered.put_back += settled.put_back;
                    recovered.untouched += settled.untouched;
                    self.report.remaining.bundles += settled.locked;
                }
            }
        }
        self.archive.remove_partial(PARTIAL_AGE).await?;
        self.archive.remove_ended_holds(self.now).await?;
        Ok(())
    }

    /// Finishes a batch in the state "deleting" by what the database still has of it.
    pub(super) async fn settle(&mut self, mut manifest: Manifest) -> Result<Settled, Halt> {
        quiesce(&self.database, self.read_timeout(), LAST_COMMIT).await?;
        let expected = self.expected(&manifest).await?;
        let presences = self.presences(&manifest, &expected).await?;
        let mut settled = Settled::default();
        let mut out = HashSet::new();
        for (position, (expected, presence)) in expected.iter().zip(presences).enumerate() {
            match presence {
                Presence::Nothing => settled.gone += 1,
                Presence::Whole => {
                    settled.untouched += 1;
                    out.insert(expected.bundle.id);
                }
                Presence::Part => match self.finish(expected).await? {
                    Fate::Deleted | Fate::Gone => settled.finished += 1,
                    Fate::Locked | Fate::TooLarge => settled.locked += 1,
                    Fate::Torn | Fate::Changed | Fate::NotAnymore(_) => {
                        self.put_back(&manifest, position).await?;
                        settled.put_back += 1;
                        out.insert(expected.bundle.id);
                    }
                },
            }
        }
        self.archive.supersede(&mut manifest, &out).await?;
        if settled.locked == 0 {
            self.done(manifest).await?;
        }
        Ok(settled)
    }

    async fn finish(&mut self, expected: &Expected) -> Result<Fate, Halt> {
        let mut large = Large::unfinished(expected);
        loop {
            let limits = self.limits(usize::try_from(self.pace.transaction_rows()).unwrap_or(usize::MAX));
            match large.step(&self.database, &self.ownership, &limits).await {
                Ok(Some(step)) => {
                    self.count_rows(&step.rows, &step.times);
                    self.brake.rest(self.pace.rest_after(step.rows.values().sum(), step.took)).await;
                }
                Ok(None) => return Ok(large.fate().unwrap_or(Fate::Locked)),
                Err(DatabaseError::Timeout) if self.pace.can_shrink() => self.pace.timed_out(),
                Err(DatabaseError::Timeout) => return Ok(Fate::Locked),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn put_back(&mut self, manifest: &Manifest, position: usize) -> Result<(), Halt> {
        self.putting_back().await?.bundle(manifest, position, Existing::Keep).await?;
        Ok(())
    }

    async fn presences(&self, manifest: &Manifest, expected: &[Expected]) -> Result<Vec<Presence>, Halt> {
        let rows: Vec<(u32, u16, Key)> = (0_u32..)
            .zip(expected)
            .flat_map(|(bundle, expected)| expected.rows.iter().map(move |(table, key, _)| (bundle, *table, *key)))
            .collect();
        let timeout = self.read_timeout();
        Ok(presence(&self.database, &self.ownership, manifest.head.root, expected.len(), &rows, timeout).await?)
    }

    /// What a batch holds, in the terms of this database. A table that an upgrade of Dify took away holds nothing.
    async fn expected(&self, manifest: &Manifest) -> Result<Vec<Expected>, Halt> {
        let mut expected: Vec<Expected> =
            manifest.bundles.iter().map(|bundle| Expected { bundle: bundle.clone(), rows: Vec::new() }).collect();
        let root = manifest.head.root;
        let tables: Vec<Option<u16>> = manifest.tables.iter().map(|table| self.ownership.table_index(root, &table.shape.table)).collect();
        for ArchivedRow { bundle, table, key, xmin } in self.archive.expected(manifest).await? {
            let of = expected.get_mut(bundle as usize);
            if let (Some(of), Some(Some(table))) = (of, tables.get(usize::from(table))) {
                of.rows.push((*table, key, xmin));
            }
        }
        Ok(expected)
    }
}
