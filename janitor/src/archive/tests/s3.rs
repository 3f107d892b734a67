//! The archive in a bucket of a real S3 server.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use dify_observe_core::exit::Exit;
use dify_observe_core::secret::Secret;
use dify_observe_core::settings::ArchiveSettings;
use dify_observe_tests::s3::S3;
use uuid::Uuid;

use super::super::{Archive, ArchiveError, BatchState};
use super::given::{Given, read};
use super::objects;

fn settings(server: &S3, url: &str) -> ArchiveSettings {
    ArchiveSettings {
        url: url.to_owned(),
        endpoint: Some(server.endpoint().to_owned()),
        access_key_id: Some(Secret::new(server.access_key_id())),
        secret_access_key: Some(Secret::new(server.secret_access_key())),
        allow_http: true,
        ..ArchiveSettings::default()
    }
}

fn open(settings: &ArchiveSettings) -> Archive {
    Archive::open(settings, Path::new("/nonexistent")).unwrap()
}

async fn refused(settings: &ArchiveSettings) -> ArchiveError {
    open(settings).prove_writable().await.unwrap_err()
}

#[tokio::test]
async fn a_batch_lives_in_a_bucket() {
    let server = S3::start(&["archive"]).await.unwrap();
    for url in ["s3://archive", "s3://archive/dify/one"] {
        let archive = open(&settings(&server, url));
        archive.prove_writable().await.unwrap();
        let given = Given::sized(7, 2..=3, 2..=9);
        let mut manifest = given.write(&archive).await.unwrap();
        archive.verify(&manifest).await.unwrap();
        archive.set_state(&mut manifest, BatchState::Deleting).await.unwrap();
        assert_eq!(archive.unfinished().await.unwrap(), [manifest.clone()]);
        let gone = given.bundles[0].id;
        archive.supersede(&mut manifest, &HashSet::from([gone])).await.unwrap();
        archive.set_state(&mut manifest, BatchState::Done).await.unwrap();
        let left: Vec<Uuid> = manifest.bundles.iter().map(|bundle| bundle.id).collect();
        let all: Vec<usize> = (0..left.len()).collect();
        assert_eq!(read(&archive, &manifest, &all).await.unwrap(), given.content(&left));
        assert_eq!(objects(&archive).await.len(), manifest.objects().count() + 1);
        assert_eq!(archive.remove_partial(Duration::ZERO).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_an_interrupted_batch_left_in_a_bucket_goes() {
    let server = S3::start(&["archive"]).await.unwrap();
    let archive = open(&settings(&server, "s3://archive/dify"));
    let given = Given::sized(5, 3..=3, 3..=6);
    let mut writer = archive.begin(given.head.clone(), &given.bundles).await.unwrap();
    for piece in &given.pieces {
        writer.write(piece.clone()).await.unwrap();
    }
    drop(writer);
    assert!(objects(&archive).await.len() > 1);
    assert_eq!(archive.remove_partial(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(objects(&archive).await, [""; 0]);
}

#[tokio::test]
async fn of_many_contenders_for_a_bucket_one_gets_the_lease() {
    let server = S3::start(&["archive"]).await.unwrap();
    let settings = settings(&server, "s3://archive");
    for _ in 0..3 {
        let contenders = (0..4).map(|number| {
            let archive = open(&settings);
            tokio::spawn(async move { archive.lease(&format!("host {number}"), Uuid::new_v4(), Duration::from_secs(60)).await.unwrap() })
        });
        let taken: Vec<_> = futures_util::future::join_all(contenders).await.into_iter().filter_map(|task| task.unwrap()).collect();
        let [mut lease] = <[_; 1]>::try_from(taken).unwrap();
        assert!(lease.renew().await.unwrap());
        lease.release().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_bucket_is_one_sentence() {
    let server = S3::start(&["archive"]).await.unwrap();
    let right = settings(&server, "s3://archive");

    let error = refused(&settings(&server, "s3://other")).await;
    assert!(matches!(&error, ArchiveError::NoBucket { bucket } if bucket == "other"), "{error}");
    assert_eq!(error.exit(), Exit::Configuration);

    for wrong in [
        ArchiveSettings { secret_access_key: Some(Secret::new("hunter2")), ..right.clone() },
        ArchiveSettings { access_key_id: Some(Secret::new("AKIAHUNTER2")), ..right.clone() },
    ] {
        let error = refused(&wrong).await;
        assert!(matches!(&error, ArchiveError::Denied { .. }), "{error}");
        assert_eq!(error.exit(), Exit::Configuration);
        let text = error.to_string();
        assert!(text.contains("access_key_id") && !text.to_lowercase().contains("hunter2") && !text.contains('\n'), "{text}");
    }

    let closed = format!("http://127.0.0.1:{}", dify_observe_tests::children::free_port().unwrap());
    let error = refused(&ArchiveSettings { endpoint: Some(closed), ..right.clone() }).await;
    assert!(matches!(&error, ArchiveError::Unavailable { .. }), "{error}");
    assert_eq!(error.exit(), Exit::Unavailable);

    // The server speaks plain HTTP.
    let https = server.endpoint().replace("http://", "https://");
    let error = refused(&ArchiveSettings { endpoint: Some(https), allow_http: false, ..right }).await;
    assert_eq!(error.exit(), Exit::Unavailable, "{error}");
}
