//! The whole way on every schema: what is due goes, nothing else, all of it comes back, and stays.

use dify_observe_tests::Schema;
use dify_observe_tests::fixtures::{REAL_VERSIONS, load_real_rows};
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::retention::Rules;

use crate::scene::Scene;

/// Traffic of which hundreds of bundles are due.
fn arrivals() -> u64 {
    dify_observe_tests::seed::length(220, 2500)
}

async fn goes_and_comes_back(scene: &Scene) -> anyhow::Result<()> {
    scene.setup.succeed(&["run"]).await?;
    scene.is_untouched().await?;
    let finished = scene.setup.prune().await?;
    scene.is_pruned().await.map_err(|error| error.context(finished.stdout + &finished.stderr))?;
    scene.setup.succeed(&["verify"]).await?;
    scene.comes_back().await
}

#[tokio::test]
async fn on_every_schema_what_is_due_goes_and_comes_back() -> anyhow::Result<()> {
    let seed = dify_observe_tests::seed("what_is_due_goes_and_comes_back");
    for schema in Schema::all()? {
        let scene = Scene::new(&schema, seed, arrivals()).await?;
        goes_and_comes_back(&scene).await?;
        eprintln!("{}: {} rows went and came back", scene.what, scene.expected.len());
    }
    Ok(())
}

#[tokio::test]
async fn the_same_with_what_real_difys_wrote() -> anyhow::Result<()> {
    for version in REAL_VERSIONS {
        let database = Cluster::shared()?.database(&Schema::load(version)?).await?;
        load_real_rows(&database, version).await?;
        let rules = Rules { age: 60, ..Rules::default() };
        let scene = Scene::of(database, rules, format!("the rows of Dify {version}")).await?;
        goes_and_comes_back(&scene).await?;
        eprintln!("{}: {} rows went and came back", scene.what, scene.expected.len());
    }
    Ok(())
}

/// A schema that nobody knows is pruned right, or refused with a reason and left alone.
#[tokio::test]
async fn mutated_schemas_are_pruned_right_or_refused() -> anyhow::Result<()> {
    let seed = dify_observe_tests::seed("mutated_schemas_are_pruned_right_or_refused");
    let mut pruned = 0;
    for number in 0..dify_observe_tests::seed::length(4, 40) {
        let schemas = Schema::all()?;
        let schema = schemas[number % schemas.len()].mutated(seed + number as u64);
        let scene = Scene::new(&schema, seed, 200).await?;
        let finished = scene.setup.run(&["run", "--execute"]).await?;
        match finished.code {
            Some(0) => {
                pruned += 1;
                scene.is_pruned_rightly().await.map_err(|error| error.context(finished.stderr))?;
                scene.comes_back().await?;
            }
            Some(78) => {
                let said = crate::setup::sentence(&finished)?;
                eprintln!("{}: {said}", scene.what);
                scene.is_untouched().await?;
            }
            code => anyhow::bail!("{}: {code:?}\n{}\n{}", scene.what, finished.stdout, finished.stderr),
        }
    }
    anyhow::ensure!(pruned > 0, "every mutation was refused");
    Ok(())
}
