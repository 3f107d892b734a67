//! Our binaries, and other servers, as processes: started, watched, signalled, and gone with the test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::children::{Guard, signal};

/// How long a condition is waited for. Only a broken test waits that long; loaded machines are slow.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Variables of the developer's own shell that must not reach a tested binary.
const PRIVATE_VARIABLES: [&str; 2] = ["DIFY_OBSERVE", "DB_"];

/// The path of one of the workspace's binaries, built with the same profile as the running test or program.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("DIFY_OBSERVE_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => folder_of_binaries()?,
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is not built: `cargo build --workspace --bins` first (`make test` does)", path.display());
    }
    Ok(path)
}

/// Test executables lie in `deps/`, binaries beside it.
fn folder_of_binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find this executable")?;
    let folder = own.parent().context("this executable lies in no folder")?;
    let in_subfolder = folder.file_name().is_some_and(|name| name == "deps" || name == "examples");
    Ok(if in_subfolder { folder.parent().unwrap_or(folder) } else { folder }.to_owned())
}

/// A command for one of the workspace's binaries, in a clean environment plus `environment`.
pub fn command(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Command> {
    let mut command = Command::new(binary(name)?);
    command.args(arguments).stdin(Stdio::null());
    for (variable, _) in std::env::vars_os() {
        let private = variable.to_str().is_some_and(|name| PRIVATE_VARIABLES.iter().any(|prefix| name.starts_with(prefix)));
        if private || variable == "DATABASE_URL" {
            command.env_remove(variable);
        }
    }
    command.envs(environment.iter().copied());
    Ok(command)
}

/// What a binary that ran to its end had to say.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; absent after a signal.
    pub code: Option<i32>,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
}

/// Runs one of the workspace's binaries to its end.
pub async fn run(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Finished> {
    let mut process = Process::spawn(name, arguments, environment)?;
    let status = process.wait().await?;
    Ok(Finished { code: status.code(), stdout: process.stdout(), stderr: process.stderr() })
}

/// A running process; killed when dropped, and when this process dies.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
    guard: Option<Guard>,
    folder: TempDir,
}

impl Process {
    /// Starts one of the workspace's binaries.
    pub fn spawn(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("dify-observe-process-").tempdir()?;
        Self::start(&mut command(name, arguments, environment)?, folder)
    }

    /// Starts any command; its output goes to files in `folder`, which goes away with the process.
    pub fn start(command: &mut Command, folder: TempDir) -> anyhow::Result<Self> {
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).context("failed to create a file for output");
        let program = command.get_program().to_owned();
        let child = command
            .stdout(file("stdout")?)
            .stderr(file("stderr")?)
            .spawn()
            .with_context(|| format!("failed to start {}", program.display()))?;
        let guard =
            Guard::new(r#"kill -9 "$1" 2>/dev/null; rm -rf "$2""#, &[OsStr::new(&child.id().to_string()), folder.path().as_os_str()])?;
        Ok(Self { child, ended: None, guard: Some(guard), folder })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder of its output.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        self.output("stdout")
    }

    /// Everything that it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.output("stderr")
    }

    fn output(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The largest resident memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).context("the process is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in its status")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
            if self.ended.is_some()
                && let Some(guard) = self.guard.take()
            {
                guard.disarm();
            }
        }
        Ok(self.ended)
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.signal("TERM")
    }

    /// Sends a signal by name, for example `INT`, `STOP` or `CONT`.
    pub fn signal(&mut self, name: &str) -> anyhow::Result<()> {
        if let Some(status) = self.ended()? {
            bail!("the process has ended already with {status}");
        }
        signal(self.pid(), name)
    }

    /// SIGKILL, and its end.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if self.ended()?.is_none() {
            self.child.kill()?;
            self.wait().await?;
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("the process did not end; it wrote:\n{}", self.stderr());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until `text` appears in what it writes.
    pub async fn wait_for_text(&mut self, text: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.stderr().contains(text) && !self.stdout().contains(text) {
            self.must_be_running(text)?;
            if Instant::now() > deadline {
                bail!("the process never wrote `{text}`; it wrote:\n{}", self.stderr());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until a GET of `url` is answered with 200, and returns the answer.
    pub async fn wait_for_http(&mut self, url: &str) -> anyhow::Result<String> {
        let client = http_client()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = match client.get(url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(answer.text().await?),
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.to_string(),
            };
            self.must_be_running(url)?;
            if Instant::now() > deadline {
                bail!("{url} is still answered with {last}; the process wrote:\n{}", self.stderr());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn must_be_running(&mut self, wanted: &str) -> anyhow::Result<()> {
        match self.ended()? {
            Some(status) => bail!("the process ended with {status} before `{wanted}`; it wrote:\n{}", self.stderr()),
            None => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard kills by process id, which is ours until we wait for the child.
        drop(self.guard.take());
        let _ = self.child.wait();
    }
}

/// A client for servers on this machine: no proxy, and patient.
pub fn http_client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?)
}
