//! The documents of whole databases: one for each record, with fields of the catalogue only, and summaries that agree with plain SQL.

mod ids;
mod reading;

use std::collections::BTreeMap;

use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::simulator::{Deletions, Options, bulk, live};
use dify_observe_tests::{Schema, fixtures, seed};
use dify_shipper::catalogue::{self, FieldType};
use dify_shipper::document::{Document, Kind};
use serde_json::Value;
use sqlx::Row as _;

use reading::read_all;

const HOUR: i64 = 3_600_000_000;

/// Two days ago, so that whatever never ended was given up.
fn traffic(schema: &Schema, arrivals: u64) -> anyhow::Result<Options> {
    Ok(Options {
        version: schema.version.parse()?,
        start: live::now() - 48 * HOUR,
        arrivals,
        rate: arrivals as f64 / 3600.0,
        deletions: Deletions::none(),
        ..Options::default()
    })
}

#[tokio::test]
async fn every_record_of_every_schema_is_one_document() {
    let first = seed("every_record_of_every_schema_is_one_document");
    for (at, schema) in Schema::all().unwrap().into_iter().enumerate() {
        let database = Cluster::shared().unwrap().database(&schema).await.unwrap();
        let options = traffic(&schema, seed::length(80, 2_000)).unwrap();
        let load = bulk::Load { url: database.url().to_owned(), seed: first + at as u64, options, jobs: 1, rebuild_indexes: false };
        bulk::load(&load, |_| ()).await.unwrap();
        check(&database, &schema.describe()).await;
    }
}

#[tokio::test]
async fn every_real_record_is_one_document() {
    for version in fixtures::REAL_VERSIONS {
        let database = Cluster::shared().unwrap().database(&Schema::load(version).unwrap()).await.unwrap();
        fixtures::load_real_rows(&database, version).await.unwrap();
        check(&database, &format!("the real rows of {version}")).await;
    }
}

async fn check(database: &TestDatabase, what: &str) {
    let documents = read_all(database).await.unwrap();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Log) {
        let mut found: Vec<&str> = documents.iter().filter(|document| document.kind == kind).map(|document| document.id.as_str()).collect();
        found.sort_unstable();
        let expected = ids::expected(database, kind).await.unwrap();
        assert_eq!(found, expected, "{} of {what}", kind.as_str());
        if matches!(kind, Kind::WorkflowRun | Kind::NodeExecution | Kind::Message) {
            assert!(!found.is_empty(), "{what} has no {}", kind.as_str());
        }
    }
    for document in &documents {
        check_fields(&source(document), "", document.kind, what);
    }
    check_runs(database, &documents, what).await;
    check_messages(database, &documents, what).await;
}

fn source(document: &Document) -> Value {
    serde_json::from_slice(&document.source).unwrap()
}

/// Every value is one of a field that the catalogue gives the kind, and of its type.
fn check_fields(value: &Value, path: &str, kind: Kind, what: &str) {
    let Some(field) = catalogue::by_path(path) else {
        let object = value.as_object().unwrap_or_else(|| panic!("{path} of {} ({what}) is not in the catalogue", kind.as_str()));
        for (key, value) in object {
            check_fields(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, kind, what);
        }
        return;
    };
    assert!(field.kinds.contains(&kind), "{path} of {}", kind.as_str());
    let fits = |value: &Value| match field.field_type {
        FieldType::Keyword | FieldType::Text | FieldType::TextKeyword => value.is_string(),
        FieldType::Long => value.is_i64() || value.is_u64(),
        FieldType::Double => value.is_number(),
        FieldType::Date => value.as_str().is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok()),
        FieldType::Boolean => value.is_boolean(),
        FieldType::Labels => value.is_object(),
    };
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    assert!(!values.is_empty() && values.iter().all(fits), "{path} of {}: {value}", kind.as_str());
}

/// What a run's document says about its nodes, counted by the server.
const RUNS: &str = "\
    SELECT r.id::text AS id, r.status, r.total_tokens::bigint AS total_tokens,
        (SELECT count(*) FROM workflow_node_executions n WHERE n.workflow_run_id = r.id AND (n.status <> 'retry'
            OR NOT EXISTS (SELECT FROM workflow_node_executions o WHERE o.workflow_run_id = r.id AND o.node_id = n.node_id AND o.status <> 'retry'))) AS nodes,
        (SELECT count(*) FROM workflow_node_executions n WHERE n.workflow_run_id = r.id AND n.status = 'succeeded'
            AND n.node_type = 'knowledge-retrieval' AND n.outputs LIKE '%\"result\":%') AS retrievals,
        (SELECT count(*) FROM workflow_node_executions n WHERE n.workflow_run_id = r.id AND n.status = 'succeeded'
            AND n.node_type = 'knowledge-retrieval' AND n.outputs LIKE '%\"result\": []%') AS misses,
        (SELECT string_agg(DISTINCT n.node_type, ',' ORDER BY n.node_type) FROM workflow_node_executions n WHERE n.workflow_run_id = r.id
            AND n.status <> 'retry') AS node_types,
        (SELECT string_agg(DISTINCT n.node_type, ',' ORDER BY n.node_type) FROM workflow_node_executions n WHERE n.workflow_run_id = r.id
            AND n.status = 'exception') AS handled,
        (SELECT string_agg(DISTINCT n.node_type, ',' ORDER BY n.node_type) FROM workflow_node_executions n WHERE n.workflow_run_id = r.id
            AND n.status IN ('failed', 'exception')) AS failed,
        (SELECT max(n.elapsed_time) FROM workflow_node_executions n WHERE n.workflow_run_id = r.id AND n.node_type NOT IN ('iteration', 'loop')
            AND n.status IN ('succeeded', 'failed', 'exception')) AS slowest
    FROM workflow_runs r";

async fn check_runs(database: &TestDatabase, documents: &[Document], what: &str) {
    let runs: BTreeMap<&str, Value> =
        documents.iter().filter(|document| document.kind == Kind::WorkflowRun).map(|document| (&*document.id, source(document))).collect();
    let mut connection = database.connect().await.unwrap();
    let mut checked = 0;
    for row in sqlx::query(RUNS).fetch_all(&mut connection).await.unwrap() {
        let id: String = row.get("id");
        let Some(run) = runs.get(id.as_str()) else { continue };
        let summary = &run["dify"]["run"];
        let about = format!("run {id} of {what}: {summary}");
        let status: String = row.get("status");
        let stored = run["dify"]["status"] == status.as_str();
        assert!(stored || run["dify"]["status"] == "abandoned", "{about}");
        assert_eq!(summary["total_tokens"].as_i64(), row.get::<Option<i64>, _>("total_tokens"), "{about}");
        assert_eq!(summary["nodes"].as_i64(), Some(row.get("nodes")), "{about}");
        assert_eq!(summary["retrievals"].as_i64(), Some(row.get("retrievals")), "{about}");
        assert_eq!(summary["retrieval_misses"].as_i64(), Some(row.get("misses")), "{about}");
        assert!(list(summary, "node_types").len() >= words(row.get("node_types")).len(), "{about}");
        let (handled, failed) = (words(row.get("handled")), words(row.get("failed")));
        let told = list(summary, "failed_node_types");
        assert!(handled.iter().all(|kind| told.contains(kind)), "handled {handled:?}, {about}");
        assert!(told.iter().all(|kind| failed.contains(kind)), "failed {failed:?}, {about}");
        if status == "failed" && failed.len() == 1 && failed[0] != "iteration" && failed[0] != "loop" {
            assert_eq!(told, failed, "{about}");
        }
        let slowest = row.get::<Option<f64>, _>("slowest");
        if let Some(slowest) = slowest {
            assert!(summary["slowest_node"]["seconds"].as_f64().is_some_and(|seconds| seconds >= slowest), "{slowest}, {about}");
        }
        checked += 1;
    }
    assert_eq!(checked, runs.len(), "{what}");
}

async fn check_messages(database: &TestDatabase, documents: &[Document], what: &str) {
    let mut connection = database.connect().await.unwrap();
    let sql = "SELECT id::text AS id, query, answer, message_tokens::bigint AS tokens, total_price::float8 AS price FROM messages";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    let rows: BTreeMap<String, _> = rows.into_iter().map(|row| (row.get::<String, _>("id"), row)).collect();
    for document in documents.iter().filter(|document| document.kind == Kind::Message) {
        let (row, source) = (&rows[&document.id], source(document));
        let message = &source["dify"]["message"];
        assert_eq!(message["input_tokens"].as_i64(), Some(row.get("tokens")), "{what}: {source}");
        assert_eq!(message["cost"].as_f64(), row.get::<Option<f64>, _>("price"), "{what}: {source}");
        assert_eq!(message["query"].is_null(), row.get::<String, _>("query").is_empty(), "{what}: {source}");
        assert_eq!(message["answer"].is_null(), row.get::<String, _>("answer").is_empty(), "{what}: {source}");
    }
}

fn words(list: Option<String>) -> Vec<String> {
    list.unwrap_or_default().split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn list(summary: &Value, key: &str) -> Vec<String> {
    summary[key].as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}
