//! What happens to complete segments: sealed, uploaded, and removed when they are past their age. Each step can be repeated, and is until it
//! succeeds.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use dify_observe_core::dify::follow::FollowState;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::store::{Store, StoreError};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::Shared;
use super::files::{closed_segments, open_segments};
use super::layout::Closed;
use super::seal::seal;

/// How often to look when nobody says that there is something to do.
const INTERVAL: Duration = Duration::from_secs(30);

/// How often to look for what is past its age.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);

/// How much of a segment is in memory while it is uploaded.
const PART: usize = 1 << 20;

/// Why something cannot be done to a complete segment now.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// On this host.
    #[error("the segments in {folder} cannot be completed ({source}): look at that disk; it is tried again")]
    Disk {
        /// Where.
        folder: String,
        /// Why.
        source: io::Error,
    },
    /// In the bucket.
    #[error("segments wait in {folder} for their upload: {source}")]
    Upload {
        /// Where they wait.
        folder: String,
        /// Why.
        source: StoreError,
    },
}

/// Keeps segments until the sink is gone.
pub(super) async fn run(shared: Weak<Shared>, completed: Arc<Notify>) {
    let mut looked_for_old = None;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let kept = keep(&shared, false).await;
        let is_due = looked_for_old.is_none_or(|then: tokio::time::Instant| then.elapsed() >= EXPIRY_INTERVAL);
        if is_due && kept.is_ok() {
            looked_for_old = Some(tokio::time::Instant::now());
            if let Err(error) = remove_expired(&shared).await {
                warn!(%error, "old segments could not be removed; it is tried again in an hour");
            }
        }
        drop(shared);
        let _ = tokio::time::timeout(INTERVAL, completed.notified()).await;
    }
}

/// Seals and uploads all that is complete; with `all`, what is being written too.
pub(super) async fn keep(shared: &Shared, all: bool) -> Result<(), KeepError> {
    let _alone = shared.keeping.lock().await;
    let kept = match complete(shared, all).await {
        Ok(()) => upload(shared).await,
        failed => failed,
    };
    shared.trouble(|trouble| trouble.keeping = kept.as_ref().err().map(ToString::to_string));
    kept
}

async fn complete(shared: &Shared, all: bool) -> Result<(), KeepError> {
    let failed = |source| KeepError::Disk { folder: shared.place.root.display().to_string(), source };
    let now = shared.now();
    let rotate = move |files: &mut super::Files| {
        files.rotate::<FollowState>(now, all)?;
        Ok(files.number())
    };
    let number = shared.with_files(rotate).await.map_err(failed)?;
    let names = open_segments(&shared.place.root).map_err(failed)?;
    let complete: Vec<_> = names.into_iter().filter(|name| name.stream == shared.stream && name.number < number).collect();
    set_waiting(shared, complete.len() as u64);
    for name in complete {
        let (disk, root) = (shared.disk.clone(), shared.place.root.clone());
        let alone = shared.sealing.clone().lock_owned().await;
        let sealed = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            seal(&disk, &root, &name)
        })
        .await;
        let closed = sealed.map_err(io::Error::from).flatten().map_err(failed)?;
        if let Some(closed) = closed {
            info!(segment = closed.path(), "closed a segment");
        }
        shared.waiting.fetch_sub(1, Ordering::SeqCst);
        shared.room.notify_waiters();
    }
    Ok(())
}

fn set_waiting(shared: &Shared, waiting: u64) {
    shared.waiting.store(waiting, Ordering::SeqCst);
    shared.room.notify_waiters();
}

async fn upload(shared: &Shared) -> Result<(), KeepError> {
    let root = &shared.place.root;
    let folder = || root.display().to_string();
    let Some(bucket) = &shared.place.bucket else { return Ok(()) };
    let waiting = closed_segments(root).map_err(|source| KeepError::Disk { folder: folder(), source })?;
    let waiting: Vec<Closed> = waiting.into_iter().filter(|closed| closed.name.stream == shared.stream).collect();
    set_waiting(shared, waiting.len() as u64);
    for closed in waiting {
        // The index first: who sees the segment finds it. Removed in the other order, for the same reason.
        for path in [closed.index_path(), closed.path()] {
            send(&**bucket, root, &path).await.map_err(|source| KeepError::Upload { folder: folder(), source })?;
        }
        for path in [closed.path(), closed.index_path()] {
            let removed = shared.place.local.delete(&path).await;
            removed.map_err(|source| KeepError::Upload { folder: folder(), source })?;
        }
        shared.waiting.fetch_sub(1, Ordering::SeqCst);
        shared.room.notify_waiters();
    }
    Ok(())
}

async fn send(bucket: &dyn Store, root: &Path, path: &str) -> Result<(), StoreError> {
    let unreadable = |error: io::Error| StoreError::Unavailable { action: format!("reading {path}"), reason: error.to_string() };
    let mut file = tokio::fs::File::open(root.join(path)).await.map_err(unreadable)?;
    let mut upload = bucket.upload(path).await?;
    loop {
        let mut part = Vec::with_capacity(PART);
        let read = (&mut file).take(PART as u64).read_to_end(&mut part).await.map_err(unreadable);
        let sent = match read {
            Ok(0) => return upload.finish().await,
            Ok(_) => upload.put(Bytes::from(part)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            // Parts that nobody completes cost room in the bucket. Where they cannot be removed now, the bucket's own rules do it.
            let _ = upload.abort().await;
            return Err(error);
        }
    }
}

/// Removes the segments whose youngest record is past its age, of every stream.
pub(super) async fn remove_expired(shared: &Shared) -> Result<(), StoreError> {
    let oldest = shared.now().minus(shared.delete_after);
    for store in [Some(&shared.place.local), shared.place.bucket.as_ref()].into_iter().flatten() {
        let mut removed = 0_u64;
        let listed = store.list("").await?;
        // Sorted, a segment would come after its index; whoever sees the segment must find its index.
        let (segments, indexes): (Vec<_>, Vec<_>) = listed.into_iter().partition(|listed| Closed::is_segment(&listed.path));
        for listed in segments.into_iter().chain(indexes) {
            if is_past(&listed.path, oldest) {
                store.delete(&listed.path).await?;
                removed += 1;
            }
        }
        if removed > 0 {
            info!(files = removed, "removed segments past their age");
        }
    }
    remove_empty_folders(&shared.place.root);
    Ok(())
}

fn is_past(path: &str, oldest: Micros) -> bool {
    Closed::of(path).is_some_and(|closed| closed.last < oldest)
}

/// Folders of days, months and years that nothing is in any more. Only empty ones can be removed, so no failure matters.
fn remove_empty_folders(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_date = entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if is_date && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_folders(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}
