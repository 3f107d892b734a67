//! Scrapes a contender at an interval and reads what that cost: the database, the process, the answers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use dify_observe_tests::postgres::TestDatabase;
use sqlx::{PgConnection, Row as _};

use super::contender::{Running, Who};
use super::queries;
use super::statements::{Statements, Use};
use crate::machine;

/// Longer than any peer needs for a scrape of eight million rows.
const PATIENCE: Duration = Duration::from_secs(900);

/// What a contender's phase brought.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Who was measured.
    pub(crate) who: Who,
    /// Scrapes, or rounds of one that queries by itself.
    pub(crate) rounds: f64,
    /// Database use of one round.
    pub(crate) database: Use,
    /// Database time of each scrape by itself, in milliseconds, sorted; empty for one that queries by itself.
    pub(crate) times: Vec<f64>,
    /// Milliseconds from request to the answer's last byte, sorted.
    pub(crate) latencies: Vec<f64>,
    /// Milliseconds of CPU that its server processes used in a round (parallel workers not included).
    pub(crate) server_cpu: f64,
    /// Milliseconds of CPU that its own process used in a round.
    pub(crate) cpu: f64,
    /// Most resident memory of its process, in bytes.
    pub(crate) memory: u64,
    /// Series in the last answer.
    pub(crate) series: usize,
    /// Bytes of the last answer.
    pub(crate) bytes: usize,
    /// Seconds that the phase took.
    pub(crate) seconds: f64,
    /// Runs that were inserted per second of the phase.
    pub(crate) runs: f64,
    /// Node executions that were inserted per second of the phase.
    pub(crate) nodes: f64,
    /// How many seconds the simulator was behind its time at the end.
    pub(crate) behind: f64,
    /// The machine's load average at the end.
    pub(crate) load: f64,
    /// All statements of the phase.
    pub(crate) statements: Statements,
}

impl Measured {
    /// The part of the time for which the database worked for it.
    pub(crate) fn duty(&self) -> f64 {
        self.statements.total().time() / 1000.0 / self.seconds
    }
}

/// Scrapes as Prometheus does, by one connection.
#[derive(Debug)]
pub(crate) struct Scraper(reqwest::Client);

impl Scraper {
    /// A scraper.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?))
    }

    /// One scrape: milliseconds and the answer.
    pub(crate) async fn scrape(&self, running: &Running) -> anyhow::Result<(f64, String)> {
        let began = Instant::now();
        let answer = self
            .0
            .get(format!("{}/metrics", running.base))
            .header("X-Prometheus-Scrape-Timeout-Seconds", "15")
            .header("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
            .send()
            .await?
            .error_for_status()?;
        let text = answer.text().await.with_context(|| format!("a scrape of {}", running.who.name()))?;
        Ok((began.elapsed().as_secs_f64() * 1000.0, text))
    }

    /// Another path of a contender.
    pub(crate) async fn get(&self, running: &Running, path: &str) -> anyhow::Result<serde_json::Value> {
        Ok(self.0.get(format!("{}{path}", running.base)).send().await?.error_for_status()?.json().await?)
    }
}

/// What is read at the beginning and at the end of a phase.
struct Look {
    at: Instant,
    statements: Statements,
    server_cpu: HashMap<i32, f64>,
    cpu: f64,
    inserted: (f64, f64),
}

async fn look(connection: &mut PgConnection, running: &Running) -> anyhow::Result<Look> {
    Ok(Look {
        at: Instant::now(),
        statements: Statements::of_role(connection, running.who.role()).await?,
        server_cpu: server_cpu(connection, running.who.role()).await?,
        cpu: machine::cpu_seconds(running.process.pid()).context("the exporter is gone")?,
        inserted: inserted(connection).await?,
    })
}

/// CPU seconds of each server process that works for a role.
async fn server_cpu(connection: &mut PgConnection, role: &str) -> anyhow::Result<HashMap<i32, f64>> {
    let rows = sqlx::query("SELECT pid FROM pg_stat_activity WHERE usename = $1 AND backend_type = 'client backend'")
        .bind(role)
        .fetch_all(connection)
        .await?;
    let pids = rows.iter().map(|row| row.get::<i32, _>(0));
    Ok(pids.filter_map(|pid| Some((pid, machine::cpu_seconds(u32::try_from(pid).ok()?)?))).collect())
}

async fn inserted(connection: &mut PgConnection) -> anyhow::Result<(f64, f64)> {
    let count = "SELECT coalesce(sum(n_tup_ins) FILTER (WHERE relname = 'workflow_runs'), 0)::float8,
                   coalesce(sum(n_tup_ins) FILTER (WHERE relname = 'workflow_node_executions'), 0)::float8
                 FROM pg_stat_user_tables";
    Ok(sqlx::query_as(count).fetch_one(connection).await?)
}

/// Scrapes `scrapes` times at the interval. One that queries by itself is asked until it has made as many rounds.
pub(crate) async fn phase(database: &TestDatabase, running: &Running, interval: Duration, scrapes: usize) -> anyhow::Result<Measured> {
    let mut connection = database.connect().await?;
    let scraper = Scraper::new()?;
    let first = look(&mut connection, running).await?;
    let (mut latencies, mut times) = (Vec::new(), Vec::new());
    let mut before = first.statements.clone();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let text = loop {
        ticks.tick().await;
        let (latency, answer) = scraper.scrape(running).await?;
        latencies.push(latency);
        let after = Statements::of_role(&mut connection, running.who.role()).await?;
        times.push(after.since(&before).total().time());
        let so_far = after.since(&first.statements);
        before = after;
        if rounds(running.who, &so_far, latencies.len()) >= scrapes as f64 || first.at.elapsed() > PATIENCE {
            break answer;
        }
    };
    let last = look(&mut connection, running).await?;
    let statements = last.statements.since(&first.statements);
    let rounds = rounds(running.who, &statements, latencies.len());
    ensure!(rounds >= 1.0, "{} made no round in {} s", running.who.name(), PATIENCE.as_secs());
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let server_cpu: f64 = last.server_cpu.iter().map(|(pid, now)| now - first.server_cpu.get(pid).copied().unwrap_or(0.0)).sum();
    times.sort_by(f64::total_cmp);
    latencies.sort_by(f64::total_cmp);
    Ok(Measured {
        who: running.who,
        rounds,
        database: statements.total().per(rounds),
        times: if running.who == Who::Sql { Vec::new() } else { times },
        latencies,
        server_cpu: server_cpu * 1000.0 / rounds,
        cpu: (last.cpu - first.cpu) * 1000.0 / rounds,
        memory: running.process.peak_memory()?,
        series: series(&text),
        bytes: text.len(),
        seconds,
        runs: (last.inserted.0 - first.inserted.0) / seconds,
        nodes: (last.inserted.1 - first.inserted.1) / seconds,
        behind: 0.0,
        load: machine::load(),
        statements,
    })
}

/// How often all of it was done: a part of a round is a part of one.
fn rounds(who: Who, statements: &Statements, scrapes: usize) -> f64 {
    if who != Who::Sql {
        return scrapes as f64;
    }
    let calls = queries::ALL.iter().map(|query| {
        let name = query.sql.lines().next().unwrap_or("").trim_start_matches("-- ");
        statements.named(name).map_or(0.0, |used| used.calls)
    });
    calls.sum::<f64>() / queries::ALL.len() as f64
}

/// Lines of an answer that are samples.
pub(crate) fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_series() {
        assert_eq!(series("# HELP a b\na 1\na_bucket{le=\"1\"} 2\n\n# EOF\n"), 2);
    }
}
