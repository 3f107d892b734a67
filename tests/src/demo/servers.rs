//! The exporter, and the Prometheus that scrapes it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use super::source::Source;
use super::{Progress, SCRAPE_INTERVAL};
use crate::children::{Guard, free_port};
use crate::process::Process;
use crate::prometheus::{Options, Prometheus, Scrape};

/// Where everybody expects it; another port if that is taken.
const PORT: u16 = 9810;
/// The labels of the scraped target, which the backfilled past has to have too.
const JOB: &str = "dify";
const INSTANCE: &str = "dify";
/// Coarser than the default: a smaller file, which promtool reads in seconds.
const STEP: &str = "15m";

/// A running dify-exporter and its state.
#[derive(Debug)]
pub(super) struct Exporter {
    process: Process,
    port: u16,
    environment: Vec<(&'static str, String)>,
    folder: TempDir,
    // Removes the folder also after a SIGKILL of this process.
    _guard: Guard,
}

impl Exporter {
    /// Starts it and waits until it is ready.
    pub(super) async fn start(source: &Source, progress: &Progress) -> anyhow::Result<Self> {
        progress.step("starting dify-exporter");
        let folder = tempfile::Builder::new().prefix("dify-observe-demo-").tempdir()?;
        let guard = Guard::new(r#"rm -rf "$1""#, &[folder.path().as_os_str()])?;
        let port = if is_free(PORT) { PORT } else { free_port()? };
        let environment = environment(source, folder.path(), port);
        let process = Process::spawn("dify-exporter", &["serve"], &pairs(&environment))?;
        let mut exporter = Self { process, port, environment, folder, _guard: guard };
        let ready = format!("{}/readyz", exporter.url());
        exporter.process.wait_for_http(&ready).await.context("the exporter did not become ready")?;
        Ok(exporter)
    }

    /// Its base URL.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it logged so far.
    pub(super) fn log(&self) -> String {
        self.process.stderr()
    }

    /// The past that it does not count, as a file for Prometheus.
    pub(super) async fn backfill(&self, source: &Source, progress: &Progress) -> anyhow::Result<PathBuf> {
        progress.step("dify-exporter backfill: the time before its start, for Prometheus");
        let file = self.folder.path().join("past.om");
        let output = file.display().to_string();
        let (job, instance) = (format!("job={JOB}"), format!("instance={INSTANCE}"));
        let mut arguments = vec!["backfill", "--output", &output, "--label", &job, "--label", &instance, "--step", STEP];
        let week_ago = (chrono::Utc::now() - chrono::TimeDelta::days(7)).format("%Y-%m-%d").to_string();
        if !source.is_own() {
            // An existing Dify may have years of it.
            arguments.extend(["--from", &week_ago]);
        }
        let mut process = Process::spawn("dify-exporter", &arguments, &pairs(&self.environment))?;
        progress.watch("dify-exporter backfill", &mut process).await?;
        let size = std::fs::metadata(&file).context("backfill wrote no file")?.len();
        progress.step(&format!("promtool turns {:.1} MiB of OpenMetrics into blocks, Prometheus starts", size as f64 / 1_048_576.0));
        Ok(file)
    }
}

/// Quick births and slow families, because nobody wants to wait for minutes in a demo that is scraped every two seconds.
fn environment(source: &Source, folder: &Path, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("DIFY_OBSERVE__POSTGRES__URL", source.url.clone()),
        ("DIFY_OBSERVE__STATE_DIR", folder.join("state").display().to_string()),
        ("DIFY_OBSERVE__EXPORTER__LISTEN", format!("127.0.0.1:{port}")),
        ("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "5s".to_owned()),
        ("DIFY_OBSERVE__EXPORTER__SLOW_INTERVAL", "20s".to_owned()),
    ]
}

fn pairs<'a>(environment: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A Prometheus that knows the past, scrapes the exporter, and computes the project's own rules.
pub(super) async fn prometheus(exporter: &Exporter, past: PathBuf, progress: &Progress) -> anyhow::Result<Prometheus> {
    let mut scrape = Scrape::new(JOB, &format!("127.0.0.1:{}", exporter.port), SCRAPE_INTERVAL);
    scrape.extra = format!("relabel_configs: [{{target_label: instance, replacement: {INSTANCE}}}]");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/dify-rules.yml");
    let has_samples = std::fs::read(&past)?.split(|byte| *byte == b'\n').any(|line| !line.is_empty() && !line.starts_with(b"#"));
    let blocks_from = if has_samples { vec![past] } else { Vec::new() };
    let options = Options { scrapes: vec![scrape], blocks_from, rules: vec![rules], ..Options::default() };
    let prometheus = Prometheus::start(&options).await?;
    progress.step("Prometheus is there");
    Ok(prometheus)
}
