//! Who is measured, and how.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use dify_observe_tests::children::{find_program, free_port};
use dify_observe_tests::postgres::TestDatabase;
use dify_observe_tests::process::{self, Process};
use serde_json::Value;

use super::Options;
use super::engine::YesSayer;
use crate::machine;
use crate::progress::say;

/// Columns that a document is made of, and that COPY writes.
const COLUMNS: &str = "id, tenant_id, app_id, workflow_id, workflow_run_id, index, node_id, node_type, title, inputs, process_data, outputs, \
     status, error, elapsed_time, execution_metadata, created_at, finished_at";

/// Whose documents they are, in the engine.
const NAMESPACE: &str = "bench";

/// One contender's figures.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Who.
    pub(crate) name: String,
    /// Documents, or rows.
    pub(crate) documents: u64,
    /// Bytes that it wrote, where they were counted.
    pub(crate) bytes: Option<u64>,
    /// From start to end.
    pub(crate) seconds: f64,
    /// CPU seconds of its own process.
    pub(crate) cpu: Option<f64>,
    /// Most bytes of memory that it held.
    pub(crate) memory: Option<u64>,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.documents as f64 / self.seconds
    }
}

/// One round: every contender once.
pub(crate) async fn all(options: &Options, database: &TestDatabase) -> anyhow::Result<Vec<Measured>> {
    let yes = YesSayer::start()?;
    let mut measured = vec![copy(database).await?];
    measured.push(shipper(options, database, &yes.url(), Some(&yes), "dify-shipper, every bulk request acknowledged").await?);
    if let Some(python) = &options.python {
        measured.push(script(python, database, &yes.url(), Some(&yes), "Python script, every bulk request acknowledged").await?);
    }
    if let Some(engine) = &options.engine {
        setup(options, database, engine).await?;
        measured.push(shipper(options, database, engine, None, "dify-shipper, real engine").await?);
        if let Some(python) = &options.python {
            measured.push(script(python, database, engine, None, "Python script, real engine").await?);
        }
        let client = process::http_client()?;
        for index in
            [format!("{engine}/logs-dify.node_execution-*"), format!("{engine}/bench-script"), format!("{engine}/dify-observe-state")]
        {
            client.delete(index).send().await.context("failed to clear the engine")?;
        }
    }
    for contender in &measured {
        say(&format!("  {}: {} in {:.1} s, {:.0}/s", contender.name, contender.documents, contender.seconds, contender.per_second()));
    }
    Ok(measured)
}

/// `COPY … TO STDOUT` through psql: the least that reading these rows can take.
async fn copy(database: &TestDatabase) -> anyhow::Result<Measured> {
    let psql = find_program("psql", "postgresql-client")?;
    let sql = format!("COPY (SELECT {COLUMNS} FROM workflow_node_executions WHERE workflow_run_id IS NOT NULL) TO STDOUT");
    let documents = database.count("SELECT count(*) FROM workflow_node_executions WHERE workflow_run_id IS NOT NULL").await?;
    let mut command = Command::new(psql);
    command.args(["-XqAt", "-c", &sql, database.url()]).stdout(Stdio::piped()).stdin(Stdio::null());
    let (bytes, seconds) = tokio::task::spawn_blocking(move || -> anyhow::Result<(u64, f64)> {
        let began = Instant::now();
        let mut child = command.spawn().context("failed to start psql")?;
        let mut output = child.stdout.take().context("psql has no output")?;
        let bytes = std::io::copy(&mut output, &mut std::io::sink())?;
        ensure!(child.wait()?.success(), "psql failed");
        Ok((bytes, began.elapsed().as_secs_f64()))
    })
    .await??;
    let documents = u64::try_from(documents)?;
    Ok(Measured { name: "COPY … TO STDOUT".into(), documents, bytes: Some(bytes), seconds, cpu: None, memory: None })
}

/// The environment of a shipper that ships node executions with all of their content from the beginning.
fn environment(database: &TestDatabase, state: &Path, engine: &str) -> anyhow::Result<Vec<(String, String)>> {
    let pairs = [
        ("POSTGRES__URL", database.url()),
        ("STATE_DIR", &state.display().to_string()),
        ("SHIPPER__LISTEN", &format!("127.0.0.1:{}", free_port()?)),
        ("SHIPPER__START", "beginning"),
        ("SHIPPER__CONTENT", "full"),
        ("SHIPPER__NAMESPACE", NAMESPACE),
        ("SHIPPER__SINKS__BENCH__TYPE", "elasticsearch"),
        ("SHIPPER__SINKS__BENCH__URL", engine),
        ("SHIPPER__SINKS__BENCH__KINDS", "node_execution"),
        ("SHIPPER__SINKS__BENCH__COMPRESSION", "false"),
    ];
    Ok(pairs.into_iter().map(|(key, value)| (format!("DIFY_OBSERVE__{key}"), value.to_owned())).collect())
}

fn command(options: &Options, arguments: &[&str], environment: &[(String, String)]) -> anyhow::Result<Command> {
    let pairs: Vec<(&str, &str)> = environment.iter().map(|(key, value)| (&**key, &**value)).collect();
    let Some(program) = &options.shipper else { return process::command("dify-shipper", arguments, &pairs) };
    let mut command = Command::new(program);
    command.args(arguments).envs(pairs).stdin(Stdio::null());
    Ok(command)
}

async fn setup(options: &Options, database: &TestDatabase, engine: &str) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("dify-observe-bench-").tempdir()?;
    let mut command = command(options, &["setup"], &environment(database, folder.path(), engine)?)?;
    let output = tokio::task::spawn_blocking(move || command.output()).await?.context("failed to start dify-shipper")?;
    ensure!(output.status.success(), "dify-shipper setup failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn shipper(options: &Options, database: &TestDatabase, engine: &str, yes: Option<&YesSayer>, name: &str) -> anyhow::Result<Measured> {
    let folder = tempfile::Builder::new().prefix("dify-observe-bench-").tempdir()?;
    let state = folder.path().join("state");
    let mut command = command(options, &["run", "--once"], &environment(database, &state, engine)?)?;
    if let Some(yes) = yes {
        yes.take();
    }
    let began = Instant::now();
    let mut process = Process::start(&mut command, folder)?;
    let (mut cpu, mut memory) = (0.0, 0);
    let status = loop {
        // What it used in the last moments before its end is lost: a few hundredths of a second.
        cpu = machine::cpu_seconds(process.pid()).filter(|seconds| *seconds >= cpu).unwrap_or(cpu);
        memory = process.peak_memory().unwrap_or(memory).max(memory);
        if let Some(status) = process.ended()? {
            break status;
        }
        if began.elapsed() > super::patience(options) {
            bail!("dify-shipper took longer than --patience");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "dify-shipper ended with {status}: {}", process.stderr());
    let (documents, bytes) = match yes {
        Some(yes) => {
            let (documents, bytes) = yes.take();
            (documents, Some(bytes))
        }
        None => (count(engine, &format!("logs-dify.node_execution-{NAMESPACE}")).await?, None),
    };
    ensure!(documents > 0, "nothing was shipped: {}", process.stderr());
    Ok(Measured { name: name.to_owned(), documents, bytes, seconds, cpu: Some(cpu), memory: Some(memory) })
}

async fn script(python: &Path, database: &TestDatabase, engine: &str, yes: Option<&YesSayer>, name: &str) -> anyhow::Result<Measured> {
    if let Some(yes) = yes {
        yes.take();
    }
    let mut command = Command::new(python);
    command.args(["-c", include_str!("streaming_bulk.py"), database.url(), engine]);
    let output = tokio::task::spawn_blocking(move || command.output()).await?.context("failed to start Python")?;
    ensure!(output.status.success(), "the script failed: {}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).context("the script said something else")?;
    Ok(Measured {
        name: format!("{name} (elasticsearch-py {})", said["elasticsearch"].as_str().unwrap_or("?")),
        documents: said["documents"].as_u64().unwrap_or(0),
        bytes: yes.map(|yes| yes.take().1),
        seconds: said["seconds"].as_f64().unwrap_or(f64::NAN),
        cpu: said["cpu"].as_f64(),
        memory: said["memory"].as_u64(),
    })
}

/// How many documents an engine holds under a name.
async fn count(engine: &str, name: &str) -> anyhow::Result<u64> {
    let client = process::http_client()?;
    client.post(format!("{engine}/{name}/_refresh")).send().await?;
    let answer = client.get(format!("{engine}/{name}/_count")).send().await?.text().await?;
    let answer: Value = serde_json::from_str(&answer).context("the engine's count is no JSON")?;
    answer["count"].as_u64().with_context(|| format!("the engine has no {name}"))
}
