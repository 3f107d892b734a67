//! The real change log, replayed in the order of its commits and polled at random moments, ends with the counters that plain
//! SQL computes from the rows.
//!
//! The rows bear times of the day on which they were written. Replayed as they are, they would be *late* by months: beyond
//! any horizon, and so old that nothing is waited for. So each transaction's times are moved to the moment in which it is
//! replayed: a row is as old as in a Dify that works a hundred times faster. Durations (`elapsed_time`) stay as they were.

use std::time::Duration;

use anyhow::ensure;
use chrono::{NaiveDateTime, TimeDelta, Utc};
use dify_observe_core::dify::follow::Start;
use dify_observe_core::settings::follow::FollowSettings;
use dify_observe_tests::fixtures::{self, LOGGED_TABLES, LOGGED_VERSION, Operation, Transaction};
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::{Schema, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::exact::differences;
use crate::watch::{Watch, short};

/// The same transaction, as if it were committed now.
fn moved_to_now(transaction: &Transaction) -> anyhow::Result<Transaction> {
    let offset = Utc::now().naive_utc() - transaction.committed_at;
    let mut moved = transaction.clone();
    for change in &mut moved.changes {
        let mut columns: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&change.columns)?;
        for (name, value) in &mut columns {
            if name.ends_with("_at") && value.is_string() {
                *value = moved_time(value.as_str().unwrap_or_default(), offset)?.into();
            }
        }
        change.columns = serde_json::to_string(&columns)?;
    }
    Ok(moved)
}

fn moved_time(text: &str, offset: TimeDelta) -> anyhow::Result<String> {
    let time: NaiveDateTime = text.parse()?;
    Ok((time + offset).format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
}

/// Every row that the log ever wrote, in its last state: nothing is deleted.
async fn all_rows(schema: &Schema, transactions: &[Transaction]) -> anyhow::Result<TestDatabase> {
    let database = Cluster::shared()?.database(schema).await?;
    let mut connection = database.connect().await?;
    for transaction in transactions {
        for change in transaction.changes.iter().filter(|change| change.operation != Operation::Delete) {
            change.apply(&mut connection, schema).await?;
        }
    }
    Ok(database)
}

async fn replay(schema: Schema, seed: u64) -> anyhow::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let database = Cluster::shared()?.database(&schema).await?;
    fixtures::load_real_rows_except(&database, LOGGED_VERSION, &LOGGED_TABLES).await?;
    let live = FollowSettings { settle: Duration::from_secs(1), interrupt_after: Duration::from_secs(3), ..short() };
    let mut watch = Watch::new(database.url(), FollowSettings { horizon: Duration::from_secs(120), ..live.clone() }, Start::Beginning)?;
    let mut connection = database.connect().await?;
    let mut written = Vec::new();
    let (mut polls, mut told_while_writing) = (0, 0);
    for transaction in fixtures::transactions()? {
        let transaction = moved_to_now(&transaction)?;
        transaction.replay(&mut connection, &schema).await?;
        written.push(transaction);
        // In the middle of stories more often than not: a story has some ten transactions.
        if rng.random_bool(0.04) {
            watch.drain().await?;
            polls += 1;
            told_while_writing = watch.told.len();
        }
        if rng.random_bool(0.002) {
            tokio::time::sleep(Duration::from_millis(rng.random_range(200..1500))).await;
        }
        if rng.random_bool(0.002) {
            watch.restart(database.url(), live.clone())?;
        }
    }
    ensure!(polls > 20 && told_while_writing > 100, "seed {seed}: {told_while_writing} events in {polls} polls say little");

    let truth = all_rows(&schema, &written).await?;
    // What never ended is given up when its time has come: from here at once.
    watch.restart(database.url(), FollowSettings { abandon_after: Duration::ZERO, ..live })?;
    let mut left = Vec::new();
    for _ in 0..120 {
        watch.drain().await?;
        left = differences(&truth, &watch.figures()?).await?;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    ensure!(left.is_empty(), "Dify {}, seed {seed}: {} figures differ:\n{}", schema.version, left.len(), left.join("\n"));
    watch.go_on(Duration::from_secs(2)).await?;
    left = differences(&truth, &watch.figures()?).await?;
    ensure!(left.is_empty(), "Dify {}, seed {seed}: counted again:\n{}", schema.version, left.join("\n"));
    Ok(())
}

#[tokio::test]
async fn the_real_change_log_polled_at_random_ends_with_the_figures_of_sql() -> anyhow::Result<()> {
    let seed = seed("the_real_change_log_polled_at_random");
    replay(Schema::load(LOGGED_VERSION)?, seed).await
}

/// The columns of the log that the newest version has, with the index on time that 1.8.1 lacks.
#[tokio::test]
async fn the_real_change_log_fits_the_newest_schema_too() -> anyhow::Result<()> {
    let seed = seed("the_real_change_log_fits_the_newest_schema");
    let newest = Schema::all()?.pop().expect("there are schemas");
    replay(newest, seed).await
}
