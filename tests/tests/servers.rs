//! The servers that tests stand on do what tests need of them.

use dify_observe_tests::Schema;
use dify_observe_tests::pgbouncer::PgBouncer;
use dify_observe_tests::postgres::{Cluster, StopMode};
use dify_observe_tests::process::http_client;
use dify_observe_tests::proxy::Proxy;
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

#[tokio::test]
async fn a_proxy_loses_answers_and_cuts_connections() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    tokio::spawn(answer_forever(listener));
    let proxy = Proxy::start(&upstream).await.unwrap();
    let url = format!("http://{}/", proxy.address());
    let client = http_client().unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "hello");
    proxy.lose_answers(1);
    assert!(client.post(&url).send().await.is_err());
    assert_eq!(proxy.answers_lost(), 1);
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "hello");
    proxy.cut();
    assert!(client.get(&url).send().await.is_err());
    proxy.mend();
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "hello");
}

async fn answer_forever(listener: tokio::net::TcpListener) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    while let Ok((mut client, _)) = listener.accept().await {
        let mut request = [0; 4096];
        if client.read(&mut request).await.is_ok() {
            // A client that has gone is no concern of this server.
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").await;
        }
    }
}

#[tokio::test]
async fn a_role_sees_only_what_it_was_granted() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    cluster.role("dify_observe_test_reader").await.unwrap();
    database.execute("GRANT SELECT ON workflow_runs TO dify_observe_test_reader").await.unwrap();
    let mut reader = PgConnection::connect(&database.url_as("dify_observe_test_reader")).await.unwrap();
    assert!(sqlx::query("SELECT id FROM workflow_runs").execute(&mut reader).await.is_ok());
    assert!(sqlx::query("SELECT id FROM accounts").execute(&mut reader).await.is_err());
}

#[tokio::test]
async fn statements_and_their_pages_are_counted() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = cluster.empty_database().await.unwrap();
    database.execute("CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS number").await.unwrap();
    database.count_statements().await.unwrap();
    for _ in 0..3 {
        database.count("SELECT count(*) FROM numbers").await.unwrap();
    }
    let used = database.statement_use("FROM numbers").await.unwrap();
    assert_eq!((used.calls, used.rows), (3, 3));
    assert!(used.buffers >= 3, "{used:?}");
}
