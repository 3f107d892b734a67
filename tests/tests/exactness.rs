//! Every counter equals plain SQL over every record ever written, on every Dify schema, while Dify writes.

use std::time::Duration;

use anyhow::ensure;
use dify_observe_tests::children::free_port;
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::simulator::{Cleaner, CleanerKind, Deletions, Options, Reference, live};
use dify_observe_tests::truth::parse_exposition;
use dify_observe_tests::{Schema, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::exact::{ABANDON, Exporter, SECOND, Truth, all_rows, prepare, traffic};

/// What is special about a history.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Twist {
    None,
    /// Dify's own cleaners delete what is a few seconds old.
    Cleaned,
}

async fn history(schema: Schema, seed: u64, twist: Twist) -> anyhow::Result<()> {
    let name = format!("{} {twist:?}, seed {seed}", schema.describe());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let database = Cluster::shared()?.database(&schema).await?;
    let mut options: Options = traffic(&schema, live::now() + SECOND, 220, 20.0)?;
    if twist == Twist::Cleaned {
        let cleaner = |kind| Cleaner { kind, age: 16 * SECOND, every: 2 * SECOND, batch: 50 };
        options.deletions = Deletions { cleaners: vec![cleaner(CleanerKind::Runs), cleaner(CleanerKind::Messages)], ..Deletions::none() };
        options.faults.late_by = 2 * SECOND;
        // What never becomes final is deleted before anybody could count it.
        options.faults.hang_up = 0.0;
        options.faults.killed = 0.0;
        options.faults.user_stop = 0.0;
        options.faults.late_message = 0.0;
    }
    let mut reference = Reference::default();
    let writes = prepare(&database, seed, &options, &mut reference).await?;

    let state = tempfile::tempdir()?;
    let port = free_port()?;
    let mut exporter = Exporter::start(database.url(), state.path(), port, &[]).await?;
    let live = live::Live { url: database.url().to_owned(), connections: 4 };
    let writer = tokio::spawn(async move { live::run(&live, writes, std::future::pending(), |_, _| {}).await });
    while !writer.is_finished() {
        exporter.scrape().await?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..1500))).await;
    }
    writer.await??;
    exporter.process.kill().await?;
    exporter = Exporter::start(database.url(), state.path(), port, &ABANDON).await?;

    let mut truth = Truth::of(&all_rows(&schema, &reference).await?).await?;
    if twist == Twist::Cleaned {
        // Which message was a conversation's first cannot be seen any more once that one is deleted.
        truth = truth.without("dify_conversations_started_total");
    }
    // Whatever has to wait (late rows, what never ends) is told in time; how long that takes depends on the machine.
    let mut left = Vec::new();
    for _ in 0..240 {
        left = truth.differences(&parse_exposition(&exporter.scrape().await?)?);
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let shown = left.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    ensure!(left.is_empty(), "{name}: {} figures differ:\n{shown}\n{}", left.len(), exporter.process.stderr());
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        left = truth.differences(&parse_exposition(&exporter.scrape().await?)?);
        ensure!(left.is_empty(), "{name}: counted again:\n{}", left.join("\n"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_equal_sql_on_every_schema() -> anyhow::Result<()> {
    let seed = seed("counters_equal_sql_on_every_schema");
    let mut all: Vec<(Schema, Twist)> = Schema::test_set(seed)?.into_iter().map(|schema| (schema, Twist::None)).collect();
    all.push((Schema::load("1.14.2")?, Twist::Cleaned));
    // A few at a time: each writes in real time and has a process of its own.
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(5));
    let mut histories = tokio::task::JoinSet::new();
    for (schema, twist) in all {
        let room = room.clone();
        histories.spawn(async move {
            let _place = room.acquire_owned().await?;
            history(schema, seed, twist).await
        });
    }
    let results = histories.join_all().await;
    let failures: Vec<String> = results.into_iter().filter_map(|result| result.err().map(|error| format!("{error:#}"))).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}
