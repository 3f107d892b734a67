//! What the server has to bear besides us, and what our role may do.

use std::time::Duration;

use dify_observe_core::dify::retention::pressure::{self, Pressure};
use dify_observe_core::dify::session::Database;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::Cluster;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

const TIMEOUT: Duration = Duration::from_secs(20);

fn named(url: &str, name: &str) -> PgConnectOptions {
    url.parse::<PgConnectOptions>().unwrap().application_name(name)
}

async fn read(database: &Database) -> Pressure {
    let mut tx = database.read(TIMEOUT).await.unwrap();
    Pressure::read(&mut tx, &["dify-janitor".to_owned()]).await.unwrap()
}

#[tokio::test]
async fn other_sessions_count_and_our_own_do_not() {
    let database = Cluster::shared().unwrap().database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    let ours = Database::new(named(database.url(), "dify-janitor"), TIMEOUT);
    let lock = Database::new(named(database.url(), "dify-janitor"), TIMEOUT);
    let mut held = lock.read(TIMEOUT).await.unwrap();
    held.fetch_one(dify_observe_core::dify::session::query("SELECT 1")).await.unwrap();
    let alone = read(&ours).await;
    assert_eq!((alone.standby, alone.active_sessions, alone.oldest_transaction), (false, Some(0), Some(0.0)));

    let mut dify = named(database.url(), "dify").connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1").execute(&mut dify).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let beside = read(&ours).await;
    assert!(beside.oldest_transaction.unwrap() >= 0.05, "{beside:?}");
    assert_eq!(beside.active_sessions, Some(0), "idle in a transaction is not at work");
}

#[tokio::test]
async fn a_standby_is_seen_from_both_sides() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    let standby = cluster.standby().await.unwrap();
    standby.catch_up().await.unwrap();
    standby.pause().await.unwrap();
    database.execute("CREATE TABLE filler AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 2000)").await.unwrap();
    let primary = Database::new(database.url().parse().unwrap(), TIMEOUT);
    let pressure = read(&primary).await;
    assert_eq!(pressure.replicas.len(), 1);
    assert!(pressure.replicas[0].bytes.unwrap() > 1_000_000, "{pressure:?}");
    standby.resume().await.unwrap();
    standby.catch_up().await.unwrap();
    let replica = Database::new(standby.url(database.name()).parse().unwrap(), TIMEOUT);
    assert!(read(&replica).await.standby);
}

#[tokio::test]
async fn a_plain_role_sees_little_and_may_do_little() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    cluster.role("dify_observe_test_pressure").await.unwrap();
    let grants = "GRANT SELECT, DELETE ON workflow_runs TO dify_observe_test_pressure;
         GRANT SELECT, INSERT, UPDATE (read_at) ON conversations TO dify_observe_test_pressure";
    database.execute(grants).await.unwrap();
    let plain = Database::new(database.url_as("dify_observe_test_pressure").parse().unwrap(), TIMEOUT);
    let pressure = read(&plain).await;
    assert_eq!((pressure.active_sessions, pressure.oldest_transaction), (None, None));

    let mut tx = plain.read(TIMEOUT).await.unwrap();
    let tables = ["conversations", "no_such_table", "workflow_runs"].map(str::to_owned);
    let rights = pressure::rights(&mut tx, &tables).await.unwrap();
    let rights: Vec<_> = rights.iter().map(|one| (one.table.as_str(), one.present, one.select, one.insert, one.delete, one.lock)).collect();
    let wanted = [
        ("conversations", true, true, true, false, true),
        ("no_such_table", false, false, false, false, false),
        ("workflow_runs", true, true, false, true, false),
    ];
    assert_eq!(rights, wanted);
    assert!(pressure::may_use_temporary_tables(&mut tx).await.unwrap());
}

#[tokio::test]
async fn the_operators_question_is_answered_by_a_number() {
    let database = Cluster::shared().unwrap().database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    let ours = Database::new(database.url().parse().unwrap(), TIMEOUT);
    assert_eq!(pressure::ask(&ours, "SELECT count(*) FROM apps -- all of them", TIMEOUT).await.unwrap(), Some(0.0));
    assert_eq!(pressure::ask(&ours, "SELECT NULL; ", TIMEOUT).await.unwrap(), None);
    for statement in ["DELETE FROM apps RETURNING 1", "SELECT nextval('no_such_sequence')"] {
        assert!(pressure::ask(&ours, statement, TIMEOUT).await.is_err(), "{statement}");
    }
}
