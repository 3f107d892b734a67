//! Deleting without an archive: which rows were to be deleted is known until they are, and then no more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::retention::Wire;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::ArchiveSettings;
use dify_observe_core::store::Folder;

use super::super::{Archive, BatchState, Kept};
use super::given::Given;
use super::objects;

#[tokio::test]
async fn only_keys_are_kept_and_only_until_the_batch_is_done() {
    let place = tempfile::tempdir().unwrap();
    let archive = Archive::open(&ArchiveSettings { url: "none".to_owned(), ..ArchiveSettings::default() }, place.path()).unwrap();
    assert!(!archive.keeps_rows());
    let given = Given::sized(3, 3..=3, 5..=20);
    let mut manifest = given.write(&archive).await.unwrap();
    archive.verify(&manifest).await.unwrap();
    assert!(manifest.tables.iter().flat_map(|table| &table.shape.columns).all(|column| column.wire == Wire::Uuid));
    assert_eq!(archive.expected(&manifest).await.unwrap().len(), given.rows());
    assert!(archive.read(&manifest, &[0]).is_err());

    archive.set_state(&mut manifest, BatchState::Deleting).await.unwrap();
    archive.supersede(&mut manifest, &HashSet::from([given.bundles[0].id])).await.unwrap();
    archive.set_state(&mut manifest, BatchState::Done).await.unwrap();
    let left = objects(&archive).await;
    assert!(left.len() == 1 && left[0].starts_with("manifests/done/"), "{left:?}");
    assert!(archive.expected(&manifest).await.is_err());
    assert_eq!(super::done(&archive).await, [manifest]);
}

#[tokio::test]
async fn lists_of_what_was_deleted_are_removed_after_a_week() {
    let place = tempfile::tempdir().unwrap();
    let archive = Archive { store: Arc::new(Folder::new(place.path().to_owned())), kept: Kept::Keys, level: 1 };
    for days in [6, 8] {
        let mut manifest = Given::random(days).write(&archive).await.unwrap();
        manifest.done_at = Some(Micros::now().minus(Duration::from_secs(days * 86_400)));
        archive.set_state(&mut manifest, BatchState::Done).await.unwrap();
    }
    archive.remove_partial(Duration::ZERO).await.unwrap();
    assert_eq!(objects(&archive).await.len(), 1);
}
