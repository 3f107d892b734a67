//! Whatever is wrong with what people give to dify-exporter: one clear sentence, the right exit code, no panic, and no credential
//! in the output.

use std::path::Path;

use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, StopMode};
use dify_observe_tests::process::{self, Finished};
use tempfile::TempDir;

use crate::exporter::Setup;

const PASSWORD: &str = "hunter2-of-nobody";
const UNREACHABLE: &str = "postgres://dify:hunter2-of-nobody@127.0.0.1:1/dify";

const DONE: i32 = 0;
const CONFIGURATION: i32 = 64;
const UNAVAILABLE: i32 = 69;
const TRY_LATER: i32 = 75;
const NOT_DIFY: i32 = 78;

/// Runs a command that is to fail, with a state folder of its own.
async fn run(command: &str, setup: &Setup, arguments: &[&str]) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup.clone().in_folder(folder.path());
    run_in_folder(command, &setup, arguments).await
}

async fn run_in_folder(command: &str, setup: &Setup, arguments: &[&str]) -> Finished {
    let arguments: Vec<&str> = std::iter::once(command).chain(arguments.iter().copied()).collect();
    process::run("dify-exporter", &arguments, &setup.pairs()).await.unwrap()
}

/// The one sentence of a command that ended with `code`. What a service logs on its way is no part of it, nor is the line of a
/// file with a caret below it.
fn sentence(finished: &Finished, code: i32) -> String {
    let everything = format!("{}{}", finished.stdout, finished.stderr);
    assert!(!everything.contains(PASSWORD), "a credential is shown: {everything}");
    assert!(!everything.contains("panicked") && !everything.contains("a bug"), "{everything}");
    let is_excerpt = |line: &str| line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|');
    let said: Vec<&str> = finished.stderr.lines().filter(|line| !line.contains(" INFO ") && !is_excerpt(line)).collect();
    assert_eq!(said.len(), 1, "not one sentence: {everything}");
    assert_eq!(finished.code, Some(code), "{everything}");
    let sentence = said[0].strip_prefix("dify-exporter: ").unwrap_or_else(|| panic!("not ours: {everything}"));
    assert!(sentence.len() > 20 && !sentence.contains("Error {"), "not clear: {sentence}");
    sentence.to_owned()
}

/// The one error in the report of `check`, which is made where the database answers.
fn reported(finished: &Finished, code: i32) -> String {
    let everything = format!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.code, Some(code), "{everything}");
    assert!(!everything.contains(PASSWORD) && !everything.contains("panicked") && finished.stderr.is_empty(), "{everything}");
    let errors: Vec<&str> = finished.stdout.lines().filter(|line| line.contains(" ERROR ")).collect();
    assert_eq!(errors.len(), 1, "{everything}");
    errors[0].to_owned()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn mysql_is_no_database_for_us() {
    let by_url = Setup::new(&format!("mysql+pymysql://dify:{PASSWORD}@127.0.0.1:3306/dify"));
    let by_type = Setup::new("").with("DB_TYPE", "mysql").with("DB_HOST", "127.0.0.1").with("DB_PASSWORD", PASSWORD);
    for setup in [by_url, by_type] {
        for command in ["serve", "check", "console", "backfill"] {
            let said = sentence(&run(command, &setup, &[]).await, NOT_DIFY);
            assert!(said.contains("only PostgreSQL"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_database_must_be_named_and_be_a_url() {
    let nothing = Setup::new("");
    assert!(sentence(&run("serve", &nothing, &[]).await, CONFIGURATION).contains("postgres.url"));
    for url in [PASSWORD.to_owned(), format!("redis://:{PASSWORD}@127.0.0.1/0"), format!("postgres://dify:{PASSWORD}#1@db/dify")] {
        for command in ["serve", "check"] {
            let said = sentence(&run(command, &Setup::new(&url), &[]).await, CONFIGURATION);
            assert!(said.contains("postgres.url"), "{said}");
        }
    }
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.toml", &format!("[postgres]\nurl = \"{UNREACHABLE}\"\n\n[exporter]\nlisten_on = \"127.0.0.1:0\"\n"));
    for command in ["serve", "check"] {
        let said = sentence(&run(command, &Setup::new(""), &["--config", &file]).await, CONFIGURATION);
        assert!(said.contains("listen_on") && said.contains(&file) && said.contains('5'), "{said}");
        let variable = "DIFY_OBSERVE__EXPORTER__LISTEN_ON";
        let said = sentence(&run(command, &Setup::new(UNREACHABLE).with(variable, PASSWORD), &[]).await, CONFIGURATION);
        assert!(said.contains(variable), "{said}");
        let said =
            sentence(&run(command, &Setup::new(UNREACHABLE).with("DIFY_OBSERVE__EXPORTR__LISTEN", PASSWORD), &[]).await, CONFIGURATION);
        assert!(said.contains("exportr") || said.contains("EXPORTR"), "{said}");
    }
    let missing = folder.path().join("missing.toml").display().to_string();
    assert!(sentence(&run("serve", &Setup::new(""), &["--config", &missing]).await, CONFIGURATION).contains("missing.toml"));
    let broken = write(folder.path(), "b.toml", &format!("[postgres\nurl = \"{UNREACHABLE}\"\n"));
    assert!(sentence(&run("serve", &Setup::new(""), &["--config", &broken]).await, CONFIGURATION).contains("b.toml"));
    let wrong_type = write(folder.path(), "c.toml", &format!("[postgres]\nurl = [\"{UNREACHABLE}\"]\n"));
    assert!(sentence(&run("serve", &Setup::new(""), &["--config", &wrong_type]).await, CONFIGURATION).contains("c.toml"));
}

#[tokio::test]
async fn values_that_cannot_work_are_named_with_a_way_out() {
    for (name, value, word) in [
        ("DIFY_OBSERVE__FOLLOW__OVERLAP", "soon", "soon"),
        ("DIFY_OBSERVE__FOLLOW__TRAIL", "10m, later", "later"),
        ("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "-5s", "BIRTH_HOLD"),
        ("DIFY_OBSERVE__POSTGRES__CONNECT_TIMEOUT", "0s", "connect_timeout"),
        ("DIFY_OBSERVE__POSTGRES__SSL_MODE", "perhaps", "perhaps"),
        ("DIFY_OBSERVE__EXPORTER__LISTEN", "9810", "listen"),
        ("DIFY_OBSERVE__EXPORTER__LISTEN", "203.0.113.7:9810", "203.0.113.7"),
        ("DIFY_OBSERVE__EXPORTER__START", "yesterday", "beginning"),
        ("DIFY_OBSERVE__EXPORTER__CONSOLE_TIME_ZONE", "Mars/Olympus", "Mars"),
        ("DIFY_OBSERVE__EXPORTER__WEB_CONFIG_FILE", "/nowhere/web.yml", "/nowhere/web.yml"),
        ("DIFY_OBSERVE__EXPORTER__STREAK_LENGTH", "three", "STREAK_LENGTH"),
        ("DIFY_OBSERVE__TELEMETRY__LOG_FORMAT", "xml", "xml"),
        ("DIFY_OBSERVE__POSTGRES__PASSWORD_FILE", "/nowhere/password", "/nowhere/password"),
        ("DIFY_OBSERVE__STATE_DIR", "relative/folder", "state_dir"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(UNREACHABLE).in_folder(folder.path()).with(name, value);
        let said = sentence(&run_in_folder("serve", &setup, &[]).await, CONFIGURATION);
        assert!(said.contains(word), "{name}={value}: {said}");
    }
}

#[tokio::test]
async fn a_bad_label_rule_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    for (number, rule, word) in [
        (1, "app_id = { source = \"app_tag\" }", "app_id"),
        (2, "customer = { source = \"stars\" }", "stars"),
        (3, "customer = { source = \"input\", varible = \"x\" }", "varible"),
        (4, "\"9 lives\" = { source = \"input\", variable = \"x\" }", "9 lives"),
        (5, "team = { source = \"app_name\", pattern = \"(\" }", "pattern"),
        (6, "team = { source = \"input\" }", "variable"),
    ] {
        let file = write(folder.path(), &format!("{number}.toml"), &format!("[postgres]\nurl = \"{UNREACHABLE}\"\n[labels]\n{rule}\n"));
        let said = sentence(&run("serve", &Setup::new(""), &["--config", &file]).await, CONFIGURATION);
        assert!(said.contains(word), "{rule}: {said}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let said = sentence(&run("serve", &Setup::new(UNREACHABLE).with("DIFY_OBSERVE__EXPORTER__LISTEN", &address), &[]).await, UNAVAILABLE);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // The tests may run as root, who may write everywhere but not into a file or the kernel's own folders.
    let file = write(folder.path(), "file", "");
    for place in [file.as_str(), "/proc/self/fd/state", "/dev/null"] {
        let setup = Setup::new(UNREACHABLE).in_folder(Path::new(place));
        let said = sentence(&run_in_folder("serve", &setup, &[]).await, CONFIGURATION);
        assert!(said.contains(place), "{said}");
    }
}

#[tokio::test]
async fn a_shared_state_folder_is_refused_by_the_second() {
    let first = Setup::new(UNREACHABLE).start().await.unwrap();
    let second = Setup::new(UNREACHABLE).in_folder(&first.state_dir);
    let said = sentence(&run_in_folder("serve", &second, &[]).await, TRY_LATER);
    assert!(said.contains("in use by process") && said.contains(&first.process.pid().to_string()), "{said}");
}

#[tokio::test]
async fn a_damaged_state_is_kept_aside_and_nothing_counts_twice() {
    let database = Cluster::shared().unwrap().database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    let options = crate::exporter::traffic(database.schema(), 30, 600_000_000, 600_000_000).unwrap();
    crate::exporter::load_history(&database, 7, options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(database.url()).in_folder(folder.path()).with("DIFY_OBSERVE__EXPORTER__START", "beginning");
    let mut exporter = setup.start_in_its_folder().await.unwrap();
    exporter
        .scrape_until("runs are counted", |metrics| metrics.value("dify_workflow_runs_total").is_some_and(|runs| runs > 0.0))
        .await
        .unwrap();
    exporter.process.kill().await.unwrap();
    let state = folder.path().join("dify-exporter/state");
    let whole = std::fs::read(&state).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    for damaged in [&whole[..whole.len() / 2], &flipped, b"", b"{\"json\": true}"] {
        std::fs::write(&state, damaged).unwrap();
        let mut exporter = setup.start_in_its_folder().await.unwrap();
        let metrics = exporter.scrape_until("a new position", |metrics| metrics.value("dify_up") == Some(1.0)).await.unwrap();
        assert_eq!(metrics.value("dify_exporter_state_lost"), Some(1.0));
        for _ in 0..4 {
            let runs = exporter.scrape().await.unwrap().value("dify_workflow_runs_total");
            assert!(matches!(runs, None | Some(0.0)), "what was counted before counts again: {runs:?}");
        }
        let log = exporter.process.stderr();
        assert_eq!(log.lines().filter(|line| line.contains(" ERROR ")).count(), 1, "{log}");
        assert!(log.contains("begins anew") && !log.contains("panicked"), "{log}");
        exporter.process.kill().await.unwrap();
    }
    let kept = std::fs::read_dir(folder.path().join("dify-exporter")).unwrap();
    let kept: Vec<String> = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(kept.iter().any(|name| name != "state" && name.starts_with("state")), "{kept:?}");
}

/// What an exporter says about a database that it cannot read: it answers, is not ready, and says why, once.
async fn stays_and_says(setup: &Setup, word: &str) -> crate::exporter::Exporter {
    let mut exporter = setup.start().await.unwrap();
    let metrics = exporter.scrape().await.unwrap();
    assert_eq!(metrics.value("dify_up"), Some(0.0), "{}", metrics.text);
    exporter.process.wait_for_text(" WARN ").await.unwrap();
    // Answers and complaints go on; the log says it once.
    for _ in 0..3 {
        exporter.scrape().await.unwrap();
    }
    let (status, report) = exporter.get("/readyz").await.unwrap();
    assert_eq!(status, 503, "{report}");
    let (alive, _) = exporter.get("/livez").await.unwrap();
    assert_eq!(alive, 200);
    assert!(report.contains(word), "{report}");
    let log = exporter.process.stderr();
    assert!(!log.contains(PASSWORD) && !report.contains(PASSWORD), "{log}{report}");
    assert!(log.contains(word) && !log.contains("panicked"), "{log}");
    let complaints = log.lines().filter(|line| line.contains("could not be read")).count();
    assert_eq!(complaints, 1, "{log}");
    exporter
}

#[tokio::test]
async fn a_database_that_is_down_at_the_start_is_waited_for() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    let server = cluster.server().unwrap();
    server.stop(StopMode::Fast).unwrap();
    let setup = Setup::new(database.url()).with("DIFY_OBSERVE__POSTGRES__CONNECT_TIMEOUT", "500ms");
    let said = sentence(&run("check", &setup, &[]).await, UNAVAILABLE);
    assert!(said.contains("cannot be reached"), "{said}");
    let exporter = stays_and_says(&setup, "cannot be reached").await;
    server.start().unwrap();
    exporter.settled().await.unwrap();
    let ready = exporter.get("/readyz").await.unwrap();
    assert_eq!(ready.0, 200, "{}", ready.1);
    assert_eq!(run("check", &setup, &[]).await.code, Some(DONE));
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_said_once() {
    let url = format!("postgres://dify:{PASSWORD}@no-such-host.invalid:5432/dify");
    let setup = Setup::new(&url).with("DIFY_OBSERVE__POSTGRES__CONNECT_TIMEOUT", "500ms");
    assert!(sentence(&run("check", &setup, &[]).await, UNAVAILABLE).contains("cannot be reached"));
    stays_and_says(&setup, "cannot be reached").await;
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    cluster.role("dify_observe_test_locked").await.unwrap();
    let rules = cluster.server().unwrap().data().join("pg_hba.conf");
    let text = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("host all dify_observe_test_locked 127.0.0.1/32 scram-sha-256\n{text}")).unwrap();
    database.execute("SELECT pg_reload_conf()").await.unwrap();
    let right = database.url_as("dify_observe_test_locked");
    let own = right.split(':').nth(2).and_then(|rest| rest.split('@').next()).unwrap();
    let wrong = right.replace(own, PASSWORD);
    let setup = Setup::new(&wrong).with("DIFY_OBSERVE__POSTGRES__CONNECT_TIMEOUT", "2s");
    let said = sentence(&run("check", &setup, &[]).await, UNAVAILABLE);
    assert!(said.contains("password authentication failed"), "{said}");
    stays_and_says(&setup, "password authentication failed").await;
}

#[tokio::test]
async fn a_role_without_rights_is_told_what_to_grant() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    cluster.role("dify_observe_test_nobody").await.unwrap();
    let setup = Setup::new(&database.url_as("dify_observe_test_nobody"));
    let check = run("check", &setup, &[]).await;
    assert_eq!(check.code, Some(NOT_DIFY), "{check:?}");
    assert!(format!("{}{}", check.stdout, check.stderr).contains("GRANT SELECT"), "{check:?}");
    let exporter = stays_and_says(&setup, "exporter-role.sql").await;
    database.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO dify_observe_test_nobody").await.unwrap();
    exporter.settled().await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_difys_is_named_as_such() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.empty_database().await.unwrap();
    database.execute("CREATE TABLE users (id int)").await.unwrap();
    let setup = Setup::new(database.url());
    let said = reported(&run("check", &setup, &[]).await, NOT_DIFY);
    assert!(said.contains("does not look like Dify's"), "{said}");
    stays_and_says(&setup, "does not look like Dify's").await;
    // Tables of these names that are somebody else's.
    database.execute("CREATE TABLE apps (id int); CREATE TABLE messages (id int); CREATE TABLE workflow_runs (id int)").await.unwrap();
    let said = reported(&run("check", &setup, &[]).await, NOT_DIFY);
    assert!(said.contains("workflow_runs") && said.contains("lacks the column"), "{said}");
    let missing = database.url().replace(database.name(), "dify_observe_no_such_database");
    let said = sentence(&run("check", &Setup::new(&missing).with("DIFY_OBSERVE__POSTGRES__CONNECT_TIMEOUT", "2s"), &[]).await, UNAVAILABLE);
    assert!(said.contains("dify_observe_no_such_database"), "{said}");
}

#[tokio::test]
async fn a_wrong_command_line_is_a_usage_error() {
    let folder: TempDir = tempfile::tempdir().unwrap();
    for arguments in [&["serve", "--listen"][..], &["dance"], &["backfill", "--from", "then"], &["serve", "--log-format", "xml"]] {
        let finished = process::run("dify-exporter", arguments, &Setup::new(UNREACHABLE).in_folder(folder.path()).pairs()).await.unwrap();
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(!finished.stderr.contains(PASSWORD) && finished.stderr.contains("--help"), "{finished:?}");
    }
}
