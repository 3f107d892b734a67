//! The role that deploy/postgres/shipper-role.sql makes is enough, for every version, and can write nothing.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::{Schema, seed};
use serde_json::Value;

use crate::scene::{ABANDON, Setup, differences, documents, expected, history, ids, none};

const ROLE: &str = "dify_observe_test_shipper";

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/shipper-role.sql")
}

async fn grant(database: &TestDatabase) -> anyhow::Result<String> {
    Cluster::shared()?.role(ROLE).await?;
    database.psql(&script(), &[("role", ROLE)])?;
    Ok(database.url_as(ROLE))
}

#[tokio::test]
async fn the_role_is_enough_for_every_document_and_for_check() -> anyhow::Result<()> {
    let seed = seed("the_role_is_enough_for_every_document");
    let versions = seed::length(vec!["1.2.0", "1.11.4", "1.17.1"], Vec::new());
    for schema in Schema::all()?.into_iter().filter(|schema| versions.is_empty() || versions.contains(&schema.version.as_str())) {
        let database = history(&schema, seed, 40).await?;
        let setup = Setup::new(&grant(&database).await?)?.with_stdout().with(ABANDON.0, ABANDON.1);
        let finished = setup.succeed(&["run", "--once"]).await?;
        ensure!(!finished.stderr.contains("permission denied"), "{}", finished.stderr);
        none(&schema.describe(), &differences(&expected(&database).await?, &ids(&documents(&finished.stdout)?)))?;
        let report: Value = serde_json::from_str(&setup.succeed(&["check", "--format", "json"]).await?.stdout)?;
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let rights: Vec<&Value> = findings.iter().filter(|finding| finding["subject"] == "rights").collect();
        ensure!(rights.len() == 1 && rights[0]["level"] == "ok", "{}: {rights:?}", schema.describe());
    }
    Ok(())
}

#[tokio::test]
async fn the_role_can_write_nothing_and_read_no_secret() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
    let reader = sqlx::PgPool::connect(&grant(&database).await?).await?;
    for sql in [
        "DELETE FROM messages",
        "UPDATE workflow_runs SET status = 'failed'",
        "INSERT INTO message_feedbacks (id) VALUES (gen_random_uuid())",
        "CREATE TABLE x ()",
        "SELECT * FROM accounts",
        "SELECT * FROM provider_credentials",
        "SELECT * FROM api_tokens",
    ] {
        let mut connection = reader.acquire().await?;
        sqlx::raw_sql("SET default_transaction_read_only = off").execute(&mut *connection).await?;
        let code = sqlx::raw_sql(sql)
            .execute(&mut *connection)
            .await
            .err()
            .and_then(|error| error.as_database_error()?.code().map(|code| code.into_owned()));
        ensure!(matches!(code.as_deref(), Some("42501" | "42P01")), "{sql}: {code:?}");
    }
    Ok(())
}
