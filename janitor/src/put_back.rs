//! Archived bundles back into the database: for `restore`, and for what came back by itself.

use std::sync::Arc;

use dify_observe_core::dify::retention::restore::{Destination, Existing, Restoration, RestoreError, Restored};
use dify_observe_core::dify::session::{Database, WriteLimits};

use crate::archive::{Archive, ArchiveError, Manifest};

/// Why a bundle could not be put back. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum PutBackError {
    /// The archive does not give it.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The database does not take it.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// Puts bundles back, each in a transaction of its own.
#[derive(Clone, Debug)]
pub struct PutBack {
    archive: Archive,
    database: Database,
    destination: Arc<Destination>,
    limits: WriteLimits,
}

impl PutBack {
    /// From an archive into a database whose tables were looked at.
    pub fn new(archive: Archive, database: Database, destination: Arc<Destination>, limits: WriteLimits) -> Self {
        PutBack { archive, database, destination, limits }
    }

    /// Puts back the bundle at this position of a batch.
    pub async fn bundle(&self, manifest: &Manifest, position: usize, existing: Existing) -> Result<Restored, PutBackError> {
        let mut pieces = self.archive.read(manifest, &[position])?;
        let begun = Restoration::begin(&self.database, Arc::clone(&self.destination), existing, self.limits).await;
        let mut restoration = begun.map_err(RestoreError::from)?;
        while let Some(piece) = pieces.next().await? {
            restoration.put(&piece).await?;
        }
        Ok(restoration.commit().await?)
    }
}
