//! What `ONCE=1` promises: every part is healthy, and Prometheus' numbers are those of plain SQL.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::servers::Exporter;
use super::source::Source;
use super::{Progress, SCRAPE_INTERVAL};
use crate::process::{Process, http_client};
use crate::prometheus::Prometheus;

/// A counter over all time, and the SQL that must say the same.
const EQUAL: [(&str, &str, &str); 2] = [
    ("runs started", "dify_workflow_runs_started_total", "SELECT count(*) FROM workflow_runs"),
    (
        "runs finished",
        r#"dify_workflow_runs_total{status!="abandoned"}"#,
        "SELECT count(*) FROM workflow_runs WHERE status NOT IN ('running', 'paused', 'scheduled')",
    ),
];
/// A closed run may wait a minute for its last rows; loaded machines are slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// Until live runs that have ended stand beside the past.
pub(super) async fn wait_for_live_numbers(prometheus: &Prometheus, progress: &Progress) -> anyhow::Result<()> {
    prometheus.wait_for("sum(increase(dify_workflow_runs_started_total[1m]))", |value| value > 0.0).await?;
    progress.step("the first live runs are there; waiting for the first that ended");
    prometheus.wait_for("sum(increase(dify_workflow_runs_total[1m]))", |value| value > 0.0).await?;
    // The rules are computed a moment later; now for every app that has something to be judged.
    let judged = r#"count(sum by (job, app_id, app) (increase(dify_workflow_runs_total{status=~"succeeded|partial-succeeded|failed", triggered_from!~"debugging|rag-pipeline-debugging"}[1h])) > 0)"#;
    prometheus.wait_for(&format!("count(app:dify_workflow_success:ratio1h) - {judged}"), |missing| missing >= 0.0).await?;
    Ok(())
}

/// All of them.
pub(super) async fn all(
    prometheus: &Prometheus,
    exporter: &mut Exporter,
    source: &Source,
    traffic: Option<&mut Process>,
    progress: &Progress,
) -> anyhow::Result<()> {
    healthy(prometheus, exporter).await?;
    progress.say("  checked: Prometheus scrapes, the exporter is ready, every collector succeeds, the state is written");
    if let Some(traffic) = traffic {
        progress.step("stopping the traffic, to compare Prometheus with plain SQL");
        ensure!(traffic.ended()?.is_none(), "the simulator ended by itself: {}", traffic.stderr());
        traffic.terminate()?;
        traffic.wait().await?;
        for (name, selector, sql) in EQUAL {
            let expected = source.count(sql).await? as f64;
            ensure!(expected > 500.0, "the simulated history is missing: {expected} {name}");
            equal(prometheus, selector, expected, progress).await.with_context(|| name.to_owned())?;
            progress.say(&format!("  checked: {name}, past and live: {expected} in Prometheus, {expected} by plain SQL"));
        }
        let runs = prometheus.value("sum(increase(dify_workflow_runs_total[1h]))").await?;
        ensure!(runs.is_some_and(|runs| runs > 10.0), "hardly any runs in the last hour: {runs:?}");
    }
    let log = exporter.log();
    let complaint = log.lines().find(|line| line.contains("WARN") || line.contains("ERROR") || line.contains("panicked"));
    ensure!(complaint.is_none(), "the exporter complained: {}", complaint.unwrap_or_default());
    Ok(())
}

async fn healthy(prometheus: &Prometheus, exporter: &Exporter) -> anyhow::Result<()> {
    for (promql, meaning) in [
        ("up{job=\"dify\"}", "Prometheus does not see the exporter up"),
        ("dify_up", "the exporter does not reach the database"),
        ("min(dify_exporter_collector_success)", "a collector failed"),
        ("dify_exporter_state_writable", "the exporter cannot write its state"),
        ("1 - dify_exporter_state_lost", "the exporter lost its state"),
    ] {
        let value = prometheus.value(promql).await?;
        ensure!(value == Some(1.0), "{meaning}: {promql} is {value:?}; it logged:\n{}", exporter.log());
    }
    let ready = http_client()?.get(format!("{}/readyz", exporter.url())).send().await?;
    ensure!(ready.status().is_success(), "the exporter is not ready: {}", ready.text().await?);
    Ok(())
}

/// Waits until the raw samples of all time, less resets, add up to `expected`.
async fn equal(prometheus: &Prometheus, selector: &str, expected: f64, progress: &Progress) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    let mut told = began;
    loop {
        let sum: f64 = prometheus.samples(selector, "3650d").await?.iter().map(|series| series.increase()).sum();
        if sum == expected {
            return Ok(());
        }
        ensure!(sum < expected, "{selector}: Prometheus has {sum}, plain SQL says {expected}");
        ensure!(began.elapsed() < PATIENCE, "{selector}: Prometheus still has {sum}, plain SQL says {expected}");
        if told.elapsed() > Duration::from_secs(8) {
            told = std::time::Instant::now();
            progress.step(&format!("  … {expected} by plain SQL, {sum} in Prometheus so far"));
        }
        tokio::time::sleep(SCRAPE_INTERVAL / 2).await;
    }
}
