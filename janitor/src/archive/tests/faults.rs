//! The whole life of a batch, stopped at every operation of the store, and taken up again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::store::faulty::{Fault, Faulty};
use dify_observe_tests::seed;
use uuid::Uuid;

use super::super::{Archive, ArchiveError, BatchState, Manifest};
use super::given::{Given, read};
use super::{folder, objects, over};

/// What a run does with a batch when one bundle turns out to have changed. Says how far it came.
async fn live(archive: &Archive, given: &Given, reached: &mut Option<BatchState>) -> Result<(), ArchiveError> {
    let mut manifest = given.write(archive).await?;
    *reached = Some(BatchState::Written);
    archive.verify(&manifest).await?;
    archive.set_state(&mut manifest, BatchState::Verified).await?;
    *reached = Some(BatchState::Verified);
    archive.set_state(&mut manifest, BatchState::Deleting).await?;
    *reached = Some(BatchState::Deleting);
    finish(archive, given, &mut manifest).await
}

async fn finish(archive: &Archive, given: &Given, manifest: &mut Manifest) -> Result<(), ArchiveError> {
    archive.supersede(manifest, &HashSet::from([changed(given)])).await?;
    archive.set_state(manifest, BatchState::Done).await
}

fn changed(given: &Given) -> Uuid {
    given.bundles[0].id
}

/// What the next run does, with a store that works.
async fn recover(archive: &Archive, given: &Given) {
    archive.remove_partial(Duration::ZERO).await.unwrap();
    for mut manifest in archive.unfinished().await.unwrap() {
        archive.verify(&manifest).await.unwrap();
        if manifest.state == BatchState::Deleting {
            let ids: Vec<Uuid> = manifest.bundles.iter().map(|bundle| bundle.id).collect();
            let all: Vec<usize> = (0..ids.len()).collect();
            assert_eq!(read(archive, &manifest, &all).await.unwrap(), given.content(&ids));
        }
        finish(archive, given, &mut manifest).await.unwrap();
    }
}

/// After recovery, the archive holds the batch once and whole; or nothing, if it did not count yet.
async fn is_consistent(archive: &Archive, given: &Given, reached: Option<BatchState>, what: &str) {
    let left: Vec<Uuid> = given.bundles.iter().map(|bundle| bundle.id).filter(|id| *id != changed(given)).collect();
    if reached.is_none() && super::done(archive).await.is_empty() {
        assert_eq!(objects(archive).await, [""; 0], "{what}");
    } else {
        holds_exactly(archive, given, &left, what).await;
    }
}

/// The archive holds one done batch of these bundles, and no object beside it.
async fn holds_exactly(archive: &Archive, given: &Given, bundles: &[Uuid], what: &str) {
    let done = super::done(archive).await;
    assert_eq!(done.len(), usize::from(!bundles.is_empty()), "{what}");
    let mut expected: Vec<String> = done.iter().flat_map(Manifest::objects).map(|object| object.path.clone()).collect();
    expected.extend(archive.store.list("manifests/done").await.unwrap().into_iter().map(|listed| listed.path));
    expected.sort();
    assert_eq!(objects(archive).await, expected, "{what}");
    for manifest in &done {
        archive.verify(manifest).await.unwrap();
        let all: Vec<usize> = (0..manifest.bundles.len()).collect();
        assert_eq!(read(archive, manifest, &all).await.unwrap(), given.content(bundles), "{what}");
    }
}

/// Lives with a fault at operation 0, 1, 2 … until it does not strike any more. Says how often it struck.
async fn at_every_operation(seed: u64, fault: Fault, dead: bool) -> usize {
    let given = Given::sized(seed, 1..=2, 1..=3);
    for operation in 0.. {
        let place = tempfile::tempdir().unwrap();
        let sound = folder(place.path());
        let faulty = Faulty::new(sound.store.clone(), operation, fault, dead);
        let mut reached = None;
        let lived = live(&over(Arc::new(faulty.clone())), &given, &mut reached).await;
        let what = format!("seed {seed}, {fault:?} at operation {operation}, after {reached:?}");
        if !faulty.struck() {
            lived.unwrap();
            is_consistent(&sound, &given, reached, &what).await;
            return operation as usize;
        }
        assert!(lived.is_err(), "{what}: nobody noticed");
        recover(&sound, &given).await;
        is_consistent(&sound, &given, reached, &what).await;
    }
    unreachable!()
}

#[tokio::test]
async fn a_batch_survives_a_death_at_every_operation() {
    let seed = seed("a_batch_survives_a_death_at_every_operation");
    for number in 0..seed::length(1, 40) {
        for fault in [Fault::Before, Fault::After] {
            let struck = at_every_operation(seed + number, fault, true).await;
            assert!(struck > 15, "{struck} operations");
        }
    }
}

#[tokio::test]
async fn a_batch_survives_one_failure_at_every_operation() {
    let seed = seed("a_batch_survives_one_failure_at_every_operation");
    for number in 0..seed::length(1, 40) {
        for fault in [Fault::Before, Fault::After, Fault::Full] {
            at_every_operation(seed + number, fault, false).await;
        }
    }
}

/// A batch is done; then a bundle of it comes back, and is taken out of it.
async fn heal(archive: &Archive, manifest: &mut Manifest, back: Uuid) -> Result<(), ArchiveError> {
    archive.reopen(manifest).await?;
    archive.supersede(manifest, &HashSet::from([back])).await?;
    archive.set_state(manifest, BatchState::Done).await
}

#[tokio::test]
async fn a_done_batch_that_is_taken_up_again_survives_a_death_at_every_operation() {
    let seed = seed("a_done_batch_that_is_taken_up_again_survives_a_death_at_every_operation");
    for (number, fault) in [Fault::Before, Fault::After].into_iter().enumerate() {
        let given = Given::sized(seed + number as u64, 1..=2, 1..=3);
        for operation in 0.. {
            let place = tempfile::tempdir().unwrap();
            let sound = folder(place.path());
            live(&sound, &given, &mut None).await.unwrap();
            let Some(mut manifest) = super::done(&sound).await.pop() else { break };
            let back = manifest.bundles[0].id;
            let faulty = Faulty::new(sound.store.clone(), operation, fault, true);
            let healed = heal(&over(Arc::new(faulty.clone())), &mut manifest, back).await;
            assert_eq!(healed.is_err(), faulty.struck());

            for mut manifest in sound.unfinished().await.unwrap() {
                sound.verify(&manifest).await.unwrap();
                sound.supersede(&mut manifest, &HashSet::from([back])).await.unwrap();
                sound.set_state(&mut manifest, BatchState::Done).await.unwrap();
            }
            for mut manifest in super::done(&sound).await {
                heal(&sound, &mut manifest, back).await.unwrap();
            }
            let left = |id: &Uuid| *id != changed(&given) && *id != back;
            let left: Vec<Uuid> = given.bundles.iter().map(|bundle| bundle.id).filter(left).collect();
            holds_exactly(&sound, &given, &left, &format!("{fault:?} at operation {operation}")).await;
            if !faulty.struck() {
                break;
            }
        }
    }
}

/// Where bytes of rows are damaged on their way in or out, a batch does not get as far as deletion, or it was not damaged.
#[tokio::test]
async fn damaged_bytes_are_noticed_before_anything_is_deleted() {
    let seed = seed("damaged_bytes_are_noticed_before_anything_is_deleted");
    let (mut noticed, mut harmless) = (0, 0);
    for number in 0..seed::length(2, 60) {
        let given = Given::sized(seed + number, 1..=2, 1..=6);
        for operation in 0.. {
            let place = tempfile::tempdir().unwrap();
            let sound = folder(place.path());
            let faulty = Faulty::new(sound.store.clone(), operation, Fault::Flip, false);
            let archive = over(Arc::new(faulty.clone()));
            let written = given.write(&archive).await;
            let verified = match &written {
                Ok(manifest) => archive.verify(manifest).await,
                Err(_) => Ok(()),
            };
            if !faulty.struck() {
                break;
            }
            match verified {
                Err(error) => {
                    assert!(error.is_damage(), "{error}");
                    noticed += 1;
                }
                Ok(()) => {
                    sound.verify(&written.unwrap()).await.unwrap();
                    harmless += 1;
                }
            }
        }
    }
    assert!(noticed > 5 && harmless > 0, "{noticed} noticed, {harmless} harmless");
}

#[tokio::test]
async fn every_flipped_byte_of_a_finished_batch_is_noticed() {
    let given = Given::sized(11, 1..=1, 1..=2);
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    let manifest = given.write(&archive).await.unwrap();
    for path in objects(&archive).await {
        let file = place.path().join(&path);
        let sound = std::fs::read(&file).unwrap();
        let step = (sound.len() / 400).max(1);
        for position in (0..sound.len()).step_by(step) {
            let mut damaged = sound.clone();
            damaged[position] ^= 1 << (position % 8);
            std::fs::write(&file, &damaged).unwrap();
            assert!(check(&archive, &manifest).await.unwrap_err().is_damage_or_version(), "byte {position} of {path}");
        }
        for damaged in [&sound[..sound.len() - 1], &[], &[sound.as_slice(), b"x"].concat()] {
            std::fs::write(&file, damaged).unwrap();
            check(&archive, &manifest).await.unwrap_err();
        }
        std::fs::remove_file(&file).unwrap();
        check(&archive, &manifest).await.unwrap_err();
        std::fs::write(&file, &sound).unwrap();
    }
    check(&archive, &manifest).await.unwrap();
}

async fn check(archive: &Archive, manifest: &Manifest) -> Result<(), ArchiveError> {
    let unfinished = archive.unfinished().await?;
    if unfinished.len() != 1 {
        return Err(ArchiveError::Missing { path: "the manifest".to_owned() });
    }
    archive.verify(manifest).await
}

impl ArchiveError {
    fn is_damage_or_version(&self) -> bool {
        self.is_damage() || matches!(self, ArchiveError::Version { .. })
    }
}

#[tokio::test]
async fn what_an_interrupted_batch_left_goes_when_it_is_old() {
    let given = Given::sized(5, 2..=2, 3..=6);
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    let mut writer = archive.begin(given.head.clone(), &given.bundles).await.unwrap();
    for piece in &given.pieces {
        writer.write(piece.clone()).await.unwrap();
    }
    drop(writer);
    assert!(objects(&archive).await.len() > 1);
    assert_eq!(archive.remove_partial(Duration::from_secs(86_400)).await.unwrap(), 0);
    assert_eq!(archive.remove_partial(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(objects(&archive).await, [""; 0]);
    let partial = walk(place.path());
    assert!(partial.is_empty(), "{partial:?}");
}

/// Files of any name.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn an_abandoned_batch_leaves_nothing() {
    let given = Given::sized(5, 2..=2, 3..=6);
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    for pieces in 0..=given.pieces.len() {
        let mut writer = archive.begin(given.head.clone(), &given.bundles).await.unwrap();
        for piece in &given.pieces[..pieces] {
            writer.write(piece.clone()).await.unwrap();
        }
        writer.abandon().await.unwrap();
        assert!(walk(place.path()).is_empty());
    }
}
