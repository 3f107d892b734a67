//! The life of an exporter: its end, its return, its rivals, its doors, and the servers that it reads.

use std::path::Path;
use std::time::Duration;

use dify_observe_tests::Schema;
use dify_observe_tests::children::free_port;
use dify_observe_tests::postgres::{Cluster, StopMode, TestDatabase};
use dify_observe_tests::prometheus::{Options, Prometheus, Scrape};
use dify_observe_tests::proxy::Proxy;
use serde_json::Value;

use crate::exporter::{Exporter, Metrics, Setup, add_endless_runs, load_history, traffic, write_all};

const MINUTE: i64 = 60_000_000;

async fn database_with_history(cluster: &Cluster) -> TestDatabase {
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    let options = traffic(database.schema(), 60, 5 * MINUTE, 10 * MINUTE).unwrap();
    load_history(&database, 21, options).await.unwrap();
    database
}

fn from_the_beginning(database: &TestDatabase) -> Setup {
    Setup::new(database.url()).with("DIFY_OBSERVE__EXPORTER__START", "beginning")
}

/// Everything that is counted.
fn counters(metrics: &Metrics) -> Vec<(String, String)> {
    let counts = |name: &str| name.starts_with("dify_") && (name.ends_with("_total") || name.ends_with("_sum") || name.ends_with("_count"));
    let activity = "dify_database_activity_total";
    let counted = metrics.samples().iter().filter(|(name, ..)| counts(name) && name != activity);
    counted.map(|(name, labels, value)| (format!("{name}{labels:?}"), value.to_string())).collect()
}

/// Scrapes until the counters have stood still for a while, and returns the last answer.
async fn at_rest(exporter: &Exporter) -> Metrics {
    let mut last = exporter
        .scrape_until("runs are counted", |metrics| metrics.value("dify_workflow_runs_total").is_some_and(|runs| runs > 0.0))
        .await
        .unwrap();
    let mut same = 0;
    while same < 8 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let next = exporter.scrape().await.unwrap();
        same = if counters(&next) == counters(&last) { same + 1 } else { 0 };
        last = next;
    }
    last
}

async fn position(exporter: &Exporter) -> Value {
    let (status, body) = exporter.get("/position").await.unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn sigterm_ends_it_and_a_restart_goes_on_where_it_was() {
    let database = database_with_history(Cluster::shared().unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let setup = from_the_beginning(&database).in_folder(folder.path());
    let mut exporter = setup.start_in_its_folder().await.unwrap();
    exporter.settled().await.unwrap();
    let before = at_rest(&exporter).await;
    exporter.process.terminate().unwrap();
    assert_eq!(exporter.process.wait().await.unwrap().code(), Some(0), "{}", exporter.process.stderr());
    let log = exporter.process.stderr();
    assert!(!log.contains(" ERROR ") && !log.contains(" WARN "), "{log}");

    // Written meanwhile, and counted after the return: the first answer is still the one from before.
    let options = traffic(database.schema(), 20, 0, 30_000_000).unwrap();
    write_all(&database, 21, dify_observe_tests::simulator::Options { time_scale: 0.01, ..options }).await.unwrap();
    let mut exporter = setup.start_in_its_folder().await.unwrap();
    let first = exporter.scrape().await.unwrap();
    assert_eq!(counters(&first), counters(&before), "the first answer after a restart is the durable one");
    let runs = database.count("SELECT count(*) FROM workflow_runs").await.unwrap() as f64;
    exporter.scrape_until("every run", |metrics| metrics.value("dify_workflow_runs_started_total") == Some(runs)).await.unwrap();
    exporter.process.signal("INT").unwrap();
    assert_eq!(exporter.process.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn sigterm_ends_it_without_a_database_too() {
    let database = Cluster::shared().unwrap().database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    let upstream = database.url().split('@').nth(1).and_then(|rest| rest.split('/').next()).unwrap().to_owned();
    let proxy = Proxy::start(&upstream).await.unwrap();
    let url = database.url().replace(&upstream, &proxy.address());
    let mut exporter = Setup::new(&url).with("DIFY_OBSERVE__EXPORTER__SLOW_INTERVAL", "1s").start().await.unwrap();
    exporter.settled().await.unwrap();
    proxy.cut();
    exporter.scrape_until("the outage is seen", |metrics| metrics.value("dify_up") == Some(0.0)).await.unwrap();
    exporter.process.terminate().unwrap();
    assert_eq!(exporter.process.wait().await.unwrap().code(), Some(0), "{}", exporter.process.stderr());
}

#[tokio::test]
async fn a_scrape_is_answered_in_its_time_whatever_the_database_does() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = database_with_history(&cluster).await;
    let exporter = from_the_beginning(&database).with("DIFY_OBSERVE__EXPORTER__SLOW_INTERVAL", "1s").start().await.unwrap();
    let counted = at_rest(&exporter).await;
    // The exporter's own patience with the database (10 s) is longer than that of this Prometheus.
    let scrape = Scrape::new("dify", exporter.address(), Duration::from_secs(1));
    let prometheus = Prometheus::start(&Options { scrapes: vec![scrape], ..Options::default() }).await.unwrap();
    prometheus.wait_for("dify_up", |up| up == 1.0).await.unwrap();
    // Gone: connections are refused.
    cluster.server().unwrap().stop(StopMode::Immediate).unwrap();
    prometheus.wait_for("dify_up", |up| up == 0.0).await.unwrap();
    becomes_unready(&exporter).await;
    let runs = counted.value("dify_workflow_runs_total").unwrap();
    prometheus.wait_for("sum(dify_workflow_runs_total) and on() (up == 1)", |value| value == runs).await.unwrap();
    cluster.server().unwrap().start().unwrap();
    prometheus.wait_for("dify_up", |up| up == 1.0).await.unwrap();
    // Frozen: connections are taken and never answered.
    let postmaster = cluster.server().unwrap().pid().unwrap();
    let backends = database.count("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dify-exporter'").await.unwrap();
    assert!(backends > 0);
    let mut admin = database.connect().await.unwrap();
    let pids: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE application_name = 'dify-exporter'")
        .fetch_all(&mut admin)
        .await
        .unwrap();
    let frozen: Vec<u32> = pids.into_iter().map(|pid| pid as u32).chain([postmaster]).collect();
    for pid in &frozen {
        signal(*pid, "STOP");
    }
    let answered = prometheus.wait_for("dify_up", |up| up == 0.0).await;
    for pid in &frozen {
        signal(*pid, "CONT");
    }
    answered.unwrap();
    prometheus.wait_for("dify_up", |up| up == 1.0).await.unwrap();
    assert_eq!(at_rest(&exporter).await.value("dify_workflow_runs_total"), Some(runs));
}

async fn becomes_unready(exporter: &Exporter) {
    for _ in 0..600 {
        if exporter.get("/readyz").await.unwrap().0 == 503 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it says that it is ready while the database is away");
}

fn signal(pid: u32, name: &str) {
    // A backend may be gone by then.
    let _ = std::process::Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
}

#[tokio::test]
async fn a_second_exporter_waits_for_its_turn() {
    let database = database_with_history(Cluster::shared().unwrap()).await;
    let mut first = from_the_beginning(&database).start().await.unwrap();
    let counted = at_rest(&first).await;
    let second = from_the_beginning(&database).start().await.unwrap();
    for _ in 0..5 {
        let metrics = second.scrape().await.unwrap();
        assert_eq!(metrics.value("dify_workflow_runs_total"), None, "{}", metrics.text);
        assert!(metrics.value("dify_exporter_build_info").is_some(), "{}", metrics.text);
    }
    assert!(second.process.stderr().contains("another exporter counts"), "{}", second.process.stderr());
    // The first is not disturbed.
    assert_eq!(counters(&at_rest(&first).await), counters(&counted));
    first.process.kill().await.unwrap();
    let taken_over = second
        .scrape_until("it takes over", |metrics| metrics.value("dify_workflow_runs_total").is_some_and(|runs| runs > 0.0))
        .await
        .unwrap();
    assert_eq!(taken_over.value("dify_up"), Some(1.0));
    assert_eq!(at_rest(&second).await.value("dify_workflow_runs_total"), counted.value("dify_workflow_runs_total"));
}

#[tokio::test]
async fn a_database_made_anew_under_the_same_name_is_another_one() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = database_with_history(&cluster).await;
    let exporter = from_the_beginning(&database).start().await.unwrap();
    let counted = at_rest(&exporter).await;
    let successor = database_with_history(&cluster).await;
    let mut admin = cluster.admin().await.unwrap();
    for sql in [
        format!("DROP DATABASE {} WITH (FORCE)", database.name()),
        format!("ALTER DATABASE {} RENAME TO {}", successor.name(), database.name()),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
    let changes = |metrics: &Metrics| metrics.value("dify_exporter_database_changes_total") == Some(1.0);
    exporter.scrape_until("the other database is noticed", changes).await.unwrap();
    assert_eq!(at_rest(&exporter).await.value("dify_workflow_runs_total"), counted.value("dify_workflow_runs_total"));
}

#[tokio::test]
async fn prometheus_comes_in_by_tls_and_password_and_nobody_else() {
    let database = database_with_history(Cluster::shared().unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src/admin/testdata");
    let path = |name: &str| certificates.join(name).canonicalize().unwrap().display().to_string();
    // The hash of "sesame-of-tests".
    let text = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\nbasic_auth_users:\n  \
         prometheus: $2b$05$abcdefghijklmnopqrstuueemg9WKdO7/HMFxh.DL2jlXL8ERNhzu\n",
        path("server.pem"),
        path("server.key")
    );
    let file = folder.path().join("web.yml");
    std::fs::write(&file, text).unwrap();
    let exporter =
        from_the_beginning(&database).with("DIFY_OBSERVE__EXPORTER__WEB_CONFIG_FILE", &file.display().to_string()).start().await.unwrap();
    assert!(exporter.url.starts_with("https://"), "{}", exporter.url);
    let job = |name: &str, password: &str, tls: bool| {
        let mut scrape = Scrape::new(name, exporter.address(), Duration::from_secs(1));
        scrape.extra = format!("basic_auth:\n  username: prometheus\n  password: {password}\n");
        if tls {
            scrape.extra.push_str(&format!("scheme: https\ntls_config:\n  ca_file: {}\n  server_name: localhost\n", path("ca.pem")));
        }
        scrape
    };
    let scrapes = vec![job("right", "sesame-of-tests", true), job("wrong", "sesame", true), job("plain", "sesame-of-tests", false)];
    let prometheus = Prometheus::start(&Options { scrapes, native_histograms: true, ..Options::default() }).await.unwrap();
    prometheus.wait_for("sum(dify_workflow_runs_total{job=\"right\"})", |runs| runs > 0.0).await.unwrap();
    for job in ["wrong", "plain"] {
        prometheus.wait_for(&format!("up{{job=\"{job}\"}}"), |up| up == 0.0).await.unwrap();
        assert_eq!(prometheus.value(&format!("count(dify_up{{job=\"{job}\"}})")).await.unwrap(), None);
    }
    assert!(!exporter.process.stderr().contains("sesame") && !exporter.process.stderr().contains("$2b$"));
}

#[tokio::test]
async fn the_position_says_what_is_counted_and_what_is_open() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = database_with_history(&cluster).await;
    add_endless_runs(&database, 1, 30).await.unwrap();
    let exporter = from_the_beginning(&database).with("DIFY_OBSERVE__POSTGRES__CONNECT_TIMEOUT", "500ms").start().await.unwrap();
    let before = at_rest(&exporter).await.value("dify_workflow_runs_total").unwrap();
    let first = position(&exporter).await;
    assert_eq!(first["start"], Value::Null, "{first}");
    let id = uuid_of(&database, "SELECT id::text FROM workflow_runs WHERE status = 'running' ORDER BY created_at DESC LIMIT 1").await;
    assert!(first["open"].as_array().unwrap().iter().any(|open| open.as_str() == Some(&*id)), "{first}");
    let time = |position: &Value, key: &str| chrono::DateTime::parse_from_rfc3339(position[key].as_str().unwrap()).unwrap();
    // Both are this machine's clock.
    assert!(time(&first, "covered_until") <= time(&first, "written_at"), "{first}");
    assert!(time(&first, "written_at") <= chrono::Utc::now(), "{first}");
    exporter.scrape().await.unwrap();
    let second = position(&exporter).await;
    assert!(time(&second, "covered_until") >= time(&first, "covered_until") && time(&second, "written_at") > time(&first, "written_at"));
    // Nothing is covered that could not be read.
    cluster.server().unwrap().stop(StopMode::Fast).unwrap();
    exporter.scrape_until("the outage is seen", |metrics| metrics.value("dify_up") == Some(0.0)).await.unwrap();
    let outage = position(&exporter).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    exporter.scrape().await.unwrap();
    assert_eq!(position(&exporter).await, outage);
    cluster.server().unwrap().start().unwrap();
    // Ended at last: no longer open.
    let ended = format!("UPDATE workflow_runs SET status = 'succeeded', finished_at = now() AT TIME ZONE 'UTC' WHERE id = '{id}'");
    database.execute(&ended).await.unwrap();
    // It is half a minute old, so it is looked at again within a few seconds.
    exporter
        .scrape_until("the run is counted", |metrics| metrics.value("dify_workflow_runs_total").is_some_and(|runs| runs > before))
        .await
        .unwrap();
    let last = position(&exporter).await;
    assert!(!last["open"].as_array().unwrap().contains(&Value::from(id)), "{last}");
}

async fn uuid_of(database: &TestDatabase, sql: &'static str) -> String {
    let mut connection = database.connect().await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn a_standby_can_be_read_and_only_shows_what_it_has_replayed() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = database_with_history(&cluster).await;
    let standby = cluster.standby().await.unwrap();
    standby.catch_up().await.unwrap();
    let setup = Setup::new(&standby.url(database.name())).with("DIFY_OBSERVE__EXPORTER__START", "beginning");
    let exporter = setup.start().await.unwrap();
    exporter.settled().await.unwrap();
    let before = at_rest(&exporter).await.value("dify_workflow_runs_started_total").unwrap();
    assert_eq!(before, database.count("SELECT count(*) FROM workflow_runs").await.unwrap() as f64);
    standby.pause().await.unwrap();
    let options = traffic(database.schema(), 20, 0, 30_000_000).unwrap();
    write_all(&database, 21, dify_observe_tests::simulator::Options { time_scale: 0.01, ..options }).await.unwrap();
    let held = exporter.scrape().await.unwrap();
    assert_eq!((held.value("dify_up"), held.value("dify_workflow_runs_started_total")), (Some(1.0), Some(before)));
    standby.resume().await.unwrap();
    standby.catch_up().await.unwrap();
    let after = database.count("SELECT count(*) FROM workflow_runs").await.unwrap() as f64;
    assert!(after > before);
    exporter.scrape_until("what was held", |metrics| metrics.value("dify_workflow_runs_started_total") == Some(after)).await.unwrap();
}

#[tokio::test]
async fn every_page_is_there() {
    let database = database_with_history(Cluster::shared().unwrap()).await;
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let exporter = from_the_beginning(&database).with("DIFY_OBSERVE__EXPORTER__LISTEN", &listen).start().await.unwrap();
    exporter.settled().await.unwrap();
    assert_eq!(exporter.address(), listen);
    let (status, page) = exporter.get("/").await.unwrap();
    assert_eq!(status, 200);
    for link in ["/metrics", "/position", "/readyz"] {
        assert!(page.contains(link), "{page}");
    }
    for (path, expected) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/position", 200), ("/nowhere", 404)] {
        let (status, body) = exporter.get(path).await.unwrap();
        assert_eq!(status, expected, "{path}: {body}");
    }
}

#[tokio::test]
async fn slow_collectors_have_their_turns_again_and_again() {
    let database = database_with_history(Cluster::shared().unwrap()).await;
    let exporter = from_the_beginning(&database).with("DIFY_OBSERVE__EXPORTER__SLOW_INTERVAL", "1s").start().await.unwrap();
    let latest = |metrics: &Metrics| {
        let times = metrics.all("dify_exporter_collector_last_success_timestamp_seconds");
        times.into_iter().filter(|(labels, _)| labels["collector"] == "tables").map(|(_, time)| time).next()
    };
    for _ in 0..2 {
        let before = latest(&exporter.settled().await.unwrap());
        exporter.scrape_until("another turn", |metrics| latest(metrics) > before).await.unwrap();
    }
}
