//! Whatever is wrong with what people give to dify-shipper: one clear sentence, the right exit code, no panic, and no credential.

use anyhow::ensure;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::process::Finished;

use crate::scene::Setup;

const PASSWORD: &str = "hunter2-of-nobody";

/// The one sentence of a command that ended with `code`.
fn sentence(finished: &Finished, code: i32) -> anyhow::Result<String> {
    let everything = format!("{}{}", finished.stdout, finished.stderr);
    ensure!(!everything.contains(PASSWORD), "a credential is shown: {everything}");
    ensure!(!everything.contains("panicked") && !everything.contains("a bug"), "{everything}");
    let said: Vec<&str> = finished.stderr.lines().filter(|line| line.starts_with("dify-shipper: ")).collect();
    ensure!(said.len() == 1, "not one sentence: {everything}");
    ensure!(finished.code == Some(code), "{:?}: {everything}", finished.code);
    Ok(said[0].to_owned())
}

fn unreachable() -> anyhow::Result<Setup> {
    Ok(Setup::new(&format!("postgres://dify:{PASSWORD}@127.0.0.1:1/dify"))?.with("POSTGRES__CONNECT_TIMEOUT", "1s"))
}

#[tokio::test]
async fn settings_that_cannot_work_are_told_before_anything_is_opened() -> anyhow::Result<()> {
    for (key, value, expected) in [
        ("SHIPPER__NAMESPACE", "A-B", "shipper.namespace"),
        ("SHIPPER__USER_IDS", "hashed", "shipper.user_ids_key"),
        ("SHIPPER__SINKS__ES__TYPE", "elasticsearch", "shipper.sinks.es.url"),
        ("SHIPPER__SINKS__OUT__TYPE", "carrier pigeon", "ndjson"),
        ("SHIPPER__PARTITION__DANCE", "week", "partition"),
        ("SHIPPER__POLL_INTERVAL", "0s", "shipper.poll_interval"),
    ] {
        let said = sentence(&unreachable()?.with(key, value).run(&["run"]).await?, 64)?;
        ensure!(said.contains(expected), "{key}: {said}");
    }
    let both = unreachable()?
        .with("SHIPPER__SINKS__ES__TYPE", "elasticsearch")
        .with("SHIPPER__SINKS__ES__URL", "https://es:9200")
        .with("SHIPPER__SINKS__ES__API_KEY", PASSWORD)
        .with("SHIPPER__SINKS__ES__BEARER_TOKEN", PASSWORD);
    sentence(&both.run(&["run"]).await?, 64)?;
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_away_or_no_dify_ends_a_run_to_the_end() -> anyhow::Result<()> {
    sentence(&unreachable()?.run(&["run", "--once"]).await?, 69)?;
    let range = ["--from", "2026-01-01", "--to", "2026-01-02"];
    let long = unreachable()?.with("SHIPPER__SINKS__FILES__DELETE_AFTER", "36500d").with("SHIPPER__SINKS__FILES__TYPE", "ndjson");
    sentence(&long.run(&[&["backfill"], &range[..]].concat()).await?, 69)?;
    let empty = Cluster::shared()?.empty_database().await?;
    sentence(&Setup::new(empty.url())?.run(&["run", "--once"]).await?, 78)?;
    Ok(())
}

#[tokio::test]
async fn a_service_waits_for_its_database_and_says_so() -> anyhow::Result<()> {
    let setup = unreachable()?;
    let mut shipper = setup.serve().await?;
    let (status, text) = setup.get("/readyz").await?;
    ensure!(status == 503 && text.contains("database: "), "{status} {text}");
    ensure!(setup.get("/livez").await?.0 == 200, "it lives");
    ensure!(setup.get("/position").await?.0 == 503, "it covers nothing");
    let (_, page) = setup.get("/").await?;
    ensure!(!page.contains(PASSWORD) && !shipper.stderr().contains(PASSWORD), "a credential is shown");
    shipper.terminate()?;
    ensure!(shipper.wait().await?.code() == Some(0), "{}", shipper.stderr());
    Ok(())
}

#[tokio::test]
async fn one_state_folder_is_for_one_shipper() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
    let setup = Setup::new(database.url())?;
    let _first = setup.serve().await?;
    let said = sentence(&setup.run(&["run", "--once"]).await?, 75)?;
    ensure!(said.contains("in use"), "{said}");
    Ok(())
}
