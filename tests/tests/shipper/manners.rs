//! How the shipper behaves towards the database: three connections at most, read-only, no lock that anybody would wait for.

use std::time::Duration;

use anyhow::ensure;
use dify_observe_tests::pgbouncer::PgBouncer;
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::{Schema, seed};

use crate::scene::{ABANDON, Setup, differences, documents, expected, history, ids, none, traffic, write};

/// How many sessions there are, and their locks beyond those of reading.
const LOOK: &str =
    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'dify-shipper%'),
    (SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.datname = current_database()
      AND a.application_name LIKE 'dify-shipper%' AND l.locktype <> 'virtualxid' AND l.mode NOT IN ('AccessShareLock')
      AND l.locktype <> 'advisory')";

#[tokio::test]
async fn three_connections_and_no_lock_whatever_the_number_of_sinks() -> anyhow::Result<()> {
    let seed = seed("three_connections_and_no_lock");
    let schema = Schema::load("1.14.2")?;
    let database = history(&schema, seed, 60).await?;
    let mut setup = Setup::new(database.url())?;
    for sink in ["A", "B", "C", "D"] {
        setup.set(&format!("SHIPPER__SINKS__{sink}__TYPE"), "ndjson");
    }
    let shipper = setup.serve().await?;
    let writer = write(&database, seed, traffic(&schema, 40, 10.0)?).await?;
    let mut connection = database.connect().await?;
    let mut most = 0;
    while !writer.is_finished() {
        let (sessions, locks): (i64, i64) = sqlx::query_as(LOOK).fetch_one(&mut connection).await?;
        most = most.max(sessions);
        ensure!(sessions <= 3, "{sessions} connections");
        ensure!(locks == 0, "{locks} locks");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    writer.await??;
    ensure!(most >= 2, "nobody was seen: the test shows nothing");
    ensure!(!shipper.stderr().contains("could not be read"), "{}", shipper.stderr());
    Ok(())
}

#[tokio::test]
async fn behind_pgbouncer_in_transaction_mode_all_is_the_same() -> anyhow::Result<()> {
    let cluster = Cluster::private(&[])?;
    let schema = Schema::load("1.12.1")?;
    let database = cluster.database(&schema).await?;
    let simulation = traffic(&schema, 30, 60.0)?;
    write(&database, 4, simulation).await?.await??;
    let bouncer = PgBouncer::start(cluster.server()?, 3)?;
    let setup = Setup::new(&bouncer.url(database.name()))?.with_stdout().with(ABANDON.0, ABANDON.1);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let shipped = ids(&documents(&setup.succeed(&["run", "--once"]).await?.stdout)?);
    none("behind pgbouncer", &differences(&expected(&database).await?, &shipped))
}
