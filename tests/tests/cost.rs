//! What a scrape costs the database, as PostgreSQL itself counts it: statements and pages.

use std::time::Instant;

use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};

use crate::exporter::{Exporter, Setup, add_endless_runs, load_history, traffic};

const DAY: i64 = 86_400_000_000;
const SCRAPES: i64 = 20;

/// Statements and pages of one scrape, on average.
#[derive(Debug, Clone, Copy)]
struct Cost {
    statements: f64,
    pages: f64,
}

/// An exporter whose slow collectors have had their turn, and have no other during a test.
async fn settled(setup: Setup) -> Exporter {
    let exporter = setup.with("DIFY_OBSERVE__EXPORTER__SLOW_INTERVAL", "10h").start().await.unwrap();
    exporter.settled().await.unwrap();
    exporter
}

/// What a scrape costs while nothing happens.
async fn quiet_cost(database: &TestDatabase, exporter: &Exporter) -> Cost {
    for _ in 0..3 {
        exporter.scrape().await.unwrap();
    }
    database.count_statements().await.unwrap();
    for _ in 0..SCRAPES {
        exporter.scrape().await.unwrap();
    }
    let used = database.statement_use("").await.unwrap();
    Cost { statements: used.calls as f64 / SCRAPES as f64, pages: used.buffers as f64 / SCRAPES as f64 }
}

/// Makes `copies` more of every row, with ids of their own that fit together.
async fn multiply(database: &TestDatabase, copies: std::ops::RangeInclusive<u32>) {
    let (first, last) = copies.into_inner();
    let schema = database.schema();
    for table in ["workflow_runs", "workflow_node_executions", "conversations", "messages"] {
        let mut columns = vec!["id"];
        columns
            .extend(["workflow_run_id", "conversation_id", "node_execution_id"].iter().filter(|name| schema.column(table, name).is_some()));
        let fresh: Vec<String> = columns.iter().map(|column| format!("'{column}', md5({column}::text || copy)::uuid")).collect();
        // Counts runs of an app in old versions, and is unique.
        let number =
            if schema.column(table, "sequence_number").is_some() { ", 'sequence_number', sequence_number + copy * 1000000" } else { "" };
        let row = format!("jsonb_populate_record(NULL::{table}, to_jsonb(original) || jsonb_build_object({}{number}))", fresh.join(", "));
        let sql =
            format!("INSERT INTO {table} SELECT more.* FROM {table} original, generate_series({first}, {last}) copy, LATERAL {row} more");
        database.execute(&sql).await.unwrap_or_else(|error| panic!("{table}: {error:#}"));
    }
    database.execute("VACUUM ANALYZE").await.unwrap();
}

/// Runs, node executions and messages.
async fn rows(database: &TestDatabase) -> [i64; 3] {
    let mut rows = [0; 3];
    for (rows, sql) in rows.iter_mut().zip([
        "SELECT count(*) FROM workflow_runs",
        "SELECT count(*) FROM workflow_node_executions",
        "SELECT count(*) FROM messages",
    ]) {
        *rows = database.count(sql).await.unwrap();
    }
    rows
}

fn about_the_same(small: f64, large: f64) -> bool {
    (large - small).abs() <= 0.1 * small.max(10.0)
}

#[tokio::test]
async fn a_scrape_with_nothing_new_costs_the_same_whatever_the_size() {
    let cluster = Cluster::private(&[("autovacuum", "off")]).unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    load_history(&database, 3, traffic(database.schema(), 150, 2 * DAY, 5 * DAY).unwrap()).await.unwrap();
    multiply(&database, 1..=2).await;
    let few = rows(&database).await;
    let small = quiet_cost(&database, &settled(Setup::new(database.url())).await).await;
    multiply(&database, 3..=11).await;
    let many = rows(&database).await;
    assert_eq!(many, few.map(|rows| rows * 10));
    assert!(many[1] > 10_000, "{many:?}");
    let large = quiet_cost(&database, &settled(Setup::new(database.url())).await).await;
    assert!(about_the_same(small.statements, large.statements), "{small:?} {large:?}");
    assert!(about_the_same(small.pages, large.pages), "{small:?} {large:?}");
    // Few and small enough for any database.
    assert!(large.statements <= 12.0 && large.pages <= 100.0, "{large:?}");
}

#[tokio::test]
async fn runs_that_never_end_cost_next_to_nothing() {
    const RUNS: u32 = 100_000;
    let cluster = Cluster::private(&[("autovacuum", "off")]).unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    load_history(&database, 4, traffic(database.schema(), 100, 2 * DAY, 5 * DAY).unwrap()).await.unwrap();
    let quiet = quiet_cost(&database, &settled(Setup::new(database.url())).await).await;
    add_endless_runs(&database, RUNS, 72_000).await.unwrap();
    let exporter = settled(Setup::new(database.url())).await;
    exporter
        .scrape_until("all open runs are known", |metrics| {
            metrics.value("dify_workflow_runs_open").is_some_and(|open| open >= f64::from(RUNS))
        })
        .await
        .unwrap();
    let laden = quiet_cost(&database, &exporter).await;
    // Three more kinds of statements when something is due, at most 500 records a step, and a few pages for each.
    assert!(laden.statements <= quiet.statements + 4.0, "{quiet:?} {laden:?}");
    assert!(laden.pages <= quiet.pages + 500.0 * 8.0, "{quiet:?} {laden:?}");
}

#[tokio::test]
async fn without_an_index_on_time_pages_are_read_at_the_set_rate_and_nothing_is_missed() {
    const RATE: u32 = 100;
    let cluster = Cluster::private(&[("autovacuum", "off")]).unwrap();
    let schema = Schema::load("1.8.1").unwrap();
    assert!(!schema.has_index_on("workflow_runs", &["created_at"]));
    let database = cluster.database(&schema).await.unwrap();
    load_history(&database, 5, traffic(&schema, 200, 2 * DAY, 5 * DAY).unwrap()).await.unwrap();
    multiply(&database, 1..=9).await;
    let blocks = database.count("SELECT pg_relation_size('workflow_runs') / 8192").await.unwrap();
    assert!(blocks > 2 * i64::from(RATE), "a pass has to take a while: {blocks} blocks");
    database.count_statements().await.unwrap();
    let began = Instant::now();
    let setup = Setup::new(database.url()).with("DIFY_OBSERVE__FOLLOW__SCAN_PAGES_PER_SECOND", &RATE.to_string());
    let exporter = settled(setup).await;
    // Rows land wherever there is room: also before the place where the pass stands.
    database.execute("DELETE FROM workflow_runs WHERE random() < 0.2").await.unwrap();
    database.execute("VACUUM workflow_runs").await.unwrap();
    let mut options = traffic(&schema, 60, 0, 30_000_000).unwrap();
    options.start = dify_observe_tests::simulator::live::now() + 1_000_000;
    options.time_scale = 0.01;
    crate::exporter::write_all(&database, 5, options.clone()).await.unwrap();
    let since = format!("created_at > to_timestamp({}) AT TIME ZONE 'UTC'", options.start / 1_000_000 - 30);
    let new_runs = database.count(&format!("SELECT count(*) FROM workflow_runs WHERE {since}")).await.unwrap();
    assert!(new_runs > 10, "{new_runs}");
    exporter
        .scrape_until("every new run is found", |metrics| metrics.value("dify_workflow_runs_started_total") == Some(new_runs as f64))
        .await
        .unwrap();
    let scanned = database.statement_use("follow_scan_workflow_runs").await.unwrap();
    // Besides the heap, a statement reads a few pages of the catalogue and of the large values that it looks at.
    let allowed = f64::from(RATE) * (began.elapsed().as_secs_f64() + 2.0) + 4.0 * scanned.calls as f64;
    assert!(scanned.calls > 0 && (scanned.buffers as f64) <= allowed, "{scanned:?}, allowed {allowed}");
}
