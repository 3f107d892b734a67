//! The results as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::Options;
use super::archive::Archived;
use super::contender::{Contender, Measured};
use super::traffic::Latencies;
use crate::data::{SERVER_SETTINGS, Size};
use crate::machine;
use crate::statistics::percentile;

const INTO_STRING: &str = "writing to a string does not fail";

/// Measurements on one data set.
#[derive(Debug)]
pub(crate) struct Stage {
    /// What was in the database when it began.
    pub(crate) size: Size,
    /// One for each contender.
    pub(crate) measured: Vec<(Contender, Measured)>,
    /// Archiving alone.
    pub(crate) archived: Vec<Archived>,
}

impl Stage {
    fn of(&self, wanted: Contender) -> Option<&Measured> {
        self.measured.iter().find(|(contender, _)| *contender == wanted).map(|(_, measured)| measured)
    }
}

/// Everything that goes into the results.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// How it was asked for.
    pub(crate) options: &'a Options,
    /// The server's version and the day.
    pub(crate) server: (String, String),
    /// The data sets, in order.
    pub(crate) stages: Vec<Stage>,
    /// The machine's load average before anything was started.
    pub(crate) load_before: f64,
    /// How long all of it took.
    pub(crate) took: Duration,
}

/// A row of the table of goals.
struct Goal {
    what: String,
    goal: &'static str,
    measured: String,
    met: bool,
}

impl Report<'_> {
    /// The whole document.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# dify-janitor beside other ways to delete\n\n");
        text.push_str("Written by `make bench BENCH=janitor`. Ratios matter; absolute numbers belong to the machine.\n\n");
        self.method(&mut text);
        text.push_str("\n## Goals\n\n| what | goal | measured | |\n|---|---|---|---|\n");
        for goal in self.stages.iter().flat_map(judged) {
            let met = if goal.met { "met" } else { "**not met**" };
            writeln!(text, "| {} | {} | {} | {met} |", goal.what, goal.goal, goal.measured).expect(INTO_STRING);
        }
        self.stages.iter().for_each(|stage| describe(stage, &mut text));
        text
    }

    fn method(&self, text: &mut String) {
        let Options { days, apps, seed, rate, patience, quiet, .. } = self.options;
        let settings: Vec<String> = SERVER_SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let contenders: Vec<&str> = Contender::ALL.iter().map(|contender| contender.name()).collect();
        write!(
            text,
            "## Machine and method\n\n\
             - {day}, {machine}. Load average {load:.1} before the start.\n\
             - {server}, private cluster; {settings} autovacuum=off; everything else as PostgreSQL comes.\n\
             - {days} days of history of {apps} apps (seed {seed}) by the simulator through COPY, VACUUM (ANALYZE). The older third is expired and cut into \
             {windows} windows of time; one contender after the other deletes a window, oldest first: {contenders}. One that is not done after {patience} s is stopped, \
             and what it did until then is measured; the single statements cannot be stopped.\n\
             - Traffic: {rate} runs a second over 8 connections, each an INSERT of the run, twice an INSERT and an UPDATE of a node execution, the UPDATE of the run, each \
             committed by itself, and a look at twenty runs of an app. Latency: of a whole run, from the moment when it was due; {quiet} s alone, after a checkpoint, then beside the contender.\n\
             - Write-ahead log and the longest statement: pg_stat_statements, by role, so that the traffic is not in it. Rows: of all tables. What is left of conversations in \
             the windows of others is deleted by the next run of dify-janitor, which takes conversations whole.\n\
             - Archiving alone: runs with all that hangs on them, from the first statement to the manifest; pyarrow: a server-side cursor of psycopg, rows of one table, zstd 3. \
             JSON: `row_to_json` of the same rows. Client and server share the cores. The whole took {took:.0} minutes.\n",
            day = self.server.1,
            machine = machine::describe(),
            load = self.load_before,
            server = self.server.0,
            settings = settings.join(" "),
            windows = Contender::ALL.len(),
            contenders = contenders.join("; "),
            took = self.took.as_secs_f64() / 60.0,
        )
        .expect(INTO_STRING);
    }
}

fn judged(stage: &Stage) -> Vec<Goal> {
    let version = &stage.size.schema;
    let mut goals = Vec::new();
    let mut goal = |what: String, goal, measured: String, met| goals.push(Goal { what: format!("{version}: {what}"), goal, measured, met });
    if let Some(delete) = stage.of(Contender::DeleteOnly) {
        goal("rows a second, delete only".into(), "≥ 50,000", format!("{:.0}", delete.rate()), delete.rate() >= 50e3);
        let wal = delete.wal_per_row();
        goal("write-ahead log of a row".into(), "≤ 3,500 B", format!("{wal:.0} B"), wal <= 3500.0);
        goal("longest statement that deletes".into(), "≤ 250 ms", format!("{:.0} ms", delete.longest), delete.longest <= 250.0);
        if let Some(dify) = stage.of(Contender::Dify) {
            let times = delete.rate() / dify.rate();
            let (wanted, text) = if version.starts_with("1.2.") { (180.0, "≥ 180 times") } else { (25.0, "≥ 25 times") };
            goal("beside Dify's own clean-up".into(), text, format!("{times:.0} times"), times >= wanted);
        }
    }
    if let Some(paced) = stage.of(Contender::Paced) {
        let (alone, beside) = (percentile(&paced.alone, 0.99), percentile(&paced.beside, 0.99));
        let measured = format!("{:.2} times ({beside:.1} ms beside {alone:.1} ms)", beside / alone);
        goal("p99 of the traffic at the default pace".into(), "≤ 1.5 times", measured, beside <= 1.5 * alone);
    }
    if let Some(archived) = stage.archived.first() {
        let rate = archived.rows as f64 / archived.seconds;
        goal("archive, rows a second".into(), "≥ 40,000", format!("{rate:.0}"), rate >= 40e3);
        let ratio = archived.json / archived.bytes;
        goal("archive, smaller than JSON".into(), "≥ 4.0 times", format!("{ratio:.2} times"), ratio >= 4.0);
    }
    if let Some(whole) = stage.of(Contender::Whole) {
        let memory = whole.memory as f64 / 1048576.0;
        goal("memory at its peak".into(), "≤ 128 MiB", format!("{memory:.0} MiB"), memory <= 128.0);
    }
    goals
}

fn describe(stage: &Stage, text: &mut String) {
    let rows: Vec<String> = stage.size.rows.iter().map(|(table, rows)| format!("{:.2} M {table}", rows / 1e6)).collect();
    write!(text, "\n## Dify {}\n\n{} ({:.1} GB).\n\n", stage.size.schema, rows.join(", "), stage.size.bytes / 1e9).expect(INTO_STRING);
    text.push_str(
        "| | rows/s | rows (node executions) | time | WAL a row | rows a statement | longest | traffic p50 / p95 / p99, alone | beside | memory |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (contender, measured) in &stage.measured {
        let Measured { rows, nodes, seconds, statements, longest, memory, finished, .. } = measured;
        let stopped = if *finished { "" } else { " (stopped)" };
        let memory = if *memory == 0 { String::new() } else { format!("{:.0} MiB", *memory as f64 / 1048576.0) };
        writeln!(
            text,
            "| {} | {:.0} | {rows} ({nodes}) | {seconds:.1} s{stopped} | {:.0} B | {:.0} | {longest:.0} ms | {} | {} | {memory} |",
            contender.name(),
            measured.rate(),
            measured.wal_per_row(),
            *rows as f64 / (*statements as f64).max(1.0),
            spread(&measured.alone),
            spread(&measured.beside),
        )
        .expect(INTO_STRING);
    }
    text.push_str(
        "\n| archiving alone | rows/s | MB/s of JSON | smaller than JSON | reading back and comparing |\n|---|---|---|---|---|\n",
    );
    for archived in &stage.archived {
        let Archived { name, rows, seconds, verify, json, bytes } = archived;
        let verify = verify.map_or("not done".to_owned(), |verify| format!("{:.0} rows/s", *rows as f64 / verify));
        let (rate, speed) = (*rows as f64 / seconds, json / seconds / 1e6);
        writeln!(text, "| {name} | {rate:.0} | {speed:.0} | {:.2} times | {verify} |", json / bytes).expect(INTO_STRING);
    }
}

fn spread(latencies: &Latencies) -> String {
    let part = |part| percentile(latencies, part);
    format!("{:.1} / {:.1} / {:.1} ms", part(0.5), part(0.95), part(0.99))
}
