//! `make bench BENCH=shipper`: what turning node executions with their full content into documents takes, beside `COPY … TO STDOUT` of
//! the same columns and the script of somebody who knows Python.
//!
//! One private PostgreSQL with the server settings of Dify's own docker compose file. dify-shipper is the real binary, from an empty
//! position to the end of `run --once`. Its documents go to a server in this process that says yes to every bulk request, so that
//! what is measured is the shipper; and to a real engine where one is given.

mod contender;
mod engine;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use dify_observe_tests::postgres::Cluster;

use self::contender::Measured;
use self::report::Report;
use crate::data::{self, History};
use crate::machine;
use crate::progress::say;

/// Options of `shipper`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Requests of history; five in six bring a run, and a run has five node executions
    #[arg(long, default_value_t = 100_000)]
    pub(crate) requests: u64,
    /// Days that the history covers
    #[arg(long, default_value_t = 5.0)]
    pub(crate) days: f64,
    /// Schema
    #[arg(long, default_value = "1.12.1")]
    pub(crate) schema: String,
    /// Apps
    #[arg(long, default_value_t = 12)]
    pub(crate) apps: usize,
    /// Times that each contender runs; the middle one counts
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Address of an empty Elasticsearch or OpenSearch [default: no such comparison]
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// A Python with elasticsearch and psycopg, for the script beside ours [default: no such comparison]
    #[arg(long)]
    pub(crate) python: Option<PathBuf>,
    /// The shipper to measure [default: the one beside this program]
    #[arg(long)]
    pub(crate) shipper: Option<PathBuf>,
    /// Most seconds that a contender may take
    #[arg(long, default_value_t = 1800.0)]
    pub(crate) patience: f64,
    /// Where the results go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS-shipper.md"))]
    pub(crate) results: PathBuf,
    /// Decides apps and traffic
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Measures all contenders in turn, as many rounds as are wanted, and writes the results.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let began = Instant::now();
    let load_before = machine::load();
    let cluster = Cluster::private(&data::SERVER_SETTINGS)?;
    let server = data::server_version(&cluster).await?;
    let database = data::create(&cluster, &options.schema).await?;
    let &Options { requests, days, apps, seed, .. } = options;
    data::load(&database, &History { requests, days, days_before: 0.0, apps, seed }).await?;
    let size = data::size(&database).await?;
    let mut rounds: Vec<Vec<Measured>> = Vec::new();
    for round in 1..=options.rounds.max(1) {
        say(&format!("round {round} of {}", options.rounds.max(1)));
        rounds.push(contender::all(options, &database).await?);
    }
    let report = Report { options, server, size, rounds, load_before, took: began.elapsed() };
    let text = report.markdown();
    std::fs::write(&options.results, &text).with_context(|| format!("failed to write {}", options.results.display()))?;
    say(&format!("written to {}", options.results.display()));
    use std::io::Write as _;
    // Whoever closed the pipe has the file.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

/// Seconds as a duration, for what may take long.
fn patience(options: &Options) -> Duration {
    Duration::from_secs_f64(options.patience)
}
