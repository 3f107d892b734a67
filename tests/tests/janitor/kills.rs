//! The janitor is killed, its database goes away, a second one starts: at every instant nothing is lost, and in the end everything
//! is as if nothing had happened.

use std::time::Duration;

use dify_observe_tests::pgbouncer::PgBouncer;
use dify_observe_tests::postgres::{Cluster, StopMode};
use dify_observe_tests::proxy::Proxy;
use dify_observe_tests::{Schema, seed};
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scene::Scene;
use crate::setup::{end, sentence};

const LOCKED: Option<i32> = Some(75);

fn any_schema(rng: &mut ChaCha8Rng) -> anyhow::Result<Schema> {
    let mut schemas = Schema::all()?;
    let chosen = schemas.choose(rng).map(|schema| schema.version.clone()).unwrap_or_default();
    schemas.retain(|schema| schema.version == chosen);
    schemas.pop().ok_or_else(|| anyhow::anyhow!("there are no schemas"))
}

#[tokio::test]
async fn killed_at_any_moment_nothing_is_lost() -> anyhow::Result<()> {
    let seed = seed("killed_at_any_moment");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (histories, kills) = seed::length((2, 5), (5, 10));
    for history in 0..histories {
        let scene = Scene::new(&any_schema(&mut rng)?, seed + history, 300).await?;
        // Slow enough that a kill falls between two transactions, or into one.
        let slow = scene.setup.twin()?.with("JANITOR__PACE", "400");
        let mut killed = 0;
        for _ in 0..kills {
            let mut janitor = slow.start(&["run", "--execute"])?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(50..3000))).await;
            killed += u32::from(janitor.ended()?.is_none());
            janitor.kill().await?;
            scene.nothing_is_lost().await?;
            scene.setup.forget_lease();
        }
        anyhow::ensure!(killed > 0, "{}: no run was killed", scene.what);
        scene.setup.prune().await?;
        scene.is_pruned().await?;
        scene.comes_back().await?;
        eprintln!("{}: {killed} kills", scene.what);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_breaks_in_any_phase() -> anyhow::Result<()> {
    let seed = seed("the_connection_breaks");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scene = Scene::new(&any_schema(&mut rng)?, seed, 300).await?;
    let address = scene.database.url().split('@').nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let proxy = Proxy::start(address).await?;
    let url = scene.database.url().replace(address, &proxy.address());
    let slow = scene.setup.twin()?.with("JANITOR__PACE", "400").with("POSTGRES__URL", &url);
    for _ in 0..seed::length(6, 40) {
        let janitor = slow.start(&["run", "--execute"])?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..2500))).await;
        // The commit may have been done although its answer is lost.
        if rng.random_bool(0.5) {
            proxy.lose_answers(1);
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..300))).await;
        }
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..1500))).await;
        proxy.mend();
        let finished = end(janitor).await?;
        anyhow::ensure!(
            matches!(finished.code, Some(0 | 69 | 75)),
            "{}: ended with {:?}\n{}\n{}",
            scene.what,
            finished.code,
            finished.stdout,
            finished.stderr
        );
        scene.nothing_is_lost().await?;
    }
    scene.setup.prune().await?;
    scene.is_pruned().await?;
    scene.comes_back().await
}

#[tokio::test]
async fn the_server_crashes_while_rows_are_deleted() -> anyhow::Result<()> {
    let seed = seed("the_server_crashes");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let cluster = Cluster::private(&[])?;
    let scene = Scene::on(&cluster, &any_schema(&mut rng)?, seed, 300).await?;
    let slow = scene.setup.twin()?.with("JANITOR__PACE", "400");
    for _ in 0..seed::length(2, 10) {
        let janitor = slow.start(&["run", "--execute"])?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(500..3000))).await;
        cluster.server()?.restart(StopMode::Immediate)?;
        end(janitor).await?;
        scene.nothing_is_lost().await?;
    }
    scene.setup.prune().await?;
    scene.is_pruned().await?;
    scene.comes_back().await
}

#[tokio::test]
async fn of_two_janitors_one_works_and_the_other_says_so() -> anyhow::Result<()> {
    let seed = seed("of_two_janitors");
    let cluster = Cluster::private(&[])?;
    for pooled in [false, true] {
        let scene = Scene::on(&cluster, &Schema::load("1.12.1")?, seed, 250).await?;
        let bouncer = pooled.then(|| PgBouncer::start(cluster.server()?, 8)).transpose()?;
        let url = bouncer.as_ref().map_or(scene.database.url().to_owned(), |bouncer| bouncer.url(scene.database.name()));
        let slow = |seconds: &str| anyhow::Ok(scene.setup.twin()?.with("JANITOR__PACE", seconds).with("POSTGRES__URL", &url));
        let (first, second) = (slow("300")?, slow("300")?);
        let janitors = [first.start(&["run", "--execute"])?, second.start(&["run", "--execute"])?];
        let mut finished = Vec::new();
        for janitor in janitors {
            finished.push(end(janitor).await?);
        }
        let mut codes: Vec<Option<i32>> = finished.iter().map(|finished| finished.code).collect();
        codes.sort_unstable();
        anyhow::ensure!(codes == [Some(0), LOCKED], "pooled {pooled}: {codes:?} {finished:?}");
        if let Some(locked) = finished.iter().find(|finished| finished.code == LOCKED) {
            eprintln!("pooled {pooled}: {}", sentence(locked)?);
        }
        scene.is_pruned().await?;
        scene.comes_back().await?;
    }
    Ok(())
}

/// The lock in the database is per server; an archive that two servers share has a lease of its own.
#[tokio::test]
async fn two_janitors_of_two_servers_do_not_share_an_archive() -> anyhow::Result<()> {
    let seed = seed("two_janitors_of_two_servers");
    let schema = Schema::load("1.12.1")?;
    let clusters = [Cluster::private(&[])?, Cluster::private(&[])?];
    let scene = Scene::on(&clusters[0], &schema, seed, 250).await?;
    let other = Scene::on(&clusters[1], &schema, seed + 1, 250).await?;
    let archive = format!("file://{}", scene.setup.archive().display());
    let slow = scene.setup.twin()?.with("JANITOR__PACE", "200");
    let intruder = other.setup.twin()?.with("JANITOR__ARCHIVE__URL", &archive);
    let janitor = slow.start(&["run", "--execute"])?;
    while crate::archived::files(&scene.setup.archive().join("manifests/done"), "json")?.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = intruder.run(&["run", "--execute"]).await?;
    anyhow::ensure!(second.code == LOCKED, "{:?}\n{}\n{}", second.code, second.stdout, second.stderr);
    other.is_untouched().await?;
    anyhow::ensure!(end(janitor).await?.code == Some(0), "the first one was disturbed");
    scene.is_pruned().await
}
