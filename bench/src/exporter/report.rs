//! The results as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::contender::Who;
use super::measure::Measured;
use super::{Options, queries};
use crate::data::{SERVER_SETTINGS, Size};
use crate::machine;
use crate::statistics::percentile;

const INTO_STRING: &str = "writing to a string does not fail";

/// Measurements on one database in one state.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Its heading.
    pub(crate) title: String,
    /// What is special about it.
    pub(crate) note: String,
    /// What was in the database when it began.
    pub(crate) size: Size,
    /// One for each contender.
    pub(crate) measured: Vec<Measured>,
}

impl Stage {
    fn of(&self, who: Who) -> Option<&Measured> {
        self.measured.iter().find(|measured| measured.who == who)
    }
}

/// Everything that goes into the results.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// How it was asked for.
    pub(crate) options: &'a Options,
    /// The server's version and the day.
    pub(crate) server: (String, String),
    /// The contenders' versions.
    pub(crate) versions: Vec<String>,
    /// The stages, in order.
    pub(crate) stages: Vec<Stage>,
    /// The machine's load average before anything was started.
    pub(crate) load_before: f64,
    /// How long all of it took.
    pub(crate) took: Duration,
}

/// A row of the table of goals.
struct Goal {
    what: String,
    goal: String,
    measured: String,
    met: bool,
}

impl Report<'_> {
    /// The whole document.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# dify-exporter beside generic exporters\n\n");
        text.push_str("Written by `make bench BENCH=exporter`. Ratios matter; absolute numbers belong to the machine.\n\n");
        self.method(&mut text);
        self.goals(&mut text);
        for stage in &self.stages {
            describe(stage, &mut text);
        }
        text.push_str("\n## The queries of the generic exporters\n");
        for query in &queries::ALL {
            write!(text, "\n```sql\n{}\n```\n", query.sql).expect(INTO_STRING);
        }
        text
    }

    fn method(&self, text: &mut String) {
        let Options { rate, interval, scrapes, peer_scrapes, warm_up, days, apps, seed, .. } = self.options;
        let settings: Vec<String> = SERVER_SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
        write!(
            text,
            "## Machine and method\n\n\
             - {day}, {machine}. Load average {load:.1} before the start, and at the end of each phase in its table: other work on the machine makes absolute times longer.\n\
             - {server}, private cluster; {settings}; everything else as PostgreSQL comes.\n\
             - {versions}.\n\
             - Dify's own schema with all its indexes; {days} days of finished history of {apps} apps loaded through COPY, VACUUM (ANALYZE), and live traffic of {rate} requests a second \
             (seed {seed}) throughout, in Dify's order of writes: every step of a run a transaction of its own. Client, server and exporters share the cores.\n\
             - The contenders run one after another, each with a database role of its own, scraped every {interval} s: dify-exporter {scrapes} times after {warm_up} s of \
             warming up (each step looks back two minutes), `exporter.start = \"now\"`, state in a folder on the same disk; the others {peer_scrapes} rounds.\n\
             - Database time: `total_exec_time + total_plan_time` of all statements of the role in `pg_stat_statements` (transaction control and the slow collectors of every five minutes, \
             where they fell into the phase, included), divided by scrapes, or by rounds for prometheus-sql-exporter, which queries by itself. It is the wall time of the leading process: a parallel worker's time is not added. \
             Server CPU: of the role's server processes, parallel workers left out too, parsing included.\n\
             - Where the simulator is behind its time, the machine was too busy: rows then bear a time long before their commit, and the exporter looks back further for them.\n\
             - Memory: the process's peak (VmHWM). Latency: from the request to the last byte. The whole run took {took:.0} minutes.\n",
            day = self.server.1,
            machine = machine::describe(),
            load = self.load_before,
            server = self.server.0,
            settings = settings.join(" "),
            versions = self.versions.join("; "),
            interval = interval.as_secs_f64(),
            warm_up = warm_up.as_secs(),
            took = self.took.as_secs_f64() / 60.0,
        )
        .expect(INTO_STRING);
    }

    fn goals(&self, text: &mut String) {
        text.push_str("\n## Goals\n\n| what | goal | measured | |\n|---|---|---|---|\n");
        for goal in self.judged() {
            let met = if goal.met { "met" } else { "**not met**" };
            writeln!(text, "| {} | {} | {} | {met} |", goal.what, goal.goal, goal.measured).expect(INTO_STRING);
        }
    }

    fn judged(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        let (quarter, full) = (self.stages.first(), self.stages.get(1));
        if let Some((ours, peer)) = full.and_then(|stage| Some((stage.of(Who::Dify)?, stage.of(Who::Postgres)?))) {
            let (time, ratio) = (ours.database.time(), peer.database.time() / ours.database.time());
            goals.push(goal("database time per scrape, index on time", "≤ 15 ms", format!("{time:.1} ms"), time <= 15.0));
            let peers = format!("{ratio:.0} times less than prometheus-postgres-exporter ({:.0} ms)", peer.database.time());
            goals.push(goal("the same, beside the peer", "≥ 400 times less", peers, ratio >= 400.0));
            let memory = ours.memory as f64 / 1048576.0;
            let what = format!("memory at {} series", ours.series);
            goals.push(goal(&what, "≤ 25 MiB (at 3,000)", format!("{memory:.1} MiB"), memory <= 25.0));
        }
        if let Some((small, large)) = quarter.and_then(|stage| stage.of(Who::Dify)).zip(full.and_then(|stage| stage.of(Who::Dify))) {
            let ratio = large.database.time() / small.database.time();
            goals.push(goal("database time, all rows against a quarter", "≤ 1.3 times", format!("{ratio:.2} times"), ratio <= 1.3));
        }
        for stage in &self.stages {
            let Some(ours) = stage.of(Who::Dify) else { continue };
            if stage.title.starts_with("Many series") {
                let (p50, p95) = (percentile(&ours.latencies, 0.5), percentile(&ours.latencies, 0.95));
                let what = format!("scrape latency at {} series, nothing new", ours.series);
                goals.push(goal(&what, "≤ 20 ms (at 10,000)", format!("p50 {p50:.1} ms, p95 {p95:.1} ms"), p95 <= 20.0));
                let memory = ours.memory as f64 / 1048576.0;
                let what = format!("memory at {} series", ours.series);
                goals.push(goal(&what, "≤ 64 MiB (at 10,000)", format!("{memory:.1} MiB"), memory <= 64.0));
            }
            if stage.title.starts_with("Without") {
                let duty = ours.duty() * 100.0;
                goals.push(goal("duty cycle without an index on time", "≤ 1 %", format!("{duty:.2} %"), duty <= 1.0));
                if let Some(peer) = stage.of(Who::Postgres) {
                    let ratio = peer.database.time() / ours.database.time();
                    let what = "database time per scrape there, beside the peer";
                    goals.push(goal(what, "≥ 20 times less", format!("{ratio:.0} times less"), ratio >= 20.0));
                }
            }
        }
        goals
    }
}

fn goal(what: &str, goal: &str, measured: String, met: bool) -> Goal {
    Goal { what: what.to_owned(), goal: goal.to_owned(), measured, met }
}

fn describe(stage: &Stage, text: &mut String) {
    let rows: Vec<String> = stage.size.rows.iter().map(|(table, rows)| format!("{:.2} M {table}", rows / 1e6)).collect();
    write!(text, "\n## {}\n\nDify {}: {} ({:.1} GB).", stage.title, stage.size.schema, rows.join(", "), stage.size.bytes / 1e9)
        .expect(INTO_STRING);
    if !stage.note.is_empty() {
        write!(text, " {}", stage.note).expect(INTO_STRING);
    }
    text.push_str("\n\n");
    table(stage, text);
    if let Some(ours) = stage.of(Who::Dify) {
        statements(ours, text);
    }
}

/// A named line of a table, and how a measurement fills it.
type Line = (&'static str, fn(&Measured) -> String);

fn table(stage: &Stage, text: &mut String) {
    let lines: [Line; 15] = [
        ("**database time per scrape**", |m| format!("**{:.1} ms**", m.database.time())),
        ("of it planning", |m| format!("{:.1} ms", m.database.planning)),
        ("single scrapes, p50 / max", |m| match m.times.last() {
            Some(most) => format!("{:.1} / {most:.1} ms", percentile(&m.times, 0.5)),
            None => "–".to_owned(),
        }),
        ("server CPU per scrape", |m| match m.who {
            // It connects anew for each round, so its server processes are gone when they are looked for.
            Who::Sql => "–".to_owned(),
            _ => format!("{:.0} ms", m.server_cpu),
        }),
        ("the database is busy for it", |m| format!("{:.2} %", m.duty() * 100.0)),
        ("statements, rows, pages per scrape", |m| format!("{:.0}, {:.0}, {:.0}", m.database.calls, m.database.rows, m.database.pages)),
        ("scrape latency, p50 / p95", |m| format!("{:.1} / {:.1} ms", percentile(&m.latencies, 0.5), percentile(&m.latencies, 0.95))),
        ("resident memory, peak", |m| format!("{:.1} MiB", m.memory as f64 / 1048576.0)),
        ("own CPU per scrape", |m| format!("{:.0} ms", m.cpu)),
        ("series", |m| m.series.to_string()),
        ("size of an answer", |m| format!("{:.0} KB", m.bytes as f64 / 1e3)),
        ("scrapes (rounds), time", |m| format!("{:.1} in {:.0} s", m.rounds, m.seconds)),
        ("traffic: runs and node executions per second", |m| format!("{:.0}, {:.0}", m.runs, m.nodes)),
        ("the simulator is behind its time by", |m| format!("{:.0} s", m.behind)),
        ("load average", |m| format!("{:.1}", m.load)),
    ];
    let names: Vec<&str> = stage.measured.iter().map(|measured| measured.who.name()).collect();
    writeln!(text, "| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len())).expect(INTO_STRING);
    for (name, value) in lines {
        let values: Vec<String> = stage.measured.iter().map(value).collect();
        writeln!(text, "| {name} | {} |", values.join(" | ")).expect(INTO_STRING);
    }
    if let Some(ours) = stage.of(Who::Dify).filter(|_| stage.measured.len() > 1) {
        let ratios: Vec<String> = stage.measured.iter().map(|m| format!("{:.0}", m.database.time() / ours.database.time())).collect();
        writeln!(text, "| **database time, times dify-exporter's** | {} |", ratios.join(" | ")).expect(INTO_STRING);
    }
}

fn statements(measured: &Measured, text: &mut String) {
    text.push_str("\ndify-exporter's statements, per scrape:\n\n| statement | ms | calls | rows | pages |\n|---|---|---|---|---|\n");
    for (name, used) in measured.statements.by_cost().into_iter().take(16) {
        let each = used.per(measured.rounds);
        let name = name.replace('|', "\\|");
        writeln!(text, "| `{name}` | {:.2} | {:.2} | {:.0} | {:.0} |", each.time(), each.calls, each.rows, each.pages).expect(INTO_STRING);
    }
}
