//! Histories that broke earlier designs, one small test each, on a real PostgreSQL. Their numbers in the list that the design
//! keeps, and the tests:
//!
//! | no. | history | test |
//! |---|---|---|
//! | 2 | restart with more new than old | `a_partial_catch_up_goes_on_after_a_restart_and_deletions` |
//! | 6, 7 | a host's clock is ten minutes fast, or slow | `a_fast_clock_does_not_push_the_position`, `a_slow_clock_is_late_and_found` |
//! | 10 | a run is deleted and inserted again | `a_run_deleted_while_running_and_inserted_again_is_told_once`, `a_run_told_deleted_and_inserted_again_is_not_told_twice` |
//! | 11 | a late row and a deletion in the same minute | `a_late_row_is_found_although_another_one_went` |
//! | 12 | `retry` seen, then final | `a_retry_that_was_seen_is_told_once_and_final` |
//! | 13 | a message filled long after its run | `a_message_filled_after_its_run_is_told_with_its_tokens`, `a_message_filled_beyond_the_wait_is_told_once` |
//! | 14 | a stale `running` over `succeeded` | `a_stale_running_over_the_end_takes_it_back` |
//! | 16 | a zombie that ends after all | `a_zombie_that_ends_after_it_was_abandoned_is_told_once` |
//! | 17 | a resume with a new `created_at` | `a_resumed_run_with_a_new_time_is_one_run` |
//! | 18 | renamed, deleted, capped, restarted | `totals_survive_renames_deletions_the_cap_and_restarts` |
//! | 19 | a partial catch-up, then deletions | `a_partial_catch_up_goes_on_after_a_restart_and_deletions` |
//! | 20 | the schema is upgraded meanwhile | `an_upgrade_of_the_schema_is_followed` |
//! | 25 | like, dislike, withdrawn | `a_like_that_becomes_a_dislike_and_goes_is_three_events` |
//! | – | another database under the same URL | `another_database_is_followed_from_now_on` |
//!
//! 1 and 3 to 5 (crashes, births, replicas) are in the exporter's own tests and in `exactness.rs`; 8 and 9 (standbys) in the
//! follower's model; 15 is a question of cost.

use std::collections::BTreeMap;
use std::time::Duration;

use dify_exporter::catalogue;
use dify_exporter::store::{AppLabels, Labels, Scheme};
use dify_observe_core::dify::follow::{Closed, Detail, Event, FeedbackAction, FollowError, Kind, Start};
use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::dify::statistics;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::follow::FollowSettings;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::truth::Figures;
use uuid::Uuid;

use crate::watch::{Watch, short};

const A_WHILE: Duration = Duration::from_millis(2500);

async fn database(version: &str) -> anyhow::Result<TestDatabase> {
    Cluster::shared()?.database(&Schema::load(version)?).await
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// The server's clock, as Dify writes it.
const NOW: &str = "(clock_timestamp() AT TIME ZONE 'UTC')";

/// A run of app 1 that is `age` seconds old by its own time.
fn run(n: u128, status: &str, age: f64) -> String {
    run_of(1, n, status, age)
}

fn run_of(app: u128, n: u128, status: &str, age: f64) -> String {
    let finished = if matches!(status, "running" | "paused") { "NULL".to_owned() } else { format!("{NOW} - interval '{age} seconds'") };
    format!(
        "INSERT INTO workflow_runs (id, tenant_id, app_id, workflow_id, type, triggered_from, version, status, elapsed_time, total_tokens, \
         created_by_role, created_by, created_at, finished_at) VALUES ('{}', '{nil}', '{}', '{nil}', 'workflow', 'app-run', '1', '{status}', 1, 10, \
         'end_user', '{nil}', {NOW} - interval '{age} seconds', {finished});",
        id(n),
        id(app),
        nil = Uuid::nil(),
    )
}

fn end_run(n: u128) -> String {
    format!("UPDATE workflow_runs SET status = 'succeeded', elapsed_time = 7, finished_at = {NOW} WHERE id = '{}';", id(n))
}

fn delete_run(n: u128) -> String {
    format!("DELETE FROM workflow_runs WHERE id = '{}';", id(n))
}

fn node(n: u128, run: u128, status: &str) -> String {
    format!(
        "INSERT INTO workflow_node_executions (id, tenant_id, app_id, workflow_id, triggered_from, workflow_run_id, index, node_id, node_type, title, \
         status, created_by_role, created_by, created_at) VALUES ('{}', '{nil}', '{}', '{nil}', 'workflow-run', '{}', {n}, 'n{n}', 'code', 'Code', \
         '{status}', 'end_user', '{nil}', {NOW});",
        id(n),
        id(1),
        id(run),
        nil = Uuid::nil(),
    )
}

/// A chatflow's message, still empty.
fn message(n: u128, run: u128) -> String {
    format!(
        "INSERT INTO messages (id, app_id, conversation_id, workflow_run_id, inputs, query, message, message_unit_price, answer, answer_unit_price, \
         currency, from_source, created_at, updated_at) VALUES ('{}', '{}', '{}', '{}', '{{}}', 'q', '{{}}', 0, '', 0, 'USD', 'api', {NOW}, {NOW});",
        id(n),
        id(1),
        id(n),
        id(run),
    )
}

fn fill_message(n: u128) -> String {
    format!("UPDATE messages SET answer = 'a', message_tokens = 30, answer_tokens = 12, updated_at = {NOW} WHERE id = '{}';", id(n))
}

fn closed(told: &[Event]) -> Vec<(u128, String, Closed)> {
    let mut closed: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            Event::RunClosed { run, closed, .. } => Some((run.key.id.as_u128(), run.status.to_string(), *closed)),
            _ => None,
        })
        .collect();
    closed.sort_by_key(|(id, ..)| *id);
    closed
}

fn ids(told: &[Event]) -> Vec<u128> {
    closed(told).into_iter().map(|(id, ..)| id).collect()
}

fn started(told: &[Event]) -> Vec<u128> {
    let mut started: Vec<u128> =
        told.iter().filter_map(|event| if let Event::RunStarted(run) = event { Some(run.key.id.as_u128()) } else { None }).collect();
    started.sort_unstable();
    started
}

fn nodes(told: &[Event]) -> Vec<(u128, String)> {
    let nodes = told.iter().filter_map(|event| match event {
        Event::RunClosed { nodes, .. } | Event::NodesSettled { nodes, .. } => Some(nodes),
        _ => None,
    });
    let mut nodes: Vec<_> = nodes.flatten().map(|node| (node.id.as_u128(), node.status.to_string())).collect();
    nodes.sort();
    nodes
}

fn vanished(told: &[Event]) -> usize {
    told.iter().filter(|event| matches!(event, Event::Vanished(Kind::Run))).count()
}

fn message_tokens(told: &[Event]) -> Vec<i64> {
    let tokens = told.iter().filter_map(|event| match event {
        Event::MessageClosed { message, .. } => Some(message.message_tokens + message.answer_tokens),
        _ => None,
    });
    tokens.collect()
}

/// The sum of a family's series by app.
fn by_app(figures: &Figures, metric: &str) -> BTreeMap<u128, u64> {
    let mut sums = BTreeMap::new();
    for ((name, labels), value) in figures.iter().filter(|(_, value)| !value.is_zero()) {
        if name == metric {
            let app: u128 = labels["app_id"].parse::<Uuid>().map_or(0, |id| id.as_u128());
            *sums.entry(app).or_default() += u64::try_from(*value).unwrap_or(0);
        }
    }
    sums
}

#[tokio::test]
async fn a_fast_clock_does_not_push_the_position() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let mut watch = Watch::new(database.url(), short(), Start::Beginning)?;
    database.execute(&run(1, "succeeded", -600.0)).await?;
    watch.until("the run out of the future", |told| ids(told) == [1]).await?;
    let now: i64 = database.count("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").await?;
    let position = watch.state.as_ref().expect("there was a step").position();
    assert!(position.covered_until <= Micros(now), "{position:?}");
    // Those of the other hosts, and another one of this host.
    database.execute(&(run(2, "succeeded", 0.0) + &run(3, "failed", -600.0) + &run(4, "succeeded", -590.0))).await?;
    watch.until("the runs of all hosts", |told| ids(told).len() >= 4).await?;
    watch.restart(database.url(), short())?;
    watch.go_on(A_WHILE).await?;
    assert_eq!((ids(&watch.told), started(&watch.told)), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));
    Ok(())
}

#[tokio::test]
async fn a_slow_clock_is_late_and_found() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let settings =
        FollowSettings { trail: vec![Duration::from_secs(2), Duration::from_secs(602)], horizon: Duration::from_secs(700), ..short() };
    let mut watch = Watch::new(database.url(), settings, Start::Beginning)?;
    // A first step sees an empty table; its trailing walks have passed these times long ago, or will pass them soon.
    watch.drain().await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    watch.drain().await?;
    database.execute(&(run(1, "running", 600.0) + &run(2, "succeeded", 0.0))).await?;
    watch.until("the run of the slow host", |told| started(told) == [1, 2]).await?;
    database.execute(&end_run(1)).await?;
    // At that age it is read every 75 seconds only: not waited for. What counts is that it is known, once.
    watch.go_on(A_WHILE).await?;
    assert_eq!((started(&watch.told), watch.state.as_ref().map(|state| state.position().open)), (vec![1, 2], Some(vec![id(1)])));
    Ok(())
}

#[tokio::test]
async fn a_run_deleted_while_running_and_inserted_again_is_told_once() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let mut watch = Watch::new(database.url(), short(), Start::Beginning)?;
    database.execute(&run(1, "running", 0.0)).await?;
    watch.until("the start", |told| started(told) == [1]).await?;
    database.execute(&delete_run(1)).await?;
    watch.until("its absence", |told| vanished(told) == 1).await?;
    // Dify's worker writes the whole row when it ends.
    database.execute(&run(1, "succeeded", 4.0)).await?;
    watch.until("its end", |told| ids(told) == [1]).await?;
    watch.go_on(A_WHILE).await?;
    assert_eq!((started(&watch.told), ids(&watch.told), vanished(&watch.told)), (vec![1], vec![1], 1));
    Ok(())
}

#[tokio::test]
async fn a_run_told_deleted_and_inserted_again_is_not_told_twice() -> anyhow::Result<()> {
    for version in ["1.8.1", "1.12.1"] {
        let database = database(version).await?;
        let mut watch = Watch::new(database.url(), short(), Start::Beginning)?;
        database.execute(&run(1, "succeeded", 0.0)).await?;
        watch.until("its end", |told| ids(told) == [1]).await?;
        database.execute(&delete_run(1)).await?;
        watch.go_on(Duration::from_secs(1)).await?;
        database.execute(&run(1, "succeeded", 1.0)).await?;
        watch.go_on(A_WHILE).await?;
        assert_eq!((started(&watch.told), ids(&watch.told), vanished(&watch.told)), (vec![1], vec![1], 0), "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn a_late_row_is_found_although_another_one_went() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let mut watch = Watch::new(database.url(), short(), Start::Beginning)?;
    database.execute(&run(1, "succeeded", 0.0)).await?;
    watch.until("the first", |told| ids(told) == [1]).await?;
    watch.go_on(Duration::from_secs(1)).await?;
    // The number of rows of that minute stays the same.
    let late = format!("UPDATE workflow_runs SET id = '{}' WHERE id = '{}';", id(2), id(1));
    database.execute(&late).await?;
    watch.until("the late one", |told| ids(told) == [1, 2]).await?;
    watch.go_on(A_WHILE).await?;
    assert_eq!(ids(&watch.told), [1, 2]);
    Ok(())
}

#[tokio::test]
async fn a_retry_that_was_seen_is_told_once_and_final() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let mut watch = Watch::new(database.url(), short(), Start::Beginning)?;
    database.execute(&(run(1, "paused", 0.0) + &node(11, 1, "succeeded") + &node(12, 1, "retry"))).await?;
    watch.until("the node that is final", |told| nodes(told).len() == 1).await?;
    assert_eq!(nodes(&watch.told), [(11, "succeeded".to_owned())]);
    watch.restart(database.url(), short())?;
    let final_node = format!("UPDATE workflow_node_executions SET status = 'succeeded' WHERE id = '{}';", id(12));
    database.execute(&(final_node + &end_run(1))).await?;
    watch.until("the end", |told| ids(told) == [1]).await?;
    watch.go_on(A_WHILE).await?;
    assert_eq!(nodes(&watch.told), [(11, "succeeded".to_owned()), (12, "succeeded".to_owned())]);
    Ok(())
}

#[tokio::test]
async fn a_message_filled_after_its_run_is_told_with_its_tokens() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let settings = FollowSettings { interrupt_after: Duration::from_secs(30), ..short() };
    let mut watch = Watch::new(database.url(), settings, Start::Beginning)?;
    database.execute(&(run(1, "running", 0.0) + &message(21, 1))).await?;
    watch.until("the start", |told| started(told) == [1]).await?;
    database.execute(&end_run(1)).await?;
    watch.until("the end", |told| ids(told) == [1]).await?;
    watch.go_on(A_WHILE).await?;
    assert_eq!(message_tokens(&watch.told), Vec::<i64>::new(), "an empty message is waited for");
    database.execute(&fill_message(21)).await?;
    watch.until("the message", |told| message_tokens(told) == [42]).await?;
    watch.go_on(A_WHILE).await?;
    assert_eq!(message_tokens(&watch.told), [42]);
    Ok(())
}

#[tokio::test]
async fn a_message_filled_beyond_the_wait_is_told_once() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let settings = FollowSettings { interrupt_after: Duration::from_secs(1), ..short() };
    let mut watch = Watch::new(database.url(), settings, Start::Beginning)?;
    database.execute(&(run(1, "succeeded", 0.0) + &message(21, 1))).await?;
    watch.until("the message as it is", |told| message_tokens(told) == [0]).await?;
    database.execute(&fill_message(21)).await?;
    watch.go_on(A_WHILE).await?;
    assert_eq!(message_tokens(&watch.told), [0], "told once, as documented: at most follow.interrupt_after is waited");
    Ok(())
}

#[tokio::test]
async fn a_stale_running_over_the_end_takes_it_back() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let settings = FollowSettings { settle: Duration::from_secs(2), ..short() };
    let mut watch = Watch::new(database.url(), settings, Start::Beginning)?;
    database.execute(&run(1, "succeeded", 0.0)).await?;
    watch.until("the start", |told| started(told) == [1]).await?;
    database.execute(&format!("UPDATE workflow_runs SET status = 'running', finished_at = NULL WHERE id = '{}'", id(1))).await?;
    // It would have settled, had nothing come over it.
    watch.restart(database.url(), short())?;
    watch.go_on(A_WHILE).await?;
    assert_eq!(ids(&watch.told), Vec::<u128>::new());
    database.execute(&end_run(1)).await?;
    watch.until("the end", |told| ids(told) == [1]).await?;
    let elapsed =
        watch.told.iter().find_map(|event| if let Event::RunClosed { run, .. } = event { Some(run.elapsed_seconds) } else { None });
    assert_eq!((elapsed, started(&watch.told)), (Some(7.0), vec![1]));
    Ok(())
}

#[tokio::test]
async fn a_zombie_that_ends_after_it_was_abandoned_is_told_once() -> anyhow::Result<()> {
    for version in ["1.8.1", "1.12.1"] {
        let database = database(version).await?;
        let settings = FollowSettings { abandon_after: Duration::from_secs(2), ..short() };
        let mut watch = Watch::new(database.url(), settings.clone(), Start::Beginning)?;
        database.execute(&(run(1, "running", 0.0) + &run(2, "paused", 9.0) + &node(11, 1, "running"))).await?;
        watch.until("the end of patience", |told| closed(told) == [(1, "running".to_owned(), Closed::Abandoned)]).await?;
        database.execute(&end_run(1)).await?;
        watch.restart(database.url(), settings)?;
        watch.go_on(A_WHILE).await?;
        assert_eq!(closed(&watch.told), [(1, "running".to_owned(), Closed::Abandoned)], "{version}: and a paused one never is");
        let app = AppLabels { id: id(1), name: "deleted".into() };
        let count = |status: &str| watch.totals.counter(&catalogue::WORKFLOW_RUNS, Labels::of_app(&app, ["workflow", "app-run", status]));
        assert_eq!((count("abandoned"), count("succeeded"), count("running")), (1, 0, 0), "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn a_resumed_run_with_a_new_time_is_one_run() -> anyhow::Result<()> {
    for version in ["1.11.4", "1.12.1"] {
        let database = database(version).await?;
        let settings = FollowSettings { abandon_after: Duration::from_secs(8), ..short() };
        let mut watch = Watch::new(database.url(), settings.clone(), Start::Beginning)?;
        // Six days of waiting, by its own time.
        database.execute(&(run(1, "paused", 518_400.0) + &node(11, 1, "succeeded"))).await?;
        watch.until("what is final of it", |told| nodes(told).len() == 1).await?;
        watch.restart(database.url(), settings)?;
        let resumed = format!("UPDATE workflow_runs SET status = 'running', created_at = {NOW} WHERE id = '{}';", id(1));
        database.execute(&(resumed + &node(12, 1, "succeeded"))).await?;
        watch.go_on(Duration::from_millis(500)).await?;
        database.execute(&end_run(1)).await?;
        // It was waiting for six days, and is read again only every hour: a new process with a due check is not waited for, so
        // the run is shown again by its new time alone.
        watch.go_on(A_WHILE).await?;
        assert_eq!((started(&watch.told), vanished(&watch.told)), (vec![1], 0), "{version}");
        assert!(ids(&watch.told).len() <= 1, "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn totals_survive_renames_deletions_the_cap_and_restarts() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let app = |n: u128| {
        format!(
            "INSERT INTO apps (id, tenant_id, name, mode, enable_site, enable_api) VALUES ('{}', '{}', 'app {n}', 'workflow', true, true);",
            id(n),
            Uuid::nil()
        )
    };
    let scheme = Scheme { max_series: 12, ..Scheme::default() };
    let mut watch = Watch::capped(database.url(), short(), Start::Beginning, scheme)?;
    database.execute(&(1..=20).map(|n| app(n) + &run_of(n, n, "succeeded", 0.0)).collect::<String>()).await?;
    let mut stored = Stored::default();
    watch.until("all runs", |told| ids(told).len() == 20).await?;
    stored.scrape(&mut watch)?;
    assert_eq!(stored.increase, 20.into(), "the cap takes no record away");
    let before = watch.scrape()?;
    assert!(by_app(&before, "dify_workflow_runs_total").len() < 20, "{before:?}");

    watch.restart(database.url(), short())?;
    assert_eq!(watch.scrape()?, before);
    // App 1 has a new name, app 2 is gone; both have a run that comes to light now.
    let changes = format!("UPDATE apps SET name = 'other' WHERE id = '{}'; DELETE FROM apps WHERE id = '{}';", id(1), id(2));
    database.execute(&(changes + &run_of(1, 101, "succeeded", 0.0) + &run_of(2, 102, "succeeded", 0.0))).await?;
    watch.until("the new runs", |told| ids(told).len() == 22).await?;
    stored.scrape(&mut watch)?;
    watch.restart(database.url(), short())?;
    stored.scrape(&mut watch)?;
    assert_eq!(stored.increase, 22.into(), "{:?}", stored.last);
    Ok(())
}

/// Runs as a Prometheus has them: what the samples of each series rose by since its first.
#[derive(Default)]
struct Stored {
    last: Figures,
    increase: rust_decimal::Decimal,
}

impl Stored {
    /// As many scrapes as a series needs to be born, or to end.
    fn scrape(&mut self, watch: &mut Watch) -> anyhow::Result<()> {
        for _ in 0..8 {
            for (series, value) in watch.scrape()?.into_iter().filter(|((name, _), _)| name == "dify_workflow_runs_total") {
                let before = self.last.insert(series, value).unwrap_or(value);
                self.increase += if value < before { value } else { value - before };
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_partial_catch_up_goes_on_after_a_restart_and_deletions() -> anyhow::Result<()> {
    for version in ["1.8.1", "1.12.1"] {
        let database = database(version).await?;
        let settings = FollowSettings { page_rows: 10, ..short() };
        let mut watch = Watch::new(database.url(), settings.clone(), Start::Beginning)?;
        database.execute(&run(999, "succeeded", 5.0)).await?;
        watch.until("what was before the outage", |told| ids(told) == [999]).await?;
        // The outage: more came than fits into a step.
        database.execute(&(1..=50).map(|n| run(n, "succeeded", 0.0)).collect::<String>()).await?;
        let more = watch.try_step().await?;
        let caught_up = ids(&watch.told);
        assert!(more && caught_up.len() < 30, "{version}: {caught_up:?}");
        watch.restart(database.url(), settings)?;
        // Told and untold ones go, others come.
        database.execute(&(20..=40).map(delete_run).chain((60..=64).map(|n| run(n, "failed", 0.0))).collect::<String>()).await?;
        let mut expected: Vec<u128> = (1..20).chain(41..=50).chain(60..=64).chain(caught_up).collect();
        expected.sort_unstable();
        expected.dedup();
        watch.until("everything that is there or was told", |told| ids(told).len() >= expected.len()).await?;
        watch.go_on(A_WHILE).await?;
        assert_eq!((ids(&watch.told), vanished(&watch.told)), (expected.clone(), 0), "{version}");
        assert_eq!(started(&watch.told), expected, "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn an_upgrade_of_the_schema_is_followed() -> anyhow::Result<()> {
    let database = database("1.11.4").await?;
    let mut watch = Watch::new(database.url(), short(), Start::Beginning)?;
    database.execute(&(run(1, "succeeded", 0.0) + &node(11, 1, "succeeded") + &run(2, "running", 0.0))).await?;
    watch.until("the first run", |told| ids(told) == [1]).await?;
    // As from 1.11.4 to 1.12.1, and further than Dify ever went: columns and a whole table are gone.
    database
        .execute(
            "DROP INDEX workflow_node_execution_workflow_run_idx;
             CREATE INDEX workflow_node_execution_workflow_run_id_idx ON workflow_node_executions (workflow_run_id);
             ALTER TABLE workflow_runs ADD COLUMN brand_new text NOT NULL DEFAULT 'x';
             ALTER TABLE workflow_runs DROP COLUMN exceptions_count;
             ALTER TABLE messages DROP COLUMN invoke_from;
             DROP TABLE workflow_trigger_logs;",
        )
        .await?;
    database.execute(&(end_run(2) + &node(12, 2, "succeeded") + &message(21, 2) + &fill_message(21))).await?;
    let mut failed = 0;
    while ids(&watch.told) != [1, 2] || message_tokens(&watch.told) != [42] {
        match watch.try_step().await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(FollowError::Database(DatabaseError::SchemaChanged(_))) if failed < 5 => failed += 1,
            Err(error) => anyhow::bail!("after {failed} steps that noticed the upgrade: {error:?}"),
        }
    }
    assert!(failed > 0, "the upgrade was noticed by a statement that failed");
    watch.go_on(A_WHILE).await?;
    assert_eq!(nodes(&watch.told), [(11, "succeeded".to_owned()), (12, "succeeded".to_owned())]);
    assert_eq!((ids(&watch.told), started(&watch.told), message_tokens(&watch.told)), (vec![1, 2], vec![1, 2], vec![42]));
    Ok(())
}

#[tokio::test]
async fn a_like_that_becomes_a_dislike_and_goes_is_three_events() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let mut watch = Watch::new(database.url(), short(), Start::Now)?;
    let like = |n: u128| {
        format!(
            "INSERT INTO message_feedbacks (id, app_id, conversation_id, message_id, rating, from_source, created_at, updated_at) \
             VALUES ('{}', '{}', '{nil}', '{nil}', 'like', 'user', {NOW}, {NOW});",
            id(n),
            id(1),
            nil = Uuid::nil()
        )
    };
    database.execute(&like(31)).await?;
    watch.drain().await?;
    look_at_feedback(&mut watch).await?;
    for change in [
        like(32),
        format!("UPDATE message_feedbacks SET rating = 'dislike' WHERE id = '{}'", id(32)),
        "SELECT 1".to_owned(),
        "DELETE FROM message_feedbacks".to_owned(),
    ] {
        database.execute(&change).await?;
        look_at_feedback(&mut watch).await?;
        watch.restart(database.url(), short())?;
    }
    let actions: Vec<_> = watch
        .told
        .iter()
        .filter_map(|event| match event {
            Event::Feedback { feedback, action } if feedback.id == id(32) => Some((feedback.rating.to_string(), *action)),
            _ => None,
        })
        .collect();
    let expected = [("like", FeedbackAction::Created), ("dislike", FeedbackAction::Changed), ("dislike", FeedbackAction::Withdrawn)];
    assert_eq!(actions, expected.map(|(rating, action)| (rating.to_owned(), action)));
    let app = AppLabels { id: id(1), name: "deleted".into() };
    let count =
        |rating: &str, action: &str| watch.totals.counter(&catalogue::MESSAGE_FEEDBACKS, Labels::of_app(&app, [rating, "user", action]));
    // The one from before the start is nobody's creation, but its going is seen.
    assert_eq!(
        (count("like", "created"), count("dislike", "changed"), count("dislike", "withdrawn"), count("like", "withdrawn")),
        (1, 1, 1, 1)
    );
    Ok(())
}

async fn look_at_feedback(watch: &mut Watch) -> anyhow::Result<()> {
    let mut tx = watch.read().await?;
    let rows = statistics::feedbacks(&mut tx, Detail::Metrics, 1000).await?.unwrap_or_default();
    tx.end().await?;
    let state = watch.state.as_mut().expect("there was a step");
    let start = state.started_at();
    let events = state.feedbacks.compare(rows, start);
    Ok(watch.record(events).await?)
}

#[tokio::test]
async fn another_database_is_followed_from_now_on() -> anyhow::Result<()> {
    let (one, other) = (database("1.12.1").await?, database("1.17.1").await?);
    let mut watch = Watch::new(one.url(), short(), Start::Beginning)?;
    one.execute(&(run(1, "succeeded", 0.0) + &run(2, "running", 0.0))).await?;
    watch.until("the first database", |told| ids(told) == [1]).await?;
    other.execute(&(run(3, "succeeded", 5.0) + &run(4, "running", 5.0))).await?;
    watch.restart(other.url(), short())?;
    watch.drain().await?;
    assert_eq!(watch.other_databases, 1);
    other.execute(&(run(5, "succeeded", 0.0) + &end_run(4))).await?;
    watch.until("what ends from now on", |told| ids(told) == [1, 4, 5]).await?;
    watch.go_on(A_WHILE).await?;
    assert_eq!((ids(&watch.told), vanished(&watch.told), watch.other_databases), (vec![1, 4, 5], 0, 1));
    Ok(())
}
