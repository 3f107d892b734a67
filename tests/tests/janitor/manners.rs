//! How the janitor treats a database that others use: locks, timeouts, statements, plans.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::references;
use dify_observe_tests::simulator::value::SECOND;
use dify_observe_tests::simulator::{Deletions, Faults, Options, Simulation, Target, live};
use dify_observe_tests::{Schema, seed};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::scene::{Scene, none};
use crate::setup::end;

/// What no statement of ours may hold on a table of Dify's: everything that stops its reads or writes.
const STRONG: [&str; 5] = ["ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"];

/// One look at what the janitor's sessions hold and are set to.
const LOOK: &str = "SELECT coalesce(string_agg(DISTINCT l.mode, ','), '') FROM pg_locks l JOIN pg_stat_activity a USING (pid)
  JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = 'public'::regnamespace
  WHERE a.datname = current_database() AND a.application_name LIKE 'dify-janitor%' AND l.granted";

/// Traffic as it comes: about ten requests a second.
async fn traffic(database: &TestDatabase, seed: u64, seconds: i64) -> anyhow::Result<tokio::task::JoinHandle<anyhow::Result<u64>>> {
    let options = Options {
        version: database.schema().version.parse()?,
        start: live::now() + SECOND,
        arrivals: 10 * seconds as u64,
        rate: 10.0,
        time_scale: 0.05,
        faults: Faults::default(),
        deletions: Deletions::none(),
        ..Options::default()
    };
    let simulation = Simulation::new(seed, options);
    let mut connection = database.connect().await?;
    let target = Target::probe(&mut connection).await?;
    for write in simulation.setup(seed) {
        target.apply(&mut connection, &write).await?;
    }
    let live = live::Live { url: database.url().to_owned(), connections: 4 };
    Ok(tokio::spawn(async move { live::run(&live, simulation, std::future::pending(), |_, _| {}).await }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lock_is_stronger_than_row_exclusive_while_dify_works() -> anyhow::Result<()> {
    let seed = seed("no_lock_is_stronger");
    // Every statement is logged with what it waited for; nothing of ours may wait long, nor make anybody wait.
    let cluster = Cluster::private(&[("log_statement", "all"), ("deadlock_timeout", "100ms"), ("log_line_prefix", "%a|%d|%p|")])?;
    let scene = Scene::on(&cluster, &Schema::load("1.12.1")?, seed, 400).await?;
    let writer = traffic(&scene.database, seed, 15).await?;
    let slow = scene.setup.twin()?.with("JANITOR__PACE", "300");
    let mut janitor = slow.start(&["run", "--execute"])?;
    let mut look = scene.database.connect().await?;
    let mut modes = BTreeMap::<String, u32>::new();
    while janitor.ended()?.is_none() {
        let held: String = sqlx::query_scalar(LOOK).fetch_one(&mut look).await?;
        for mode in held.split(',').filter(|mode| !mode.is_empty()) {
            *modes.entry(mode.to_owned()).or_default() += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let finished = end(janitor).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    writer.await??;
    eprintln!("locks seen: {modes:?}");
    ensure!(modes.contains_key("RowExclusiveLock"), "no deletion was seen at work: {modes:?}");
    ensure!(STRONG.iter().all(|mode| !modes.contains_key(*mode)), "{modes:?}");

    let log = std::fs::read_to_string(cluster.server()?.log_path())?;
    let ours = entries(&log, &format!("|{}|", scene.database.name()));
    ensure!(!ours.iter().any(|(_, text)| text.contains("still waiting for")), "the janitor waited longer than it may");
    let blamed = log.lines().any(|line| line.contains("still waiting for") && !line.starts_with("dify-janitor"));
    ensure!(!blamed, "Dify waited for more than 100 ms");
    // Each transaction that deletes has its timeouts first.
    let (mut timeouts, mut deletions, mut unset) = (BTreeMap::new(), 0, Vec::new());
    for (session, text) in ours {
        let (lock, statement) = timeouts.entry(session).or_insert((false, false));
        if text.contains(" begin") {
            (*lock, *statement) = (false, false);
        }
        *lock |= text.contains("lock_timeout");
        *statement |= text.contains("statement_timeout");
        if text.contains("delete from") {
            deletions += 1;
            unset.extend((!(*lock && *statement)).then_some(text));
        }
    }
    ensure!(deletions > 0, "no deletion is in the log: the test shows nothing");
    none("deletions without timeouts", &unset)?;
    scene.no_new_orphans().await
}

/// What the server logged about the janitor's sessions in a database: process and text, in lower case and one line each.
fn entries(log: &str, database: &str) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        if let Some(more) = line.strip_prefix('\t') {
            if let Some((_, text)) = entries.last_mut().filter(|_| inside) {
                text.push(' ');
                text.push_str(&more.to_lowercase());
            }
            continue;
        }
        inside = line.starts_with("dify-janitor") && line.contains(database);
        if inside {
            let session = line.split('|').nth(2).unwrap_or_default();
            entries.push((session.to_owned(), line.to_lowercase()));
        }
    }
    entries
}

/// Makes the large tables large, so that the planner has a choice: every row of the population many times, with ids of its own that
/// fit together.
async fn multiply(database: &TestDatabase, copies: u32) -> anyhow::Result<()> {
    let mut connection = database.connect().await?;
    let mut identities: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for reference in references(&mut connection).await? {
        identities.entry(reference.table.clone()).or_default().insert(reference.column.clone());
        identities.entry(reference.parent).or_default();
    }
    for (table, columns) in identities {
        let unique = [("workflow_runs", "sequence_number"), ("human_input_form_upload_files", "upload_file_id")];
        let mut fresh = vec!["'id', md5(id::text || copy)::uuid".to_owned()];
        fresh.extend(columns.iter().map(|column| format!("'{column}', md5({column}::text || copy)::uuid")));
        for (_, column) in unique.iter().filter(|(name, column)| *name == table && database.schema().column(name, column).is_some()) {
            let value =
                if *column == "sequence_number" { "sequence_number + copy * 1000000" } else { "md5(upload_file_id::text || copy)::uuid" };
            fresh.push(format!("'{column}', {value}"));
        }
        for column in ["access_token", "token"].iter().filter(|column| database.schema().column(&table, column).is_some()) {
            fresh.push(format!("'{column}', md5({column} || copy)"));
        }
        let row = format!("jsonb_populate_record(NULL::{table}, to_jsonb(t) || jsonb_build_object({}))", fresh.join(", "));
        let sql = format!(
            "INSERT INTO {table} SELECT more.* FROM {table} t, generate_series(1, {copies}) copy, LATERAL {row} more ON CONFLICT DO NOTHING"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.with_context(|| format!("more of {table}"))?;
    }
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await?;
    Ok(())
}

/// Tables of which a batch must never read every row.
const LARGE: [&str; 6] =
    ["workflow_runs", "workflow_node_executions", "messages", "conversations", "workflow_app_logs", "message_agent_thoughts"];

/// The sequential scans in a plan, by table.
fn scans(plan: &Value, found: &mut Vec<String>) {
    if plan["Node Type"] == "Seq Scan" {
        found.extend(plan["Relation Name"].as_str().map(str::to_owned));
    }
    for part in plan["Plans"].as_array().into_iter().flatten() {
        scans(part, found);
    }
}

/// Every plan of the janitor that the server wrote down: query and plan.
fn plans(log: &str, database: &str) -> anyhow::Result<Vec<Value>> {
    let mut plans = Vec::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !(line.starts_with("dify-janitor") && line.contains(&format!("|{database}|")) && line.contains("plan:")) {
            continue;
        }
        let mut text = String::new();
        while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
            text.push_str(more.trim_start_matches('\t'));
            text.push('\n');
        }
        plans.push(serde_json::from_str(&text).with_context(|| format!("a plan that is no JSON: {text:.300}"))?);
    }
    Ok(plans)
}

#[tokio::test]
async fn no_batch_reads_a_large_table_from_end_to_end() -> anyhow::Result<()> {
    let seed = seed("no_batch_reads_a_large_table");
    let settings = [
        ("shared_preload_libraries", "pg_stat_statements,auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_format", "json"),
        ("auto_explain.log_nested_statements", "on"),
        ("log_line_prefix", "%a|%d|"),
    ];
    let cluster = Cluster::private(&settings)?;
    // The oldest has the fewest indexes; one of the others takes its turn.
    let schemas = Schema::all()?;
    let others = schemas.len() - 1;
    for (number, schema) in schemas.into_iter().enumerate() {
        if !seed::soak() && number != 0 && number != 1 + seed as usize % others {
            continue;
        }
        let database = cluster.database(&schema).await?;
        let population = dify_observe_tests::retention::populate(&database, seed, 150, live::now()).await?;
        multiply(&database, seed::length(20, 200)).await?;
        let rules = dify_observe_tests::retention::Rules::varied(&population.apps);
        let mut scene = Scene::of(database, rules, schema.describe()).await?;
        for (key, value) in [("BATCH_BUNDLES", "2000"), ("TRANSACTION_ROWS", "5000")] {
            scene.setup.set(&format!("JANITOR__{key}"), value);
        }
        scene.database.count_statements().await?;
        scene.setup.prune().await?;
        let log = std::fs::read_to_string(cluster.server()?.log_path())?;
        let plans = plans(&log, scene.database.name())?;
        let deletes = plans.iter().filter(|plan| plan["Query Text"].as_str().is_some_and(|text| text.contains("DELETE"))).count();
        ensure!(deletes > 10, "{}: {deletes} plans of deletions were logged: the test shows nothing", scene.what);
        let mut complaints = BTreeSet::new();
        for plan in &plans {
            let mut found = Vec::new();
            scans(&plan["Plan"], &mut found);
            let query = plan["Query Text"].as_str().unwrap_or_default();
            complaints.extend(found.iter().filter(|table| LARGE.contains(&table.as_str())).map(|table| format!("{table}: {query:.400}")));
        }
        let used = scene.database.statement_use("DELETE FROM").await?;
        let gone: usize = scene.gone().await?.values().map(BTreeSet::len).sum();
        eprintln!("{}: {} plans, {} deletions of {gone} rows", scene.what, plans.len(), used.calls);
        none(&scene.what, &complaints.into_iter().collect::<Vec<_>>())?;
        ensure!(gone as i64 > 5 * used.calls, "{}: a statement deletes {} rows in the mean", scene.what, gone as i64 / used.calls.max(1));
        scene.no_new_orphans().await?;
    }
    Ok(())
}
