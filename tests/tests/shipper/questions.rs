//! The requests of docs/searching.md, sent to a real engine that holds a known population: each gives the answer that is known beforehand.

mod population;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::error_type::fingerprint;
use dify_observe_core::settings::{ShipperSettings, SinkSettings, SinkType};
use dify_observe_tests::search_engine::SearchEngine;
use dify_shipper::document::Document;
use dify_shipper::elasticsearch::{ElasticsearchSink, Silent};
use dify_shipper::setup;
use dify_shipper::sink::Sink as _;
use serde_json::{Value, json};

use population::{RATE_LIMIT, id};

const NAMESPACE: &str = "questions";

/// The requests of the page by their headings.
fn requests() -> BTreeMap<String, (String, Value)> {
    let page = include_str!("../../../docs/searching.md");
    let sections = page.split("\n### ").skip(1);
    let request = |section: &str| {
        let (heading, rest) = section.split_once('\n').unwrap();
        let block = rest.split("```http\n").nth(1).unwrap().split("```").next().unwrap();
        let (line, body) = block.split_once('\n').unwrap();
        let path = line.strip_prefix("POST ").unwrap().replace("-default", &format!("-{NAMESPACE}"));
        let body = body.replace("0123456789abcdef", &fingerprint(RATE_LIMIT));
        (heading.to_owned(), (path, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{heading}: {error}"))))
    };
    sections.map(request).collect()
}

/// Puts the population into the engine, as a sink does it.
async fn fill(engine: &SearchEngine, documents: Vec<Document>) {
    let years = Duration::from_secs(100 * 365 * 24 * 3600);
    let settings = SinkSettings {
        r#type: SinkType::Elasticsearch,
        url: Some(engine.url().to_owned()),
        delete_after: years,
        lifecycle: false,
        ..SinkSettings::default()
    };
    let shipper = ShipperSettings { namespace: NAMESPACE.to_owned(), ..ShipperSettings::default() };
    setup::prepare("search", &settings, &shipper, false).await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let sink = ElasticsearchSink::new("search", &settings, &shipper, state.path(), Arc::new(Silent)).unwrap();
    sink.open().await.unwrap();
    let count = documents.len() as u64;
    let delivered = sink.deliver(documents.into()).await.unwrap();
    // The feedback that was withdrawn is written twice, and there once.
    assert_eq!((delivered.written + delivered.known, delivered.rejected, delivered.expired), (count, 0, 0));
    engine.must("POST", &format!("logs-dify.*-{NAMESPACE}/_refresh"), None).await.unwrap();
}

#[tokio::test]
async fn every_question_of_the_documentation_has_its_answer() {
    let engine = SearchEngine::shared().await.unwrap();
    fill(engine, population::documents()).await;
    let mut expected = expected();
    for (heading, (path, body)) in requests() {
        let answer = engine.must("POST", &path, Some(&body)).await.unwrap();
        let expected = expected.remove(heading.as_str()).unwrap_or_else(|| panic!("nobody knows the answer to {heading:?}"));
        assert_eq!(brief(&answer), expected, "{heading}: {answer:#}");
    }
    assert!(expected.is_empty(), "the page lacks {:?}", expected.keys());
}

/// An answer without what an engine adds: ids of the documents in their order (sorted where none was asked for), and buckets.
fn brief(answer: &Value) -> Value {
    if let Some(aggregations) = answer["aggregations"].as_object() {
        return aggregations.values().map(buckets).next().unwrap_or_default();
    }
    let hits = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<&str> = hits.iter().filter_map(|hit| hit["_id"].as_str()).collect();
    if hits.iter().all(|hit| hit["sort"].is_null()) {
        ids.sort_unstable();
    }
    json!(ids)
}

fn buckets(aggregation: &Value) -> Value {
    let Some(list) = aggregation["buckets"].as_array() else { return aggregation["value"].clone() };
    let bucket = |bucket: &Value| {
        let key = bucket["key_as_string"].as_str().or(bucket["key"].as_str()).map_or_else(|| bucket["key"].to_string(), str::to_owned);
        let inner = bucket.as_object().into_iter().flatten().filter(|(_, value)| value.is_object());
        let inner: serde_json::Map<String, Value> = inner.map(|(name, value)| (name.clone(), buckets(value))).collect();
        let value = if inner.is_empty() { bucket["doc_count"].clone() } else { Value::Object(inner) };
        (key, value)
    };
    Value::Object(list.iter().map(bucket).collect())
}

/// What the population was made to answer.
fn expected() -> BTreeMap<&'static str, Value> {
    let (run, message) = (|number: u128| id(0x100 + number), |number: u128| id(0x200 + number));
    let conversation = |number: u128| id(0x300 + number);
    BTreeMap::from([
        ("Failed runs of one user in a week", json!([run(1), run(2)])),
        (
            "Error types by node type",
            json!({ "llm": { "error_types": { "rate_limit": 2 } }, "tool": { "error_types": { "tool": 1, "timeout": 1 } } }),
        ),
        (
            "Tools slower than 1 s by hour",
            json!({
                "2026-11-18T08:00:00.000Z": { "tools": { "weather": { "slowest": 5.0e9 } } },
                "2026-11-19T08:00:00.000Z": { "tools": { "time": { "slowest": 2.5e9 } } },
            }),
        ),
        (
            "Success rate by category",
            json!({ "billing": { "outcomes": { "failure": 2, "success": 1 } }, "none": { "outcomes": { "success": 2 } },
                "orders": { "outcomes": { "failure": 1, "success": 1 } } }),
        ),
        ("Runs where one tool failed and another timed out", json!([run(2)])),
        ("The runs behind an error fingerprint", json!([run(5), run(1), run(9)])),
        (
            "Everything that happened in one workflow run",
            json!([run(7), id(0x1070), format!("{}-0", id(0x1070)), id(0x1071), message(7), id(0x407)]),
        ),
        ("Conversations that hit an empty retrieval", json!({ conversation(7): 1 })),
        ("After which turn users stop asking", json!({ "1.0": 5, "2.0": 2, "3.0": 1 })),
        ("Disliked answers with their comments", json!([id(0x407), id(0x403)])),
        (
            "Tokens and cost of each end user this month",
            json!({
                "u-42": { "tokens": 15.0 + 3.0 * 78.0, "currencies": { "USD": { "cost": 0.25 + 3.0 * 0.5 } } },
                "u-7": { "tokens": 150.0 + 40.0 + 3.0 * 78.0, "currencies": { "RMB": { "cost": 0.125 }, "USD": { "cost": 2.0 + 3.0 * 0.5 } } },
            }),
        ),
        ("A keyword in English", json!([message(3)])),
        ("A phrase in English", json!([message(5)])),
        ("A misspelling in English", json!([message(6)])),
        ("A keyword in Chinese", json!([message(4)])),
        ("A phrase in Chinese", json!([message(2)])),
        ("A misspelling in Chinese", json!([message(2)])),
    ])
}
