//! The shipper is killed, its database goes away, rows commit late: in the end every record is in the files, each once in its last state.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use dify_observe_tests::postgres::{Cluster, StopMode, TestDatabase};
use dify_observe_tests::proxy::Proxy;
use dify_observe_tests::{Schema, seed};
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scene::{ABANDON, Ids, Setup, differences, documents, expected, history, ids, none, traffic, write};

/// Everything in the files.
async fn in_files(setup: &Setup) -> anyhow::Result<Ids> {
    let found = setup.succeed(&["search", "--limit", "0", "--format", "ndjson"]).await?;
    Ok(ids(&documents(&found.stdout)?))
}

/// Ships what is left, as often as it takes until all trailing walks have been everywhere, and compares.
async fn everything_is_in_the_files(what: &str, setup: &Setup, database: &TestDatabase) -> anyhow::Result<()> {
    let mut left = Vec::new();
    for _ in 0..90 {
        setup.succeed(&["run", "--once"]).await?;
        left = differences(&expected(database).await?, &in_files(setup).await?);
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    none(what, &left)
}

/// Files of a killed shipper hold each document of a state once.
fn each_once(text: &str) -> anyhow::Result<()> {
    let mut seen: BTreeMap<(String, String, u64), u32> = BTreeMap::new();
    for document in documents(text)? {
        let of = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        *seen.entry((of("_kind"), of("_id"), document["_version"].as_u64().unwrap_or_default())).or_default() += 1;
    }
    let twice: Vec<String> = seen.iter().filter(|(_, count)| **count > 1).map(|(key, count)| format!("{key:?} {count} times")).collect();
    none("search", &twice)
}

fn any_schema(rng: &mut ChaCha8Rng) -> anyhow::Result<Schema> {
    let schemas = Schema::all()?;
    schemas.choose(rng).cloned().ok_or_else(|| anyhow::anyhow!("there are no schemas"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_everything_is_shipped_once() -> anyhow::Result<()> {
    let seed = seed("killed_at_any_moment_everything_is_shipped");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (kills, arrivals) = seed::length((4, 60), (50, 900));
    let schema = any_schema(&mut rng)?;
    let what = format!("{}, seed {seed}", schema.describe());
    let database = history(&schema, seed, 20).await?;
    let mut setup = Setup::new(database.url())?;
    let writer = write(&database, seed, traffic(&schema, arrivals, 10.0)?).await?;
    let mut killed = 0;
    while killed < kills {
        let mut shipper = setup.start(&["run"])?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(150..3000))).await;
        ensure!(shipper.ended()?.is_none(), "{what}: it ended by itself\n{}", shipper.stderr());
        shipper.kill().await?;
        killed += 1;
    }
    writer.await??;
    let (key, value) = ABANDON;
    setup.set(key, value);
    everything_is_in_the_files(&what, &setup, &database).await?;
    each_once(&setup.succeed(&["search", "--limit", "0", "--format", "ndjson"]).await?.stdout)?;
    let before = in_files(&setup).await?;
    setup.succeed(&["run", "--once"]).await?;
    ensure!(before == in_files(&setup).await?, "{what}: more was shipped although nothing was written");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_goes_away_and_comes_back() -> anyhow::Result<()> {
    let seed = seed("the_database_goes_away");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let cluster = Cluster::private(&[])?;
    let schema = Schema::load("1.14.2")?;
    let database = cluster.database(&schema).await?;
    let address = database.url().split('@').nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
    let proxy = Proxy::start(&address).await?;
    let mut setup = Setup::new(&database.url().replace(&address, &proxy.address()))?.with("POSTGRES__CONNECT_TIMEOUT", "2s");
    let mut shipper = setup.serve().await?;
    let (cuts, arrivals) = seed::length((3, 60), (12, 600));
    let writer = write(&database, seed, traffic(&schema, arrivals, 8.0)?).await?;
    for cut in 0..cuts {
        tokio::time::sleep(Duration::from_millis(rng.random_range(300..1500))).await;
        proxy.lose_answers(1);
        proxy.cut();
        if cut == 0 {
            setup.wait_for("/readyz", |status, text| status == 503 && text.contains("database: ")).await?;
            setup.wait_for("/metrics", |_, text| text.contains("dify_shipper_database_up 0")).await?;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..1500))).await;
        proxy.mend();
    }
    writer.await??;
    setup.wait_for("/readyz", |status, _| status == 200).await?;
    cluster.server()?.restart(StopMode::Fast)?;
    setup.wait_for("/readyz", |status, _| status == 200).await?;
    ensure!(shipper.ended()?.is_none(), "it died of an outage\n{}", shipper.stderr());
    shipper.terminate()?;
    ensure!(shipper.wait().await?.code() == Some(0), "{}", shipper.stderr());
    let (key, value) = ABANDON;
    setup.set(key, value);
    everything_is_in_the_files(&format!("seed {seed}"), &setup, &database).await
}

#[tokio::test]
async fn rows_that_commit_ten_minutes_late_are_shipped() -> anyhow::Result<()> {
    let database = history(&Schema::load("1.12.1")?, 5, 40).await?;
    let setup = Setup::new(database.url())?.with("FOLLOW__OVERLAP", "2m").with("FOLLOW__TRAIL", "10m").with("FOLLOW__HORIZON", "24h");
    setup.succeed(&["run", "--once"]).await?;
    let before = in_files(&setup).await?;
    // A copy of a run that is dated back as if its transaction had been open for almost ten minutes: far beyond the overlap, and before the
    // walk that trails by ten minutes comes by, which it does every sixteenth of its delay.
    let ago = "(clock_timestamp() AT TIME ZONE 'UTC') - interval '9 minutes 50 seconds'";
    let sql = format!(
        "INSERT INTO workflow_runs SELECT run.* FROM (SELECT to_jsonb(run) AS columns FROM workflow_runs run WHERE status = 'succeeded' LIMIT 1) \
         original, LATERAL jsonb_populate_record(NULL::workflow_runs, columns || jsonb_build_object('id', gen_random_uuid(), \
         'created_at', {ago}, 'finished_at', {ago} + interval '20 seconds')) run"
    );
    database.execute(&sql).await?;
    tokio::time::sleep(Duration::from_secs(50)).await;
    setup.succeed(&["run", "--once"]).await?;
    let after = in_files(&setup).await?;
    ensure!(
        after["workflow_run"].len() == before["workflow_run"].len() + 1,
        "{} after {}",
        after["workflow_run"].len(),
        before["workflow_run"].len()
    );
    Ok(())
}

#[tokio::test]
async fn a_pipeline_that_is_behind_by_far_stays_small() -> anyhow::Result<()> {
    let arrivals = seed::length(300, 20_000);
    let database = history(&Schema::load("1.14.2")?, 9, arrivals).await?;
    let setup = Setup::new(database.url())?.with("SHIPPER__CONTENT", "full");
    let shipper = setup.serve().await?;
    let runs = database.count("SELECT count(*) FROM workflow_runs").await?;
    setup
        .wait_for("/metrics", |_, text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("dify_shipper_documents_total{kind=\"workflow_run\",sink=\"files\",result=\"written\"}"));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).is_some_and(|written| written as i64 >= runs * 9 / 10)
        })
        .await?;
    let mebibytes = shipper.peak_memory()? as f64 / 1_048_576.0;
    eprintln!("{runs} runs behind: {mebibytes:.1} MiB at most");
    ensure!(mebibytes < 128.0, "{mebibytes:.1} MiB");
    Ok(())
}
