//! `dify-shipper backfill`: the past, once, beside what `run` ships.

use std::time::Duration;

use anyhow::ensure;
use dify_observe_tests::{Schema, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scene::{ABANDON, Ids, Setup, differences, documents, expected, history, ids, none};

/// The whole history, which is some hours old.
fn range() -> [String; 4] {
    let day = |days: i64| (chrono::Utc::now() + chrono::Duration::days(days)).format("%Y-%m-%d").to_string();
    ["--from".to_owned(), day(-3), "--to".to_owned(), day(1)]
}

async fn backfill(setup: &Setup) -> anyhow::Result<dify_observe_tests::process::Finished> {
    let range = range();
    let arguments: Vec<&str> = ["backfill"].into_iter().chain(range.iter().map(String::as_str)).collect();
    setup.run(&arguments).await
}

async fn in_files(setup: &Setup) -> anyhow::Result<Ids> {
    Ok(ids(&documents(&setup.succeed(&["search", "--limit", "0", "--format", "ndjson"]).await?.stdout)?))
}

/// What is final of what there is: everything that the simulator left open is older than the time to give it up.
fn patient(setup: Setup) -> Setup {
    setup.with(ABANDON.0, ABANDON.1).with("SHIPPER__START", "now")
}

#[tokio::test]
async fn the_past_is_shipped_on_every_kind_of_schema() -> anyhow::Result<()> {
    let seed = seed("the_past_is_shipped");
    for version in ["1.2.0", "1.8.1", "1.17.1"] {
        let database = history(&Schema::load(version)?, seed, 50).await?;
        let setup = patient(Setup::new(database.url())?.with_stdout());
        let finished = backfill(&setup).await?;
        ensure!(finished.code == Some(0), "{version}: {:?}\n{}", finished.code, finished.stderr);
        let mut expected = expected(&database).await?;
        // Of paused runs only the follower tells what has ended meanwhile.
        let shipped = ids(&documents(&finished.stdout)?);
        let told = shipped.get("node_execution").cloned().unwrap_or_default();
        let paused = paused_nodes(&database).await?;
        expected.entry("node_execution".to_owned()).or_default().retain(|id| told.contains(id) || !paused.contains(id));
        none(version, &differences(&expected, &shipped))?;
    }
    Ok(())
}

async fn paused_nodes(database: &dify_observe_tests::postgres::TestDatabase) -> anyhow::Result<Vec<String>> {
    let sql = "SELECT node.id::text FROM workflow_node_executions node JOIN workflow_runs run ON run.id = node.workflow_run_id \
               WHERE run.status::text = 'paused'";
    Ok(sqlx::query_scalar(sql).fetch_all(&mut database.connect().await?).await?)
}

#[tokio::test]
async fn a_killed_backfill_goes_on_and_leaves_the_position_of_run_alone() -> anyhow::Result<()> {
    let seed = seed("a_killed_backfill_goes_on");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let database = history(&Schema::load("1.14.2")?, seed, 150).await?;
    let setup = patient(Setup::new(database.url())?);
    // `run` begins now, and goes on while the past is shipped.
    let mut live = setup.serve().await?;
    setup.wait_for("/position", |status, _| status == 200).await?;
    let range = range();
    let arguments: Vec<&str> = ["backfill"].into_iter().chain(range.iter().map(String::as_str)).collect();
    for _ in 0..seed::length(2, 15) {
        let mut process = setup.start(&arguments)?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..1500))).await;
        process.kill().await?;
    }
    let finished = setup.succeed(&arguments).await?;
    eprintln!("{}", finished.stderr.trim());
    ensure!(live.ended()?.is_none(), "run was disturbed: {}", live.stderr());
    live.terminate()?;
    ensure!(live.wait().await?.code() == Some(0), "{}", live.stderr());
    let mut left = differences(&expected(&database).await?, &in_files(&setup).await?);
    let paused = paused_nodes(&database).await?;
    left.retain(|difference| !paused.iter().any(|id| difference.contains(id.as_str())));
    none(&format!("seed {seed}"), &left)?;
    let text = setup.succeed(&["search", "--limit", "0", "--format", "ndjson"]).await?.stdout;
    ensure!(
        documents(&text)?.len() == in_files(&setup).await?.values().map(std::collections::BTreeSet::len).sum::<usize>(),
        "some are found twice"
    );
    Ok(())
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() -> anyhow::Result<()> {
    let setup = Setup::new("postgres://nobody@127.0.0.1:1/none")?;
    for (arguments, expected) in [
        (&["backfill", "--from", "2026-01-02", "--to", "2026-01-01"][..], "--to is not after --from"),
        (&["backfill", "--from", "2001-01-02", "--to", "2026-01-01"], "delete_after"),
        (&["backfill", "--from", "2001-01-02", "--to", "2026-01-01", "--sink", "elsewhere"], "there is no sink"),
    ] {
        let finished = setup.run(arguments).await?;
        ensure!(finished.code == Some(2), "{arguments:?}: {:?} {}", finished.code, finished.stderr);
        ensure!(finished.stderr.contains(expected), "{arguments:?}: {}", finished.stderr);
    }
    Ok(())
}
