//! `make bench BENCH=exporter`: what a scrape costs, beside the exporters that users would take instead.
//!
//! One private PostgreSQL with the server settings of Dify's own docker compose file, Dify's schema, finished history through
//! COPY and live traffic from the simulator. The contenders are measured one after another on the same database.

mod contender;
mod measure;
mod queries;
mod report;
mod statements;
mod traffic;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use dify_observe_tests::postgres::{Cluster, TestDatabase};

use self::contender::{Running, Who};
use self::measure::{Measured, Scraper, phase};
use self::report::{Report, Stage};
use self::traffic::Traffic;
use crate::data::{self, History};
use crate::machine;
use crate::progress::say;
use crate::statistics::percentile;

/// Delays of the trailing walks in the stage that shows all of them at work: the usual ones (10 minutes to 24 hours) would
/// need a day of live traffic first.
const SHORT_TRAIL: &str = "3m,4m,5m,6m";

/// Options of `exporter`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Requests of history that are loaded; five in six bring a run, and a run has five node executions
    #[arg(long, default_value_t = 2_050_000)]
    pub(crate) requests: u64,
    /// Days that the history covers
    #[arg(long, default_value_t = 90.0)]
    pub(crate) days: f64,
    /// Live requests per second; five in six bring a run
    #[arg(long, default_value_t = 120.0)]
    pub(crate) rate: f64,
    /// Time between two scrapes
    #[arg(long, value_parser = seconds, default_value = "15")]
    pub(crate) interval: Duration,
    /// Scrapes of dify-exporter in a stage
    #[arg(long, default_value_t = 12)]
    pub(crate) scrapes: usize,
    /// Scrapes (rounds) of each peer
    #[arg(long, default_value_t = 4)]
    pub(crate) peer_scrapes: usize,
    /// Seconds of live traffic before the first scrape that counts: the exporter looks back two minutes each time
    #[arg(long, value_parser = seconds, default_value = "150")]
    pub(crate) warm_up: Duration,
    /// Apps; each brings about 300 series
    #[arg(long, default_value_t = 12)]
    pub(crate) apps: usize,
    /// Requests in the database without an index on time [default: a quarter of --requests]; 0 leaves this stage out
    #[arg(long)]
    pub(crate) unindexed_requests: Option<u64>,
    /// Apps in the stage with many series and nothing new; 0 leaves it out
    #[arg(long, default_value_t = 30)]
    pub(crate) idle_apps: usize,
    /// Where the results go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md"))]
    pub(crate) results: PathBuf,
    /// Decides apps and traffic
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .ok_or_else(|| "write a number of seconds".to_owned())
}

/// Runs all stages and writes the results.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let began = Instant::now();
    let load_before = machine::load();
    let versions = [Who::Dify, Who::Sql, Who::Postgres].into_iter().map(Who::version).collect::<Result<Vec<_>, _>>()?;
    say("starting a private PostgreSQL with the settings of Dify's docker compose file");
    let cluster = Cluster::private(&data::SERVER_SETTINGS)?;
    let server = data::server_version(&cluster).await?;

    let mut stages = main_stages(options, &cluster).await?;
    if options.idle_apps > 0 {
        stages.push(idle_stage(options, &cluster).await?);
    }
    let unindexed = options.unindexed_requests.unwrap_or(options.requests / 4);
    if unindexed > 0 {
        stages.push(unindexed_stage(options, &cluster, unindexed).await?);
    }
    let report = Report { options, server, versions, stages, load_before, took: began.elapsed() };
    let text = report.markdown();
    std::fs::write(&options.results, &text).with_context(|| format!("failed to write {}", options.results.display()))?;
    say(&format!("written to {}", options.results.display()));
    use std::io::Write as _;
    // Whoever closed the pipe has the file.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

fn history(options: &Options, requests: u64, days_before: f64) -> History {
    History { requests, days: options.days, days_before, apps: options.apps, seed: options.seed }
}

/// The same database at a quarter of its size, at its full size with all contenders, and with all trailing walks at work.
async fn main_stages(options: &Options, cluster: &Cluster) -> anyhow::Result<Vec<Stage>> {
    let database = data::create(cluster, "1.12.1").await?;
    let quarter = options.requests / 4;
    data::load(&database, &history(options, quarter, 0.0)).await?;
    for who in [Who::Dify, Who::Sql, Who::Postgres] {
        who.grant(&database).await?;
    }
    let mut stages = Vec::new();

    let traffic = begin_traffic(options, &database);
    let size = data::size(&database).await?;
    let measured = vec![dify(options, &database, &traffic, &[], options.scrapes.div_ceil(2)).await?];
    stages.push(Stage { title: "A quarter of the rows".into(), note: String::new(), size, measured });
    traffic.stop()?;

    data::load(&database, &history(options, options.requests - quarter, options.days)).await?;
    let traffic = begin_traffic(options, &database);
    let size = data::size(&database).await?;
    let mut measured = vec![dify(options, &database, &traffic, &[], options.scrapes).await?];
    for who in [Who::Sql, Who::Postgres] {
        measured.push(peer(options, &database, &traffic, who).await?);
    }
    stages.push(Stage { title: "All rows".into(), note: String::new(), size, measured });

    let size = data::size(&database).await?;
    let measured = vec![with_all_walks(options, &database, &traffic).await?];
    let note = format!(
        "The trailing walks for rows that commit late read the same number of rows as live ones, 10 minutes to 24 hours later. Here they follow at {SHORT_TRAIL} \
         over traffic that has been running that long, so that all four are at work, as after a day."
    );
    stages.push(Stage { title: "All rows, all trailing walks at work".into(), note, size, measured });
    traffic.stop()?;
    Ok(stages)
}

fn begin_traffic(options: &Options, database: &TestDatabase) -> Traffic {
    say(&format!("live traffic: {} requests a second", options.rate));
    Traffic::start(database.url(), options.seed, &data::simulated(database, options.apps), options.rate)
}

/// dify-exporter, counting from now on.
async fn dify(
    options: &Options,
    database: &TestDatabase,
    traffic: &Traffic,
    extra: &[(&str, &str)],
    scrapes: usize,
) -> anyhow::Result<Measured> {
    let running = Who::Dify.start(database, options.interval, extra).await?;
    warm_up(options, &running, traffic, options.warm_up).await?;
    let measured = phase(database, &running, options.interval, scrapes).await?;
    Ok(told(measured, traffic))
}

/// Scrapes that do not count, until the two minutes that each step looks back are full of traffic.
async fn warm_up(options: &Options, running: &Running, traffic: &Traffic, time: Duration) -> anyhow::Result<()> {
    say(&format!("{}: warming up for {} s", running.who.name(), time.as_secs()));
    let scraper = Scraper::new()?;
    let began = Instant::now();
    while began.elapsed() < time {
        let (latency, _) = scraper.scrape(running).await?;
        say(&format!("  answered in {latency:.0} ms; the traffic is {:.1} s behind", traffic.behind()));
        tokio::time::sleep(options.interval.min(time.saturating_sub(began.elapsed()))).await;
    }
    Ok(())
}

async fn peer(options: &Options, database: &TestDatabase, traffic: &Traffic, who: Who) -> anyhow::Result<Measured> {
    say(&format!("{}: {} rounds of six queries", who.name(), options.peer_scrapes));
    let running = who.start(database, options.interval, &[]).await?;
    let measured = phase(database, &running, options.interval, options.peer_scrapes).await?;
    Ok(told(measured, traffic))
}

async fn with_all_walks(options: &Options, database: &TestDatabase, traffic: &Traffic) -> anyhow::Result<Measured> {
    let start = data::time_ago(database, 420).await?;
    let extra = [("DIFY_OBSERVE__EXPORTER__START", start.as_str()), ("DIFY_OBSERVE__FOLLOW__TRAIL", SHORT_TRAIL)];
    let running = Who::Dify.start(database, options.interval, &extra).await?;
    say("dify-exporter from seven minutes ago: catching up");
    let scraper = Scraper::new()?;
    let began = Instant::now();
    loop {
        let (latency, _) = scraper.scrape(&running).await?;
        let position = scraper.get(&running, "/position").await?;
        let covered = position["covered_until"].as_str().unwrap_or_default().to_owned();
        let behind = data::seconds_since(database, &covered).await?;
        say(&format!("  answered in {latency:.0} ms; covered until {behind:.0} s ago"));
        if behind < 150.0 || began.elapsed() > Duration::from_secs(300) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    warm_up(options, &running, traffic, options.warm_up).await?;
    let measured = phase(database, &running, options.interval, options.scrapes).await?;
    Ok(told(measured, traffic))
}

/// Many series, and nothing that changes.
async fn idle_stage(options: &Options, cluster: &Cluster) -> anyhow::Result<Stage> {
    say("many series and nothing new");
    let database = data::create(cluster, "1.12.1").await?;
    let idle = Options { apps: options.idle_apps, days: 1.0, ..options.clone() };
    data::load(&database, &history(&idle, (options.idle_apps as u64) * 100, 0.0)).await?;
    Who::Dify.grant(&database).await?;
    let extra = [("DIFY_OBSERVE__EXPORTER__START", "beginning"), ("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "2s")];
    let running = Who::Dify.start(&database, options.interval, &extra).await?;
    let scraper = Scraper::new()?;
    let mut series = Vec::new();
    // Until everything has been read and every new series has left its 0.
    for _ in 0..60 {
        let (_, text) = scraper.scrape(&running).await?;
        series.push(text);
        if series.len() > 5 && series[series.len() - 1].lines().count() == series[series.len() - 2].lines().count() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    let size = data::size(&database).await?;
    let measured = vec![phase(&database, &running, Duration::from_millis(1200), 40).await?];
    let note = "No traffic; every scrape steps the follower (they are 1.2 s apart) and finds nothing.".to_owned();
    Ok(Stage { title: "Many series, nothing new".into(), note, size, measured })
}

/// Dify before 1.11.3: no index serves the time of runs.
async fn unindexed_stage(options: &Options, cluster: &Cluster, requests: u64) -> anyhow::Result<Stage> {
    say("Dify 1.8.1, which has no index on the time of runs");
    let database = data::create(cluster, "1.8.1").await?;
    data::load(&database, &history(options, requests, 0.0)).await?;
    for who in [Who::Dify, Who::Postgres] {
        who.grant(&database).await?;
    }
    let traffic = begin_traffic(options, &database);
    let size = data::size(&database).await?;
    let mut measured = vec![dify(options, &database, &traffic, &[], options.scrapes).await?];
    measured.push(peer(options, &database, &traffic, Who::Postgres).await?);
    traffic.stop()?;
    Ok(Stage { title: "Without an index on time (Dify 1.8.1)".into(), note: String::new(), size, measured })
}

/// Says what was measured, and adds how far behind the traffic is.
fn told(measured: Measured, traffic: &Traffic) -> Measured {
    let measured = Measured { behind: traffic.behind(), ..measured };
    say(&format!(
        "{}: {:.1} ms of database time a round, answers in {:.0} ms (p50), {:.1} MiB; {:.0} runs/s, {:.0} nodes/s, traffic {:.1} s behind, load {:.1}",
        measured.who.name(),
        measured.database.time(),
        percentile(&measured.latencies, 0.5),
        measured.memory as f64 / 1048576.0,
        measured.runs,
        measured.nodes,
        measured.behind,
        measured.load
    ));
    for (name, used) in measured.statements.by_cost().into_iter().take(8) {
        let each = used.per(measured.rounds);
        say(&format!("    {:>9.2} ms {:>8.1} calls {:>9.0} rows  {name}", each.time(), each.calls, each.rows));
    }
    measured
}
