//! The servers that tests stand on do what tests need of them.

use dify_observe_tests::Schema;
use dify_observe_tests::pgbouncer::PgBouncer;
use dify_observe_tests::postgres::{Cluster, StopMode};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

#[tokio::test]
async fn a_standby_lags_while_its_replay_is_held() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    let standby = cluster.standby().await.unwrap();
    database.execute("CREATE TABLE seen_by_standby AS SELECT 1 AS number").await.unwrap();
    standby.catch_up().await.unwrap();
    standby.pause().await.unwrap();
    database.execute("INSERT INTO seen_by_standby VALUES (2)").await.unwrap();
    let mut replica = PgConnection::connect(&standby.url(database.name())).await.unwrap();
    let rows = "SELECT count(*) FROM seen_by_standby";
    assert_eq!(sqlx::query_scalar::<_, i64>(rows).fetch_one(&mut replica).await.unwrap(), 1);
    standby.resume().await.unwrap();
    standby.catch_up().await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(rows).fetch_one(&mut replica).await.unwrap(), 2);
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_rows() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = cluster.empty_database().await.unwrap();
    database.execute("CREATE TABLE kept AS SELECT 1 AS number").await.unwrap();
    let server = cluster.server().unwrap();
    server.kill().unwrap();
    assert!(database.connect().await.is_err());
    server.start().unwrap();
    assert_eq!(database.count("SELECT count(*) FROM kept").await.unwrap(), 1);
    server.restart(StopMode::Fast).unwrap();
    assert_eq!(database.count("SELECT count(*) FROM kept").await.unwrap(), 1);
}

#[tokio::test]
async fn pgbouncer_gives_each_transaction_any_session() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = cluster.empty_database().await.unwrap();
    let bouncer = PgBouncer::start(cluster.server().unwrap(), 1).unwrap();
    let options: PgConnectOptions = bouncer.url(database.name()).parse().unwrap();
    let options = options.extra_float_digits(None).statement_cache_capacity(0);
    let mut first = options.connect().await.unwrap();
    let mut second = options.connect().await.unwrap();
    let session = "SELECT pg_backend_pid()";
    let one: i32 = sqlx::query_scalar(session).persistent(false).fetch_one(&mut first).await.unwrap();
    let other: i32 = sqlx::query_scalar(session).persistent(false).fetch_one(&mut second).await.unwrap();
    assert_eq!(one, other, "two clients share the one server session");
    first.close().await.unwrap();
    second.close().await.unwrap();
}
