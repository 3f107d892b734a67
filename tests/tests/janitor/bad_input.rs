//! Whatever stands in the way of a run: one clear sentence, the right exit code, nothing touched, and no credential in the output.
//! `check` says the same before.

use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::process::Finished;
use dify_observe_tests::retention::Rules;

use crate::check::report;
use crate::roles::grant;
use crate::setup::{Setup, sentence};

const CONFIGURATION: i32 = 64;
const UNAVAILABLE: i32 = 69;
const TRY_LATER: i32 = 75;
const NOT_DIFY: i32 = 78;

const PASSWORD: &str = "hunter2-of-nobody";

async fn database(version: &str) -> anyhow::Result<TestDatabase> {
    Cluster::shared()?.database(&Schema::load(version)?).await
}

fn setup(url: &str) -> anyhow::Result<Setup> {
    Setup::new(url, &Rules::default())
}

fn is_discreet(finished: &Finished) {
    let everything = format!("{}{}", finished.stdout, finished.stderr);
    assert!(!everything.contains(PASSWORD) && !everything.contains("panicked") && !everything.contains("a bug"), "{everything}");
}

/// `run --execute` says it in one sentence, which is returned; `check` ends with the same code, and with the same words in its report.
async fn refused(setup: &Setup, code: i32) -> anyhow::Result<String> {
    let finished = setup.run(&["run", "--execute"]).await?;
    is_discreet(&finished);
    assert_eq!(finished.code, Some(code), "{}{}", finished.stdout, finished.stderr);
    let said = sentence(&finished)?;
    let (checked, report) = report(setup).await?;
    assert_eq!(checked, Some(code), "{report:#}");
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let refusal = findings.iter().find(|finding| finding["exit_code"] == code).and_then(|finding| finding["message"].as_str());
    let refusal = refusal.unwrap_or_default().to_owned();
    assert!(said.contains(&refusal) && refusal.len() > 20, "run says: {said}\ncheck says: {refusal}");
    Ok(said)
}

/// A mistake in the configuration, which every command says alike.
async fn misconfigured(setup: &Setup, word: &str) -> anyhow::Result<()> {
    for command in [&["plan"][..], &["run", "--execute"], &["check"], &["advise"], &["verify"]] {
        let finished = setup.run(command).await?;
        is_discreet(&finished);
        assert_eq!(finished.code, Some(CONFIGURATION), "{command:?}: {finished:?}");
        assert!(sentence(&finished)?.contains(word), "{command:?}: {finished:?}");
    }
    Ok(())
}

#[tokio::test]
async fn values_that_cannot_work_are_named_with_a_way_out() -> anyhow::Result<()> {
    for (key, value, word) in [
        ("JANITOR__AGE", "0s", "janitor.age"),
        ("JANITOR__AGE", "-30d", "JANITOR__AGE"),
        ("JANITOR__AGE", "soon", "soon"),
        ("JANITOR__STALE_AFTER", "1h", "follow.abandon_after"),
        ("JANITOR__TIME_ZONE", "Mars/Olympus", "Mars"),
        ("JANITOR__WINDOW", "22:00", "22:00-06:00"),
        ("JANITOR__MAX_SHARE", "0", "max_share"),
        ("JANITOR__WAIT_FOR", "dify-exporter:9810", "http://"),
        ("JANITOR__ARCHIVE__URL", "ftp://somewhere", "file:///folder"),
        ("JANITOR__ARCHIVE__SECRET_ACCESS_KEY", PASSWORD, "access_key_id"),
        ("JANITOR__ARCHIVE__SECRET_ACCESS_KEY_FILE", "/nowhere/secret", "/nowhere/secret"),
        ("JANITOR__METRICS_TEXTFILE", "/tmp/janitor.txt", ".prom"),
        ("JANITOR__PUSHGATEWAY_URL", "http://u:hunter2-of-nobody@gateway", "credentials"),
        ("JANITOR__POLICIES__KEEP__STATUSES", "lost", "lost"),
        ("JANITOR__POLICIES__KEEP__AGE", "10s", "policies.keep.age"),
        ("JANITOR__STRIP_PAYLOADS_AFTER", "1d", "strip_payloads_after"),
    ] {
        let setup = setup("postgres://dify:hunter2-of-nobody@127.0.0.1:1/dify")?.with(key, value);
        misconfigured(&setup, word).await.map_err(|error| error.context(format!("{key}={value}")))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_not_difys_is_named_as_such() -> anyhow::Result<()> {
    let database = Cluster::shared()?.empty_database().await?;
    database.execute("CREATE TABLE users (id int)").await?;
    let setup = setup(database.url())?;
    assert!(refused(&setup, NOT_DIFY).await?.contains("does not look like Dify's"));
    for command in ["plan", "advise"] {
        let finished = setup.run(&[command]).await?;
        assert_eq!(finished.code, Some(NOT_DIFY), "{command}: {finished:?}");
    }
    let away =
        Setup::new("postgres://dify:hunter2-of-nobody@127.0.0.1:1/dify", &Rules::default())?.with("POSTGRES__CONNECT_TIMEOUT", "500ms");
    for command in [&["plan"][..], &["run", "--execute"], &["check"], &["advise"]] {
        let finished = away.run(command).await?;
        is_discreet(&finished);
        assert_eq!(finished.code, Some(UNAVAILABLE), "{command:?}: {finished:?}");
        assert!(sentence(&finished)?.contains("cannot be reached"), "{command:?}: {finished:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_not_known_refuses_as_soon_as_it_holds_rows() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let url = grant(Cluster::shared()?, &database, "dify_observe_test_unknowing", true).await?;
    let setup = setup(&url)?;
    database.execute("CREATE TABLE run_reviews (id uuid PRIMARY KEY, workflow_run_id uuid, note text)").await?;
    setup.succeed(&["check"]).await?;
    setup.succeed(&["run", "--execute"]).await?;
    database.execute("INSERT INTO run_reviews VALUES (gen_random_uuid(), gen_random_uuid(), 'good')").await?;
    // The role may not read the table: that counts as rows.
    let said = refused(&setup, NOT_DIFY).await?;
    assert!(said.contains("run_reviews") && said.contains("workflow_run_id") && said.contains("may not see"), "{said}");
    database.execute("GRANT SELECT ON run_reviews TO dify_observe_test_unknowing").await?;
    let said = refused(&setup, NOT_DIFY).await?;
    assert!(said.contains("holds rows"), "{said}");
    database.execute("UPDATE run_reviews SET workflow_run_id = NULL").await?;
    setup.succeed(&["check"]).await?;
    Ok(())
}

#[tokio::test]
async fn foreign_keys_and_triggers_of_somebody_else_are_seen() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let setup = setup(database.url())?;
    database
        .execute(
            "CREATE TABLE reviews (id int, about uuid REFERENCES messages (id) ON DELETE CASCADE); ALTER TABLE reviews DISABLE TRIGGER ALL",
        )
        .await?;
    setup.succeed(&["check"]).await?;
    database.execute("SET session_replication_role = replica; INSERT INTO reviews VALUES (1, gen_random_uuid())").await?;
    let said = refused(&setup, NOT_DIFY).await?;
    assert!(said.contains("reviews") && said.contains("would not be archived"), "{said}");
    database
        .execute(
            "DROP TABLE reviews; CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
             CREATE TRIGGER notes BEFORE DELETE ON workflow_runs FOR EACH ROW EXECUTE FUNCTION noted()",
        )
        .await?;
    let finished = setup.succeed(&["check"]).await?;
    assert!(finished.stdout.contains("WARNING trigger notes"), "{}", finished.stdout);
    Ok(())
}

#[tokio::test]
async fn a_role_that_may_only_read_is_told_what_to_grant() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let url = grant(Cluster::shared()?, &database, "dify_observe_test_reader_only", false).await?;
    let setup = setup(&url)?;
    let said = refused(&setup, NOT_DIFY).await?;
    assert!(said.contains("janitor-role.sql with -v execute=1") && said.contains("GRANT DELETE, INSERT ON"), "{said}");
    setup.succeed(&["plan"]).await?;
    Ok(())
}

#[tokio::test]
async fn rows_that_policies_hide_from_the_role_refuse() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let url = grant(Cluster::shared()?, &database, "dify_observe_test_half_blind", true).await?;
    database.execute("ALTER TABLE messages ENABLE ROW LEVEL SECURITY").await?;
    let said = refused(&setup(&url)?, NOT_DIFY).await?;
    assert!(said.contains("row-level security of table messages"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_standby_can_be_planned_and_not_pruned() -> anyhow::Result<()> {
    let cluster = Cluster::private(&[])?;
    let database = cluster.database(&Schema::load("1.12.1")?).await?;
    let standby = cluster.standby().await?;
    standby.catch_up().await?;
    let setup = setup(&standby.url(database.name()))?;
    let said = refused(&setup, UNAVAILABLE).await?;
    assert!(said.contains("standby") && said.contains("primary"), "{said}");
    setup.succeed(&["plan"]).await?;
    setup.succeed(&["advise"]).await?;
    Ok(())
}

#[tokio::test]
async fn difys_own_cleaner_stands_in_the_way_while_it_is_known_to_be_on() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let mut setup = setup(database.url())?;
    setup.set_foreign("WORKFLOW_LOG_CLEANUP_ENABLED", "true");
    let said = refused(&setup, CONFIGURATION).await?;
    assert!(said.contains("WORKFLOW_LOG_CLEANUP_ENABLED") && said.contains("without an archive"), "{said}");
    setup.set_foreign("WORKFLOW_LOG_CLEANUP_ENABLED", "false");
    setup.succeed(&["check"]).await?;
    // One that is at work is seen by its statement, until it is over.
    let mut cleaner = database.connect().await?;
    let delete = "DELETE FROM workflow_runs WHERE workflow_runs.id IN ('00000000-0000-0000-0000-000000000001')";
    for statement in ["BEGIN", delete] {
        sqlx::raw_sql(statement).execute(&mut cleaner).await?;
    }
    let said = refused(&setup, TRY_LATER).await?;
    assert!(said.contains("is deleting rows of workflow_runs"), "{said}");
    sqlx::raw_sql("ROLLBACK").execute(&mut cleaner).await?;
    setup.succeed(&["check"]).await?;
    Ok(())
}

/// 300 runs, of which 290 ended two months ago.
const OLD_RUNS: &str = "
    INSERT INTO workflow_runs (id, tenant_id, app_id, workflow_id, type, triggered_from, version, status, created_by_role, created_by,
                               created_at, finished_at)
    SELECT gen_random_uuid(), gen_random_uuid(), md5('app')::uuid, gen_random_uuid(), 'workflow', 'app-run', '1', 'succeeded', 'account',
           gen_random_uuid(), t, t + interval '1 minute'
    FROM generate_series(1, 300) n, LATERAL (SELECT (now() AT TIME ZONE 'UTC') - CASE WHEN n <= 290 THEN interval '60 days' ELSE interval '1 day' END) x(t);
    ANALYZE workflow_runs";

#[tokio::test]
async fn a_policy_that_would_take_everything_refuses() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    database.execute(OLD_RUNS).await?;
    let setup = setup(database.url())?.with("JANITOR__MAX_SHARE", "0.9");
    let said = refused(&setup, CONFIGURATION).await?;
    assert!(said.contains("policy \"default\" would take about") && said.contains("janitor.max_share = 0.9"), "{said}");
    setup.with("JANITOR__MAX_SHARE", "1").succeed(&["check"]).await?;
    Ok(())
}

#[tokio::test]
async fn an_archive_that_cannot_be_used_is_named() -> anyhow::Result<()> {
    let database = database("1.12.1").await?;
    let setup = setup(database.url())?;
    let file = setup.folder().join("a-file");
    std::fs::write(&file, "")?;
    let url = format!("file://{}/archive", file.display());
    let said = refused(&setup.with("JANITOR__ARCHIVE__URL", &url), CONFIGURATION).await?;
    assert!(said.contains("a-file") && said.contains("cannot be written"), "{said}");
    Ok(())
}
