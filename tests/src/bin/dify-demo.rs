//! `make demo`: a PostgreSQL with rows of a real Dify, a week of simulated history and live traffic, the exporter, and a
//! Prometheus that scrapes it. With `DATABASE_URL` the exporter reads that database instead (it only ever reads).

#![expect(clippy::print_stdout, reason = "a program that talks to a person")]

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dify_observe_tests::children::free_port;
use dify_observe_tests::fixtures;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::process::{self, Process, http_client};
use dify_observe_tests::prometheus::{Options, Prometheus, Scrape};
use dify_observe_tests::schema::Schema;

const VERSION: &str = "1.12.1";
const EXPORTER_PORT: u16 = 9810;

/// Says what is being done, and how long it took.
struct Progress(Instant);

impl Progress {
    fn step(&self, text: &str) {
        println!("[{:>5.1} s] {text}", self.0.elapsed().as_secs_f64());
        let _ = std::io::stdout().flush();
    }
}

/// The database of the demo: a private one, or one that is there.
struct Source {
    url: String,
    own: Option<(TestDatabase, Cluster)>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let once = std::env::var("ONCE").is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
    tokio::select! {
        result = demo(once) => result,
        _ = tokio::signal::ctrl_c() => {
            println!("\nstopping and removing everything");
            Ok(())
        }
    }
}

async fn demo(once: bool) -> anyhow::Result<()> {
    let progress = Progress(Instant::now());
    let folder = tempfile::Builder::new().prefix("dify-observe-demo-").tempdir()?;
    let source = source(&progress).await?;

    let port = if port_is_free(EXPORTER_PORT) { EXPORTER_PORT } else { free_port()? };
    progress.step("starting dify-exporter");
    let mut exporter = start_exporter(&source.url, folder.path(), port)?;
    let exporter_url = format!("http://127.0.0.1:{port}");
    exporter.wait_for_http(&format!("{exporter_url}/readyz")).await.context("the exporter did not become ready")?;

    progress.step("dify-exporter backfill: the time before its start, as blocks for Prometheus");
    let backfill = backfill(&source.url, folder.path()).await?;
    progress.step("starting Prometheus");
    let target = format!("127.0.0.1:{port}");
    let mut scrape = Scrape::new("dify", &target, Duration::from_secs(2));
    scrape.extra = "honor_labels: false".into();
    let prometheus =
        Prometheus::start(&Options { scrapes: vec![scrape], native_histograms: true, blocks_from: vec![backfill], ..Options::default() })
            .await?;

    let _simulator = match &source.own {
        Some(_) => {
            progress.step("simulating live traffic (2 runs a second)");
            Some(Process::spawn("dify-simulator", &["--database-url", &source.url, "live", "--rate", "2"], &[])?)
        }
        None => None,
    };
    progress.step("waiting until Prometheus has scraped what the exporter counts");
    prometheus.wait_for("dify_up", |value| value == 1.0).await.context("Prometheus did not scrape a healthy exporter")?;
    if source.own.is_some() {
        prometheus.wait_for("sum(dify_workflow_runs_started_total) > 0", |value| value > 0.0).await?;
    }
    show(&prometheus, &exporter_url).await?;
    if once {
        check(&prometheus, &exporter_url, source.own.is_some()).await?;
        println!("\ndemo: all checks passed");
        return Ok(());
    }
    println!("\nCtrl-C stops and removes everything.");
    std::future::pending::<()>().await;
    Ok(())
}

fn port_is_free(port: u16) -> bool {
    std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).is_ok()
}

async fn source(progress: &Progress) -> anyhow::Result<Source> {
    if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
        progress.step("reading the database that DATABASE_URL names (read only; no simulated traffic)");
        return Ok(Source { url, own: None });
    }
    progress.step("starting a private PostgreSQL");
    let cluster = Cluster::private(&[])?;
    progress.step(&format!("creating the schema of Dify {VERSION} and loading rows that a real Dify wrote"));
    let database = cluster.database(&Schema::load(VERSION)?).await?;
    let loaded = fixtures::load_real_rows(&database, VERSION).await?;
    progress.step(&format!("{} real rows; now a week of simulated history", loaded.rows));
    let url = database.url().to_owned();
    let history = process::run("dify-simulator", &["--database-url", &url, "history", "--days", "7", "--runs", "20000"], &[]).await?;
    ensure!(history.code == Some(0), "the simulator failed: {}", history.stderr);
    Ok(Source { url, own: Some((database, cluster)) })
}

/// The exporter's environment: quick births, because nobody wants to wait two minutes in a demo that is scraped every two seconds.
fn environment(url: &str, folder: &Path, port: u16) -> Vec<(String, String)> {
    [
        ("DIFY_OBSERVE__POSTGRES__URL", url.to_owned()),
        ("DIFY_OBSERVE__STATE_DIR", folder.join("state").display().to_string()),
        ("DIFY_OBSERVE__EXPORTER__LISTEN", format!("127.0.0.1:{port}")),
        ("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "5s".to_owned()),
        ("DIFY_OBSERVE__EXPORTER__SLOW_INTERVAL", "20s".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn pairs(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn start_exporter(url: &str, folder: &Path, port: u16) -> anyhow::Result<Process> {
    let environment = environment(url, folder, port);
    Process::spawn("dify-exporter", &["serve"], &pairs(&environment))
}

async fn backfill(url: &str, folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let file = folder.join("backfill.om");
    let output = file.display().to_string();
    let environment = environment(url, folder, EXPORTER_PORT);
    let arguments = ["backfill", "--output", &output, "--label", "job=dify", "--label", "instance=dify"];
    let finished = process::run("dify-exporter", &arguments, &pairs(&environment)).await?;
    ensure!(finished.code == Some(0), "dify-exporter backfill failed: {}", finished.stderr);
    Ok(file)
}

/// What to look at: URLs, the top of `/metrics`, and the last hour by app.
async fn show(prometheus: &Prometheus, exporter_url: &str) -> anyhow::Result<()> {
    let metrics = http_client()?.get(format!("{exporter_url}/metrics")).send().await?.text().await?;
    println!("\ndify-exporter   {exporter_url}/          landing page, /metrics, /position, /readyz");
    println!("Prometheus      {}/graph", prometheus.url());
    println!("\nThe top of /metrics ({} lines):", metrics.lines().count());
    metrics.lines().filter(|line| !line.starts_with("# UNIT")).take(12).for_each(|line| println!("  {}", shorten(line, 150)));
    println!("\nThe last hour, read back from Prometheus:\n");
    table(prometheus).await
}

fn shorten(line: &str, length: usize) -> String {
    if line.chars().count() <= length { line.to_owned() } else { line.chars().take(length - 1).chain(['…']).collect() }
}

/// Runs, success rate, 95th percentile, tokens and cost by app.
async fn table(prometheus: &Prometheus) -> anyhow::Result<()> {
    let by_app = |promql: String| async move {
        let rows = prometheus.query(&promql).await?;
        anyhow::Ok(
            rows.into_iter()
                .map(|(labels, value)| (labels.get("app").cloned().unwrap_or_default(), value))
                .collect::<std::collections::BTreeMap<String, f64>>(),
        )
    };
    let runs = by_app("sort_desc(sum by (app) (increase(dify_workflow_runs_total[1h])) > 0)".into()).await?;
    let succeeded = by_app("sum by (app) (increase(dify_workflow_runs_total{status=~\"succeeded|partial-succeeded\"}[1h]))".into()).await?;
    let judged =
        by_app("sum by (app) (increase(dify_workflow_runs_total{status=~\"succeeded|partial-succeeded|failed\"}[1h]))".into()).await?;
    let p95 = by_app("histogram_quantile(0.95, sum by (app, le) (increase(dify_workflow_run_duration_seconds_bucket[1h])))".into()).await?;
    let tokens = by_app("sum by (app) (increase(dify_workflow_run_tokens_total[1h]))".into()).await?;
    let cost = by_app("sum by (app) (increase(dify_llm_cost_total{currency=\"USD\"}[1h]))".into()).await?;
    println!("  {:<34} {:>7} {:>9} {:>9} {:>10} {:>11}", "app", "runs", "success", "p95", "tokens", "cost (USD)");
    let mut apps: Vec<(&String, &f64)> = runs.iter().collect();
    apps.sort_by(|a, b| b.1.total_cmp(a.1));
    let value = |map: &std::collections::BTreeMap<String, f64>, app: &String| {
        map.get(app).copied().filter(|value| value.is_finite()).unwrap_or(0.0)
    };
    for (app, count) in apps.into_iter().take(12) {
        let judged = value(&judged, app);
        let success = if judged > 0.0 { format!("{:.1} %", 100.0 * value(&succeeded, app) / judged) } else { "–".to_owned() };
        println!(
            "  {:<34} {count:>7.0} {success:>9} {:>7.1} s {:>10.0} {:>11.4}",
            shorten(app, 34),
            value(&p95, app),
            value(&tokens, app),
            value(&cost, app)
        );
    }
    Ok(())
}

/// What `ONCE=1` promises.
async fn check(prometheus: &Prometheus, exporter_url: &str, simulated: bool) -> anyhow::Result<()> {
    let up = prometheus.value("up{job=\"dify\"}").await?;
    ensure!(up == Some(1.0), "Prometheus does not see the exporter up: {up:?}");
    let success = prometheus.value("min(dify_exporter_collector_success)").await?;
    ensure!(success.is_none_or(|value| value == 1.0), "a collector failed");
    ensure!(prometheus.value("dify_exporter_state_writable").await? == Some(1.0), "the exporter cannot write its state");
    let ready = http_client()?.get(format!("{exporter_url}/readyz")).send().await?;
    ensure!(ready.status().is_success(), "the exporter is not ready: {}", ready.text().await?);
    if simulated {
        let runs = prometheus.wait_for("sum(increase(dify_workflow_runs_total[1h]))", |value| value > 10.0).await?;
        ensure!(runs > 10.0, "hardly any runs in the last hour: {runs}");
        prometheus.wait_for("sum(dify_workflow_runs_total{instance=\"dify\"}) > 0", |value| value > 0.0).await?;
    }
    Ok(())
}
