//! Batches by their state: the journal that a run takes up where the last one stopped.

use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::layout;
use super::manifest::{BatchState, Kept, Manifest};
use super::{Archive, ArchiveError, DoneBatch, Filter};

/// Manifests that are read at the same time.
const AT_ONCE: usize = 8;

/// How long the list of what was deleted without an archive is kept.
const LIST_KEPT: Duration = Duration::from_secs(7 * 86_400);

impl Archive {
    /// Moves a batch to another state, durably.
    pub async fn set_state(&self, manifest: &mut Manifest, state: BatchState) -> Result<(), ArchiveError> {
        if state == BatchState::Done {
            return self.set_done(manifest).await;
        }
        manifest.state = state;
        self.save_open(manifest).await
    }

    /// Puts a batch that is done on its way again, so that bundles can be taken out of it. When it was done stays as it is.
    pub async fn reopen(&self, manifest: &mut Manifest) -> Result<(), ArchiveError> {
        let Some(done_at) = manifest.done_at else { return Ok(()) };
        manifest.state = BatchState::Deleting;
        self.save_open(manifest).await?;
        Ok(self.store.delete(&layout::done(&manifest.head, done_at)).await?)
    }

    pub(crate) async fn save_open(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        Ok(self.store.put(&layout::open(manifest.head.id), manifest.to_bytes()?).await?)
    }

    /// In this order: what must not be there is removed, then the batch is done, then it is no longer on its way.
    async fn set_done(&self, manifest: &mut Manifest) -> Result<(), ArchiveError> {
        self.remove_garbage(manifest).await?;
        let mut done = manifest.clone();
        done.garbage.clear();
        done.state = BatchState::Done;
        let done_at = *done.done_at.get_or_insert_with(Micros::now);
        if !done.bundles.is_empty() {
            self.store.put(&layout::done(&done.head, done_at), done.to_bytes()?).await?;
        }
        if done.kept == Kept::Keys {
            self.remove_objects(&done).await?;
        }
        self.store.delete(&layout::open(done.head.id)).await?;
        *manifest = done;
        Ok(())
    }

    pub(crate) async fn remove_garbage(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        for path in &manifest.garbage {
            self.store.delete(path).await?;
        }
        Ok(())
    }

    async fn remove_objects(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        for object in manifest.objects() {
            self.store.delete(&object.path).await?;
        }
        Ok(())
    }

    /// The batches that are on their way, oldest first.
    pub async fn unfinished(&self) -> Result<Vec<Manifest>, ArchiveError> {
        let mut manifests = Vec::new();
        for listed in self.store.list(layout::OPEN).await? {
            let Some(manifest) = self.read_manifest(&listed.path).await? else { continue };
            if self.complete_done(&manifest).await? {
                continue;
            }
            manifests.push(manifest);
        }
        manifests.sort_by_key(|manifest| (manifest.head.written_at, manifest.head.id));
        Ok(manifests)
    }

    /// Whether the batch is done already, and only stopped before it was taken off the list of those on their way.
    async fn complete_done(&self, manifest: &Manifest) -> Result<bool, ArchiveError> {
        let done = self.is_done(manifest).await?;
        if done {
            if manifest.kept == Kept::Keys {
                self.remove_objects(manifest).await?;
            }
            self.store.delete(&layout::open(manifest.head.id)).await?;
        }
        Ok(done)
    }

    async fn is_done(&self, manifest: &Manifest) -> Result<bool, ArchiveError> {
        let listed = self.list_done(&layout::done_folder(&manifest.head)).await?;
        Ok(listed.iter().any(|batch| batch.id == manifest.head.id))
    }

    /// The batches that were done at `since` or later, oldest first. Their manifests can be large: load one after the other.
    pub async fn done_since(&self, since: Micros) -> Result<Vec<DoneBatch>, ArchiveError> {
        let mut batches = self.list_done(layout::DONE).await?;
        batches.retain(|batch| batch.done_at >= since);
        Ok(batches)
    }

    /// The batches that may have bundles which the filter accepts, oldest first; its `bundles` are not looked at.
    pub async fn done_within(&self, filter: &Filter) -> Result<Vec<DoneBatch>, ArchiveError> {
        let mut batches = self.list_done(layout::DONE).await?;
        batches.retain(|batch| filter.accepts_batch(batch));
        Ok(batches)
    }

    /// The manifest of a done batch; `None` if it is gone since it was listed.
    pub async fn load(&self, batch: &DoneBatch) -> Result<Option<Manifest>, ArchiveError> {
        self.read_manifest(&batch.path).await
    }

    /// The batches with bundles that the filter accepts, and the positions of these; oldest batch first.
    pub async fn find(&self, filter: &Filter) -> Result<Vec<(Manifest, Vec<usize>)>, ArchiveError> {
        let batches = self.done_within(filter).await?;
        let found = stream::iter(&batches).map(|batch| self.load(batch)).buffered(AT_ONCE).try_filter_map(async |manifest| {
            let found = manifest.map(|manifest| (filter.positions(&manifest.bundles), manifest));
            Ok(found.filter(|(positions, _)| !positions.is_empty()).map(|(positions, manifest)| (manifest, positions)))
        });
        found.try_collect().await
    }

    async fn list_done(&self, folder: &str) -> Result<Vec<DoneBatch>, ArchiveError> {
        let listed = self.store.list(folder).await?;
        let mut batches: Vec<DoneBatch> = listed.into_iter().filter_map(|listed| DoneBatch::parse(listed.path)).collect();
        batches.sort_by_key(|batch| (batch.done_at, batch.id));
        Ok(batches)
    }

    /// `None` if it is gone since it was listed.
    async fn read_manifest(&self, path: &str) -> Result<Option<Manifest>, ArchiveError> {
        let found = self.store.get(path).await?;
        found.map(|(bytes, _)| Manifest::parse(path, &bytes)).transpose()
    }

    /// Removes what interrupted runs left: objects of batches that were begun longer than `age` ago and have no manifest; and, where rows
    /// are deleted without an archive, lists that are a week old. Says how many batches had left something.
    pub async fn remove_partial(&self, age: Duration) -> Result<usize, ArchiveError> {
        let before = Micros::now().minus(age);
        let mut removed = 0;
        for listed in self.store.list(layout::BEGUN).await? {
            let Some(begun) = self.read_manifest(&listed.path).await? else { continue };
            if begun.head.written_at < before {
                self.remove_begun(&begun).await?;
                removed += 1;
            }
        }
        if self.kept == Kept::Keys {
            self.remove_old_lists().await?;
        }
        Ok(removed)
    }

    async fn remove_begun(&self, begun: &Manifest) -> Result<(), ArchiveError> {
        if !self.has_manifest(begun).await? {
            for folder in self.store.folders().await? {
                if let Some(table) = folder.strip_prefix(layout::TABLE) {
                    self.store.delete(&layout::object(table, &begun.head, 0)).await?;
                }
            }
        }
        Ok(self.store.delete(&layout::begun(begun.head.id)).await?)
    }

    async fn has_manifest(&self, begun: &Manifest) -> Result<bool, ArchiveError> {
        if self.store.size(&layout::open(begun.head.id)).await?.is_some() {
            return Ok(true);
        }
        self.is_done(begun).await
    }

    async fn remove_old_lists(&self) -> Result<(), ArchiveError> {
        let before = Micros::now().minus(LIST_KEPT);
        for batch in self.list_done(layout::DONE).await? {
            if batch.done_at < before {
                self.store.delete(&batch.path).await?;
            }
        }
        Ok(())
    }
}
