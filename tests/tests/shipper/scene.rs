//! A database with traffic, a shipper for it, and what plain SQL says must have been shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use dify_observe_tests::Schema;
use dify_observe_tests::children::free_port;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::process::{self, Finished, Process, http_client};
use dify_observe_tests::simulator::{Deletions, Faults, Options, Simulation, Target, Version, Write, bulk, live};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SECOND: i64 = 1_000_000;

/// The follower's times, shrunk so that a day fits into minutes.
const QUICK: [(&str, &str); 10] = [
    ("FOLLOW__OVERLAP", "2s"),
    ("FOLLOW__TRAIL", "4s,10s,30s,150s"),
    ("FOLLOW__HORIZON", "10m"),
    ("FOLLOW__SETTLE", "500ms"),
    ("FOLLOW__INTERRUPT_AFTER", "3s"),
    ("FOLLOW__ABANDON_AFTER", "30m"),
    ("SHIPPER__START", "beginning"),
    ("SHIPPER__POLL_INTERVAL", "100ms"),
    ("SHIPPER__SLOW_INTERVAL", "300ms"),
    ("SHIPPER__CHECKPOINT_INTERVAL", "200ms"),
];

/// For the shipper that comes after the traffic: what is still running then never ends.
pub(crate) const ABANDON: (&str, &str) = ("FOLLOW__ABANDON_AFTER", "5s");

/// How to start a shipper; its state and files go with it.
#[derive(Debug)]
pub(crate) struct Setup {
    environment: BTreeMap<String, String>,
    folder: TempDir,
    port: u16,
}

impl Setup {
    /// A shipper of this database into files, from the beginning.
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("dify-observe-shipper-").tempdir()?;
        let port = free_port()?;
        let mut setup = Setup { environment: BTreeMap::new(), folder, port };
        for (key, value) in QUICK {
            setup.set(key, value);
        }
        let state = setup.folder.path().join("state").display().to_string();
        setup.set("STATE_DIR", &state);
        setup.set("POSTGRES__URL", url);
        setup.set("SHIPPER__LISTEN", &format!("127.0.0.1:{port}"));
        Ok(setup)
    }

    /// With a key, such as `SHIPPER__START`.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.environment.insert(format!("DIFY_OBSERVE__{key}"), value.to_owned());
    }

    /// Lines on standard output instead of files.
    pub(crate) fn with_stdout(self) -> Self {
        self.with("SHIPPER__SINKS__OUT__TYPE", "stdout")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Starts a command.
    pub(crate) fn start(&self, arguments: &[&str]) -> anyhow::Result<Process> {
        Process::spawn("dify-shipper", arguments, &self.pairs())
    }

    /// Starts `run`, and waits until it answers.
    pub(crate) async fn serve(&self) -> anyhow::Result<Process> {
        let mut process = self.start(&["run"])?;
        process.wait_for_http(&self.url("/livez")).await?;
        Ok(process)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Status and body of a page.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let answer = http_client()?.get(self.url(path)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Waits until a page says something.
    pub(crate) async fn wait_for(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) -> anyhow::Result<String> {
        let mut last = String::new();
        for _ in 0..300 {
            if let Ok((status, text)) = self.get(path).await {
                if wanted(status, &text) {
                    return Ok(text);
                }
                last = format!("{status} {text}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{path} never said what was waited for; it says: {last}")
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        process::run("dify-shipper", arguments, &self.pairs()).await
    }

    /// Runs a command that must succeed.
    pub(crate) async fn succeed(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let finished = self.run(arguments).await?;
        ensure!(finished.code == Some(0), "{arguments:?} ended with {:?}\n{}", finished.code, finished.stderr);
        Ok(finished)
    }
}

/// Documents as lines.
pub(crate) fn documents(lines: &str) -> anyhow::Result<Vec<Value>> {
    lines.lines().map(|line| serde_json::from_str(line).with_context(|| line.chars().take(200).collect::<String>())).collect()
}

/// Ids by kind.
pub(crate) type Ids = BTreeMap<String, BTreeSet<String>>;

/// The ids of documents, by kind.
pub(crate) fn ids(documents: &[Value]) -> Ids {
    let mut ids = Ids::new();
    for document in documents {
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        ids.entry(text("_kind")).or_default().insert(text("_id"));
    }
    ids
}

/// What must have been shipped once everything has ended or was given up: records, by kind.
///
/// Paused runs stay open, but their nodes that have ended do not wait for them. Tool calls and retrievals hang on nodes and messages, whose
/// tests say which there are.
pub(crate) async fn expected(database: &TestDatabase) -> anyhow::Result<Ids> {
    let mut connection = database.connect().await?;
    let mut ids = Ids::new();
    let questions = [
        ("workflow_run", "SELECT id::text FROM workflow_runs WHERE status::text NOT IN ('paused')"),
        (
            "node_execution",
            "SELECT node.id::text FROM workflow_node_executions node JOIN workflow_runs run ON run.id = node.workflow_run_id \
             WHERE run.status::text <> 'paused' OR node.status::text NOT IN ('running', 'pending', 'paused')",
        ),
        ("message", "SELECT id::text FROM messages WHERE status::text <> 'paused'"),
        ("feedback", "SELECT id::text FROM message_feedbacks"),
    ];
    for (kind, sql) in questions {
        let found: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await?;
        ids.insert(kind.to_owned(), found.into_iter().collect());
    }
    ensure!(ids["workflow_run"].len() > 5 && ids["message"].len() > 5, "there are few records, the test would show nothing");
    Ok(ids)
}

/// Every difference between what was shipped and what there is. Feedback that was withdrawn was shipped and is not there any more.
pub(crate) fn differences(expected: &Ids, shipped: &Ids) -> Vec<String> {
    let none = BTreeSet::new();
    let mut differences = Vec::new();
    for (kind, expected) in expected {
        let shipped = shipped.get(kind).unwrap_or(&none);
        differences.extend(expected.difference(shipped).map(|id| format!("{kind} {id} is missing")));
        if kind != "feedback" {
            differences.extend(shipped.difference(expected).map(|id| format!("{kind} {id} is not expected")));
        }
    }
    differences
}

/// Fails with the first of the complaints.
pub(crate) fn none(what: &str, complaints: &[String]) -> anyhow::Result<()> {
    let shown = complaints.iter().take(12).cloned().collect::<Vec<_>>().join("\n  ");
    ensure!(complaints.is_empty(), "{what}: {} complaints:\n  {shown}", complaints.len());
    Ok(())
}

/// A database of the shared server with finished history.
pub(crate) async fn history(schema: &Schema, seed: u64, arrivals: u64) -> anyhow::Result<TestDatabase> {
    const HOUR: i64 = 3600 * SECOND;
    let database = Cluster::shared()?.database(schema).await?;
    let options = Options {
        version: schema.version.parse()?,
        start: live::now() - 4 * HOUR,
        arrivals,
        rate: arrivals as f64 / (2.0 * 3600.0),
        deletions: Deletions::none(),
        ..Options::default()
    };
    bulk::load(&bulk::Load { url: database.url().to_owned(), seed, options, jobs: 1, rebuild_indexes: false }, |_| ()).await?;
    Ok(database)
}

/// Live traffic with every fault, late commits and wrong clocks, in compressed time.
pub(crate) fn traffic(schema: &Schema, arrivals: u64, rate: f64) -> anyhow::Result<Options> {
    let version: Version = schema.version.parse()?;
    let faults = Faults { late_by: 5 * SECOND, late_message_by: 4 * SECOND, longest_pause: 5 * SECOND, ..Faults::many() };
    Ok(Options {
        version,
        start: live::now() + SECOND,
        arrivals,
        rate,
        time_scale: 0.05,
        host_clocks: vec![0, 0, 0, 3 * SECOND, -SECOND],
        faults,
        deletions: Deletions::none(),
        ..Options::default()
    })
}

/// Writes traffic in real time, in the background.
pub(crate) async fn write(
    database: &TestDatabase,
    seed: u64,
    options: Options,
) -> anyhow::Result<tokio::task::JoinHandle<anyhow::Result<u64>>> {
    let end = options.start + (options.arrivals as f64 / options.rate) as i64 * SECOND + 12 * SECOND;
    let simulation = Simulation::new(seed, options);
    let mut connection = database.connect().await?;
    let target = Target::probe(&mut connection).await?;
    for write in simulation.setup(seed) {
        target.apply(&mut connection, &write).await?;
    }
    let writes: Vec<Write> = simulation.take_while(|write| write.at <= end).collect();
    let live = live::Live { url: database.url().to_owned(), connections: 4 };
    Ok(tokio::spawn(async move { live::run(&live, writes, std::future::pending(), |_, _| {}).await }))
}
