//! Every Dify version of the test set can be created, and so can what no Dify ever was.

use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::{Schema, seed};
use sqlx::{Connection as _, PgConnection};

#[tokio::test]
async fn every_version_creates_and_reads_back_as_it_was_written() {
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::all().unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        let tables = database.count("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await.unwrap();
        assert_eq!(tables, schema.tables.len() as i64, "{}", schema.version);
        let mut connection = database.connect().await.unwrap();
        let found = Schema::read(&mut connection, &schema.version).await.unwrap();
        for (name, table) in &schema.tables {
            assert_eq!(found.tables.get(name), Some(table), "{name} of {}", schema.version);
        }
        assert_eq!(found, schema, "{}", schema.version);
        let head = database.count(&format!("SELECT count(*) FROM alembic_version WHERE version_num = '{}'", schema.alembic)).await.unwrap();
        assert_eq!(head, 1, "{}", schema.version);
    }
}

#[tokio::test]
async fn every_mutated_schema_creates() {
    let cluster = Cluster::shared().unwrap();
    let first = seed("every_mutated_schema_creates");
    let versions = Schema::all().unwrap();
    for offset in 0..20 {
        let schema = versions[offset % versions.len()].mutated(first + offset as u64);
        let database = cluster.database(&schema).await.unwrap_or_else(|error| panic!("{}: {error:#}", schema.describe()));
        let tables = database.count("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await.unwrap();
        assert_eq!(tables, schema.tables.len() as i64, "{}", schema.describe());
    }
}

#[tokio::test]
async fn the_exporters_role_reads_runs_and_neither_accounts_nor_writes() {
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::test_set(seed("the_exporters_role_reads_runs_and_neither_accounts_nor_writes")).unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        let url = database.exporter_role().unwrap();
        let mut reader = PgConnection::connect(&url).await.unwrap();
        for (sql, allowed) in [
            ("SELECT id, status, created_at, finished_at FROM workflow_runs", true),
            ("SELECT id, status FROM workflow_node_executions", true),
            ("SELECT graph FROM workflow_runs", false),
            ("SELECT email FROM accounts", false),
            ("DELETE FROM workflow_runs", false),
        ] {
            let done = sqlx::query(sql).execute(&mut reader).await;
            assert_eq!(done.is_ok(), allowed, "{sql} on {}: {done:?}", schema.describe());
        }
    }
}
