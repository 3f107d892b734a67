//! What engines and networks do to the sink: killed, frozen, cut off, answers lost. Afterwards every document is there once.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_tests::proxy::Proxy;
use dify_observe_tests::search_engine::{Options, SearchEngine};
use dify_observe_tests::seed::length;
use dify_shipper::document::Kind;
use dify_shipper::elasticsearch::ElasticsearchSink;
use dify_shipper::sink::{Delivered, Sink as _};
use tokio::task::JoinSet;

use crate::engine::scene::{Scene, checkpoint, messages, until};

/// Delivers so many batches of twenty at once.
fn deliver(sink: &Arc<ElasticsearchSink>, batches: usize) -> JoinSet<Delivered> {
    let mut deliveries = JoinSet::new();
    for batch in 0..batches {
        let sink = sink.clone();
        deliveries.spawn(async move { sink.deliver(messages(&format!("{batch}-"), 20, 1)).await.unwrap() });
    }
    deliveries
}

async fn all(deliveries: JoinSet<Delivered>) -> (u64, u64) {
    let all = deliveries.join_all().await;
    assert!(all.iter().all(|one| one.rejected == 0 && one.expired == 0), "{all:?}");
    (all.iter().map(|one| one.written).sum(), all.iter().map(|one| one.known).sum())
}

#[tokio::test]
async fn answers_that_are_lost_make_no_duplicates() {
    let engine = SearchEngine::shared().await.unwrap();
    let proxy = Proxy::start(engine.address()).await.unwrap();
    let mut scene = Scene::prepared(engine).await;
    scene.sink.url = Some(format!("http://{}", proxy.address()));
    let sink = Arc::new(scene.opened().await);
    sink.deliver(messages("first", 1, 1)).await.unwrap();
    proxy.lose_answers(5);
    let (written, known) = all(deliver(&sink, 20)).await;
    assert_eq!(proxy.answers_lost(), 5);
    assert_eq!(written + known, 400);
    assert!(known > 0, "no answer of a bulk request was lost");
    assert_eq!(scene.stored(engine, Kind::Message).await.len(), 401);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_no_other_leader() {
    let engine = SearchEngine::shared().await.unwrap();
    let proxy = Proxy::start(engine.address()).await.unwrap();
    let mut scene = Scene::prepared(engine).await;
    scene.sink.url = Some(format!("http://{}", proxy.address()));
    let sink = scene.opened().await;
    for number in 1..6 {
        proxy.lose_answers(1);
        sink.commit(&checkpoint(number)).await.unwrap();
    }
    assert_eq!(proxy.answers_lost(), 5);
    assert_eq!(scene.sink().open().await.unwrap(), Some(checkpoint(5)));
}

#[tokio::test]
async fn an_engine_that_is_cut_off_is_waited_for() {
    let engine = SearchEngine::shared().await.unwrap();
    let proxy = Proxy::start(engine.address()).await.unwrap();
    let mut scene = Scene::prepared(engine).await;
    scene.sink.url = Some(format!("http://user:secret@{}", proxy.address()));
    let sink = Arc::new(scene.opened().await);
    proxy.cut();
    let deliveries = deliver(&sink, 5);
    until("the sink is in trouble", || sink.trouble().is_some()).await;
    let trouble = sink.trouble().unwrap();
    assert!(trouble.contains("cannot be reached") && !trouble.contains("secret"), "{trouble}");
    proxy.mend();
    let (written, known) = all(deliveries).await;
    assert_eq!(written + known, 100);
    assert_eq!(sink.trouble(), None);
    assert_eq!(scene.stored(engine, Kind::Message).await.len(), 100);
}

#[tokio::test]
async fn an_engine_that_is_killed_or_frozen_in_the_middle_has_everything_once_at_the_end() {
    let mut engine = SearchEngine::start(Options::default()).await.unwrap();
    for round in 0..length(1, 10) {
        let mut scene = Scene::prepared(&engine).await;
        scene.sink.timeout = Duration::from_secs(5);
        let sink = Arc::new(scene.opened().await);
        let deliveries = deliver(&sink, 60);
        tokio::time::sleep(Duration::from_millis(50 + 40 * round)).await;
        engine.kill().await.unwrap();
        assert!(engine.request("GET", "", None).await.is_err(), "it answers after SIGKILL");
        until("the sink is in trouble", || sink.trouble().is_some()).await;
        engine.run().await.unwrap();
        let (written, known) = all(deliveries).await;
        assert_eq!(written + known, 1200);
        sink.commit(&checkpoint(1)).await.unwrap();

        engine.freeze().unwrap();
        let more = deliver(&sink, 70);
        until("the sink says that nothing is answered", || sink.trouble().is_some_and(|trouble| trouble.contains("not answered"))).await;
        engine.thaw().unwrap();
        let (written, known) = all(more).await;
        assert_eq!(written + known, 1400);
        assert_eq!(scene.stored(&engine, Kind::Message).await.len(), 1400);
    }
}
