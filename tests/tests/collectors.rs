//! The slow collectors, as the role that deploy/postgres makes, on every version.

use std::path::Path;
use std::time::Duration;

use dify_exporter::catalogue;
use dify_exporter::collectors::{Collectors, Findings};
use dify_exporter::store::Scheme;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::statistics::CompletedDocuments;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::Settings;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::{Schema, fixtures};

async fn round(database: &TestDatabase, role: &str) -> Findings {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/exporter-role.sql");
    database.psql(&script, &[("role", role)]).unwrap();
    let mut settings = Settings::default();
    settings.exporter.console_statistics = true;
    let pool = Database::new(database.url_as(role).parse().unwrap(), Duration::from_secs(10));
    Collectors::new(pool, &settings, Scheme::default()).round(&CompletedDocuments::since(Micros::MIN)).await.unwrap()
}

#[tokio::test]
async fn every_collector_succeeds_on_every_version() {
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::all().unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        let findings = round(&database, "collector_of_every_version").await;
        let failed: Vec<_> = findings.reports.iter().filter(|report| !report.success).collect();
        assert!(failed.is_empty(), "{}: {failed:?}", schema.version);
        assert!(findings.reports.len() >= 10, "{}: {:?}", schema.version, findings.reports);
        assert_eq!(findings.feedbacks.map(|rows| rows.len()), Some(0), "{}", schema.version);
    }
}

#[tokio::test]
async fn the_real_rows_are_all_there() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load("1.8.1").unwrap()).await.unwrap();
    fixtures::load_real_rows(&database, "1.8.1").await.unwrap();
    database.execute("ANALYZE").await.unwrap();
    let findings = round(&database, "collector_of_real_rows").await;
    let sum = |family| findings.gauges.series(family).map(|(_, value)| value).sum::<f64>();
    for (family, sql) in [
        (&catalogue::DOCUMENTS, "SELECT count(*) FROM documents"),
        (&catalogue::UPLOAD_FILES, "SELECT sum(size)::bigint FROM upload_files"),
        (&catalogue::APP, "SELECT count(*) FROM apps"),
        (&catalogue::DATASET, "SELECT count(*) FROM datasets"),
        (&catalogue::DATABASE_CONNECTIONS_MAX, "SELECT current_setting('max_connections')::bigint"),
    ] {
        assert_eq!(sum(family), database.count(sql).await.unwrap() as f64, "{}", family.name);
    }
    let size = database.count("SELECT pg_total_relation_size('messages')").await.unwrap() as f64;
    let messages = findings.gauges.series(&catalogue::TABLE_SIZE).filter(|(labels, _)| &*labels[0] == "messages");
    assert_eq!(messages.map(|(_, bytes)| bytes).sum::<f64>(), size);
    assert_eq!(findings.feedbacks.unwrap().len() as i64, database.count("SELECT count(*) FROM message_feedbacks").await.unwrap());
    let documents = findings.documents.unwrap().1.len() as i64;
    assert_eq!(documents, database.count("SELECT count(*) FROM documents WHERE completed_at IS NOT NULL").await.unwrap());
}
