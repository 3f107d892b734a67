//! The sink for search engines against a real one: what is there afterwards is read back.

pub(crate) mod scene;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dify_observe_core::clock::Clock;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use dify_observe_tests::search_engine::{Options, SearchEngine};
use dify_shipper::document::Kind;
use dify_shipper::replay::replay;
use dify_shipper::sink::Sink as _;
use futures_util::future::join_all;
use serde_json::json;

use scene::{Scene, at, checkpoint, delivered, message, message_at, messages, until, with_source};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_later_state_replaces_an_earlier_one_and_never_the_other_way_round() {
    let engine = SearchEngine::shared().await.unwrap();
    let scene = Scene::prepared(engine).await;
    let sink = scene.opened().await;
    assert_eq!(sink.deliver(messages("m", 50, 2)).await.unwrap(), delivered(50, 0, 0, 0));
    assert_eq!(sink.deliver(messages("m", 50, 2)).await.unwrap(), delivered(0, 50, 0, 0));
    assert_eq!(sink.deliver([message("m0", 3), message("m1", 1)].into()).await.unwrap(), delivered(1, 1, 0, 0));
    let stored = scene.stored(engine, Kind::Message).await;
    assert_eq!(stored.len(), 50);
    assert_eq!((stored["m0"].0, &stored["m0"].1["state"]), (3, &json!(3)));
    assert_eq!((stored["m1"].0, &stored["m1"].1["state"]), (2, &json!(2)));
}

#[tokio::test]
async fn a_rejected_document_is_kept_and_replayed_into_its_index() {
    let engine = SearchEngine::shared().await.unwrap();
    let scene = Scene::prepared(engine).await;
    let sink = scene.opened().await;
    let now = Micros::now();
    let wrong = json!({ "@timestamp": "not a time" });
    let batch = [message("before", 1), with_source("wrong", 7, now, &wrong), message("after", 1)];
    assert_eq!(sink.deliver(batch.into()).await.unwrap(), delivered(2, 0, 1, 0));
    assert_eq!(sink.dead_letters().count(), 1);
    assert_eq!(scene.stored(engine, Kind::Message).await.len(), 2);

    let again = replay("es", &scene.sink, &scene.shipper, scene.state()).await.unwrap();
    assert_eq!(again, delivered(0, 0, 1, 0), "it is rejected again, and kept");

    // The operator mends the mapping.
    let mended = json!({ "properties": { "@timestamp": { "type": "date", "ignore_malformed": true } } });
    engine.must("PUT", &format!("{}-*/_mapping", scene.alias(Kind::Message)), Some(&mended)).await.unwrap();
    let again = replay("es", &scene.sink, &scene.shipper, scene.state()).await.unwrap();
    assert_eq!(again, delivered(1, 0, 0, 0));
    let stored = scene.stored(engine, Kind::Message).await;
    assert_eq!((stored["wrong"].0, &stored["wrong"].1), (7, &wrong));
    let nothing = replay("es", &scene.sink, &scene.shipper, scene.state()).await.unwrap();
    assert_eq!(nothing, delivered(0, 0, 0, 0));
}

#[tokio::test]
async fn a_record_lives_in_the_partition_of_its_own_time() {
    let engine = SearchEngine::shared().await.unwrap();
    let mut scene = Scene::new(engine.url());
    scene.sink.delete_after = DAY * 36_500;
    scene.setup().await;
    let sink = scene.opened().await;
    // A Sunday's last moment, the Monday after it, and a record of years ago.
    let batch = [
        message_at("sunday", 1, at("2026-11-15T23:59:59.999999Z")),
        message_at("monday", 1, at("2026-11-16T00:00:00Z")),
        message_at("old", 1, at("2023-01-04T00:00:00Z")),
    ];
    assert_eq!(sink.deliver(batch.into()).await.unwrap(), delivered(3, 0, 0, 0));
    let hits = engine.documents(&scene.alias(Kind::Message)).await.unwrap();
    let homes: BTreeSet<_> = hits.iter().map(|hit| (hit["_id"].as_str().unwrap(), hit["_index"].as_str().unwrap())).collect();
    let index = |date: &str| format!("{}-{date}", scene.alias(Kind::Message));
    let (sunday, monday, old) = (index("2026.11.09"), index("2026.11.16"), index("2023.01.02"));
    assert_eq!(homes, BTreeSet::from([("sunday", sunday.as_str()), ("monday", monday.as_str()), ("old", old.as_str())]));
}

#[tokio::test]
async fn what_is_past_retention_is_neither_sent_nor_kept() {
    let engine = SearchEngine::shared().await.unwrap();
    let mut scene = Scene::new(engine.url());
    scene.sink.delete_after = DAY * 30;
    scene.setup().await;
    let now = Micros::now();
    let sink = scene.opened().await;
    let batch = [message_at("young", 1, now), message_at("older", 1, now.minus(DAY * 20)), message_at("oldest", 1, now.minus(DAY * 40))];
    assert_eq!(sink.deliver(batch.into()).await.unwrap(), delivered(2, 0, 0, 1));

    // A stranger's index with almost such a name stays.
    let stranger = format!("{}-2020.01.06-mine", scene.alias(Kind::Message));
    engine.must("PUT", &stranger, None).await.unwrap();
    let later = Clock::manual(std::time::SystemTime::now() + DAY * 25);
    let leader = scene.sink_at(scene.state(), later);
    leader.open().await.unwrap();
    // A document of today tells it of the kind; the commit proves that it leads.
    leader.deliver([message("today", 1)].into()).await.unwrap();
    leader.commit(&checkpoint(1)).await.unwrap();
    let (status, _) = engine.request("GET", &stranger, None).await.unwrap();
    assert_eq!(status, 200, "{stranger} was deleted");
    let ids: Vec<String> = scene.stored(engine, Kind::Message).await.into_keys().collect();
    assert_eq!(ids, ["today", "young"]);
}

#[tokio::test]
async fn a_blocked_index_is_waited_for_and_nothing_is_given_up() {
    let engine = SearchEngine::shared().await.unwrap();
    let scene = Scene::prepared(engine).await;
    let sink = Arc::new(scene.opened().await);
    sink.deliver(messages("m", 1, 1)).await.unwrap();
    let settings = format!("{}-*/_settings", scene.alias(Kind::Message));
    for block in ["index.blocks.read_only_allow_delete", "index.blocks.write"] {
        engine.must("PUT", &settings, Some(&json!({ block: true }))).await.unwrap();
        let delivery = tokio::spawn({
            let sink = sink.clone();
            async move { sink.deliver(messages(block, 5, 1)).await }
        });
        until("the sink is in trouble", || sink.trouble().is_some_and(|trouble| trouble.contains("block"))).await;
        assert!(!delivery.is_finished());
        engine.must("PUT", &settings, Some(&json!({ block: null }))).await.unwrap();
        assert_eq!(delivery.await.unwrap().unwrap(), delivered(5, 0, 0, 0));
        assert_eq!(sink.trouble(), None);
    }
    assert_eq!(sink.dead_letters().count(), 0);
    assert_eq!(scene.stored(engine, Kind::Message).await.len(), 11);
}

#[tokio::test]
async fn a_second_leader_fences_the_first_and_goes_on_from_its_position() {
    let engine = SearchEngine::shared().await.unwrap();
    let scene = Scene::prepared(engine).await;
    let first = scene.sink();
    assert_eq!(first.open().await.unwrap(), None);
    first.commit(&checkpoint(1)).await.unwrap();
    first.commit(&checkpoint(2)).await.unwrap();

    let other_host = tempfile::tempdir().unwrap();
    let second = scene.sink_at(other_host.path(), Clock::system());
    assert_eq!(second.open().await.unwrap(), Some(checkpoint(2)));
    // Two who look at the same moment are no trouble: the first to write leads.
    second.commit(&checkpoint(3)).await.unwrap();
    let error = first.commit(&checkpoint(9)).await.unwrap_err();
    assert!(error.fenced && error.exit == Exit::TryLater, "{error:?}");
    assert!(first.commit(&checkpoint(9)).await.unwrap_err().fenced, "and it stays fenced");
    assert_eq!(first.open().await.unwrap(), Some(checkpoint(3)));
    first.commit(&checkpoint(4)).await.unwrap();
    assert!(second.commit(&checkpoint(5)).await.unwrap_err().fenced);
}

#[tokio::test]
async fn two_who_begin_together_are_one_leader() {
    let engine = SearchEngine::shared().await.unwrap();
    let scene = Scene::prepared(engine).await;
    let other_host = tempfile::tempdir().unwrap();
    let (first, second) = (scene.sink(), scene.sink_at(other_host.path(), Clock::system()));
    first.open().await.unwrap();
    second.open().await.unwrap();
    first.commit(&checkpoint(1)).await.unwrap();
    assert!(second.commit(&checkpoint(2)).await.unwrap_err().fenced);
    let beside = scene.sink().for_backfill("2026", scene.state());
    assert_eq!(beside.open().await.unwrap(), None, "a backfill has a position of its own");
}

#[tokio::test]
async fn an_index_that_was_deleted_is_made_again_from_the_template() {
    let engine = SearchEngine::shared().await.unwrap();
    let scene = Scene::prepared(engine).await;
    let sink = scene.opened().await;
    sink.deliver(messages("m", 3, 1)).await.unwrap();
    let index = engine.documents(&scene.alias(Kind::Message)).await.unwrap()[0]["_index"].as_str().unwrap().to_owned();
    engine.must("DELETE", &index, None).await.unwrap();
    sink.deliver(messages("n", 3, 1)).await.unwrap();
    assert_eq!(scene.stored(engine, Kind::Message).await.len(), 3);
    let mapping = engine.must("GET", &format!("{index}/_mapping"), None).await.unwrap();
    assert_eq!(mapping[&index]["mappings"]["dynamic"], "false", "{mapping}");
}

#[tokio::test]
async fn requests_that_are_too_large_are_halved_and_an_engine_that_is_busy_is_given_time() {
    let settings = vec!["http.max_content_length: 200kb".to_owned(), "indexing_pressure.memory.limit: 300kb".to_owned()];
    let engine = SearchEngine::start(Options { settings, ..Options::default() }).await.unwrap();
    let mut scene = Scene::new(engine.url());
    scene.sink.compression = false;
    scene.sink.concurrency = 8;
    scene.setup().await;
    let sink = scene.opened().await;
    let large = |id: String, bytes: usize| with_source(&id, 1, Micros::now(), &json!({ "@timestamp": 1, "text": "x".repeat(bytes) }));

    let batch: Vec<_> = (0..20).map(|number| large(format!("h{number}"), 20_000)).chain([large("never".to_owned(), 300_000)]).collect();
    assert_eq!(sink.deliver(batch.into()).await.unwrap(), delivered(20, 0, 1, 0));
    assert!(scene.heard.bulks.load(Ordering::Relaxed) > 3, "nothing was halved");

    let batches = (0..40).map(|batch| (0..8).map(|number| large(format!("b{batch}-{number}"), 20_000)).collect());
    let all = join_all(batches.map(|batch: Vec<_>| sink.deliver(batch.into()))).await;
    let written: u64 = all.into_iter().map(|delivered| delivered.unwrap().written).sum();
    assert_eq!(written, 320);
    assert!(scene.heard.retried("throttled") > 0, "the engine was never too busy");
    assert_eq!(scene.stored(&engine, Kind::Message).await.len(), 340);
}
