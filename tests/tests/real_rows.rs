//! What a real Dify wrote can be loaded, and its change log leads to the same rows.

use dify_observe_tests::Schema;
use dify_observe_tests::fixtures::{self, LOGGED_TABLES, LOGGED_VERSION, REAL_VERSIONS};
use dify_observe_tests::postgres::{Cluster, TestDatabase};

#[tokio::test]
async fn real_rows_load() {
    let cluster = Cluster::shared().unwrap();
    for version in REAL_VERSIONS {
        let database = cluster.database(&Schema::load(version).unwrap()).await.unwrap();
        let loaded = fixtures::load_real_rows(&database, version).await.unwrap();
        // The facts about the schemas leave out the settings of plugin updates.
        assert_eq!(loaded.skipped.into_iter().collect::<Vec<_>>(), ["tenant_plugin_auto_upgrade_strategies"]);
        let nodes = database.count("SELECT count(*) FROM workflow_node_executions").await.unwrap();
        assert_eq!(nodes, if version == "1.8.1" { 597 } else { 415 });
    }
}

#[tokio::test]
async fn a_replay_of_the_change_log_ends_with_the_real_rows() {
    let cluster = Cluster::shared().unwrap();
    let schema = Schema::load(LOGGED_VERSION).unwrap();
    let dumped = cluster.database(&schema).await.unwrap();
    fixtures::load_real_rows(&dumped, LOGGED_VERSION).await.unwrap();
    let replayed = cluster.database(&schema).await.unwrap();
    fixtures::load_real_rows_except(&replayed, LOGGED_VERSION, &LOGGED_TABLES).await.unwrap();
    let mut connection = replayed.connect().await.unwrap();
    for transaction in fixtures::transactions().unwrap() {
        transaction.replay(&mut connection, &schema).await.unwrap();
    }
    for (table, columns) in [
        ("workflow_runs", "id, status, elapsed_time, total_tokens, error, created_at, finished_at"),
        ("workflow_node_executions", "id, status, elapsed_time, error, created_at, finished_at, workflow_run_id"),
        ("messages", "id, status, answer_tokens, message_tokens, total_price, provider_response_latency, workflow_run_id"),
        ("message_feedbacks", "id, rating, message_id"),
        ("conversations", "id, status, created_at"),
        ("workflow_app_logs", "id, workflow_run_id"),
        ("message_agent_thoughts", "id, tool, tokens, latency"),
    ] {
        let (expected, found) = (rows(&dumped, table, columns).await, rows(&replayed, table, columns).await);
        assert_eq!(found.len(), expected.len(), "{table}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{table}");
        }
    }
}

#[tokio::test]
async fn real_statistics_are_about_the_real_apps() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load(LOGGED_VERSION).unwrap()).await.unwrap();
    fixtures::load_real_rows(&database, LOGGED_VERSION).await.unwrap();
    let statistics = fixtures::statistics().unwrap();
    assert!(statistics.len() > 100, "{}", statistics.len());
    let known = rows(&database, "apps", "id").await;
    for statistic in statistics {
        assert!(known.contains(&format!("({})", statistic.app_id)), "{statistic:?}");
    }
}

async fn rows(database: &TestDatabase, table: &str, columns: &str) -> Vec<String> {
    let mut connection = database.connect().await.expect("the database is there");
    let sql = format!("SELECT ROW({columns})::text FROM {table} ORDER BY id");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.expect("the table can be read")
}
