//! The past as OpenMetrics: complete, in order, with nothing beyond the seam.

use std::collections::BTreeMap;

use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::{Schema, children, fixtures, process};

use crate::exporter::{Setup, load_history, traffic};

const HOUR: i64 = 3_600_000_000;

/// After the last of the real rows, and too soon after it for anything to be abandoned.
const SEAM: &str = "2026-11-20T12:00:00Z";

async fn real_database() -> TestDatabase {
    let database = Cluster::shared().unwrap().database(&Schema::load("1.8.1").unwrap()).await.unwrap();
    fixtures::load_real_rows(&database, "1.8.1").await.unwrap();
    database
}

async fn backfill(database: &TestDatabase, folder: &tempfile::TempDir, arguments: &[&str]) -> process::Finished {
    let arguments: Vec<&str> = ["backfill"].iter().chain(arguments).copied().collect();
    let state_dir = folder.path().to_str().unwrap();
    let environment = [("DATABASE_URL", database.url()), ("DIFY_OBSERVE__STATE_DIR", state_dir)];
    process::run("dify-exporter", &arguments, &environment).await.unwrap()
}

#[tokio::test]
async fn without_knowing_where_serve_began_it_refuses() {
    let database = real_database().await;
    let folder = tempfile::tempdir().unwrap();
    let finished = backfill(&database, &folder, &[]).await;
    assert_eq!(finished.code, Some(64), "{}", finished.stderr);
    assert!(finished.stderr.contains("--assume-start"), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
}

#[tokio::test]
async fn before_serve_knows_what_was_open_it_refuses() {
    let schema = Schema::load("1.8.1").unwrap();
    let database = Cluster::shared().unwrap().database(&schema).await.unwrap();
    load_history(&database, 8, traffic(&schema, 300, HOUR, 5 * HOUR).unwrap()).await.unwrap();
    database.execute("ANALYZE").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Without an index on time a pass over the runs takes minutes at this rate.
    let setup = Setup::new(database.url()).with("DIFY_OBSERVE__FOLLOW__SCAN_PAGES_PER_SECOND", "1").in_folder(folder.path());
    let exporter = setup.start_in_its_folder().await.unwrap();
    exporter.scrape().await.unwrap();
    drop(exporter);
    let finished = backfill(&database, &folder, &[]).await;
    assert_eq!(finished.code, Some(75), "{}", finished.stderr);
    assert!(finished.stderr.contains("run backfill again"), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
}

#[tokio::test]
async fn the_last_samples_are_the_sums_over_all_rows() {
    let database = real_database().await;
    let folder = tempfile::tempdir().unwrap();
    let finished = backfill(&database, &folder, &["--assume-start", SEAM, "--label", "job=dify", "--step", "1m"]).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let last = last_samples(&finished.stdout);
    for (family, sql) in [
        ("dify_workflow_runs_started_total", "SELECT count(*) FROM workflow_runs"),
        ("dify_workflow_runs_total", "SELECT count(*) FROM workflow_runs WHERE status <> 'running'"),
        ("dify_workflow_run_tokens_total", "SELECT sum(total_tokens)::bigint FROM workflow_runs WHERE status <> 'running'"),
        ("dify_messages_total", "SELECT count(*) FROM messages WHERE status = 'error' OR answer <> ''"),
        ("dify_message_feedbacks_total", "SELECT count(*) FROM message_feedbacks"),
        ("dify_document_indexing_seconds_count", "SELECT count(*) FROM documents WHERE completed_at IS NOT NULL"),
    ] {
        let sum: f64 = last.iter().filter(|(series, _)| series.starts_with(&format!("{family}{{"))).map(|(_, value)| value).sum();
        assert_eq!(sum, database.count(sql).await.unwrap() as f64, "{family}");
    }
}

#[tokio::test]
async fn prometheus_own_tool_loads_it() {
    let database = real_database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("past.om");
    let finished = backfill(&database, &folder, &["--assume-start", SEAM, "--output", file.to_str().unwrap()]).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let promtool = children::find_program("promtool", "prometheus").unwrap();
    let mut command = std::process::Command::new(promtool);
    command.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&file).arg(folder.path().join("blocks"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("NUM SAMPLES"));
}

/// The last value of each series, having seen that each series goes forward in time and up in value, from 0, and ends
/// before the seam.
fn last_samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"));
    let seam: f64 = chrono::DateTime::parse_from_rfc3339(SEAM).unwrap().timestamp() as f64;
    let mut last: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (rest, time) = line.rsplit_once(' ').unwrap();
        let (series, value) = rest.rsplit_once(' ').unwrap();
        let (time, value): (f64, f64) = (time.parse().unwrap(), value.parse().unwrap());
        assert!(time <= seam, "{line}");
        assert!(series.contains("job=\"dify\"") && !series.contains("dify_exporter_"), "{line}");
        match last.insert(series.to_owned(), (value, time)) {
            None => assert_eq!(value, 0.0, "{line}"),
            Some((before, at)) => assert!(time > at && value >= before, "{line} after {before} at {at}"),
        }
    }
    last.into_iter().map(|(series, (value, _))| (series, value)).collect()
}
