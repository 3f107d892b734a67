//! dify-janitor as a process, for the tests of this binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use dify_observe_tests::process::{Finished, Process};
use dify_observe_tests::retention::Rules;
use tempfile::TempDir;

/// Longer than any run of a test takes; only a broken one is stopped by it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What makes a test quick and its batches many: small batches and transactions, no pace, and no regard for what a loaded test
/// machine does beside.
const QUICK: [(&str, &str); 8] = [
    ("JANITOR__PACE", "0"),
    ("JANITOR__MAX_SHARE", "1"),
    ("JANITOR__BATCH_BUNDLES", "25"),
    ("JANITOR__TRANSACTION_ROWS", "60"),
    ("JANITOR__THROTTLE__AUTOVACUUM", "false"),
    ("JANITOR__THROTTLE__MAX_TRANSACTION_AGE", "0s"),
    ("JANITOR__THROTTLE__MAX_REPLICA_LAG", "0s"),
    ("TELEMETRY__LOG_FORMAT", "text"),
];

/// A janitor's configuration, with a state folder and an archive that go away with it.
#[derive(Debug)]
pub(crate) struct Setup {
    folder: TempDir,
    environment: BTreeMap<String, String>,
}

impl Setup {
    /// A janitor of this database with these rules.
    pub(crate) fn new(url: &str, rules: &Rules) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("dify-observe-janitor-").tempdir()?;
        std::fs::write(folder.path().join("dify-observe.toml"), rules.to_toml())?;
        let mut setup = Self { folder, environment: BTreeMap::new() };
        let archive = format!("file://{}", setup.archive().display());
        let state = setup.folder.path().join("state").display().to_string();
        std::fs::create_dir(setup.archive())?;
        for (key, value) in QUICK.into_iter().chain([("POSTGRES__URL", url), ("STATE_DIR", &state), ("JANITOR__ARCHIVE__URL", &archive)]) {
            setup.set(key, value);
        }
        Ok(setup)
    }

    /// One more key, or another value of one: `JANITOR__PACE`.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.environment.insert(format!("DIFY_OBSERVE__{key}"), value.to_owned());
    }

    /// A variable that is not ours, as Dify's own are.
    pub(crate) fn set_foreign(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// As `set`, for a chain.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    /// Another janitor: the same configuration and archive, a state folder of its own.
    pub(crate) fn twin(&self) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("dify-observe-janitor-").tempdir()?;
        std::fs::copy(self.config(), folder.path().join("dify-observe.toml"))?;
        let state = folder.path().join("state").display().to_string();
        Ok(Self { folder, environment: self.environment.clone() }.with("STATE_DIR", &state))
    }

    /// The folder of the archive, of a setup that has one.
    pub(crate) fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    /// A folder for what else a test needs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("dify-observe.toml")
    }

    /// The variables as a process takes them.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Starts a command.
    pub(crate) fn start(&self, arguments: &[&str]) -> anyhow::Result<Process> {
        let config = self.config().display().to_string();
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--config", &config]).collect();
        Process::spawn("dify-janitor", &arguments, &self.pairs())
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        end(self.start(arguments)?).await
    }

    /// Runs a command, which must end well.
    pub(crate) async fn succeed(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let finished = self.run(arguments).await?;
        if finished.code != Some(0) {
            bail!("{arguments:?} ended with {:?}:\n{}\n{}", finished.code, finished.stdout, finished.stderr);
        }
        Ok(finished)
    }

    /// As if the minutes had passed in which the lease of a killed janitor blocks its archive.
    pub(crate) fn forget_lease(&self) {
        // There is none where it was killed early.
        let _ = std::fs::remove_file(self.archive().join("lease.json"));
    }

    /// `run --execute` until nothing is due any more. A lease of a janitor that was killed may have to run out first.
    pub(crate) async fn prune(&self) -> anyhow::Result<Finished> {
        let began = Instant::now();
        loop {
            let finished = self.run(&["run", "--execute"]).await?;
            match finished.code {
                Some(0) => return Ok(finished),
                Some(75) if began.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(500)).await,
                code => bail!("run --execute ended with {code:?}:\n{}\n{}", finished.stdout, finished.stderr),
            }
        }
    }

    /// Puts everything back that the archive holds.
    pub(crate) async fn restore_all(&self) -> anyhow::Result<Finished> {
        self.succeed(&["restore", "--from", "1970-01-02", "--execute"]).await
    }
}

/// Waits for the end of a process.
pub(crate) async fn end(mut process: Process) -> anyhow::Result<Finished> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.ended()? {
            return Ok(Finished { code: status.code(), stdout: process.stdout(), stderr: process.stderr() });
        }
        if Instant::now() > deadline {
            bail!("dify-janitor did not end; it wrote:\n{}", process.stderr());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The one sentence of a command that failed, without what it logged on its way.
pub(crate) fn sentence(finished: &Finished) -> anyhow::Result<String> {
    let said: Vec<&str> = finished.stderr.lines().filter(|line| line.starts_with("dify-janitor: ")).collect();
    match said.as_slice() {
        [line] => Ok(line.trim_start_matches("dify-janitor: ").to_owned()),
        _ => Err(anyhow::anyhow!("not one sentence")).context(format!("{}\n{}", finished.stdout, finished.stderr)),
    }
}
