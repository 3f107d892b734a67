//! One batch: read and archived, verified, then deleted (see [`super::delete`]).

use std::sync::Arc;
use std::time::Instant;

use dify_observe_core::dify::retention::{Bundle, Expected, LoadLimits, Ownership, Piece, Prefetched, Snapshot};
use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::dify::time::Micros;
use uuid::Uuid;

use super::group::Group;
use super::patience::Patience;
use super::{Engine, Halt};
use crate::archive::{ArchiveError, BatchHead, BatchState, BatchWriter, Manifest};
use crate::report::BundleResult;

/// A batch in the archive, and what the database must still have of it when it is deleted.
pub(super) struct Archived {
    pub(super) manifest: Manifest,
    pub(super) expected: Vec<Expected>,
}

impl Engine {
    /// Archives, verifies and deletes bundles of one group. A limit that is reached on the way ends the run once the batch is closed.
    pub(super) async fn batch(&mut self, group: &Group, bundles: Vec<Bundle>, prefetched: &Arc<Prefetched>) -> Result<(), Halt> {
        self.brake.check(&mut self.report).await?;
        let began = Instant::now();
        let Some(mut archived) = self.archive_batch(group, bundles, prefetched).await? else { return Ok(()) };
        self.archive.verify(&archived.manifest).await?;
        self.archive.set_state(&mut archived.manifest, BatchState::Verified).await?;
        self.archive.set_state(&mut archived.manifest, BatchState::Deleting).await?;
        let ended = self.delete_batch(archived, &group.policy).await;
        self.metrics.batch_took(began.elapsed());
        ended
    }

    /// Nothing where all of the bundles changed before they could be read.
    async fn archive_batch(&mut self, group: &Group, bundles: Vec<Bundle>, prefetched: &Arc<Prefetched>) -> Result<Option<Archived>, Halt> {
        let mut bundles: Arc<[Bundle]> = bundles.into();
        let mut patience = Patience::default();
        while !bundles.is_empty() {
            match self.try_to_archive(group, &bundles, prefetched).await {
                Ok(Attempt::Archived(archived)) => {
                    self.count_archived(&archived);
                    return Ok(Some(*archived));
                }
                Ok(Attempt::Changed(changed)) => {
                    self.report.leave(BundleResult::Changed, changed.len() as u64);
                    let still = |(position, _): &(usize, &Bundle)| !changed.iter().any(|changed| *changed as usize == *position);
                    bundles = bundles.iter().enumerate().filter(still).map(|(_, bundle)| bundle.clone()).collect();
                }
                Err(Trouble::Database(error)) if patience.again(&error, &self.brake.shutdown).await => {}
                Err(Trouble::Database(error)) => return Err(error.into()),
                Err(Trouble::Halt(halt)) => return Err(halt),
            }
        }
        Ok(None)
    }

    async fn try_to_archive(&mut self, group: &Group, bundles: &Arc<[Bundle]>, prefetched: &Arc<Prefetched>) -> Result<Attempt, Trouble> {
        let limits = LoadLimits { statement_timeout: self.read_timeout(), ..LoadLimits::default() };
        let begun = Snapshot::begin(&self.database, Arc::clone(&self.ownership), Arc::clone(bundles), Arc::clone(prefetched), limits);
        let snapshot = begun.await?;
        if !snapshot.changed().is_empty() {
            let changed = snapshot.changed().to_vec();
            snapshot.end().await?;
            return Ok(Attempt::Changed(changed));
        }
        let mut writer = self.archive.begin(self.head(group), bundles).await?;
        match self.copy(snapshot, bundles, &mut writer).await {
            Ok(expected) => Ok(Attempt::Archived(Box::new(Archived { manifest: writer.finish().await?, expected }))),
            Err(trouble) => {
                // What stays behind counts for nothing, and is removed in a day.
                if let Err(error) = writer.abandon().await {
                    tracing::warn!(reason = %error, "an unfinished batch could not be removed from the archive");
                }
                Err(trouble)
            }
        }
    }

    async fn copy(&mut self, mut snapshot: Snapshot, bundles: &[Bundle], writer: &mut BatchWriter) -> Result<Vec<Expected>, Trouble> {
        let mut expected: Vec<Expected> = bundles.iter().map(|bundle| Expected { bundle: bundle.clone(), rows: Vec::new() }).collect();
        while let Some(piece) = snapshot.next().await? {
            note(&self.ownership, &piece, &mut expected);
            writer.write(piece).await?;
            self.brake.lock.keep().await.map_err(Halt::from)?;
        }
        snapshot.end().await?;
        Ok(expected)
    }

    fn head(&self, group: &Group) -> BatchHead {
        BatchHead {
            id: Uuid::new_v4(),
            tenant_id: group.tenant_id,
            app_id: group.app_id,
            day: group.day,
            root: group.root,
            policy: group.policy.to_string(),
            written_at: Micros::now(),
            alembic: self.schema.alembic_revision.clone(),
            database: self.identity.clone(),
        }
    }

    fn count_archived(&mut self, archived: &Archived) {
        let bundles: Vec<Bundle> = archived.expected.iter().map(|expected| expected.bundle.clone()).collect();
        self.estimate.learn(&bundles, archived.manifest.rows());
        self.report.batches += 1;
        for table in &archived.manifest.tables {
            let figures = self.report.table(&table.shape.table);
            figures.rows_archived += table.rows.rows;
            figures.bytes_archived += std::iter::once(&table.rows).chain(&table.chunks).map(|object| object.bytes).sum::<u64>();
        }
    }
}

/// What came of reading bundles.
enum Attempt {
    Archived(Box<Archived>),
    /// Positions of bundles that are not what they were when they were completed.
    Changed(Vec<u32>),
}

/// What went wrong, told apart by whether the database is to blame, which may be tried again.
enum Trouble {
    Database(DatabaseError),
    Halt(Halt),
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        Trouble::Database(error)
    }
}

impl From<ArchiveError> for Trouble {
    fn from(error: ArchiveError) -> Self {
        Trouble::Halt(error.into())
    }
}

impl From<Halt> for Trouble {
    fn from(halt: Halt) -> Self {
        Trouble::Halt(halt)
    }
}

/// Remembers which rows were read, and in which version.
fn note(ownership: &Ownership, piece: &Piece, expected: &mut [Expected]) {
    let Piece::Rows(rows) = piece else { return };
    for row in &rows.rows {
        let Some(expected) = expected.get_mut(row.bundle as usize) else { continue };
        if let Some(table) = ownership.table_index(expected.bundle.root, &rows.shape.table) {
            expected.rows.push((table, row.key, row.xmin));
        }
    }
}
