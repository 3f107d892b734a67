//! `advise`: what it prints can be pasted, and when that is done it has no more to say.

use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::Rules;
use serde_json::Value;

use crate::roles::grant;
use crate::setup::Setup;

/// Advice on indexes and settings; what the machine's own server is set to is left out.
async fn advice(setup: &Setup, topic: &str) -> anyhow::Result<Vec<Value>> {
    let finished = setup.succeed(&["advise", "--format", "json"]).await?;
    let all: Value = serde_json::from_str(&finished.stdout)?;
    Ok(all["advice"].as_array().cloned().unwrap_or_default().into_iter().filter(|advice| advice["topic"] == topic).collect())
}

fn statements(advice: &Value) -> Vec<String> {
    let all = advice["statements"].as_array().cloned().unwrap_or_default();
    all.iter().filter_map(Value::as_str).flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Runs them one by one, as a person pastes them: CONCURRENTLY does not go inside a transaction.
async fn paste(database: &TestDatabase, statements: &[String]) -> anyhow::Result<()> {
    for statement in statements.iter().filter(|line| !line.starts_with("--")) {
        database.execute(statement).await?;
    }
    Ok(())
}

/// Roles belong to the cluster, so each test has its own.
async fn planner(database: &TestDatabase, role: &str) -> anyhow::Result<Setup> {
    let url = grant(Cluster::shared()?, database, role, false).await?;
    Setup::new(&url, &Rules::default())
}

/// Rows enough for an index to be worth its price; of each table only what may not be empty.
const MANY_ROWS: &str = "
    INSERT INTO workflow_runs (id, tenant_id, app_id, workflow_id, type, triggered_from, version, status, created_by_role, created_by, sequence_number)
    SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'workflow', 'app-run', '1', 'succeeded', 'account',
           gen_random_uuid(), n FROM generate_series(1, 60000) n;
    INSERT INTO workflow_app_logs (id, tenant_id, app_id, workflow_id, workflow_run_id, created_from, created_by_role, created_by)
    SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'service-api', 'account',
           gen_random_uuid() FROM generate_series(1, 60000) n;
    ANALYZE workflow_runs; ANALYZE workflow_app_logs";

#[tokio::test]
async fn indexes_that_are_missing_can_be_pasted_and_are_not_missed_again() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.2.0")?).await?;
    let setup = planner(&database, "dify_observe_test_advised_indexes").await?;
    assert_eq!(advice(&setup, "index").await?, Vec::<Value>::new(), "small tables need none");
    database.execute(MANY_ROWS).await?;
    let missing = advice(&setup, "index").await?;
    let tables: Vec<&str> = missing.iter().filter_map(|advice| advice["table"].as_str()).collect();
    assert_eq!(tables, ["workflow_runs", "workflow_app_logs"], "{missing:#?}");
    for advice in &missing {
        assert!(advice["why"].as_str().unwrap().contains("60000 rows") && advice["price"].as_str().unwrap().contains("MiB"), "{advice:#}");
        paste(&database, &statements(advice)).await?;
    }
    assert_eq!(advice(&setup, "index").await?, Vec::<Value>::new());
    // Dify is upgraded, and brings its own: ours is in the way of nothing, and of no use.
    database.execute("CREATE INDEX workflow_run_created_at_id_idx ON workflow_runs (created_at, id)").await?;
    let double = advice(&setup, "index").await?;
    assert_eq!(double.len(), 1, "{double:#?}");
    assert_eq!(statements(&double[0]), ["DROP INDEX CONCURRENTLY dify_observe_workflow_runs_created_at_id;"]);
    paste(&database, &statements(&double[0])).await?;
    assert_eq!(advice(&setup, "index").await?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test]
async fn an_index_whose_build_failed_is_dropped_first() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.2.0")?).await?;
    let setup = planner(&database, "dify_observe_test_advised_failed").await?;
    database.execute(MANY_ROWS).await?;
    // A unique index over equal values fails and stays behind, as any build that is cancelled does.
    let failed = database
        .execute("CREATE UNIQUE INDEX CONCURRENTLY dify_observe_workflow_app_logs_workflow_run_id ON workflow_app_logs (created_from)")
        .await;
    assert!(failed.is_err());
    let found = advice(&setup, "index").await?;
    let dropped = found.iter().find(|advice| advice["table"] == "workflow_app_logs").unwrap();
    assert_eq!(statements(dropped), ["DROP INDEX CONCURRENTLY dify_observe_workflow_app_logs_workflow_run_id;"], "{found:#?}");
    Ok(())
}

#[tokio::test]
async fn what_difys_cleaner_left_in_the_servers_memory_is_seen() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
    let setup = planner(&database, "dify_observe_test_advised_cleaners").await?;
    assert_eq!(advice(&setup, "dify").await?, Vec::<Value>::new());
    database.count_statements().await?;
    // What deleting an app does is no cleaner.
    database.execute("DELETE FROM messages WHERE app_id = '00000000-0000-0000-0000-000000000001'").await?;
    assert_eq!(advice(&setup, "dify").await?, Vec::<Value>::new());
    database.execute("DELETE FROM messages WHERE messages.id IN ('00000000-0000-0000-0000-000000000001')").await?;
    let seen = advice(&setup, "dify").await?;
    assert!(seen.len() == 1 && seen[0]["why"].as_str().unwrap().contains("1 of their statements"), "{seen:#?}");
    assert!(statements(&seen[0]).contains(&"ENABLE_CLEAN_MESSAGES=false".to_owned()));
    Ok(())
}

#[tokio::test]
async fn it_reads_as_numbered_advice() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.8.1")?).await?;
    let finished = planner(&database, "dify_observe_test_advised_printed").await?.succeed(&["advise"]).await?;
    assert!(finished.stdout.starts_with("1. see to it that Dify's own cleaners are off\n   why    in Dify 1.8.1"), "{}", finished.stdout);
    assert!(finished.stdout.contains("     WORKFLOW_LOG_CLEANUP_ENABLED=false\n"), "{}", finished.stdout);
    assert!(finished.stdout.ends_with("nothing was executed\n"), "{}", finished.stdout);
    Ok(())
}
