//! `dify-shipper check`: it agrees with `run`, and what it prints mends what it finds.

use anyhow::ensure;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::Cluster;
use serde_json::Value;

use crate::scene::Setup;

async fn findings(setup: &Setup) -> anyhow::Result<(Option<i32>, Vec<Value>)> {
    let finished = setup.run(&["check", "--format", "json"]).await?;
    let report: Value = serde_json::from_str(&finished.stdout)?;
    Ok((finished.code, report["findings"].as_array().cloned().unwrap_or_default()))
}

fn about<'a>(findings: &'a [Value], subject: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["subject"] == subject).collect()
}

#[tokio::test]
async fn all_is_well_on_every_schema() -> anyhow::Result<()> {
    for schema in Schema::all()? {
        let database = Cluster::shared()?.database(&schema).await?;
        let setup = Setup::new(database.url())?;
        let (code, findings) = findings(&setup).await?;
        ensure!(code == Some(0), "{}: {findings:?}", schema.describe());
        ensure!(findings.iter().all(|finding| finding["level"] != "error"), "{}: {findings:?}", schema.describe());
        for subject in ["configuration", "server", "Dify", "access", "rights", "feedback", "leader", "sinks"] {
            ensure!(!about(&findings, subject).is_empty(), "{}: nothing about {subject}", schema.describe());
        }
        ensure!(!setup.folder().join("state").exists(), "check writes nothing");
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_index_and_a_missing_right_come_with_what_mends_them() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.8.1")?).await?;
    let (_, found) = findings(&Setup::new(database.url())?).await?;
    let mend = about(&found, "access").iter().find_map(|finding| finding["mend"].as_str().map(str::to_owned)).unwrap_or_default();
    ensure!(mend.contains("CREATE INDEX CONCURRENTLY") && mend.contains("workflow_runs"), "{found:?}");
    for statement in mend.split_inclusive(';') {
        database.execute(statement).await?;
    }
    let (_, after) = findings(&Setup::new(database.url())?).await?;
    ensure!(about(&after, "access").iter().all(|finding| finding["level"] == "ok"), "{after:?}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_work_is_an_error_with_its_exit_code() -> anyhow::Result<()> {
    let empty = Cluster::shared()?.empty_database().await?;
    ensure!(findings(&Setup::new(empty.url())?).await?.0 == Some(78), "not a Dify");
    let (code, found) = findings(&Setup::new("postgres://nobody@127.0.0.1:1/none")?.with("POSTGRES__CONNECT_TIMEOUT", "1s")).await?;
    ensure!(code == Some(69) && about(&found, "server")[0]["level"] == "error", "{code:?} {found:?}");
    let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
    let nowhere =
        Setup::new(database.url())?.with("SHIPPER__SINKS__ES__TYPE", "elasticsearch").with("SHIPPER__SINKS__ES__URL", "http://127.0.0.1:1");
    let (code, found) = findings(&nowhere).await?;
    ensure!(code == Some(69) && about(&found, "sinks")[0]["level"] == "error", "{code:?} {found:?}");
    Ok(())
}
