//! `setup` against a real engine: what it makes, that it can be repeated, and that nothing is sent without it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use dify_observe_core::secret::Secret;
use dify_observe_core::settings::PartitionLength;
use dify_observe_tests::search_engine::{Engine, Options, SearchEngine};
use dify_observe_tests::seed::soak;
use dify_shipper::document::Kind;
use dify_shipper::setup::{self, Step};
use dify_shipper::sink::Sink as _;
use serde_json::json;

use crate::engine::scene::{Scene, checkpoint, delivered, message_at, messages, until};

#[tokio::test]
async fn setup_can_be_repeated_and_changes_only_what_differs() {
    let engine = SearchEngine::shared().await.unwrap();
    let mut scene = Scene::new(engine.url());
    let planned = setup::prepare("es", &scene.sink, &scene.shipper, true).await.unwrap();
    let template = format!("_index_template/{}", scene.alias(Kind::Message));
    assert_eq!(engine.request("GET", &template, None).await.unwrap().0, 404, "a dry run changed something");

    let first = scene.setup().await;
    let without_index_of_positions = |requests: &[(&str, String, serde_json::Value)]| {
        requests.iter().map(|request| request.1.clone()).filter(|path| path != "/dify-observe-state").collect::<Vec<_>>()
    };
    assert_eq!(without_index_of_positions(&planned.requests), without_index_of_positions(&first.requests));
    assert!(first.steps.iter().filter(|step| matches!(step, Step::Created(_))).count() >= 15, "{:?}", first.steps);

    let second = scene.setup().await;
    assert!(second.is_unchanged(), "{:?}", second.requests);

    scene.sink.shards = 2;
    let changed = scene.setup().await;
    let paths: Vec<&str> = changed.requests.iter().map(|(_, path, _)| path.as_str()).collect();
    assert_eq!(paths, [format!("/_component_template/logs-dify-{}-settings", scene.shipper.namespace)]);
    assert!(scene.setup().await.is_unchanged());
}

#[tokio::test]
async fn without_setup_nothing_is_sent_and_the_cure_is_named() {
    let engine = SearchEngine::shared().await.unwrap();
    let scene = Scene::new(engine.url());
    let error = scene.sink().open().await.unwrap_err();
    assert_eq!(error.exit, Exit::Configuration);
    assert!(error.problem.contains("run `dify-shipper setup`"), "{}", error.problem);
}

#[tokio::test]
async fn a_template_that_goes_away_stops_the_sink_and_no_data_stream_arises() {
    let engine = SearchEngine::shared().await.unwrap();
    // As Elasticsearch brings it along.
    let built_in = json!({ "index_patterns": ["logs-*-*"], "data_stream": {}, "priority": 100, "template": {} });
    engine.must("PUT", "_index_template/logs", Some(&built_in)).await.unwrap();
    let scene = Scene::prepared(engine).await;
    let sink = Arc::new(scene.opened().await);
    let template = format!("_index_template/{}", scene.alias(Kind::Message));
    engine.must("DELETE", &template, None).await.unwrap();
    let delivery = tokio::spawn({
        let sink = sink.clone();
        async move { sink.deliver(messages("m", 3, 1)).await }
    });
    until("the sink says what is missing", || sink.trouble().is_some_and(|trouble| trouble.contains("dify-shipper setup"))).await;
    scene.setup().await;
    assert_eq!(delivery.await.unwrap().unwrap(), delivered(3, 0, 0, 0));
    let hits = engine.documents(&scene.alias(Kind::Message)).await.unwrap();
    assert!(hits.iter().all(|hit| hit["_index"].as_str().unwrap().starts_with("logs-dify.message-")), "{hits:?}");
}

#[tokio::test]
async fn a_partition_is_what_the_template_says_and_takes_no_write_by_its_alias() {
    let engine = SearchEngine::shared().await.unwrap();
    let scene = Scene::prepared(engine).await;
    let sink = scene.opened().await;
    sink.deliver(messages("m", 1, 1)).await.unwrap();
    let alias = scene.alias(Kind::Message);
    let made = engine.must("GET", &alias, None).await.unwrap();
    let (index, made) = made.as_object().unwrap().iter().next().unwrap();
    assert_eq!(made["mappings"]["dynamic"], "false", "{made}");
    assert_eq!(made["mappings"]["properties"]["@timestamp"]["type"], "date");
    assert_eq!(made["aliases"][&alias]["is_write_index"], false);
    assert_eq!(made["settings"]["index"]["codec"], "best_compression");
    let (status, answer) = engine.request("PUT", &format!("{alias}/_doc/x"), Some(&json!({ "@timestamp": 1 }))).await.unwrap();
    assert_eq!(status, 400, "{index} was written by its alias: {answer}");
}

#[tokio::test]
async fn a_changed_length_begins_at_the_next_boundary_and_homes_stay() {
    let engine = SearchEngine::shared().await.unwrap();
    let mut scene = Scene::prepared(engine).await;
    let now = Micros::now();
    let before = scene.opened().await;
    before.deliver([message_at("a", 1, now)].into()).await.unwrap();
    scene.shipper.partition.insert("message".to_owned(), PartitionLength::Day);
    let report = scene.setup().await;
    assert!(!report.is_unchanged());
    assert!(scene.setup().await.is_unchanged(), "the schedule grows with each setup");
    // Another process, which reads the schedule.
    let after = scene.opened().await;
    let later = now.plus(Duration::from_secs(9 * 24 * 3600));
    let batch = [message_at("a", 1, now), message_at("b", 1, later), message_at("c", 1, later.plus(Duration::from_secs(24 * 3600)))];
    assert_eq!(after.deliver(batch.into()).await.unwrap(), delivered(2, 1, 0, 0));
    let hits = engine.documents(&scene.alias(Kind::Message)).await.unwrap();
    let indices: std::collections::BTreeSet<_> = hits.iter().map(|hit| hit["_index"].to_string()).collect();
    assert_eq!((hits.len(), indices.len()), (3, 3), "{indices:?}");
}

/// Elasticsearch alone has users and TLS among what can be had for tests.
#[tokio::test]
async fn an_engine_that_lets_in_only_whom_it_knows_is_spoken_to_over_tls() {
    if !soak() {
        return;
    }
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src/admin/testdata").join(name);
    let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    let options = Options {
        engine: Engine::Elasticsearch8,
        heap: 512,
        user: Some(("shipper".to_owned(), "correct-horse".to_owned())),
        tls: Some((text("server.pem"), text("server.key"))),
        ..Options::default()
    };
    let engine = SearchEngine::start(options).await.unwrap();
    let mut scene = Scene::new(&engine.url().replace("127.0.0.1", "localhost"));
    scene.sink.ca_file = Some(file("ca.pem"));
    scene.sink.username = Some("shipper".to_owned());
    scene.sink.password = Some(Secret::new("wrong"));
    let error = setup::prepare("es", &scene.sink, &scene.shipper, false).await.unwrap_err();
    assert!(format!("{error:#}").contains("check the credentials"), "{error:#}");
    scene.sink.password = Some(Secret::new("correct-horse"));
    assert!(!setup::prepare("es", &scene.sink, &scene.shipper, true).await.unwrap().is_unchanged());
    // The keys that deploy/search-engine describes may do what is needed.
    scene.sink.username = None;
    scene.sink.api_key = Some(api_key(&engine, "setup", &scene.shipper.namespace).await);
    scene.setup().await;
    assert!(scene.setup().await.is_unchanged());
    scene.sink.api_key = Some(api_key(&engine, "run", &scene.shipper.namespace).await);
    let sink = scene.opened().await;
    assert_eq!(sink.deliver(messages("m", 30, 1)).await.unwrap(), delivered(30, 0, 0, 0));
    sink.commit(&checkpoint(1)).await.unwrap();
    assert_eq!(sink.trouble(), None);
    scene.sink.ca_file = None;
    let error = scene.sink().probe().await.unwrap_err();
    assert!(error.problem.contains("certificate"), "{}", error.problem);
}

/// A key made by the superuser from what the documentation tells to send.
async fn api_key(engine: &SearchEngine, which: &str, namespace: &str) -> Secret {
    let bodies = include_str!("../../../deploy/search-engine/elasticsearch-api-keys.json").replace("production", namespace);
    let bodies: serde_json::Value = serde_json::from_str(&bodies).unwrap();
    let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build().unwrap();
    let request = client.post(format!("{}/_security/api_key", engine.url())).basic_auth("shipper", Some("correct-horse"));
    let answer: serde_json::Value = request.json(&bodies[which]).send().await.unwrap().json().await.unwrap();
    Secret::new(answer["encoded"].as_str().unwrap_or_else(|| panic!("no key: {answer}")))
}
