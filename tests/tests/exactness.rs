//! Every counter equals plain SQL over every record ever written, on every Dify schema, while Dify writes.

use std::time::Duration;

use anyhow::ensure;
use dify_observe_tests::children::free_port;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::process::{Process, http_client};
use dify_observe_tests::simulator::{Deletions, Faults, Options, Reference, Simulation, Target, Version, live};
use dify_observe_tests::truth::{Figures, QUESTIONS, parse_exposition};
use dify_observe_tests::{Schema, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SECOND: i64 = 1_000_000;

/// The follower's times, shrunk so that a day fits into half a minute.
pub(crate) const QUICK: [(&str, &str); 8] = [
    ("DIFY_OBSERVE__FOLLOW__OVERLAP", "2s"),
    ("DIFY_OBSERVE__FOLLOW__TRAIL", "4s,10s,20s"),
    ("DIFY_OBSERVE__FOLLOW__HORIZON", "30s"),
    ("DIFY_OBSERVE__FOLLOW__SETTLE", "500ms"),
    ("DIFY_OBSERVE__FOLLOW__INTERRUPT_AFTER", "3s"),
    ("DIFY_OBSERVE__FOLLOW__ABANDON_AFTER", "20s"),
    ("DIFY_OBSERVE__EXPORTER__MIN_INTERVAL", "0s"),
    ("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "0s"),
];

/// An exporter of one database, with its state in a folder of its own.
pub(crate) struct Exporter {
    pub(crate) process: Process,
    pub(crate) url: String,
    client: reqwest::Client,
}

impl Exporter {
    pub(crate) async fn start(database_url: &str, state: &std::path::Path, port: u16, more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let listen = format!("127.0.0.1:{port}");
        let state = state.display().to_string();
        let mut environment = vec![
            ("DIFY_OBSERVE__POSTGRES__URL", database_url),
            ("DIFY_OBSERVE__STATE_DIR", &state),
            ("DIFY_OBSERVE__EXPORTER__LISTEN", &listen),
            ("DIFY_OBSERVE__EXPORTER__START", "beginning"),
        ];
        environment.extend(QUICK);
        environment.extend(more);
        let mut process = Process::spawn("dify-exporter", &["serve"], &environment)?;
        let url = format!("http://{listen}");
        process.wait_for_http(&format!("{url}/livez")).await?;
        Ok(Exporter { process, url, client: http_client()? })
    }

    /// An answer as Prometheus gets it.
    pub(crate) async fn scrape(&self) -> anyhow::Result<String> {
        let request = self.client.get(format!("{}/metrics", self.url)).header("X-Prometheus-Scrape-Timeout-Seconds", "10");
        Ok(request.send().await?.error_for_status()?.text().await?)
    }
}

/// What happened in one history, in full and in its final state, in a database of its own.
pub(crate) async fn all_rows(schema: &Schema, reference: &Reference) -> anyhow::Result<TestDatabase> {
    let database = Cluster::shared()?.database(schema).await?;
    let mut connection = database.connect().await?;
    let target = Target::probe(&mut connection).await?;
    for write in reference.all_rows() {
        target.apply(&mut connection, &write).await?;
    }
    Ok(database)
}

/// Everything that differs between SQL over `truth` and an exporter's answer.
pub(crate) async fn differences(truth: &TestDatabase, exposition: &Figures) -> anyhow::Result<Vec<String>> {
    let mut connection = truth.connect().await?;
    let mut differences = Vec::new();
    for question in QUESTIONS.iter().filter(|question| question.needs.iter().all(|table| truth.schema().has_table(table))) {
        let figures = question.ask(&mut connection).await?;
        differences.extend(question.differences(&figures, &question.read(exposition)));
    }
    Ok(differences)
}

/// The behaviour of the simulated Dify: every fault, late commits, wrong clocks, in compressed time.
pub(crate) fn traffic(schema: &Schema, start: i64, arrivals: u64, rate: f64, celery: bool) -> anyhow::Result<Options> {
    let version: Version = schema.version.parse()?;
    let faults = Faults { late_by: 5 * SECOND, late_message_by: 4 * SECOND, longest_pause: 5 * SECOND, ..Faults::many() };
    Ok(Options {
        version,
        start,
        arrivals,
        rate,
        time_scale: 0.05,
        celery,
        host_clocks: vec![0, 0, 0, 3 * SECOND, -SECOND],
        faults,
        deletions: Deletions::none(),
        ..Options::default()
    })
}

async fn history(schema: Schema, seed: u64, celery: bool) -> anyhow::Result<()> {
    let name = format!("{}{}", schema.describe(), if celery { " with Celery" } else { "" });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let database = Cluster::shared()?.database(&schema).await?;
    let options = traffic(&schema, live::now() + SECOND, 260, 20.0, celery)?;
    let simulation = Simulation::new(seed, options.clone());
    let mut connection = database.connect().await?;
    let target = Target::probe(&mut connection).await?;
    let mut reference = Reference::default();
    for write in simulation.setup(seed) {
        target.apply(&mut connection, &write).await?;
        reference.apply(&write);
    }
    Simulation::new(seed, options).for_each(|write| reference.apply(&write));

    let state = tempfile::tempdir()?;
    let exporter = Exporter::start(database.url(), state.path(), free_port()?, &[]).await?;
    let live = live::Live { url: database.url().to_owned(), connections: 4 };
    let writer = tokio::spawn(async move { live::run(&live, simulation, std::future::pending(), |_, _| {}).await });
    while !writer.is_finished() {
        exporter.scrape().await?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..1500))).await;
    }
    writer.await??;

    let truth = all_rows(&schema, &reference).await?;
    // Whatever has to wait (late rows, what never ends) is told in time; how long that takes depends on the machine.
    let mut left = Vec::new();
    for _ in 0..90 {
        left = differences(&truth, &parse_exposition(&exporter.scrape().await?)?).await?;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ensure!(
        left.is_empty(),
        "{name}, seed {seed}: {} figures differ:\n{}\n{}",
        left.len(),
        left.iter().take(40).cloned().collect::<Vec<_>>().join("\n"),
        exporter.process.stderr()
    );
    // And it stays so.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        left = differences(&truth, &parse_exposition(&exporter.scrape().await?)?).await?;
        ensure!(left.is_empty(), "{name}, seed {seed}: counted again:\n{}", left.join("\n"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_equal_sql_on_every_schema() -> anyhow::Result<()> {
    let seed = seed("counters_equal_sql_on_every_schema");
    let mut histories = tokio::task::JoinSet::new();
    for (schema, celery) in Schema::all()?.into_iter().map(|schema| (schema, false)) {
        histories.spawn(history(schema, seed, celery));
    }
    while let Some(result) = histories.join_next().await {
        result??;
    }
    Ok(())
}
