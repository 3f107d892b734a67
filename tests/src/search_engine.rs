//! A real search engine: OpenSearch or Elasticsearch, as `scripts/setup-search-engine.sh` fetched it.
//!
//! Tests that only write and read share one ([`SearchEngine::shared`]) and keep apart by namespace; those that stop, freeze or configure it
//! start their own. `SEARCH_ENGINE` chooses which (`opensearch2`, which starts fastest, `opensearch3` or `elasticsearch8`);
//! `ELASTICSEARCH_URL` names an existing server in place of the shared one.

mod configuration;
mod distribution;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub use distribution::Engine;

use crate::children::{Guard, RunAs, signal};
use crate::process::{Process, http_client};

/// A loaded machine takes most of a minute for what takes five seconds on a quiet one.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

/// How to run an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which one.
    pub engine: Engine,
    /// Java's heap in MB.
    pub heap: u32,
    /// Further lines of its configuration.
    pub settings: Vec<String>,
    /// Name and password of a superuser; nobody else is let in then. Elasticsearch only.
    pub user: Option<(String, String)>,
    /// A certificate and its key (PEM): connections are encrypted then. Elasticsearch only.
    pub tls: Option<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Options { engine: Engine::chosen(), heap: 256, settings: Vec::new(), user: None, tls: None }
    }
}

/// A running engine, or one that was stopped and can be started again; gone with its data when dropped, and when this process dies.
#[derive(Debug)]
pub struct SearchEngine {
    url: String,
    own: Option<Own>,
}

/// An engine that belongs to this process.
#[derive(Debug)]
struct Own {
    options: Options,
    process: Option<Process>,
    folder: TempDir,
    _guard: Guard,
}

impl SearchEngine {
    /// The engine that all tests of this process share, started at the first use.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<SearchEngine> = OnceCell::const_new();
        let start = async || match std::env::var("ELASTICSEARCH_URL") {
            Ok(url) if !url.is_empty() => Ok(Self { url: url.trim_end_matches('/').to_owned(), own: None }),
            _ => Self::start(Options::default()).await,
        };
        SHARED.get_or_try_init(start).await
    }

    /// An engine of one's own.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("dify-observe-engine-").tempdir()?;
        let run_as = RunAs::unprivileged()?;
        configuration::write(folder.path(), &options)?;
        run_as.give_all(folder.path())?;
        if let Some((name, password)) = &options.user {
            configuration::add_user(folder.path(), &options, run_as, name, password)?;
        }
        let guard = Guard::new(
            r#"kill -9 "$(cat "$1/pid")" 2>/dev/null; sleep 0.2; rm -rf "$1" || { sleep 1; rm -rf "$1"; }"#,
            &[folder.path().as_os_str()],
        )?;
        let mut engine = Self { url: String::new(), own: Some(Own { options, process: None, folder, _guard: guard }) };
        engine.run().await?;
        Ok(engine)
    }

    /// Where it listens, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.url.split_once("://").map_or(self.url.as_str(), |(_, address)| address)
    }

    /// Starts an engine that was stopped or killed, with the same address and data.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        let port = self.url.rsplit_once(':').map_or("0", |(_, port)| port).to_owned();
        let own = self.own_mut()?;
        let (options, folder) = (&own.options, own.folder.path());
        configuration::set_port(folder, options, &port)?;
        let _none_at_the_first_start = std::fs::remove_file(folder.join("logs/http.ports"));
        let output = tempfile::Builder::new().prefix("dify-observe-engine-output-").tempdir()?;
        let mut command = command(options.engine, folder, "")?;
        own.process = Some(Process::start(command.arg("-p").arg(folder.join("pid")), output)?);
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        self.url = format!("{scheme}://{}", self.wait_until_it_listens().await?);
        self.wait_until_it_answers().await
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.end("TERM").await
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.end("KILL").await
    }

    /// Stops the process where it is: connections are taken by the kernel, and nothing is answered.
    pub fn freeze(&self) -> anyhow::Result<()> {
        signal(self.pid()?, "STOP")
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) -> anyhow::Result<()> {
        signal(self.pid()?, "CONT")
    }

    /// Sends a request; the status and the answer, `null` where it is no JSON.
    pub async fn request(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        // Its connections belong to the runtime of one test, so it is made anew.
        let mut request = http_client()?.request(Method::from_bytes(method.as_bytes())?, format!("{}/{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or(Value::Null)))
    }

    /// As `request`, and anything but success is an error.
    pub async fn must(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let (status, answer) = self.request(method, path, body).await?;
        if !(200..300).contains(&status) {
            bail!("{method} {path} was answered with {status}: {answer}");
        }
        Ok(answer)
    }

    /// Every document of an index, alias or pattern, made visible first: `_id`, `_index`, `_version` and `_source`.
    pub async fn documents(&self, index: &str) -> anyhow::Result<Vec<Value>> {
        self.must("POST", &format!("{index}/_refresh"), None).await?;
        let (mut all, mut after) = (Vec::new(), Value::Null);
        loop {
            let mut query =
                serde_json::json!({ "size": 5000, "version": true, "sort": ["@timestamp", "_doc"], "query": { "match_all": {} } });
            if !after.is_null() {
                query["search_after"] = after;
            }
            let mut answer = self.must("POST", &format!("{index}/_search"), Some(&query)).await?;
            let Some(last) = answer["hits"]["hits"].as_array().and_then(|hits| hits.last()) else { return Ok(all) };
            after = last["sort"].clone();
            all.extend(answer["hits"]["hits"].as_array_mut().map(std::mem::take).unwrap_or_default());
        }
    }

    fn own_mut(&mut self) -> anyhow::Result<&mut Own> {
        self.own.as_mut().context("this test needs an engine of its own, and ELASTICSEARCH_URL names an existing one")
    }

    fn folder(&self) -> anyhow::Result<&Path> {
        Ok(self.own.as_ref().context("this test needs an engine of its own")?.folder.path())
    }

    /// The server itself: Elasticsearch is started by another process that stays.
    fn pid(&self) -> anyhow::Result<u32> {
        let file = self.folder()?.join("pid");
        std::fs::read_to_string(file).context("the engine has written no process id")?.trim().parse().context("no process id")
    }

    async fn end(&mut self, how: &str) -> anyhow::Result<()> {
        signal(self.pid()?, how)?;
        let own = self.own_mut()?;
        let mut process = own.process.take().context("the engine does not run")?;
        process.wait().await?;
        let _its_own_at_a_stop = std::fs::remove_file(own.folder.path().join("pid"));
        Ok(())
    }

    async fn wait_until_it_listens(&mut self) -> anyhow::Result<String> {
        let ports = self.folder()?.join("logs/http.ports");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            if let Some(address) = text.lines().find(|line| line.starts_with("127.") && text.ends_with('\n')) {
                return Ok(address.to_owned());
            }
            self.must_be_coming(deadline)?;
            tokio::time::sleep(POLL).await;
        }
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).timeout(Duration::from_secs(10)).build()?;
        let health = format!("{}/_cluster/health?wait_for_status=yellow&timeout=5s", self.url);
        loop {
            if let Ok(answer) = client.get(&health).send().await
                && matches!(answer.status(), StatusCode::OK | StatusCode::UNAUTHORIZED)
            {
                return Ok(());
            }
            self.must_be_coming(deadline)?;
            tokio::time::sleep(POLL).await;
        }
    }

    fn must_be_coming(&mut self, deadline: Instant) -> anyhow::Result<()> {
        let own = self.own_mut()?;
        let process = own.process.as_mut().context("the engine does not run")?;
        if Instant::now() > deadline || process.ended()?.is_some() {
            let log = std::fs::read_to_string(own.folder.path().join("logs/server.log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(20).collect();
            bail!("the search engine did not start; it wrote:\n{}{}\n{}", process.stdout(), process.stderr(), end.join("\n"));
        }
        Ok(())
    }
}

/// One of the engine's programs (`suffix`: "", "-users"), with the configuration of `folder`.
fn command(engine: Engine, folder: &Path, suffix: &str) -> anyhow::Result<Command> {
    let home: PathBuf = engine.home()?;
    let mut command = RunAs::unprivileged()?.command(Path::new("bash"), folder);
    command.arg(home.join(format!("bin/{}{suffix}", engine.program())));
    for other in ["JAVA_HOME", "ES_JAVA_OPTS", "OPENSEARCH_JAVA_OPTS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"] {
        command.env_remove(other);
    }
    let variable = |name: &str| format!("{}_{name}", engine.prefix());
    command.env(variable("JAVA_HOME"), engine.java_home()?);
    command.env(variable("PATH_CONF"), folder.join("config"));
    command.env(variable("TMPDIR"), folder.join("tmp"));
    command.env("HOME", OsStr::new(folder));
    Ok(command)
}
