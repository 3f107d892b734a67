//! Who may write, and what may not be deleted again.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use dify_observe_core::store::faulty::{Fault, Faulty};
use uuid::Uuid;

use super::{folder, over};

const TTL: Duration = Duration::from_secs(300);

#[tokio::test]
async fn of_many_contenders_one_gets_the_lease() {
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    for _ in 0..20 {
        let contenders = (0..8).map(|number| {
            let archive = archive.clone();
            tokio::spawn(async move { archive.lease(&format!("host {number}"), Uuid::new_v4(), TTL).await.unwrap() })
        });
        let taken: Vec<_> = futures_util::future::join_all(contenders).await.into_iter().filter_map(|task| task.unwrap()).collect();
        let [lease] = <[_; 1]>::try_from(taken).unwrap();
        assert!(archive.leased_to().await.unwrap().unwrap().0.starts_with("host "));
        lease.release().await.unwrap();
        assert_eq!(archive.leased_to().await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_ended_lease_is_taken_over_and_the_first_holder_notices() {
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    let mut first = archive.lease("first", Uuid::new_v4(), TTL).await.unwrap().unwrap();
    assert!(first.renew().await.unwrap());
    let later = |seconds: u64| Micros::now().plus(TTL + Duration::from_secs(seconds));
    // The clocks of two hosts may differ.
    assert!(archive.lease_at("second", Uuid::new_v4(), TTL, later(30)).await.unwrap().is_none());
    let second = archive.lease_at("second", Uuid::new_v4(), TTL, later(90)).await.unwrap().unwrap();
    assert!(!first.renew().await.unwrap());
    first.release().await.unwrap();
    assert_eq!(archive.leased_to().await.unwrap().unwrap().0, "second");
    second.release().await.unwrap();
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_ends_by_itself() {
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    let faulty = over(Arc::new(Faulty::new(archive.store.clone(), 1, Fault::After, false)));
    assert!(faulty.lease("unlucky", Uuid::new_v4(), TTL).await.is_err());
    assert!(archive.lease("next", Uuid::new_v4(), TTL).await.unwrap().is_none());
    assert!(archive.lease_at("next", Uuid::new_v4(), TTL, Micros::now().plus(TTL + Duration::from_secs(61))).await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_restored_is_held_until_its_time() {
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let now = Micros::now();
    let (soon, later) = (now.plus(TTL), now.plus(TTL * 2));
    archive.hold(&[a, b], soon).await.unwrap();
    archive.hold(&[b], later).await.unwrap();
    archive.hold(&[a], now).await.unwrap();
    assert_eq!(archive.holds(now).await.unwrap(), [(a, soon), (b, later)].into());
    assert_eq!(archive.holds(soon).await.unwrap(), [(b, later)].into());
    archive.remove_ended_holds(soon).await.unwrap();
    assert_eq!(archive.store.list("holds").await.unwrap().len(), 1);
}
