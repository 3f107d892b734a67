//! The archive against random rows, and against stores that break at every operation.

mod duckdb;
mod errors;
mod faults;
mod given;
mod keys;
mod leases;
mod round_trip;
mod s3;

use std::path::Path;
use std::sync::Arc;

use dify_observe_core::dify::time::Micros;
use dify_observe_core::store::faulty::{Fault, Faulty};
use dify_observe_core::store::{Folder, Store};

use super::{Archive, Kept, Manifest};

impl Archive {
    /// An archive in a folder, and what breaks it.
    pub(crate) fn breaking(folder: &Path, operations: i64, fault: Fault) -> (Archive, Faulty) {
        let faulty = Faulty::new(Arc::new(Folder::new(folder.to_owned())), operations, fault, true);
        (over(Arc::new(faulty.clone())), faulty)
    }
}

fn folder(path: &Path) -> Archive {
    over(Arc::new(Folder::new(path.to_owned())))
}

fn over(store: Arc<dyn Store>) -> Archive {
    Archive { store, kept: Kept::Rows, level: 1 }
}

/// Every object below the folder, the lock of conditional writes aside.
async fn objects(archive: &Archive) -> Vec<String> {
    let mut paths: Vec<String> = archive.store.list("").await.unwrap().into_iter().map(|listed| listed.path).collect();
    paths.retain(|path| path != ".lock");
    paths.sort();
    paths
}

/// The manifests of all done batches.
async fn done(archive: &Archive) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    for batch in archive.done_since(Micros(0)).await.unwrap() {
        manifests.extend(archive.load(&batch).await.unwrap());
    }
    manifests
}
