//! dify-exporter as a running process, for the tests of this binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use dify_observe_tests::process::{Process, http_client};
use dify_observe_tests::simulator::{Deletions, Options, Simulation, Target, bulk, live};
use dify_observe_tests::{postgres::TestDatabase, schema::Schema};
use tempfile::TempDir;

/// What makes a test quick: nothing is waited for that only loaded or slow systems need.
const QUICK: [(&str, &str); 5] = [
    ("DIFY_OBSERVE__FOLLOW__SETTLE", "0s"),
    ("DIFY_OBSERVE__FOLLOW__INTERRUPT_AFTER", "0s"),
    ("DIFY_OBSERVE__EXPORTER__MIN_INTERVAL", "0s"),
    ("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "0s"),
    ("DIFY_OBSERVE__EXPORTER__LISTEN", "127.0.0.1:0"),
];

/// Says to the exporter that the request is a scrape of a Prometheus.
const SCRAPE_TIMEOUT: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// How to start an exporter.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    environment: BTreeMap<String, String>,
}

impl Setup {
    /// An exporter of this database, with settings that keep tests quick and a free port.
    pub(crate) fn new(url: &str) -> Self {
        let mut setup = Self { environment: BTreeMap::new() };
        for (name, value) in QUICK {
            setup = setup.with(name, value);
        }
        setup.with("DIFY_OBSERVE__POSTGRES__URL", url)
    }

    /// With one more environment variable, or another value of one.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With this folder for its state.
    pub(crate) fn in_folder(self, folder: &Path) -> Self {
        let folder = folder.display().to_string();
        self.with("DIFY_OBSERVE__STATE_DIR", &folder)
    }

    /// The variables as a process takes them.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Starts it with a state folder of its own, and waits until it listens.
    pub(crate) async fn start(&self) -> anyhow::Result<Exporter> {
        let folder = tempfile::Builder::new().prefix("dify-observe-state-").tempdir()?;
        let mut exporter = self.clone().in_folder(folder.path()).start_in_its_folder().await?;
        exporter._folder = Some(folder);
        Ok(exporter)
    }

    /// Starts it with the state folder that `in_folder` named.
    pub(crate) async fn start_in_its_folder(&self) -> anyhow::Result<Exporter> {
        let state_dir = self.environment.get("DIFY_OBSERVE__STATE_DIR").context("no state folder is set")?.into();
        let mut process = Process::spawn("dify-exporter", &["serve"], &self.pairs())?;
        process.wait_for_text(" listening ").await?;
        let log = process.stderr();
        let url = log.split("url=\"").nth(1).and_then(|rest| rest.split("/\"").next()).context("the log names no URL")?.to_owned();
        Ok(Exporter { process, url, state_dir, _folder: None, client: http_client()? })
    }
}

/// A running exporter; gone with its state when dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    /// The process.
    pub(crate) process: Process,
    /// Where it listens: `http://127.0.0.1:1234`.
    pub(crate) url: String,
    /// `state_dir`.
    pub(crate) state_dir: PathBuf,
    _folder: Option<TempDir>,
    client: reqwest::Client,
}

impl Exporter {
    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.url.split("://").nth(1).unwrap_or(&self.url)
    }

    /// Status and body of a path.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// A scrape as a Prometheus makes it, in the format that `accept` names.
    pub(crate) async fn scrape_as(&self, accept: &str) -> anyhow::Result<reqwest::Response> {
        let request = self.client.get(format!("{}/metrics", self.url)).header("Accept", accept).header(SCRAPE_TIMEOUT, "30");
        let answer = request.send().await.with_context(|| format!("the exporter wrote:\n{}", self.process.stderr()))?;
        ensure!(answer.status().is_success(), "/metrics is answered with {}", answer.status());
        Ok(answer)
    }

    /// A scrape in the classic text format.
    pub(crate) async fn scrape(&self) -> anyhow::Result<Metrics> {
        Ok(Metrics::parse(&self.scrape_as("text/plain;version=0.0.4").await?.text().await?))
    }

    /// Scrapes until the answer satisfies `accept`, and returns it.
    pub(crate) async fn scrape_until(&self, wanted: &str, accept: impl Fn(&Metrics) -> bool) -> anyhow::Result<Metrics> {
        // Give up after a minute or two; only a broken exporter takes so long.
        for _ in 0..1_000 {
            let metrics = self.scrape().await?;
            if accept(&metrics) {
                return Ok(metrics);
            }
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        }
        bail!("{wanted}: never came; the exporter wrote:\n{}\nand answers:\n{}", self.process.stderr(), self.scrape().await?.text)
    }

    /// Scrapes until every collector that is on has had its turn, and succeeded.
    pub(crate) async fn settled(&self) -> anyhow::Result<Metrics> {
        self.scrape_until("all collectors succeed", |metrics| {
            let collectors = metrics.all("dify_exporter_collector_success");
            metrics.value("dify_up") == Some(1.0)
                && metrics.value("dify_table_size_bytes").is_some()
                && collectors.len() > 3
                && collectors.iter().all(|(_, value)| *value == 1.0)
        })
        .await
    }
}

/// An answer in the classic text format.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// As it came.
    pub(crate) text: String,
    /// Names and types of the families, in order.
    pub(crate) families: Vec<(String, String)>,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Metrics {
    /// Reads an answer.
    pub(crate) fn parse(text: &str) -> Self {
        let mut metrics = Self { text: text.to_owned(), families: Vec::new(), samples: Vec::new() };
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                metrics.families.push((name.to_owned(), kind.to_owned()));
            } else if !line.starts_with('#')
                && let Some((series, value)) = line.rsplit_once(' ')
            {
                let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| (name, labels.trim_end_matches('}')));
                let value = value.parse().unwrap_or(f64::NAN);
                metrics.samples.push((name.to_owned(), labels_of(labels), value));
            }
        }
        metrics
    }

    /// All samples of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<(&BTreeMap<String, String>, f64)> {
        self.samples.iter().filter(|(sample, ..)| sample == name).map(|(_, labels, value)| (labels, *value)).collect()
    }

    /// The sum over all samples of a name; `None` without any.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        let all = self.all(name);
        (!all.is_empty()).then(|| all.iter().map(|(_, value)| value).sum())
    }

    /// Every sample.
    pub(crate) fn samples(&self) -> &[(String, BTreeMap<String, String>, f64)] {
        &self.samples
    }
}

/// Reads `a="b",c="d"`, escapes included.
fn labels_of(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = after.char_indices();
        let mut end = after.len();
        while let Some((place, character)) = characters.next() {
            match character {
                '"' => {
                    end = place + 1;
                    break;
                }
                '\\' => value.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, escaped)) => escaped,
                    None => '\\',
                }),
                other => value.push(other),
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = &after[end..];
    }
    labels
}

/// Options of a simulation of the database's version that ends `before` microseconds ago, with `arrivals` within `span`.
pub(crate) fn traffic(schema: &Schema, arrivals: u64, before: i64, span: i64) -> anyhow::Result<Options> {
    Ok(Options {
        version: schema.version.parse()?,
        start: live::now() - before - span,
        arrivals,
        rate: arrivals as f64 / (span as f64 / 1e6),
        deletions: Deletions::none(),
        ..Options::default()
    })
}

/// Loads finished history.
pub(crate) async fn load_history(database: &TestDatabase, seed: u64, options: Options) -> anyhow::Result<()> {
    let load = bulk::Load { url: database.url().to_owned(), seed, options, jobs: 2, rebuild_indexes: false };
    bulk::load(&load, |_| ()).await?;
    Ok(())
}

/// Writes a whole simulation as fast as it goes, whatever its times say; the rows' own times stay as they are.
pub(crate) async fn write_all(database: &TestDatabase, seed: u64, options: Options) -> anyhow::Result<()> {
    let mut connection = database.connect().await?;
    let target = Target::probe(&mut connection).await?;
    let simulation = Simulation::new(seed, options);
    for write in simulation.setup(seed) {
        target.apply(&mut connection, &write).await?;
    }
    for write in simulation {
        target.apply(&mut connection, &write).await?;
    }
    Ok(())
}

/// Adds runs that say "running" for ever, evenly spread over the last `seconds`.
pub(crate) async fn add_endless_runs(database: &TestDatabase, count: u32, seconds: u32) -> anyhow::Result<()> {
    let changed = r#"{"status": "running", "finished_at": null, "outputs": null, "graph": "{}", "inputs": "{}"}"#;
    let each = format!(
        "jsonb_build_object('id', gen_random_uuid(), 'created_at', (now() AT TIME ZONE 'UTC') - number * interval '{seconds} s' / {count})"
    );
    let sql = format!(
        "WITH original AS MATERIALIZED (SELECT to_jsonb(run) || '{changed}' AS columns FROM workflow_runs run LIMIT 1) \
         INSERT INTO workflow_runs SELECT run.* FROM original, generate_series(1, {count}) number, \
         LATERAL jsonb_populate_record(NULL::workflow_runs, columns || {each}) run"
    );
    database.execute(&sql).await?;
    database.execute("VACUUM ANALYZE workflow_runs").await
}

#[test]
fn label_values_may_hold_anything() {
    let metrics = Metrics::parse("# TYPE a gauge\na{b=\"x\\\"},\\n\\\\\",c=\"d\"} 2\na 1\n");
    assert_eq!(metrics.all("a")[0].0["b"], "x\"},\n\\");
    assert_eq!(metrics.value("a"), Some(3.0));
}
