//! The queries of docs/retention.md, run by DuckDB over an archive of this program.

use std::path::Path;
use std::sync::Arc;

use dify_observe_core::dify::retention::{Bundle, Cell, Column, Key, Piece, Root, Row, Rows, Shape, Wire};
use dify_observe_core::dify::time::Micros;
use dify_observe_tests::python::duckdb;
use serde_json::json;
use uuid::Uuid;

use super::super::{Archive, BatchHead, BatchState};
use super::folder;

const DAY: i64 = 86_400_000_000;
const LARGE: usize = 9 << 20;

/// 2026-11-01, in days.
const FIRST: i32 = 20_758;

/// Two days of two runs each, with two nodes each; one node's output is large.
async fn write_days(archive: &Archive) {
    for day in FIRST..FIRST + 2 {
        let id = Uuid::from_u128(day as u128);
        let app_id = Uuid::from_u128(0xa);
        let head = BatchHead {
            id,
            tenant_id: Uuid::from_u128(0xb),
            app_id,
            day,
            root: Root::Run,
            policy: "default 30days".to_owned(),
            written_at: Micros::now(),
            alembic: None,
            database: "dify".to_owned(),
        };
        let bundles: Vec<Bundle> = (0..2).map(|number| bundle(&head, number)).collect();
        let mut writer = archive.begin(head, &bundles).await.unwrap();
        writer.write(Piece::Rows(Rows { shape: runs(), rows: bundles.iter().zip(0..).map(run).collect() })).await.unwrap();
        let nodes: Vec<Row> = (0..4).map(|number| node(day, number, &bundles)).collect();
        let key = nodes[0].key;
        writer.write(Piece::Rows(Rows { shape: executions(), rows: nodes })).await.unwrap();
        let text = "漢".repeat(LARGE / 3);
        for (sequence, bytes) in text.as_bytes().chunks(4 << 20).enumerate() {
            let slice = Piece::Slice { shape: executions(), key, column: 3, sequence: sequence as u32, bytes: bytes.to_vec() };
            writer.write(slice).await.unwrap();
        }
        let mut manifest = writer.finish().await.unwrap();
        archive.set_state(&mut manifest, BatchState::Done).await.unwrap();
    }
}

fn bundle(head: &BatchHead, number: u128) -> Bundle {
    let ended_at = Micros(i64::from(head.day) * DAY + 1_000_001);
    let id = Uuid::from_u128(head.id.as_u128() << 8 | number);
    let status = Some("succeeded".to_owned());
    Bundle {
        root: Root::Run,
        id,
        tenant_id: head.tenant_id,
        app_id: head.app_id,
        status,
        ended_at,
        newest: ended_at,
        runs: vec![],
        messages: vec![],
    }
}

fn column(name: &str, data_type: &str, wire: Wire) -> Column {
    Column { name: name.to_owned(), data_type: data_type.to_owned(), wire }
}

fn runs() -> Arc<Shape> {
    let columns = vec![
        column("id", "uuid", Wire::Uuid),
        column("status", "character varying(255)", Wire::Text),
        column("elapsed_time", "double precision", Wire::Double),
        column("total_tokens", "bigint", Wire::Int64),
        column("exceptions_count", "integer", Wire::Int32),
        column("created_at", "timestamp without time zone", Wire::Timestamp),
    ];
    Arc::new(Shape { table: "workflow_runs".to_owned(), columns, key: vec![0] })
}

fn executions() -> Arc<Shape> {
    let columns = vec![
        column("id", "uuid", Wire::Uuid),
        column("workflow_run_id", "uuid", Wire::Uuid),
        column("node_type", "character varying(255)", Wire::Text),
        column("outputs", "text", Wire::Text),
    ];
    Arc::new(Shape { table: "workflow_node_executions".to_owned(), columns, key: vec![0] })
}

fn text(text: &str) -> Cell {
    Cell::Bytes(text.as_bytes().to_vec())
}

fn run((bundle, position): (&Bundle, u32)) -> Row {
    let exceptions = if position == 0 { Cell::Int(0) } else { Cell::Null };
    let cells = vec![
        Cell::Uuid(bundle.id),
        text("succeeded"),
        Cell::Double(1.5_f64.to_bits()),
        Cell::Int(5_000_000_000),
        exceptions,
        Cell::Timestamp(bundle.ended_at.0),
    ];
    Row { bundle: position, key: Key { id: bundle.id, second: None }, xmin: 4_000_000_000, cells }
}

fn node(day: i32, number: u32, bundles: &[Bundle]) -> Row {
    let id = Uuid::from_u128((day as u128) << 16 | u128::from(number));
    let outputs = if number == 0 { Cell::Large((LARGE / 3 * 3) as u64) } else { text("{\"text\": \"漢字\"}") };
    let cells = vec![Cell::Uuid(id), Cell::Uuid(bundles[number as usize / 2].id), text("llm"), outputs];
    Row { bundle: number / 2, key: Key { id, second: None }, xmin: 7, cells }
}

/// The statements of the documentation, over this folder.
fn documented(place: &Path) -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/retention.md")).unwrap();
    let blocks = page.split("```sql duckdb\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    blocks.map(|block| block.replace("/var/lib/dify-observe/archive", place.to_str().unwrap())).collect()
}

#[tokio::test]
async fn duckdb_answers_the_documented_queries() {
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    write_days(&archive).await;
    let answers: Vec<_> = documented(place.path()).iter().map(|statement| duckdb(statement).unwrap()).collect();
    let expected = [
        json!([{"date": "2026-11-01", "runs": 2, "tokens": 10_000_000_000_i64}, {"date": "2026-11-02", "runs": 2, "tokens": 10_000_000_000_i64}]),
        json!([{"node_type": "llm", "executions": 8}]),
        json!([{"bytes": LARGE / 3 * 3}, {"bytes": LARGE / 3 * 3}]),
        json!([{"state": "done", "bundles": 2}, {"state": "done", "bundles": 2}]),
    ];
    assert_eq!(answers.len(), expected.len());
    for (answer, expected) in answers.into_iter().zip(expected) {
        assert_eq!(serde_json::Value::from(answer), expected);
    }
}

#[tokio::test]
async fn columns_have_types_that_other_tools_know() {
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    write_days(&archive).await;
    let statement = format!(
        "DESCRIBE SELECT * EXCLUDE (\"table\") FROM read_parquet('{}/table=workflow_runs/**/*.parquet', hive_partitioning = true)",
        place.path().display()
    );
    let types: Vec<(String, String)> = duckdb(&statement)
        .unwrap()
        .iter()
        .map(|row| (row["column_name"].as_str().unwrap().to_owned(), row["column_type"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        ("id", "VARCHAR"),
        ("status", "VARCHAR"),
        ("elapsed_time", "DOUBLE"),
        ("total_tokens", "BIGINT"),
        ("exceptions_count", "INTEGER"),
        ("created_at", "TIMESTAMP"),
        ("_bundle_id", "VARCHAR"),
        ("_root", "VARCHAR"),
        ("_xmin", "BIGINT"),
        ("_large", "VARCHAR"),
        ("app_id", "VARCHAR"),
        ("date", "DATE"),
        ("tenant_id", "VARCHAR"),
    ];
    assert_eq!(types, expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())));

    let statement = format!(
        "SELECT created_at, exceptions_count, _xmin, _root FROM read_parquet('{}/table=workflow_runs/**/*.parquet') ORDER BY created_at, exceptions_count LIMIT 2",
        place.path().display()
    );
    let time = "2026-11-01 00:00:01.000001";
    let row = |exceptions| json!({"created_at": time, "exceptions_count": exceptions, "_xmin": 4_000_000_000_i64, "_root": "run"});
    assert_eq!(serde_json::Value::from(duckdb(&statement).unwrap()), json!([row(json!(0)), row(json!(null))]));
}
