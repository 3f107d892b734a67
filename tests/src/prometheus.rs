//! A real Prometheus that scrapes what a test starts, and reading back what it stored.

mod promtool;
mod samples;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

pub use promtool::{check_metrics, create_blocks};
pub use samples::{Series, increase, sums};

use crate::children::{find_program, free_port};
use crate::process::{Process, http_client};

/// What to scrape and how.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// The job's name.
    pub job: String,
    /// `host:port`.
    pub target: String,
    /// How often; the timeout is the same.
    pub interval: Duration,
    /// Further lines of the scrape configuration, unindented YAML.
    pub extra: String,
}

impl Scrape {
    /// A job without anything special.
    pub fn new(job: &str, target: &str, interval: Duration) -> Self {
        Self { job: job.into(), target: target.into(), interval, extra: String::new() }
    }
}

/// How to run Prometheus.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What to scrape.
    pub scrapes: Vec<Scrape>,
    /// Ask for protobuf with native histograms; else OpenMetrics or text.
    pub native_histograms: bool,
    /// OpenMetrics files with timestamps, loaded before the start.
    pub blocks_from: Vec<PathBuf>,
    /// Rule files.
    pub rules: Vec<PathBuf>,
    /// Further flags.
    pub flags: Vec<String>,
}

/// A running Prometheus; gone with its data when dropped, and when this process dies.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    url: String,
    client: reqwest::Client,
}

impl Prometheus {
    /// Starts Prometheus and waits until it is ready.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let program = find_program("prometheus", "prometheus")?;
        let folder = tempfile::Builder::new().prefix("dify-observe-prometheus-").tempdir()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        for file in &options.blocks_from {
            create_blocks(file, &data)?;
        }
        let new_configuration = !is_version_2(&program)?;
        let configuration = folder.path().join("prometheus.yml");
        std::fs::write(&configuration, yaml(options, new_configuration))?;
        let port = free_port()?;
        let features =
            if options.native_histograms && !new_configuration { "exemplar-storage,native-histograms" } else { "exemplar-storage" };
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            // Backfilled samples are old, and must not be deleted at the start.
            .args(["--storage.tsdb.retention.time=100y", "--web.enable-lifecycle"])
            .arg(format!("--enable-feature={features}"))
            .args(&options.flags);
        let mut process = Process::start(&mut command, folder)?;
        let url = format!("http://127.0.0.1:{port}");
        process.wait_for_http(&format!("{url}/-/ready")).await?;
        Ok(Self { process, url, client: http_client()? })
    }

    /// Its base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process, to stop, kill or freeze it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The `data` of an answer of its API, for example of `/api/v1/targets`.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let answer: Value = self.client.get(format!("{}{path}", self.url)).query(parameters).send().await?.json().await?;
        if answer["status"] != "success" {
            bail!("Prometheus answered {path} with {answer}");
        }
        Ok(answer["data"].clone())
    }

    /// The values of an instant query now, by label set. Native histograms have none and are left out.
    pub async fn query(&self, promql: &str) -> anyhow::Result<Vec<(BTreeMap<String, String>, f64)>> {
        let data = self.get("/api/v1/query", &[("query", promql)]).await?;
        let result = data["result"].as_array().context("the query did not answer with a vector")?;
        let values = result.iter().filter(|entry| entry.get("value").is_some());
        values.map(|entry| Ok((samples::labels(&entry["metric"])?, samples::sample(&entry["value"])?.1))).collect()
    }

    /// The one value of an instant query now; absent when there is none.
    pub async fn value(&self, promql: &str) -> anyhow::Result<Option<f64>> {
        Ok(self.query(promql).await?.first().map(|(_, value)| *value))
    }

    /// The raw samples of all series that a selector matches over the last `range`, for example `{job="a"}` and `1d`. Nothing is
    /// extrapolated or interpolated.
    pub async fn samples(&self, selector: &str, range: &str) -> anyhow::Result<Vec<Series>> {
        let data = self.get("/api/v1/query", &[("query", &format!("{selector}[{range}]"))]).await?;
        data["result"].as_array().context("the query did not answer with a matrix")?.iter().map(Series::from_json).collect()
    }

    /// The exemplars that a selector matches over the last day.
    pub async fn exemplars(&self, selector: &str) -> anyhow::Result<Vec<Value>> {
        let now = chrono::Utc::now().timestamp();
        let (start, end) = ((now - 86_400).to_string(), (now + 3_600).to_string());
        let data = self.get("/api/v1/query_exemplars", &[("query", selector), ("start", &start), ("end", &end)]).await?;
        Ok(data.as_array().cloned().unwrap_or_default())
    }

    /// Waits until `promql` has an answer for which `accept` is true, and returns that value.
    pub async fn wait_for(&self, promql: &str, accept: impl Fn(f64) -> bool) -> anyhow::Result<f64> {
        let mut last = None;
        // Give up after a minute.
        for _ in 0..1_200 {
            last = self.value(promql).await?;
            if let Some(value) = last.filter(|value| accept(*value)) {
                return Ok(value);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("`{promql}` is still {last:?} in Prometheus")
    }
}

fn is_version_2(program: &Path) -> anyhow::Result<bool> {
    let text = crate::children::run(Command::new(program).arg("--version"))?;
    Ok(text.contains("version 2."))
}

fn yaml(options: &Options, new_configuration: bool) -> String {
    let mut text = String::from("global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n");
    if new_configuration && options.native_histograms {
        text.push_str("  scrape_native_histograms: true\n");
    }
    if !options.rules.is_empty() {
        text.push_str("rule_files:\n");
    }
    for file in &options.rules {
        writeln!(text, "  - {}", quoted(&file.display().to_string())).expect(INTO_STRING);
    }
    text.push_str(if options.scrapes.is_empty() { "scrape_configs: []\n" } else { "scrape_configs:\n" });
    for scrape in &options.scrapes {
        let interval = scrape.interval.as_millis();
        writeln!(text, "  - job_name: {}", quoted(&scrape.job)).expect(INTO_STRING);
        writeln!(text, "    scrape_interval: {interval}ms\n    scrape_timeout: {interval}ms").expect(INTO_STRING);
        writeln!(text, "    static_configs: [{{targets: [{}]}}]", quoted(&scrape.target)).expect(INTO_STRING);
        for line in scrape.extra.lines() {
            writeln!(text, "    {line}").expect(INTO_STRING);
        }
    }
    text
}

const INTO_STRING: &str = "writing to a string does not fail";

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
