//! Where rows are kept before they are deleted: Parquet objects in Hive partitions, and a manifest for each batch.
//!
//! A batch is written, read back, deleted from the database, and done; see [`BatchState`]. The manifest is the commit point: objects
//! without one do not count, and are removed a day later. Whatever the archive acknowledges is durable.
//!
//! Nothing here knows what a table means, and nothing here touches the database.

mod batches;
mod error;
mod filter;
mod format;
mod holds;
mod large;
mod layout;
mod lease;
mod manifest;
mod object;
mod read;
mod supersede;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dify_observe_core::settings::ArchiveSettings;
use dify_observe_core::store::{Bucket, BucketOptions, Folder, Store};
use uuid::Uuid;

pub use error::ArchiveError;
pub use filter::Filter;
pub use format::Digest;
pub use layout::DoneBatch;
pub use lease::Lease;
pub use manifest::{ArchivedRow, BatchHead, BatchState, Group, Kept, Manifest, ObjectEntry, TableEntry};
pub use read::PieceReader;
pub use write::BatchWriter;

/// The archive of one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Archive {
    store: Arc<dyn Store>,
    kept: Kept,
    level: i32,
}

impl Archive {
    /// The archive that the settings name. `state_dir` holds the lists of what is deleted where no rows are kept. Nothing is looked at yet:
    /// see [`Archive::prove_writable`].
    pub fn open(settings: &ArchiveSettings, state_dir: &Path) -> Result<Archive, ArchiveError> {
        let (store, kept): (Arc<dyn Store>, Kept) = if settings.url == "none" {
            (Arc::new(Folder::new(state_dir.join("deleted"))), Kept::Keys)
        } else if let Some(folder) = settings.url.strip_prefix("file://") {
            (Arc::new(Folder::new(PathBuf::from(folder))), Kept::Rows)
        } else if let Some(address) = settings.url.strip_prefix("s3://") {
            (Arc::new(Bucket::open(&bucket_options(settings), address)?), Kept::Rows)
        } else {
            return Err(ArchiveError::Address);
        };
        Ok(Archive { store, kept, level: settings.compression_level })
    }

    /// Whether rows are kept, or only which ones were deleted.
    pub fn keeps_rows(&self) -> bool {
        self.kept == Kept::Rows
    }

    /// Writes, reads and removes a small object.
    pub async fn prove_writable(&self) -> Result<(), ArchiveError> {
        let path = format!("probe-{}", Uuid::new_v4());
        let content = Bytes::from_static(b"dify-janitor was here\n");
        self.store.put(&path, content.clone()).await?;
        let found = self.store.get(&path).await?;
        self.store.delete(&path).await?;
        match found {
            Some((bytes, _)) if bytes == content => Ok(()),
            Some(_) => Err(ArchiveError::damaged(&path, "it is not what was written a moment ago")),
            None => Err(ArchiveError::Missing { path }),
        }
    }
}

fn bucket_options(settings: &ArchiveSettings) -> BucketOptions {
    BucketOptions {
        endpoint: settings.endpoint.clone(),
        region: settings.region.clone(),
        access_key_id: settings.access_key_id.clone(),
        secret_access_key: settings.secret_access_key.clone(),
        virtual_hosted: settings.virtual_hosted,
        allow_http: settings.allow_http,
    }
}

#[cfg(test)]
mod tests;
