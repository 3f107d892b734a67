//! The exporter as the role that deploy/postgres/exporter-role.sql makes: it has what it needs, and nothing else.

use std::path::{Path, PathBuf};

use dify_observe_tests::Schema;
use dify_observe_tests::pgbouncer::PgBouncer;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::exporter::{Exporter, Setup, load_history, traffic};

const HOUR: i64 = 3_600_000_000;

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/exporter-role.sql")
}

/// A database of a schema with traffic in it, readable by the role.
async fn granted(cluster: &Cluster, schema: &Schema, role: &str) -> TestDatabase {
    let database = cluster.database(schema).await.unwrap();
    cluster.role(role).await.unwrap();
    database.psql(&script(), &[("role", role)]).unwrap_or_else(|error| panic!("{}: {error:#}", schema.describe()));
    load_history(&database, 11, traffic(schema, 60, HOUR / 10, HOUR).unwrap()).await.unwrap();
    database
}

/// Nothing failed, and what is off said why.
async fn all_is_well(exporter: &Exporter, what: &str) {
    let metrics = exporter
        .scrape_until(&format!("{what}: runs, messages and tables"), |metrics| {
            metrics.value("dify_workflow_runs_total").is_some_and(|runs| runs > 0.0)
                && metrics.value("dify_messages_total").is_some_and(|messages| messages > 0.0)
                && metrics.value("dify_table_size_bytes").is_some()
        })
        .await
        .unwrap();
    let failed: Vec<_> = metrics.all("dify_exporter_collector_success").into_iter().filter(|(_, value)| *value != 1.0).collect();
    let log = exporter.process.stderr();
    assert!(failed.is_empty(), "{what}: {failed:?}\n{log}");
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{what}:\n{log}");
    assert_eq!(metrics.value("dify_up"), Some(1.0), "{what}");
}

#[tokio::test]
async fn on_every_schema_the_role_is_enough() {
    const ROLE: &str = "dify_observe_test_each";
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::all().unwrap() {
        let database = granted(cluster, &schema, ROLE).await;
        let setup = Setup::new(&database.url_as(ROLE)).with("DIFY_OBSERVE__EXPORTER__START", "beginning");
        let exporter = setup.start().await.unwrap();
        all_is_well(&exporter, &schema.describe()).await;
    }
}

#[tokio::test]
async fn the_role_is_enough_through_pgbouncer() {
    const ROLE: &str = "dify_observe_test_bounced";
    let cluster = Cluster::private(&[]).unwrap();
    let database = granted(&cluster, &Schema::load("1.12.1").unwrap(), ROLE).await;
    let bouncer = PgBouncer::start_as(cluster.server().unwrap(), 5, ROLE).unwrap();
    let setup = Setup::new(&bouncer.url(database.name())).with("DIFY_OBSERVE__EXPORTER__START", "beginning");
    let exporter = setup.start().await.unwrap();
    all_is_well(&exporter, "pgbouncer").await;
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = '{ROLE}'");
    assert!(database.count(&sessions).await.unwrap() > 0, "the exporter did not come as its role");
}

#[tokio::test]
async fn the_role_reads_no_content_and_writes_nothing() {
    const ROLE: &str = "dify_observe_test_curious";
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::all().unwrap() {
        let database = granted(cluster, &schema, ROLE).await;
        let mut role = PgConnection::connect(&database.url_as(ROLE)).await.unwrap();
        let mut refused = async |sql: &str| match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut role).await {
            Ok(_) => panic!("{}: allowed: {sql}", schema.describe()),
            Err(error) => {
                let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
                assert!(["42501", "25006"].contains(&code.as_str()), "{}: {sql}: {error}", schema.describe());
            }
        };
        for column in ["query", "answer", "message", "inputs"] {
            refused(&format!("SELECT {column} FROM messages")).await;
        }
        for column in ["inputs", "outputs", "graph"] {
            refused(&format!("SELECT {column} FROM workflow_runs")).await;
        }
        refused("SELECT session_id FROM end_users").await;
        refused("SELECT content FROM message_feedbacks").await;
        for table in ["accounts", "providers", "api_tokens", "tenants", "app_model_configs", "site"] {
            if schema.has_table(table) || table == "accounts" {
                refused(&format!("SELECT * FROM {table}")).await;
            }
        }
        // Also for a client that asks for a writing transaction.
        for sql in [
            "UPDATE workflow_runs SET status = 'x'",
            "DELETE FROM messages",
            "INSERT INTO tags (id) VALUES (gen_random_uuid())",
            "TRUNCATE workflow_runs",
            "CREATE TABLE mine (id int)",
            "DROP TABLE messages",
        ] {
            refused(&format!("SET default_transaction_read_only = off; {sql}")).await;
        }
    }
}

#[tokio::test]
async fn running_the_script_again_changes_nothing() {
    const ROLE: &str = "dify_observe_test_twice";
    let database = granted(Cluster::shared().unwrap(), &Schema::load("1.17.1").unwrap(), ROLE).await;
    let grants = || database.count("SELECT count(*) FROM information_schema.column_privileges WHERE grantee = 'dify_observe_test_twice'");
    let before = grants().await.unwrap();
    database.psql(&script(), &[("role", ROLE)]).unwrap();
    assert_eq!(grants().await.unwrap(), before);
    assert!(before > 50, "{before}");
}
