//! Two Prometheus servers, kills, outages, lost answers, a pooler, a lagging standby: for each of the Prometheis, what its raw
//! samples say equals plain SQL over every record ever written.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use dify_observe_tests::children::free_port;
use dify_observe_tests::pgbouncer::PgBouncer;
use dify_observe_tests::postgres::{Cluster, StopMode};
use dify_observe_tests::prometheus::{Options, Prometheus, Scrape};
use dify_observe_tests::proxy::Proxy;
use dify_observe_tests::simulator::{Reference, Write, live};
use dify_observe_tests::truth::Figures;
use dify_observe_tests::{Schema, seed};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;

use crate::exact::{ABANDON, Exporter, SECOND, Truth, all_rows, prepare, traffic};

/// Two of the slowest scrape intervals of this test, with room for lost answers.
const HOLD: [(&str, &str); 1] = [("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "8s")];

async fn prometheus(target: &str, interval: Duration) -> anyhow::Result<Prometheus> {
    Prometheus::start(&Options { scrapes: vec![Scrape::new("dify", target, interval)], ..Options::default() }).await
}

/// What a Prometheus saw grow, by series: the reset-aware difference of its raw samples.
async fn grown(prometheus: &Prometheus) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for series in prometheus.samples(r#"{__name__=~"dify_.*(_total|_sum|_count)"}"#, "1h").await? {
        let labels: BTreeMap<String, String> =
            series.labels.iter().filter(|(name, _)| *name != "__name__").map(|(name, value)| (name.clone(), value.clone())).collect();
        let increase = Decimal::from_f64_retain(series.increase()).context("an increase that is no number")?;
        *figures.entry((series.name().to_owned(), labels)).or_default() += increase.round_dp(9);
    }
    Ok(figures)
}

/// Differences that are more than the rounding of Prometheus' binary fractions.
fn differences(truth: &Truth, grown: &Figures) -> Vec<String> {
    truth.differences_within(grown, 1e-6)
}

async fn wait_until_equal(what: &str, truth: &Truth, prometheus: &Prometheus, exporter: &Exporter) -> anyhow::Result<()> {
    let mut left = Vec::new();
    for _ in 0..240 {
        left = differences(truth, &grown(prometheus).await?);
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let shown = left.iter().take(30).cloned().collect::<Vec<_>>().join("\n");
    anyhow::bail!("{what}: {} figures differ:\n{shown}\n{}", left.len(), exporter.process.stderr())
}

/// Writes traffic until it is all written, while `disturb` is called again and again.
async fn write_all(url: &str, writes: Vec<Write>) -> tokio::task::JoinHandle<anyhow::Result<u64>> {
    let live = live::Live { url: url.to_owned(), connections: 4 };
    tokio::spawn(async move { live::run(&live, writes, std::future::pending(), |_, _| {}).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_prometheis_agree_with_sql_through_kills_and_outages() -> anyhow::Result<()> {
    let seed = seed("two_prometheis_agree_with_sql");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (kills, phases, arrivals) = dify_observe_tests::seed::length((4, 2, 250), (20, 4, 1200));
    let schemas = Schema::all()?;
    let schema = schemas.choose(&mut rng).context("there are schemas")?.clone();
    eprintln!("{}", schema.describe());

    let cluster = Cluster::private(&[])?;
    let database = cluster.database(&schema).await?;
    let bouncer = PgBouncer::start(cluster.server()?, 4)?;
    let to_database = Proxy::start(bouncer.url("").trim_start_matches("postgres://postgres@").trim_end_matches('/')).await?;
    let exporter_url = format!("postgres://postgres@{}/{}", to_database.address(), database.name());

    let state = tempfile::tempdir()?;
    let port = free_port()?;
    let mut exporter = Exporter::start(&exporter_url, state.path(), port, &HOLD).await?;
    let lossy = Proxy::start(&format!("127.0.0.1:{port}")).await?;
    let fast = prometheus(&lossy.address(), Duration::from_millis(700)).await?;
    let slow = prometheus(&format!("127.0.0.1:{port}"), Duration::from_millis(1900)).await?;

    let mut reference = Reference::default();
    for phase in 0..phases {
        let options = traffic(&schema, live::now() + SECOND, arrivals, 12.0)?;
        let writes = prepare(&database, seed + phase, &options, &mut reference).await?;
        let writer = write_all(database.url(), writes).await;
        let mut killed = 0;
        while !writer.is_finished() || killed < kills / phases {
            tokio::time::sleep(Duration::from_millis(rng.random_range(200..4000))).await;
            match rng.random_range(0..4) {
                0 => {
                    to_database.cut();
                    tokio::time::sleep(Duration::from_millis(rng.random_range(200..3000))).await;
                    to_database.mend();
                }
                1 => lossy.lose_answers(2),
                _ if killed < kills / phases => {
                    killed += 1;
                    exporter.process.kill().await?;
                    exporter = Exporter::start(&exporter_url, state.path(), port, &HOLD).await?;
                }
                _ => {}
            }
        }
        writer.await??;
        // An outage of the server itself, between the phases: the simulated Dify does not retry.
        if phase + 1 < phases {
            cluster.server()?.stop(StopMode::Immediate)?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            cluster.server()?.start()?;
        }
    }

    exporter.process.kill().await?;
    exporter = Exporter::start(&exporter_url, state.path(), port, &[HOLD[0], ABANDON[0]]).await?;
    let truth = Truth::of(&all_rows(&schema, &reference).await?).await?;
    wait_until_equal(&format!("the lossy Prometheus, {}, seed {seed}", schema.describe()), &truth, &fast, &exporter).await?;
    wait_until_equal(&format!("the slow Prometheus, {}, seed {seed}", schema.describe()), &truth, &slow, &exporter).await?;
    ensure!(lossy.answers_lost() > 0 || kills < 5, "no answer was lost: the test shows less than it says");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_agrees_with_sql_on_a_lagging_standby() -> anyhow::Result<()> {
    let seed = seed("a_lagging_standby");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let schema = Schema::load("1.14.2")?;
    let cluster = Cluster::private(&[])?;
    let database = cluster.database(&schema).await?;
    let standby = cluster.standby().await?;

    let options = traffic(&schema, live::now() + 2 * SECOND, 200, 12.0)?;
    let mut reference = Reference::default();
    let writes = prepare(&database, seed, &options, &mut reference).await?;
    standby.catch_up().await?;
    let state = tempfile::tempdir()?;
    let port = free_port()?;
    let mut exporter = Exporter::start(&standby.url(database.name()), state.path(), port, &HOLD).await?;
    let prometheus = prometheus(&format!("127.0.0.1:{port}"), Duration::from_millis(900)).await?;
    let writer = write_all(database.url(), writes).await;
    while !writer.is_finished() {
        standby.pause().await?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(500..5000))).await;
        standby.resume().await?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(200..2000))).await;
    }
    writer.await??;
    exporter.process.kill().await?;
    exporter = Exporter::start(&standby.url(database.name()), state.path(), port, &[HOLD[0], ABANDON[0]]).await?;
    let truth = Truth::of(&all_rows(&schema, &reference).await?).await?;
    // A standby's position is the commit time of the last transaction that it replayed, so an idle primary holds it.
    let mut connection = database.connect().await?;
    let heartbeat = tokio::spawn(async move {
        loop {
            let beat = sqlx::query("SELECT pg_current_xact_id()").execute(&mut connection).await;
            if beat.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let result = wait_until_equal(&format!("the standby's Prometheus, seed {seed}"), &truth, &prometheus, &exporter).await;
    heartbeat.abort();
    result
}
