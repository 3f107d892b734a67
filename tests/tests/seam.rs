//! `serve` and `backfill` own every record exactly once, although Dify writes while `serve` begins.

use std::time::Duration;

use anyhow::ensure;
use dify_observe_tests::children::free_port;
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::process;
use dify_observe_tests::simulator::{Simulation, Target, live};
use dify_observe_tests::truth::{Figures, parse_exposition};
use dify_observe_tests::{Schema, seed};

use crate::exact::{Exporter, QUICK, differences, traffic};

/// What is open when the traffic stops never ends.
const ABANDON: (&str, &str) = ("DIFY_OBSERVE__FOLLOW__ABANDON_AFTER", "20s");

/// The last value of each series of a backfill.
fn last_values(text: &str) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        figures.extend(parse_exposition(line)?);
    }
    Ok(figures)
}

fn sum(mut one: Figures, other: Figures) -> Figures {
    for (series, value) in other {
        *one.entry(series).or_default() += value;
    }
    one
}

/// Nothing is deleted here, so the database itself holds every record ever written.
async fn seam(schema: Schema, seed: u64) -> anyhow::Result<()> {
    let name = schema.describe();
    let database = Cluster::shared()?.database(&schema).await?;
    let options = traffic(&schema, live::now() + 1_000_000, 200, 20.0)?;
    let simulation = Simulation::new(seed, options);
    let mut connection = database.connect().await?;
    let target = Target::probe(&mut connection).await?;
    for write in simulation.setup(seed) {
        target.apply(&mut connection, &write).await?;
    }
    let live = live::Live { url: database.url().to_owned(), connections: 4 };
    // Dify stops in the middle of things too: what is open then is abandoned.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let writer = tokio::spawn(async move { live::run(&live, simulation, stopped, |_, _| {}).await });
    // `serve` begins in the middle, while something is open.
    while database.count("SELECT count(*) FROM workflow_runs").await? < 30
        || database.count("SELECT count(*) FROM workflow_runs WHERE status = 'running'").await? == 0
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let state = tempfile::tempdir()?;
    let exporter =
        Exporter::start(database.url(), state.path(), free_port()?, &[("DIFY_OBSERVE__EXPORTER__START", "now"), ABANDON]).await?;
    while !writer.is_finished() && database.count("SELECT count(*) FROM workflow_runs").await? < 90 {
        exporter.scrape().await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // It may have come to its end by itself.
    let _ = stop.send(());
    writer.await??;

    let folder = state.path().display().to_string();
    let mut environment = vec![("DATABASE_URL", database.url()), ("DIFY_OBSERVE__STATE_DIR", &folder)];
    environment.extend(QUICK);
    environment.push(ABANDON);
    let (mut left, mut past) = (Vec::new(), Figures::new());
    for _ in 0..60 {
        let present = parse_exposition(&exporter.scrape().await?)?;
        let finished = process::run("dify-exporter", &["backfill", "--step", "1s"], &environment).await?;
        ensure!(finished.code == Some(0), "{name}, seed {seed}: {}", finished.stderr);
        past = last_values(&finished.stdout)?;
        left = differences(&database, &sum(past.clone(), present)).await?;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ensure!(!past.is_empty(), "{name}, seed {seed}: there was no past");
    ensure!(
        left.is_empty(),
        "{name}, seed {seed}: {} figures differ:\n{}\n{}",
        left.len(),
        left.iter().take(40).cloned().collect::<Vec<_>>().join("\n"),
        exporter.process.stderr()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_and_the_present_together_are_every_record_once() -> anyhow::Result<()> {
    let seed = seed("the_past_and_the_present_together_are_every_record_once");
    let mut seams = tokio::task::JoinSet::new();
    // Without an index on time, and with one and with trigger logs.
    for version in ["1.8.1", "1.14.2"] {
        seams.spawn(seam(Schema::load(version)?, seed));
    }
    while let Some(result) = seams.join_next().await {
        result??;
    }
    Ok(())
}
