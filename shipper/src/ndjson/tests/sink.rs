//! The sink as the pipeline sees it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use dify_observe_core::clock::Clock;
use dify_observe_core::dify::follow::FollowState;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use dify_observe_core::settings::SinkSettings;
use serde_json::json;

use super::document;
use crate::document::{Document, Kind};
use crate::ndjson::disk::{Disk, Fault, Faults};
use crate::ndjson::files::{closed_segments, open_segments};
use crate::ndjson::{LIVE, NdjsonSink, keeper};
use crate::sink::{Checkpoint, Sink as _};

fn checkpoint(number: i64) -> Checkpoint {
    Checkpoint { follow: FollowState::for_tests(number) }
}

fn batch(ids: std::ops::Range<u32>) -> Arc<[Document]> {
    let now = Micros::now().0;
    ids.map(|id| document(Kind::Message, &id.to_string(), 1, now, &json!({"n": id}))).collect()
}

fn sink(state: &Path, settings: &SinkSettings, disk: Disk) -> NdjsonSink {
    NdjsonSink::with("files", settings, state, LIVE, Clock::manual(SystemTime::now()), disk).unwrap()
}

#[tokio::test]
async fn the_position_comes_back_and_one_process_writes() {
    let state = tempfile::tempdir().unwrap();
    let settings = SinkSettings::default();
    let first = sink(state.path(), &settings, Disk::default());
    assert_eq!(first.open().await.unwrap(), None);
    assert_eq!(first.deliver(batch(0..10)).await.unwrap().written, 10);
    first.commit(&checkpoint(1)).await.unwrap();
    first.deliver(batch(10..20)).await.unwrap();

    let second = sink(state.path(), &settings, Disk::default());
    let error = second.open().await.unwrap_err();
    assert_eq!(error.exit, Exit::TryLater, "{error}");
    // Another stream is no obstacle.
    let backfill = NdjsonSink::backfill("files", &settings, state.path(), "backfill_1").unwrap();
    assert_eq!(backfill.open().await.unwrap(), None);

    // The same sink can be opened again, and begins where it committed.
    assert_eq!(first.open().await.unwrap(), Some(checkpoint(1)));
    drop(first);
    assert_eq!(second.open().await.unwrap(), Some(checkpoint(1)));
}

#[tokio::test]
async fn segments_are_closed_by_size_and_by_age_and_go_when_they_are_old() {
    let state = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let settings = SinkSettings { segment_bytes: 500, segment_age: Duration::from_secs(60), delete_after: day, ..SinkSettings::default() };
    let sink = sink(state.path(), &settings, Disk::default());
    let root = sink.shared.place.root.clone();
    let closed = || closed_segments(&root).unwrap().len();
    sink.open().await.unwrap();
    sink.deliver(batch(0..20)).await.unwrap();
    sink.commit(&checkpoint(1)).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(closed(), 1);

    sink.deliver(batch(20..21)).await.unwrap();
    sink.commit(&checkpoint(2)).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!((closed(), open_segments(&root).unwrap().len()), (1, 1));
    sink.shared.clock.advance(Duration::from_secs(61));
    sink.close().await.unwrap();
    assert_eq!((closed(), open_segments(&root).unwrap().len()), (2, 0));
    assert_eq!(sink.open().await.unwrap(), Some(checkpoint(2)));

    keeper::remove_expired(&sink.shared).await.unwrap();
    assert_eq!(closed(), 2);
    sink.shared.clock.advance(day + Duration::from_secs(1));
    keeper::remove_expired(&sink.shared).await.unwrap();
    let mut left: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".lock-live", ".position-live", "open"]);
    // And what is that old is not taken.
    let delivered = sink.deliver(batch(0..3)).await.unwrap();
    assert_eq!((delivered.written, delivered.expired), (0, 3));
}

#[tokio::test]
async fn a_backfill_is_complete_when_it_ends() {
    let state = tempfile::tempdir().unwrap();
    let sink = NdjsonSink::backfill("files", &SinkSettings::default(), state.path(), "backfill_1").unwrap();
    sink.open().await.unwrap();
    sink.deliver(batch(0..3)).await.unwrap();
    sink.commit(&checkpoint(1)).await.unwrap();
    sink.close().await.unwrap();
    let root = &sink.shared.place.root;
    assert_eq!((closed_segments(root).unwrap().len(), open_segments(root).unwrap().len()), (1, 0));
    assert_eq!(sink.open().await.unwrap(), Some(checkpoint(1)));
}

/// No room, and half of what is written arrives before that is noticed.
#[derive(Debug, Default)]
struct Full(AtomicBool);

impl Faults for Full {
    fn next(&self, bytes: usize) -> Option<Fault> {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        if !self.0.load(Ordering::SeqCst) {
            None
        } else if bytes > 1 {
            Some(Fault::Torn(bytes / 2, full()))
        } else {
            Some(Fault::Fails(full()))
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let state = tempfile::tempdir().unwrap();
    let full = Arc::new(Full::default());
    let sink = Arc::new(sink(state.path(), &SinkSettings::default(), Disk { faults: Some(full.clone()) }));
    sink.open().await.unwrap();
    sink.deliver(batch(0..10)).await.unwrap();
    sink.commit(&checkpoint(1)).await.unwrap();
    full.0.store(true, Ordering::SeqCst);
    sink.deliver(batch(10..20)).await.unwrap();
    let committing = tokio::spawn({
        let sink = sink.clone();
        async move { sink.commit(&checkpoint(2)).await }
    });
    while sink.trouble().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(sink.trouble().unwrap().contains("is full"), "{:?}", sink.trouble());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!committing.is_finished());
    full.0.store(false, Ordering::SeqCst);
    committing.await.unwrap().unwrap();
    assert_eq!(sink.trouble(), None);
    assert_eq!(sink.open().await.unwrap(), Some(checkpoint(2)));
    let root = &sink.shared.place.root;
    let file = std::fs::File::open(root.join(open_segments(root).unwrap()[0].open_path())).unwrap();
    let lines = std::io::read_to_string(zstd::Decoder::new(file).unwrap()).unwrap();
    assert_eq!(lines.lines().count(), 20);
}

#[tokio::test]
async fn a_batch_that_nobody_waits_for_is_there_once_when_it_is_given_again() {
    let state = tempfile::tempdir().unwrap();
    let sink = sink(state.path(), &SinkSettings::default(), Disk::default());
    sink.open().await.unwrap();
    let text = "x".repeat(400_000);
    let large = |id: u32| -> Arc<[Document]> {
        [document(Kind::Message, &id.to_string(), 1, Micros::now().0, &json!({"n": id, "text": text}))].into()
    };
    for id in 0..20 {
        // Polled once or twice and dropped, again and again, until it is taken.
        for polls in 1.. {
            let mut delivery = sink.deliver(large(id));
            let mut taken = false;
            for _ in 0..polls {
                taken = futures_util::poll!(&mut delivery).is_ready();
                if taken {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if taken {
                break;
            }
        }
    }
    sink.commit(&checkpoint(1)).await.unwrap();
    let root = &sink.shared.place.root;
    let file = std::fs::File::open(root.join(open_segments(root).unwrap()[0].open_path())).unwrap();
    let lines = std::io::read_to_string(zstd::Decoder::new(file).unwrap()).unwrap();
    let ids: Vec<u64> = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_wrong_is_one_sentence() {
    let state = tempfile::tempdir().unwrap();
    for url in ["", "/var/lib", "ftp://hunter2@host", "s3://", "file://relative"] {
        let settings = SinkSettings { url: Some(url.to_owned()), ..SinkSettings::default() };
        let error = NdjsonSink::new("files", &settings, state.path()).unwrap_err();
        assert_eq!(error.exit, Exit::Configuration, "{url}");
        let text = error.to_string();
        assert!(text.contains("shipper.sinks.files.url") && text.contains("s3://bucket/prefix") && !text.contains("hunter2"), "{text}");
    }
    std::fs::write(state.path().join("file"), "").unwrap();
    let url = Some(format!("file://{}/file", state.path().display()));
    let error = sink(state.path(), &SinkSettings { url, ..SinkSettings::default() }, Disk::default()).open().await.unwrap_err();
    assert_eq!(error.exit, Exit::Configuration, "{error}");

    let damaged = sink(state.path(), &SinkSettings::default(), Disk::default());
    damaged.open().await.unwrap();
    std::fs::write(damaged.shared.place.root.join(".position-live"), "something else altogether").unwrap();
    let error = damaged.open().await.unwrap_err();
    assert!(error.problem.contains("cannot be read") && error.problem.contains(".position-live"), "{error}");
}
