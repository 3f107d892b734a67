//! The role that deploy/postgres makes is enough, for every version, and for no more than is said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dify_exporter::check;
use dify_observe_core::dify::session::Database;
use dify_observe_core::finding::{Level, Report};
use dify_observe_core::settings::Settings;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::{Schema, fixtures};

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/exporter-role.sql")
}

/// Roles belong to the cluster, so each test has its own.
fn grant(database: &TestDatabase, role: &str) {
    database.psql(&script(), &[("role", role)]).unwrap();
}

fn settings() -> Settings {
    Settings::default()
}

#[tokio::test]
async fn check_finds_nothing_missing_for_the_role_on_every_version() {
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::all().unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        grant(&database, "reader_of_every_version");
        let report = inspect(&database, "reader_of_every_version").await;
        let rights: Vec<_> = report.findings.iter().filter(|f| f.subject == "rights").collect();
        assert!(rights.iter().all(|finding| finding.level == Level::Ok), "{}: {rights:#?}", schema.version);
        assert!(report.findings.iter().all(|finding| finding.level < Level::Error), "{}: {:#?}", schema.version, report.findings);
        assert!(!report.not_dify);
    }
}

#[tokio::test]
async fn mutated_schemas_are_granted_and_checked_too() {
    let cluster = Cluster::shared().unwrap();
    let first = dify_observe_tests::seed("mutated_schemas_are_granted_and_checked_too");
    let versions = Schema::all().unwrap();
    for (offset, version) in versions.iter().enumerate() {
        let schema = version.mutated(first + offset as u64);
        let database = cluster.database(&schema).await.unwrap();
        grant(&database, "reader_of_mutations");
        let report = inspect(&database, "reader_of_mutations").await;
        assert!(!report.not_dify, "{}: {:#?}", schema.describe(), report.findings);
    }
}

#[tokio::test]
async fn content_and_secrets_stay_closed() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load("1.8.1").unwrap()).await.unwrap();
    fixtures::load_real_rows(&database, "1.8.1").await.unwrap();
    grant(&database, "reader_without_content");
    let reader = sqlx::PgPool::connect(&database.url_as("reader_without_content")).await.unwrap();
    for denied in [
        "SELECT password FROM accounts",
        "SELECT email FROM accounts",
        "SELECT query FROM messages",
        "SELECT answer FROM messages",
        "SELECT inputs FROM messages",
        "SELECT inputs FROM workflow_runs",
        "SELECT graph FROM workflow_runs",
        "SELECT content FROM message_feedbacks",
        "SELECT session_id FROM end_users",
        "SELECT token FROM api_tokens",
        "SELECT encrypted_config FROM provider_credentials",
    ] {
        let error = sqlx::query(denied).fetch_all(&reader).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{denied}: {error}");
    }
    for written in ["DELETE FROM messages", "CREATE TABLE mine (a int)", "UPDATE apps SET name = 'x'"] {
        assert!(sqlx::query(written).execute(&reader).await.is_err(), "{written}");
    }
    reader.close().await;
}

#[tokio::test]
async fn a_role_without_rights_gets_the_statements_that_mend_it() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    database.execute("DROP ROLE IF EXISTS reader_of_nothing; CREATE ROLE reader_of_nothing LOGIN").await.unwrap();
    let report = inspect(&database, "reader_of_nothing").await;
    assert!(report.not_dify);
    let mend = report.findings.iter().filter(|finding| finding.level == Level::Error).find_map(|finding| finding.mend.clone()).unwrap();
    // What check prints is all that is needed to go on.
    database.execute(&mend).await.unwrap();
    let report = inspect(&database, "reader_of_nothing").await;
    assert!(!report.not_dify, "{:#?}", report.findings);
    assert!(report.findings.iter().all(|finding| finding.subject != "rights" || finding.level == Level::Ok), "{:#?}", report.findings);
}

async fn inspect(database: &TestDatabase, role: &str) -> Report {
    let database = Database::new(database.url_as(role).parse().unwrap(), Duration::from_secs(10));
    check::inspect(&database, &settings()).await.unwrap()
}
