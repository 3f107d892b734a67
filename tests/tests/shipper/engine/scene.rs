//! An engine, a namespace of one's own in it, and documents made by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dify_observe_core::clock::Clock;
use dify_observe_core::dify::catalog::App;
use dify_observe_core::dify::follow::FollowState;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::{ShipperSettings, SinkSettings, SinkType};
use dify_observe_tests::search_engine::SearchEngine;
use dify_shipper::document::{Document, Kind, Scope};
use dify_shipper::elasticsearch::{ElasticsearchSink, Observer, alias};
use dify_shipper::setup::{self, Report};
use dify_shipper::sink::{Checkpoint, Delivered, Sink as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// What a test starts with.
pub(crate) struct Scene {
    pub(crate) shipper: ShipperSettings,
    pub(crate) sink: SinkSettings,
    pub(crate) heard: Arc<Heard>,
    state: TempDir,
}

impl Scene {
    /// Nothing is prepared yet.
    pub(crate) fn new(url: &str) -> Self {
        let namespace = format!("t{}", Uuid::new_v4().simple());
        let sink = SinkSettings {
            r#type: SinkType::Elasticsearch,
            url: Some(url.to_owned()),
            replicas: "0".to_owned(),
            kinds: vec!["message".to_owned(), "workflow_run".to_owned()],
            ..SinkSettings::default()
        };
        let shipper = ShipperSettings { namespace, ..ShipperSettings::default() };
        Scene { shipper, sink, heard: Arc::default(), state: tempfile::tempdir().unwrap() }
    }

    /// Set up in this engine.
    pub(crate) async fn prepared(engine: &SearchEngine) -> Self {
        let scene = Scene::new(engine.url());
        scene.setup().await;
        scene
    }

    pub(crate) async fn setup(&self) -> Report {
        setup::prepare("es", &self.sink, &self.shipper, false).await.unwrap()
    }

    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    /// A sink as the pipeline would make it.
    pub(crate) fn sink(&self) -> ElasticsearchSink {
        self.sink_at(self.state(), Clock::system())
    }

    /// On a host with this state folder, and this clock.
    pub(crate) fn sink_at(&self, state: &Path, clock: Clock) -> ElasticsearchSink {
        ElasticsearchSink::with_clock("es", &self.sink, &self.shipper, state, self.heard.clone(), clock).unwrap()
    }

    /// A sink that is open.
    pub(crate) async fn opened(&self) -> ElasticsearchSink {
        let sink = self.sink();
        sink.open().await.unwrap();
        sink
    }

    pub(crate) fn alias(&self, kind: Kind) -> String {
        alias(kind, &self.shipper.namespace)
    }

    /// `_id` → (`_version`, `_source`), and each `_id` once.
    pub(crate) async fn stored(&self, engine: &SearchEngine, kind: Kind) -> BTreeMap<String, (u64, Value)> {
        let mut stored = BTreeMap::new();
        for mut hit in engine.documents(&self.alias(kind)).await.unwrap() {
            let id = hit["_id"].as_str().unwrap().to_owned();
            let version = hit["_version"].as_u64().unwrap();
            assert!(stored.insert(id.clone(), (version, hit["_source"].take())).is_none(), "{id} is there twice");
        }
        stored
    }
}

/// What was observed.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    retried: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) bulks: AtomicU64,
}

impl Heard {
    pub(crate) fn retried(&self, reason: &str) -> u64 {
        self.retried.lock().unwrap().get(reason).copied().unwrap_or(0)
    }
}

impl Observer for Heard {
    fn bulk(&self, _: &str, _: Duration, _: u64) {
        self.bulks.fetch_add(1, Ordering::Relaxed);
    }

    fn retried(&self, reason: &'static str, documents: u64) {
        *self.retried.lock().unwrap().entry(reason).or_default() += documents;
    }
}

pub(crate) fn at(text: &str) -> Micros {
    Micros(chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
}

/// A message of now.
pub(crate) fn message(id: &str, revision: u64) -> Document {
    message_at(id, revision, Micros::now())
}

pub(crate) fn message_at(id: &str, revision: u64, time: Micros) -> Document {
    with_source(id, revision, time, &json!({ "@timestamp": time.0 / 1000, "dify": { "status": "normal" }, "state": revision }))
}

pub(crate) fn with_source(id: &str, revision: u64, time: Micros, source: &Value) -> Document {
    let nothing = || "".into();
    let app = App { id: Uuid::nil(), tenant_id: None, name: nothing(), mode: nothing(), status: nothing(), tags: Vec::new() };
    Document {
        kind: Kind::Message,
        id: id.to_owned(),
        revision,
        time,
        source: Bytes::from(source.to_string()),
        scope: Scope { app: Arc::new(app), status: None },
    }
}

/// Many messages of now.
pub(crate) fn messages(prefix: &str, count: usize, revision: u64) -> Arc<[Document]> {
    (0..count).map(|number| message(&format!("{prefix}{number}"), revision)).collect()
}

pub(crate) fn checkpoint(number: i64) -> Checkpoint {
    Checkpoint { follow: FollowState::for_tests(number) }
}

pub(crate) fn delivered(written: u64, known: u64, rejected: u64, expired: u64) -> Delivered {
    Delivered { written, known, rejected, expired }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came that {what}");
}
