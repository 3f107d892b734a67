//! `make bench BENCH=janitor`: what deleting a third of a large Dify database costs it, by our way and by others.
//!
//! One private PostgreSQL with the server settings of Dify's own docker compose file, one data set for each schema, live traffic
//! throughout. The expired third is cut into windows of time, and each contender deletes one of them, so that all of them work on
//! the same tables in the same run.

mod archive;
mod contender;
mod report;
mod traffic;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::simulator::live;

use self::contender::{Contender, Measured, Window};
use self::report::{Report, Stage};
use self::traffic::Traffic;
use crate::data::{self, History};
use crate::machine;
use crate::progress::say;

/// Options of `janitor`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Requests of history; five in six bring a run, and a run has five node executions
    #[arg(long, default_value_t = 1_900_000)]
    pub(crate) requests: u64,
    /// Days that the history covers; the older third of them is expired
    #[arg(long, default_value_t = 90.0)]
    pub(crate) days: f64,
    /// Runs that Dify begins per second while rows are deleted
    #[arg(long, default_value_t = 60.0)]
    pub(crate) rate: f64,
    /// Most seconds that a contender may take for its window; what it did until then is measured
    #[arg(long, default_value_t = 120.0)]
    pub(crate) patience: f64,
    /// Seconds of traffic alone, before each contender
    #[arg(long, default_value_t = 20.0)]
    pub(crate) quiet: f64,
    /// Schemas, one data set each
    #[arg(long, value_delimiter = ',', default_value = "1.2.0,1.12.1")]
    pub(crate) schemas: Vec<String>,
    /// Apps
    #[arg(long, default_value_t = 12)]
    pub(crate) apps: usize,
    /// A Python with pyarrow and psycopg, for the archive beside ours [default: no such comparison]
    #[arg(long)]
    pub(crate) python: Option<PathBuf>,
    /// Where the results go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS-janitor.md"))]
    pub(crate) results: PathBuf,
    /// Decides apps and traffic
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Options {
    /// The moment until which a contender's rows are expired. Windows lie one after the other in the older third.
    fn window(&self, place: usize, now: i64) -> Window {
        let day = 86_400e6;
        let oldest = now as f64 - self.days * day;
        let width = self.days * day / 3.0 / Contender::ALL.len() as f64;
        Window { from: (oldest + width * place as f64) as i64, to: (oldest + width * (place + 1) as f64) as i64 }
    }
}

/// Runs all stages and writes the results.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let began = Instant::now();
    let load_before = machine::load();
    let cluster = Cluster::private(&settings())?;
    let server = data::server_version(&cluster).await?;
    let mut stages = Vec::new();
    for version in &options.schemas {
        stages.push(stage(options, &cluster, version).await?);
    }
    let report = Report { options, server, stages, load_before, took: began.elapsed() };
    let text = report.markdown();
    std::fs::write(&options.results, &text).with_context(|| format!("failed to write {}", options.results.display()))?;
    say(&format!("written to {}", options.results.display()));
    use std::io::Write as _;
    // Whoever closed the pipe has the file.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

/// As for the exporter's measurements, and VACUUM when we say so: it would otherwise fall into one contender's time.
fn settings() -> Vec<(&'static str, &'static str)> {
    data::SERVER_SETTINGS.into_iter().chain([("autovacuum", "off")]).collect()
}

async fn stage(options: &Options, cluster: &Cluster, version: &str) -> anyhow::Result<Stage> {
    say(&format!("Dify {version}"));
    let database = data::create(cluster, version).await?;
    let &Options { requests, days, apps, seed, .. } = options;
    data::load(&database, &History { requests, days, days_before: 0.0, apps, seed }).await?;
    let size = data::size(&database).await?;
    let archived = archive::measure(options, &database).await?;
    let traffic = Traffic::start(database.url(), options.rate).await?;
    let mut measured = Vec::new();
    let now = live::now();
    for (place, contender) in Contender::ALL.into_iter().enumerate() {
        measured.push(contend(options, &database, &traffic, contender, options.window(place, now)).await?);
    }
    traffic.stop().await?;
    Ok(Stage { size, measured, archived })
}

/// Traffic alone, then the same traffic with a contender beside it.
async fn contend(
    options: &Options,
    database: &TestDatabase,
    traffic: &Traffic,
    contender: Contender,
    window: Window,
) -> anyhow::Result<(Contender, Measured)> {
    say(&format!("{}: {} s of traffic alone", contender.name(), options.quiet));
    // A checkpoint in the middle of one contender and not of another would decide the comparison.
    database.execute("CHECKPOINT").await?;
    traffic.forget();
    tokio::time::sleep(Duration::from_secs_f64(options.quiet)).await;
    let alone = traffic.forget();
    say(&format!("{}: deleting", contender.name()));
    let mut measured = contender.delete(options, database, window).await.with_context(|| contender.name().to_owned())?;
    measured.beside = traffic.forget();
    measured.alone = alone;
    say(&format!("  {}", measured.summary()));
    Ok((contender, measured))
}
