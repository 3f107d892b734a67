//! `make demo`: a PostgreSQL with rows of a real Dify, some days of simulated history and live traffic, the exporter, and a
//! Prometheus that scrapes it. With `DATABASE_URL` the exporter reads that database instead (it only ever reads).

mod checks;
mod progress;
mod servers;
mod source;
mod table;

use std::time::Duration;

use anyhow::Context;

pub use progress::Progress;

use crate::process::http_client;
use crate::prometheus::Prometheus;
use servers::Exporter;
use source::Source;

/// A short scrape interval, so that nobody has to wait for the first numbers.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(2);

/// How to run it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Check what is shown, and end.
    pub once: bool,
    /// A database that is there, instead of one of our own.
    pub database_url: Option<String>,
}

/// Sets everything up, shows it, and stays until it is dropped; with `once` it ends by itself, with an error if a check failed.
pub async fn run(options: Options, progress: Progress) -> anyhow::Result<()> {
    let source = Source::open(options.database_url, &progress).await?;
    let mut exporter = Exporter::start(&source, &progress).await?;
    let mut traffic = source.live_traffic(&progress)?;
    let past = exporter.backfill(&source, &progress).await?;
    let prometheus = servers::prometheus(&exporter, past, &progress).await?;
    progress.step("waiting until Prometheus has seen the exporter's first numbers");
    prometheus.wait_for("dify_up", |value| value == 1.0).await.context("Prometheus did not scrape a healthy exporter")?;
    if source.is_own() {
        checks::wait_for_live_numbers(&prometheus, &progress).await?;
    }
    show(&prometheus, &exporter, &progress).await?;
    if options.once {
        checks::all(&prometheus, &mut exporter, &source, traffic.as_mut(), &progress).await?;
        progress.say("\ndemo: all checks passed");
        return Ok(());
    }
    progress.say("\nCtrl-C stops and removes everything.");
    std::future::pending().await
}

/// What to look at: URLs, the top of `/metrics`, and the last hour by app.
async fn show(prometheus: &Prometheus, exporter: &Exporter, progress: &Progress) -> anyhow::Result<()> {
    let url = exporter.url();
    let metrics = http_client()?.get(format!("{url}/metrics")).send().await?.text().await?;
    progress.say(&format!("\ndify-exporter   {url}/   (landing page, /metrics, /position, /readyz)"));
    progress.say(&format!("Prometheus      {}/graph", prometheus.url()));
    progress.say(&format!("\nThe top of /metrics ({} lines):\n", metrics.lines().count()));
    for line in metrics.lines().filter(|line| !line.starts_with("# UNIT")).take(8) {
        progress.say(&format!("  {}", table::shortened(line, 150)));
    }
    progress.say("\nThe last hour, read back from Prometheus:\n");
    progress.say(&table::last_hour(prometheus).await?);
    Ok(())
}
