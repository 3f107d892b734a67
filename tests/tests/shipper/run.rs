//! `dify-shipper run`: everything once, the endpoints, the end.

use std::time::{Duration, Instant};

use anyhow::ensure;
use dify_observe_tests::{Schema, seed};
use serde_json::Value;

use crate::scene::{ABANDON, Setup, differences, documents, expected, history, ids, none, traffic, write};

#[tokio::test]
async fn once_ships_what_is_final_now_on_every_schema() -> anyhow::Result<()> {
    let seed = seed("once_ships_what_is_final_now");
    let mut schemas = Schema::all()?;
    if !dify_observe_tests::seed::soak() {
        // The oldest, one without an index on the time of runs, one with, and the newest.
        schemas.retain(|schema| ["1.2.0", "1.8.1", "1.12.1", "1.17.1"].contains(&schema.version.as_str()));
    }
    ensure!(schemas.len() >= 4, "{} schemas", schemas.len());
    for schema in schemas {
        let database = history(&schema, seed, 60).await?;
        let (key, value) = ABANDON;
        let setup = Setup::new(database.url())?.with_stdout().with(key, value).with("SHIPPER__START", "beginning");
        let finished = setup.succeed(&["run", "--once"]).await?;
        let shipped = ids(&documents(&finished.stdout)?);
        none(&schema.describe(), &differences(&expected(&database).await?, &shipped))?;
    }
    Ok(())
}

#[tokio::test]
async fn once_waits_until_what_has_just_ended_has_settled() -> anyhow::Result<()> {
    let schema = Schema::load("1.12.1")?;
    let database = history(&schema, 3, 40).await?;
    let now = "(clock_timestamp() AT TIME ZONE 'UTC')";
    database.execute(&format!("UPDATE workflow_runs SET finished_at = {now}, created_at = {now} WHERE status = 'succeeded'")).await?;
    let setup = Setup::new(database.url())?.with_stdout().with("FOLLOW__SETTLE", "2s");
    let shipped = ids(&documents(&setup.succeed(&["run", "--once"]).await?.stdout)?);
    let young = database.count("SELECT count(*) FROM workflow_runs WHERE status = 'succeeded'").await?;
    ensure!(young > 5 && shipped["workflow_run"].len() as i64 >= young, "{} of {young}", shipped["workflow_run"].len());
    Ok(())
}

#[tokio::test]
async fn live_traffic_is_shipped_as_it_ends() -> anyhow::Result<()> {
    let seed = seed("live_traffic_is_shipped");
    let schema = Schema::load("1.14.2")?;
    let database = history(&schema, seed, 30).await?;
    let setup = Setup::new(database.url())?.with_stdout();
    let mut shipper = setup.serve().await?;
    let (arrivals, rate) = dify_observe_tests::seed::length((80, 12.0), (800, 12.0));
    write(&database, seed, traffic(&schema, arrivals, rate)?).await?.await??;
    let mut left = Vec::new();
    for _ in 0..240 {
        left = differences(&expected_ended(&database).await?, &ids(&documents(&shipper.stdout())?));
        left.retain(|difference| !difference.ends_with("is not expected"));
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    none(&format!("seed {seed}\n{}", shipper.stderr()), &left)?;

    let position: Value = serde_json::from_str(&setup.wait_for("/position", |status, _| status == 200).await?)?;
    let open = database.count("SELECT count(*) FROM workflow_runs WHERE status IN ('running', 'paused')").await?;
    let listed = position["open"].as_array().map_or(0, Vec::len) as i64;
    ensure!(listed >= open, "{listed} of {open} open runs are listed: {position}");
    ensure!(position["sinks"]["out"]["covered_until"] == position["covered_until"], "{position}");
    let covered = position["covered_until"].as_str().unwrap_or_default().parse::<chrono::DateTime<chrono::Utc>>()?;
    let behind = chrono::Utc::now() - covered;
    ensure!(behind.num_seconds() < 60, "covered until {covered}, {behind} behind");

    let (status, ready) = setup.get("/readyz").await?;
    ensure!(status == 200 && ready.contains("sinks: ok"), "{status} {ready}");
    let (_, metrics) = setup.get("/metrics").await?;
    for name in [
        "dify_shipper_documents_total{kind=\"message\",sink=\"out\",result=\"written\"}",
        "dify_shipper_leader 1",
        "dify_shipper_database_up 1",
        "dify_shipper_sink_up{sink=\"out\"} 1",
        "dify_shipper_lag_seconds{kind=\"runs\",sink=\"out\"}",
    ] {
        ensure!(metrics.contains(name), "{name} is missing in\n{metrics}");
    }
    let (_, page) = setup.get("/").await?;
    ensure!(page.contains("sink out (stdout)") && page.contains("shipping"), "{page}");

    let asked = Instant::now();
    shipper.terminate()?;
    let ended = shipper.wait().await?;
    ensure!(ended.code() == Some(0), "{ended}\n{}", shipper.stderr());
    ensure!(asked.elapsed() < Duration::from_secs(10), "it took {:?} to end", asked.elapsed());
    Ok(())
}

/// What has ended, by SQL: what is running now may be shipped soon, or never.
async fn expected_ended(database: &dify_observe_tests::postgres::TestDatabase) -> anyhow::Result<crate::scene::Ids> {
    let mut all = expected(database).await?;
    let mut connection = database.connect().await?;
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT id::text FROM workflow_runs WHERE status IN ('running', 'paused') UNION ALL \
         SELECT node.id::text FROM workflow_node_executions node JOIN workflow_runs run ON run.id = node.workflow_run_id \
         WHERE run.status IN ('running', 'paused') UNION ALL \
         SELECT message.id::text FROM messages message WHERE message.answer = '' OR message.workflow_run_id IN \
         (SELECT id FROM workflow_runs WHERE status IN ('running', 'paused'))",
    )
    .fetch_all(&mut connection)
    .await?;
    for ids in all.values_mut() {
        ids.retain(|id| !open.contains(id));
    }
    Ok(all)
}

#[tokio::test]
async fn of_two_instances_one_ships_and_the_other_takes_over() -> anyhow::Result<()> {
    let seed = seed("of_two_instances_one_ships");
    let schema = Schema::load("1.12.1")?;
    let database = history(&schema, seed, 40).await?;
    let (first, second) = (Setup::new(database.url())?.with_stdout(), Setup::new(database.url())?.with_stdout());
    let mut leader = first.serve().await?;
    first.wait_for("/metrics", |_, text| text.contains("dify_shipper_leader 1")).await?;
    let standby = second.serve().await?;
    second.wait_for("/metrics", |_, text| text.contains("dify_shipper_leader 0") && text.contains("database_up 1")).await?;
    let page = second.wait_for("/", |_, text| text.contains("another instance ships")).await?;
    ensure!(page.contains("standby"), "{page}");
    second.wait_for("/readyz", |status, _| status == 200).await?;
    ensure!(second.get("/position").await?.0 == 503, "a standby covers nothing");
    ensure!(standby.stdout().is_empty(), "a standby ships nothing");
    let once = first.run(&["run", "--once"]).await?;
    ensure!(once.code == Some(75), "{:?} {}", once.code, once.stderr);

    first.wait_for("/position", |status, _| status == 200).await?;
    leader.kill().await?;
    second.wait_for("/metrics", |_, text| text.contains("dify_shipper_leader 1")).await?;
    second.wait_for("/position", |status, _| status == 200).await?;
    ensure!(!standby.stdout().is_empty(), "it ships now");
    Ok(())
}

#[tokio::test]
async fn each_sink_is_given_what_its_filter_lets_pass() -> anyhow::Result<()> {
    let seed = seed("each_sink_is_given_what_its_filter_lets_pass");
    let schema = Schema::load("1.12.1")?;
    let database = history(&schema, seed, 40).await?;
    let setup = Setup::new(database.url())?.with_stdout();
    let setup = setup.with("SHIPPER__SINKS__OUT__KINDS", "workflow_run,feedback").with("SHIPPER__SINKS__OUT__STATUSES", "succeeded");
    let shipped = documents(&setup.succeed(&["run", "--once"]).await?.stdout)?;
    let succeeded = database.count("SELECT count(*) FROM workflow_runs WHERE status = 'succeeded'").await?;
    let all = database.count("SELECT count(*) FROM workflow_runs").await?;
    ensure!(shipped.len() as i64 == succeeded && (1..all).contains(&succeeded), "{} of {succeeded} of {all}", shipped.len());
    Ok(())
}
