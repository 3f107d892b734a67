//! How much memory the exporter takes at its peak, while it is scraped.

use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};

use crate::exporter::{Exporter, Metrics, Setup, add_endless_runs, load_history, traffic};

const MEBIBYTE: f64 = 1_048_576.0;
const HOUR: i64 = 3_600_000_000;

async fn database_with_apps(apps: usize, arrivals: u64) -> TestDatabase {
    let database = Cluster::shared().unwrap().database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    let options = traffic(database.schema(), arrivals, HOUR / 10, 10 * HOUR).unwrap();
    load_history(&database, 31, dify_observe_tests::simulator::Options { apps, ..options }).await.unwrap();
    database
}

/// The answer when everything is counted, and the largest resident memory until then and through fifty more scrapes.
async fn peak(exporter: &Exporter, runs: f64) -> (Metrics, f64) {
    exporter.settled().await.unwrap();
    exporter
        .scrape_until("every run is counted", |metrics| {
            metrics.value("dify_workflow_runs_started_total").is_some_and(|found| found >= runs)
        })
        .await
        .unwrap();
    let mut last = exporter.scrape().await.unwrap();
    for scrape in 0..50 {
        let accept = ["text/plain", "application/openmetrics-text;version=1.0.0", PROTOBUF][scrape % 3];
        exporter.scrape_as(accept).await.unwrap().bytes().await.unwrap();
    }
    last = exporter.scrape().await.unwrap_or(last);
    (last, exporter.process.peak_memory().unwrap() as f64 / MEBIBYTE)
}

/// The limit for the binaries that are released; unoptimised ones are several times as large themselves. `DIFY_OBSERVE_BIN_DIR`
/// names optimised ones.
fn allowed(mebibytes: f64) -> f64 {
    let optimised = !cfg!(debug_assertions) || std::env::var_os("DIFY_OBSERVE_BIN_DIR").is_some();
    if optimised { mebibytes } else { mebibytes + 15.0 }
}

const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

fn tell(what: &str, metrics: &Metrics, mebibytes: f64) {
    let open = metrics.value("dify_workflow_runs_open").unwrap_or_default();
    // Shown by `--nocapture`, and when the assertion after it fails.
    #[expect(clippy::print_stderr, reason = "a figure for whoever runs this test")]
    {
        eprintln!("{what}: {mebibytes:.1} MiB at {} series, {open} open runs", metrics.samples().len());
    }
}

#[tokio::test]
async fn three_thousand_series_fit_into_25_mebibytes() {
    let database = database_with_apps(12, 150).await;
    let exporter = Setup::new(database.url()).with("DIFY_OBSERVE__EXPORTER__START", "beginning").start().await.unwrap();
    let runs = database.count("SELECT count(*) FROM workflow_runs").await.unwrap();
    let (metrics, mebibytes) = peak(&exporter, runs as f64).await;
    tell("three thousand series", &metrics, mebibytes);
    assert!(metrics.samples().len() >= 3_000, "{}", metrics.samples().len());
    assert!(mebibytes <= allowed(25.0), "{mebibytes:.1} MiB");
}

#[tokio::test]
async fn ten_thousand_series_and_a_hundred_thousand_open_runs_fit_into_64_mebibytes() {
    let database = database_with_apps(60, 800).await;
    add_endless_runs(&database, 100_000, 72_000).await.unwrap();
    let exporter = Setup::new(database.url()).with("DIFY_OBSERVE__EXPORTER__START", "beginning").start().await.unwrap();
    let runs = database.count("SELECT count(*) FROM workflow_runs").await.unwrap();
    let (metrics, mebibytes) = peak(&exporter, runs as f64).await;
    tell("ten thousand series", &metrics, mebibytes);
    assert!(metrics.samples().len() >= 10_000, "{}", metrics.samples().len());
    assert!(mebibytes <= allowed(64.0), "{mebibytes:.1} MiB");
}
